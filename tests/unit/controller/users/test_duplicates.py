"""PushUsers of one mailbox, judged by the operator: in any order, over a restart, and where the younger was faster."""

import copy
from typing import Any

from mailpush import names
from mailpush.controller.owner import ConfigKey
from mailpush.controller.state import OperatorState
from mailpush.controller.users.reconcile import UserReconciler
from mailpush.controller.users.record import UserName
from mailpush.controller.users.store import UserStore
from mailpush.controller.wakes import Wakes
from mailpush.decision import site_facts
from mailpush.kube.client import Object
from mailpush.kube.resources import Resource
from mailpush.sharding.slots import slot_of
from tests.unit.controller.builders import Keys, Others, evaluation, state

CLIENT = "open-xchange-mobile-api-facade"


class Api:
    """Holds PushUsers; what is written is seen by `store` as by its watch."""

    def __init__(self) -> None:
        self.users: dict[str, Object] = {}
        self.store: UserStore | None = None
        self.version = 100
        self.written: list[tuple[str, str]] = []
        """Names of PushUsers, and what was written."""

    def put(self, body: Object) -> Object:
        self.version += 1
        body["metadata"]["resourceVersion"] = str(self.version)
        change = "MODIFIED" if body["metadata"]["name"] in self.users else "ADDED"
        self.users[body["metadata"]["name"]] = body
        assert self.store is not None
        self.store._changed(change, copy.deepcopy(body))  # type: ignore[arg-type]
        return copy.deepcopy(body)

    async def merge_patch(self, _resource: Resource, _namespace: str, name: str, body: Object) -> Object:
        self.written += [(name, "labels")] if "labels" in body["metadata"] else []
        found = copy.deepcopy(self.users[name])
        for key, value in body["metadata"].items():
            if isinstance(value, dict):
                found["metadata"].setdefault(key, {}).update(value)
        return self.put(found)

    async def apply(self, _resource: Resource, _namespace: str, body: Object, **_: Any) -> Object:
        self.written.append((body["metadata"]["name"], "status"))
        found = copy.deepcopy(self.users[body["metadata"]["name"]])
        status = {key: one for key, one in found.get("status", {}).items() if key in ("registrations", "mechanism")}
        return self.put({**found, "status": status | body["status"]})


class Scene:
    def __init__(self) -> None:
        self.api = Api()
        self.restart()

    def restart(self) -> None:
        """Another process leads."""
        self.world = OperatorState(configs_listed=True)
        for name in ("main", "other"):
            evaluated = evaluation()
            self.world.configs[ConfigKey("mail", name)] = state(evaluated)
            self.world.configs[ConfigKey("mail", name)].site = site_facts(evaluated.settings)  # type: ignore[arg-type]
        self.queue = Keys()
        self.store = UserStore(self.api, ("mail",), self.queue, Wakes())  # type: ignore[arg-type]
        self.api.store = self.store
        self.writes = Keys()
        self.keeper = UserReconciler(self.api, self.world, self.store, self.queue, Others(), writes=self.writes)  # type: ignore[arg-type]
        self.store.observe(self.keeper)
        for body in self.api.users.values():
            self.store._changed("ADDED", copy.deepcopy(body))

    def user(self, number: int, created: int, *, config: str = "main", login: str = "anton", **status: Any) -> None:
        name = names.push_user_name(config, 1, number)
        metadata = {"namespace": "mail", "name": name, "uid": f"uid-{name}", "generation": 1}
        metadata["creationTimestamp"] = f"2026-01-0{created}T00:00:00Z"
        spec = {"configRef": {"name": config}, "contextId": 1, "userId": number, "clients": [CLIENT], "login": login}
        self.api.put({"metadata": metadata, "spec": spec, "status": status})

    def registered(self, number: int, yes: bool) -> None:
        """What the owning pod writes."""
        found = copy.deepcopy(self.api.users[f"main-1-{number}"])
        one = {"server": "default", "login": "anton", "value": f"{number}@1"}
        found["status"]["registrations"] = {"x": one} if yes else {}
        self.api.put(found)

    async def settle(self) -> None:
        """Until nothing is queued; what is to be looked at later is looked at once more."""
        for _ in range(100):
            due = list(dict.fromkeys([*self.queue, *self.queue.later]))
            if not due:
                return
            self.queue.clear()
            self.queue.later.clear()
            for name in due:
                await self.look_at(name)
        raise AssertionError("it never comes to rest")

    async def look_at(self, name: UserName) -> None:
        """Decides on a user, and writes what follows from it."""
        await self.keeper.work(name)
        writes = list(self.writes)
        self.writes.clear()
        for one in writes:
            await self.keeper.write(one)

    def said(self, name: str) -> tuple[str, str | None]:
        status = self.api.users[name]["status"]
        (accepted,) = (one for one in status["conditions"] if one["type"] == "Accepted")
        return accepted["reason"], status.get("duplicateOf")


async def test_the_younger_says_who_is_older_whichever_comes_first_and_over_configs() -> None:
    scene = Scene()
    scene.user(4, 2)
    scene.user(5, 3, config="other", login="ANTON")
    await scene.settle()
    scene.user(3, 1)
    await scene.settle()
    assert scene.said("main-1-3") == ("Accepted", None)
    for younger in ("main-1-4", "other-1-5"):
        assert scene.said(younger) == ("DuplicateLogin", "mail/main-1-3")


async def test_the_younger_is_shown_to_the_pods_only_when_its_status_names_the_older() -> None:
    """Pods read users by label, and each only those of its slots: it cannot see by itself who is older."""
    scene = Scene()
    scene.user(3, 1)
    scene.user(4, 2)
    await scene.settle()
    of_younger = [what for name, what in scene.api.written if name == "main-1-4"]
    assert of_younger.index("status") < of_younger.index("labels")
    assert scene.api.users["main-1-4"]["metadata"]["labels"][names.SLOT_LABEL] == str(slot_of(1, 4))
    assert next(what for name, what in scene.api.written if name == "main-1-3") == "labels"


async def test_when_the_older_goes_the_next_one_is_accepted() -> None:
    scene = Scene()
    for number in (3, 4, 5):
        scene.user(number, number)
    await scene.settle()
    scene.store._changed("DELETED", copy.deepcopy(scene.api.users.pop("main-1-3")))
    await scene.settle()
    assert scene.said("main-1-4") == ("Accepted", None)
    assert scene.said("main-1-5") == ("DuplicateLogin", "mail/main-1-4")


async def test_a_process_that_begins_to_lead_accepts_nobody_for_a_moment() -> None:
    scene = Scene()
    for number in (3, 4):
        scene.user(number, number)
    await scene.settle()
    scene.restart()
    before = scene.api.version
    await scene.look_at(UserName("mail", "main-1-4"))
    assert scene.said("main-1-4")[0] == "DuplicateLogin"
    await scene.settle()
    assert (scene.said("main-1-4")[0], scene.api.version) == ("DuplicateLogin", before)


async def test_while_the_settings_cannot_be_read_nobody_is_let_in() -> None:
    scene = Scene()
    for number in (3, 4):
        scene.user(number, number)
    await scene.settle()
    scene.world.configs[ConfigKey("mail", "main")].site = None
    scene.keeper.config_changed(ConfigKey("mail", "main"))
    await scene.settle()
    assert scene.said("main-1-4") == ("DuplicateLogin", "mail/main-1-3")


async def test_two_push_users_of_one_user_are_no_duplicates() -> None:
    scene = Scene()
    scene.user(3, 1)
    scene.user(3, 2, config="other")
    await scene.settle()
    assert [scene.said(name)[0] for name in ("main-1-3", "other-1-3")] == ["Accepted", "Accepted"]


async def test_where_the_younger_was_registered_first_the_older_is_asked_to_register_again_after_it_has_gone() -> None:
    scene = Scene()
    scene.user(3, 1)
    scene.user(4, 2)
    scene.registered(4, True)
    await scene.settle()
    assert "annotations" not in scene.api.users["main-1-3"]["metadata"]
    scene.registered(4, False)
    await scene.settle()
    asked = scene.api.users["main-1-3"]["metadata"]["annotations"][names.RESYNC_ANNOTATION]
    assert asked.endswith("main-1-4")
    scene.registered(4, False)
    await scene.settle()
    assert scene.api.users["main-1-3"]["metadata"]["annotations"][names.RESYNC_ANNOTATION] == asked
