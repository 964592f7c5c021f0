"""A MailPushConfig is deleted: how many writes its users cost, and how many of them at a time."""

import asyncio
from typing import Any

import pytest

from mailpush import names
from mailpush.controller.assembly import DECIDING, USER_WORKERS
from mailpush.controller.owner import ConfigKey
from mailpush.controller.state import OperatorState
from mailpush.controller.users.owner_lost import END_SECONDS
from mailpush.controller.users.reconcile import UserReconciler
from mailpush.controller.users.record import UserName
from mailpush.controller.users.store import UserStore
from mailpush.controller.wakes import Wakes
from mailpush.decision import site_facts
from mailpush.kube.client import Object
from mailpush.kube.errors import ConflictError
from mailpush.kube.resources import Resource
from mailpush.sharding.slots import slot_of
from mailpush.work.pace import Pace
from mailpush.work.queue import WorkQueue
from tests.unit.controller.builders import Others, evaluation, pod, state

MAIN = ConfigKey("mail", "main")
USERS = 1_000


class Api:
    """Holds PushUsers. `writes`: how many of each kind; `most`: of them at a time."""

    def __init__(self, store: UserStore | None = None) -> None:
        self.store = store
        self.bodies: dict[str, Object] = {}
        self.writes: dict[str, int] = {}
        self.at_once = self.most = 0
        self.version = 100

    def put(self, number: int, **metadata: Any) -> None:
        said = [
            {
                "type": type_,
                "status": "True",
                "reason": "Registered",
                "message": "m",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }
            for type_ in ("Accepted", "Listening", "Ready")
        ]
        labels = {names.CONFIG_LABEL: "main", names.SLOT_LABEL: str(slot_of(1, number))}
        self.written(
            {
                "metadata": {
                    "namespace": "mail",
                    "name": f"main-1-{number}",
                    "uid": f"uid-{number}",
                    "generation": 1,
                    "labels": labels,
                    **metadata,
                },
                "spec": {"configRef": {"name": "main"}, "contextId": 1, "userId": number, "clients": ["phone"]},
                "status": {"mechanism": "dovecot", "conditions": said},
            }
        )

    def written(self, body: Object) -> Object:
        self.version += 1
        stored = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.version)}}
        self.bodies[body["metadata"]["name"]] = stored
        gone = "deletionTimestamp" in stored["metadata"] and not stored["metadata"].get("finalizers")
        if self.store is not None:
            self.store._changed("DELETED" if gone else "MODIFIED", {**stored, "metadata": dict(stored["metadata"])})
        return {**stored, "metadata": dict(stored["metadata"])}

    async def begun(self, kind: str, name: str, metadata: Object) -> Object:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        self.writes[kind] = self.writes.get(kind, 0) + 1
        body = self.bodies[name]
        if metadata.get("resourceVersion", body["metadata"]["resourceVersion"]) != body["metadata"]["resourceVersion"]:
            raise ConflictError(409, "Conflict", "another wrote first")
        return body

    async def apply(self, _resource: Resource, _namespace: str, body: Object, **_: Any) -> Object:
        found = await self.begun("status", body["metadata"]["name"], body["metadata"])
        return self.written({**found, "status": {**found["status"], **body["status"]}})

    async def merge_patch(self, _resource: Resource, _namespace: str, name: str, body: Object, **_: Any) -> Object:
        found = await self.begun("finalizer", name, body["metadata"])
        changed = {**found["metadata"], "finalizers": body["metadata"]["finalizers"]}
        return self.written({**found, "metadata": changed})


class Site:
    """An operator that has listed the users, `USERS` of them, and then sees their MailPushConfig go."""

    def __init__(self, **metadata: Any) -> None:
        self.api, self.now = Api(), 100.0
        self.state = OperatorState(configs_listed=True)
        self.queue: WorkQueue[UserName] = WorkQueue("users", workers=DECIDING)
        self.writes: WorkQueue[UserName] = WorkQueue("user_writes", workers=USER_WORKERS)
        self.store = UserStore(self.api, ("mail",), self.queue, Wakes())  # type: ignore[arg-type]
        self.api.store = self.store
        self.keeper = UserReconciler(
            self.api,  # type: ignore[arg-type]
            self.state,
            self.store,
            self.queue,
            Others(),  # type: ignore[arg-type]
            writes=self.writes,
            clock=lambda: self.now,
            pace=Pace(1e9, 1e9),
        )
        for number in range(1, USERS + 1):
            self.api.put(number, **metadata)

    async def work(self) -> dict[str, int]:
        """Works until nothing is queued; gives the writes since the last time."""
        self.queue.start(self.keeper.work)
        self.writes.start(self.keeper.write)
        while self.queue._tasks or self.writes._tasks:
            await self.queue.idle()
            await self.writes.idle()
        writes, self.api.writes = self.api.writes, {}
        return writes


@pytest.mark.parametrize(
    ("metadata", "writes"),
    [
        ({}, {"status": USERS}),
        ({"finalizers": [names.FINALIZER]}, {"status": USERS, "finalizer": USERS}),
        (
            {"finalizers": [names.FINALIZER], "deletionTimestamp": "2026-01-01T00:00:00Z"},
            {"finalizer": USERS},
        ),
    ],
    ids=["found by IDLE", "registered", "deleted with it"],
)
async def test_each_user_costs_no_more_writes_than_there_are_things_to_say_and_some_are_under_way_at_a_time(
    metadata: dict[str, Any], writes: dict[str, int]
) -> None:
    """Two a user, one after the other, were 58 users a second."""
    site = Site(**metadata)
    assert await site.work() == writes
    assert site.api.most == USER_WORKERS
    if "deletionTimestamp" not in metadata:
        site.keeper.config_changed(MAIN)
        assert await site.work() == {}, "what is said is not said again"


async def test_one_change_of_the_settings_costs_a_write_for_each_user_whom_it_concerns() -> None:
    site = Site(finalizers=[names.FINALIZER])
    config = site.state.configs[MAIN] = state()
    for clients in (["phone"], ["other*"], ["phone"]):
        changed = evaluation(allowedClients=clients)
        assert changed.settings is not None
        config.site = site_facts(changed.settings)
        site.keeper.config_changed(MAIN)
        assert await site.work() == {"status": USERS}
        site.keeper.config_changed(MAIN)
        assert await site.work() == {}
    assert site.api.most == USER_WORKERS


async def test_users_are_spread_by_the_new_settings_before_any_of_that_is_written() -> None:
    """Each decision waited for the writes before it: 20,000 users who are denied weighed for minutes."""
    site = Site()
    config = site.state.configs[MAIN] = state()
    changed = evaluation(allowedClients=["other*"])
    assert changed.settings is not None
    config.site = site_facts(changed.settings)
    site.keeper.config_changed(MAIN)
    site.queue.start(site.keeper.work)
    await site.queue.idle()
    assert (sum(site.store.weights(MAIN)), len(site.writes), site.api.writes) == (0, USERS, {})


async def test_a_user_who_has_come_goes_before_all_that_a_change_of_settings_means_for_the_others() -> None:
    site = Site()
    assert await site.work() == {"status": USERS}
    config = site.state.configs[MAIN] = state()
    changed = evaluation(allowedClients=["other*"])
    assert changed.settings is not None
    config.site = site_facts(changed.settings)
    site.keeper.config_changed(MAIN)
    site.writes = WorkQueue("user_writes")
    site.keeper._writes = site.writes
    site.queue.start(site.keeper.work)
    await site.queue.idle()
    site.api.put(USERS + 1)
    site.api.bodies[f"main-1-{USERS + 1}"]["status"] = {}
    site.api.written(site.api.bodies[f"main-1-{USERS + 1}"])
    await site.queue.idle()
    began: list[UserName] = []

    async def write(name: UserName) -> None:
        began.append(name)

    site.writes.start(write)
    await site.writes.idle()
    assert (began[0], len(began)) == (UserName("mail", f"main-1-{USERS + 1}"), USERS + 1)


async def test_nobody_writes_against_pods_that_are_ending() -> None:
    """A pod puts its users' statuses right as long as it runs: operator and pods wrote by turns."""
    site = Site()
    site.state.pods[MAIN] = {"mail-push-main-0": pod(0)}
    assert await site.work() == {}
    assert len(site.keeper._ending_pods._looks) == 1, "one timer for all users"
    site.now += END_SECONDS / 2
    site.keeper._ending_pods.look(MAIN)
    assert await site.work() == {}
    assert len(site.keeper._ending_pods._looks) == 1
    site.state.pods[MAIN].clear()
    site.keeper._ending_pods.look(MAIN)
    assert await site.work() == {"status": USERS}
    assert not site.keeper._ending_pods._looks


async def test_pods_that_were_left_behind_are_not_waited_for_for_ever() -> None:
    site = Site()
    site.state.pods[MAIN] = {"mail-push-main-0": pod(0)}
    assert await site.work() == {}
    site.now += END_SECONDS
    site.keeper._ending_pods.look(MAIN)
    assert await site.work() == {"status": USERS}


async def test_what_is_known_of_secrets_goes_with_their_users() -> None:
    site = Site()
    secret = {"metadata": {"name": "s"}, "data": {}}

    async def find(*_: Any, **__: Any) -> Object:
        return secret

    site.api.find = find  # type: ignore[attr-defined]
    secrets = site.keeper._secrets
    for number in (1, 2, 3):
        body = site.api.bodies[f"main-1-{number}"]
        for name in ("s", "t", "s"):  # it names another one meanwhile
            body["spec"]["credentialsSecretRef"] = {"name": name}
            site.api.written(body)
            record = site.store.get(UserName("mail", f"main-1-{number}"))
            assert record is not None
            await secrets.get(UserName("mail", f"main-1-{number}"), record.spec)
    assert (len(secrets._seen), set(secrets._by_secret)) == (3, {("mail", "s")})
    for number in (1, 2, 3):
        site.store._changed("DELETED", site.api.bodies[f"main-1-{number}"])
    await site.work()
    assert (secrets._seen, secrets._by_secret, secrets._secret_of) == ({}, {}, {})


async def test_who_is_deleted_meanwhile_can_go_at_once() -> None:
    site = Site(finalizers=[names.FINALIZER], deletionTimestamp="2026-01-01T00:00:00Z")
    site.state.pods[MAIN] = {"mail-push-main-0": pod(0)}
    assert await site.work() == {"finalizer": USERS}
