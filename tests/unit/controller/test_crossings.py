"""What happens while the operator waits for an answer: what it has read may be old by then, and must not count."""

import builtins
import copy
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from mailpush import names
from mailpush.controller.configs.reconcile import Reconciler
from mailpush.controller.owner import ConfigKey
from mailpush.controller.shards.maps import ShardMaps
from mailpush.controller.shards.report import ShardReport
from mailpush.controller.state import ConfigState, OperatorState
from mailpush.controller.status.config import config_status
from mailpush.controller.status.shard_map import MapView
from mailpush.controller.triggers import Triggers
from mailpush.controller.users.reconcile import UserReconciler
from mailpush.controller.users.record import UserName
from mailpush.controller.users.store import UserStore
from mailpush.controller.wakes import Wakes
from mailpush.kube.client import Object
from mailpush.kube.errors import InvalidError, NotFoundError
from mailpush.kube.resources import Resource
from mailpush.sharding.planning.observed import Change
from mailpush.sharding.shardmap import PodRef, ShardMap
from mailpush.sharding.slots import SLOTS
from mailpush.work.queue import WorkQueue
from tests.sites.fakekube import Finds
from tests.unit.controller.builders import OPERATOR, OWNER, Keys, Others, spec, view

MAIN = ConfigKey("mail", "main")
USES = "master-password.redis.user-password"


class Api(Finds):
    """An API server that holds a few objects; `meanwhile` is called after an answer is made and before it arrives."""

    def __init__(self, *bodies: Object) -> None:
        self.objects = {(body["kind"], body["metadata"]["name"]): body for body in bodies}
        self.meanwhile: dict[tuple[str, str], Callable[[], None]] = {}
        self.reads: list[tuple[str, str]] = []
        self.applied: dict[tuple[str, str], Object] = {}
        self.deleted: list[str] = []
        self.version = 100

    def stamped(self, body: Object) -> Object:
        self.version += 1
        metadata = {"uid": "u", "generation": 1, **body["metadata"], "resourceVersion": str(self.version)}
        return {**body, "metadata": metadata}

    async def get(self, resource: Resource, _namespace: str, name: str, **_: Any) -> Object:
        place = (resource.kind, name)
        self.reads.append(place)
        body = self.objects.get(place)
        self.meanwhile.pop(place, lambda: None)()
        if body is None:
            raise NotFoundError(404, "NotFound", name)
        return body

    async def create(self, _resource: Resource, _namespace: str, body: Object, **_: Any) -> Object:
        return self.stamped(body)

    async def apply(self, resource: Resource, _namespace: str, body: Object, **_: Any) -> Object:
        place = (resource.kind, body["metadata"]["name"])
        self.applied[place] = body
        self.meanwhile.pop(place, lambda: None)()
        before = self.objects.get(place, {"metadata": {}, "status": {}})
        return copy.deepcopy(self.stamped({**before, **body, "metadata": {**before["metadata"], **body["metadata"]}}))

    async def merge_patch(self, resource: Resource, _namespace: str, name: str, body: Object) -> Object:
        before = self.objects[resource.kind, name]
        return copy.deepcopy(self.stamped({**before, "metadata": {**before["metadata"], **body["metadata"]}}))

    async def list(self, resource: Resource, *_: Any, **__: Any) -> tuple[list[Object], str]:
        return [copy.deepcopy(body) for (kind, _), body in self.objects.items() if kind == resource.kind], "1"

    async def pages(self, resource: Resource, *_: Any, **__: Any) -> AsyncIterator[tuple[builtins.list[Object], str]]:
        yield await self.list(resource)

    async def delete(self, _resource: Resource, _namespace: str, name: str, **_: Any) -> None:
        self.deleted.append(name)


def config(generation: int = 4, version: int = 10, status: Object | None = None, **changes: Any) -> Object:
    return {
        "kind": "MailPushConfig",
        "metadata": {
            "name": "main",
            "namespace": "mail",
            "uid": OWNER.uid,
            "generation": generation,
            "resourceVersion": str(version),
        },
        "spec": spec(**changes).model_dump(by_alias=True, exclude_none=True, mode="json"),
        "status": status or {},
    }


def secret(name: str = "master") -> Object:
    metadata = {
        "name": name,
        "namespace": "mail",
        "resourceVersion": "7",
        "labels": {names.USE_LABEL: USES},
        "annotations": {names.PUSH_USERS_ANNOTATION: "main-1-3"},
    }
    return {"kind": "Secret", "metadata": metadata, "data": {"password": "eA=="}}


def stateful_set(**status: Any) -> Object:
    metadata = {**OWNER.metadata("mail-push-main"), "generation": 1, "resourceVersion": "8"}
    return {"kind": "StatefulSet", "metadata": metadata, "spec": {"replicas": 3}, "status": status}


class Site:
    """A reconciler over such an API server, and what it asked for."""

    def __init__(self, *bodies: Object) -> None:
        self.api = Api(*bodies)
        self.world = OperatorState(highest_owner={MAIN: None})
        self.asked = Keys()
        self.heard = Others()
        self.triggers = Triggers(self.world, self.asked, Others(), Others())  # type: ignore[arg-type]
        self.reconciler = Reconciler(
            self.api,  # type: ignore[arg-type]
            OPERATOR,
            self.world,
            self.heard,
            Others(),
            queue=self.asked,  # type: ignore[arg-type]
        )

    async def reconcile(self) -> None:
        await self.reconciler.reconcile(MAIN)


async def test_a_status_that_was_written_while_the_object_was_read_stays_known() -> None:
    site = Site(config(status={"epoch": 1}), secret())
    await site.reconcile()
    state = site.world.configs[MAIN]
    written = config(version=12, status={"epoch": 2})
    site.api.meanwhile["MailPushConfig", "main"] = lambda: state.saw(written)
    await site.reconcile()
    assert state.body_status == {"epoch": 2}
    site.api.objects["MailPushConfig", "main"] = config(version=13, status={"epoch": 9})
    await site.reconcile()
    assert state.body_status == {"epoch": 9}, "somebody has edited it"


async def test_a_status_that_was_just_written_is_not_forgotten_for_an_older_read_of_it() -> None:
    site = Site(config(4, version=10), secret())
    await site.reconcile()
    state = site.world.configs[MAIN]
    users = UserStore(site.api, ("mail",), Keys(), Wakes())  # type: ignore[arg-type]
    report = ShardReport(site.api, OWNER, maps(site.api), users, Others())  # type: ignore[arg-type]
    place = ("MailPushConfig", "main")
    await report.write(state, (), 0.0)
    assert site.api.applied.pop(place)["metadata"]["uid"] == OWNER.uid, "another of this name is not meant"
    state.saw(config(4, version=10))  # sent before the write and answered after it
    await report.write(state, (), 1.0)
    assert place not in site.api.applied
    state.fault = "it flips"
    await report.write(state, (), 2.0)
    assert site.api.applied.pop(place)["status"]["conditions"]


async def test_the_generation_is_told_together_with_what_it_comes_to() -> None:
    site = Site(config(4), secret())
    await site.reconcile()
    state = site.world.configs[MAIN]
    told = []
    site.api.objects["MailPushConfig", "main"] = config(5, listeners={"replicas": 4})
    site.api.meanwhile["StatefulSet", "mail-push-main"] = lambda: told.append((state.generation, state.wanted_replicas))
    site.api.meanwhile["Service", "mail-push-main"] = lambda: told.append((state.generation, state.wanted_replicas))
    await site.reconcile()
    before = spec().listeners.replicas
    assert told == [(4, before), (4, before)]
    assert (state.generation, state.wanted_replicas) == (5, 4)


async def test_a_refused_child_is_a_fault_of_the_generation_that_made_it() -> None:
    site = Site(config(4), secret())
    await site.reconcile()

    def refuse() -> None:
        raise InvalidError(422, "Invalid", "no such thing")

    site.api.objects["MailPushConfig", "main"] = config(5)
    site.api.meanwhile["Service", "mail-push-main"] = refuse
    with pytest.raises(InvalidError):
        await site.reconcile()
    state = site.world.configs[MAIN]
    assert (state.generation, state.fault) == (5, "no such thing")


async def test_a_secret_that_comes_while_the_first_spec_that_names_it_is_looked_at_leads_to_another_look() -> None:
    site = Site(config(4), secret())
    await site.reconcile()
    late = {"url": "redis://redis/0", "passwordSecretRef": {"name": "late", "key": "password"}}
    site.api.objects["MailPushConfig", "main"] = config(5, redis=late)
    site.api.meanwhile["Secret", "late"] = lambda: site.triggers.secret_event(secret("late"), deleted=False)
    await site.reconcile()
    assert ("Secret", "late") in site.api.reads
    assert site.asked == [MAIN]


async def test_a_new_leader_drains_nobody_before_it_knows_who_has_users() -> None:
    site = Site(config(listeners={"replicas": 1}), secret(), stateful_set())
    site.world.highest_owner.clear()
    await site.reconcile()
    assert site.api.applied["StatefulSet", "mail-push-main"]["spec"]["replicas"] == 3
    site.world.highest_owner[MAIN] = 1
    await site.reconcile()
    assert site.api.applied["StatefulSet", "mail-push-main"]["spec"]["replicas"] == 2
    site.world.highest_owner[MAIN] = None
    await site.reconcile()
    assert site.api.applied["StatefulSet", "mail-push-main"]["spec"]["replicas"] == 1


async def test_a_service_account_that_was_made_again_rolls_the_pods_since_their_tokens_are_of_the_former() -> None:
    site = Site(config(), secret())

    async def template_with(uid: str) -> Object:
        account: Object = {"kind": "ServiceAccount", "metadata": {"name": "mail-push-main-listener", "uid": uid}}
        site.api.objects["ServiceAccount", "mail-push-main-listener"] = account
        await site.reconcile()
        template: Object = site.api.applied["StatefulSet", "mail-push-main"]["spec"]["template"]
        return template

    first = await template_with("one")
    assert await template_with("one") == first
    assert await template_with("two") != first


@pytest.mark.parametrize(("observed", "deleted"), [(0, []), (1, ["mail-push-main-boot-old"])])
async def test_a_boot_config_map_goes_only_when_the_stateful_set_has_seen_its_new_template(
    observed: int, deleted: list[str]
) -> None:
    found = stateful_set(observedGeneration=observed, currentRevision="r1", updateRevision="r1")
    old = {"kind": "ConfigMap", "metadata": {"name": "mail-push-main-boot-old", "uid": "x"}}
    site = Site(config(), secret(), found, old)
    await site.reconcile()
    assert site.api.deleted == deleted


# -- ShardMap


def shard_map(epoch: int, version: int, changes: tuple[Object, ...] = ()) -> Object:
    one = PodRef("mail-push-main-0", "uid-0")
    return {
        "kind": "ShardMap",
        "metadata": {**OWNER.metadata("main"), "uid": "m", "resourceVersion": str(version), "generation": 1},
        "spec": ShardMap(epoch, False, (one,), (0,) * SLOTS).to_spec(),
        "status": {"changes": list(changes)},
    }


def maps(api: Api) -> ShardMaps:
    return ShardMaps(api, OWNER)  # type: ignore[arg-type]


@pytest.mark.parametrize("version", ["6", None])
async def test_a_map_that_changes_while_it_is_read_is_read_again(version: str | None) -> None:
    api = Api(shard_map(3, 5))
    found = maps(api)
    api.meanwhile["ShardMap", "main"] = lambda: found.seen(version)
    await found.load()
    await found.load()
    await found.load()
    assert api.reads == [("ShardMap", "main")] * 2


async def test_a_map_that_could_not_be_read_is_read_again() -> None:
    api = Api(shard_map(3, 5))
    found = maps(api)

    def fail() -> None:
        raise InvalidError(422, "Invalid", "no")

    api.meanwhile["ShardMap", "main"] = fail
    with pytest.raises(InvalidError):
        await found.load()
    await found.load()
    assert found.map is not None


async def test_a_new_leader_puts_its_changes_before_those_of_the_former_and_drops_the_oldest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    former = tuple({"epoch": epoch, "reason": "R", "message": "m"} for epoch in range(20, 0, -1))
    api = Api(shard_map(20, 5, former))
    found = maps(api)
    await found.load()
    assert found.map is not None

    async def replace(_resource: Resource, _namespace: str, body: Object, **_: Any) -> Object:
        return api.stamped(body)

    monkeypatch.setattr(api, "replace", replace, raising=False)
    await found.write(ShardMap(21, False, found.map.pods, found.map.owners), [Change("R", "m")])
    api.objects["ShardMap", "main"] = shard_map(21, 6)
    await found.report({})
    told = api.applied["ShardMap", "main"]["status"]["changes"]
    assert [change["epoch"] for change in told] == list(range(21, 1, -1))


# -- users


async def test_a_users_secret_that_changes_while_it_is_read_is_read_again() -> None:
    access = {"passwordSource": "session", "userSecrets": {"enabled": True}, "servers": [{"host": "dovecot"}]}
    user: Object = {
        "kind": "PushUser",
        "metadata": {"name": "main-1-3", "namespace": "mail", "uid": "u", "resourceVersion": "20", "generation": 1},
        "spec": {
            "configRef": {"name": "main"},
            "contextId": 1,
            "userId": 3,
            "clients": ["c"],
            "login": "u3",
            "credentialsSecretRef": {"name": "own"},
        },
    }
    site = Site(config(mailAccess=access), secret("own"), user)
    await site.reconcile()
    site.world.configs_listed = True
    queue: WorkQueue[UserName] = WorkQueue("users")
    book = UserStore(site.api, ("mail",), queue, Wakes())  # type: ignore[arg-type]
    keeper = UserReconciler(site.api, site.world, book, queue, Others(), writes=WorkQueue("user_writes"))  # type: ignore[arg-type]
    (reflector,) = book.reflectors()
    await reflector._list()
    name = UserName("mail", "main-1-3")
    site.api.meanwhile["Secret", "own"] = lambda: keeper.secret_changed("mail", "own")
    for _ in range(3):
        await keeper.work(name)
    assert site.api.reads.count(("Secret", "own")) == 2


async def test_the_rotation_of_keys_goes_on_although_nothing_happens() -> None:
    site = Site(config(), secret())
    await site.reconcile()
    assert 0 < site.asked.later[MAIN] <= 3601


@pytest.mark.parametrize("use", ["", "true", "false", "user-password", "callback.webhook"])
async def test_a_secret_that_is_for_something_else_is_not_used(use: str) -> None:
    other = secret()
    other["metadata"]["labels"] = {names.USE_LABEL: use}
    site = Site(config(), other)
    await site.reconcile()
    evaluation = site.world.configs[MAIN].evaluation
    assert evaluation is not None
    (problem,) = evaluation.problems
    assert problem.reason == "SecretNotPermitted"
    assert "mailpush.dev/use=master-password" in problem.message
    assert evaluation.blocked


@pytest.mark.parametrize("value", ["", "Cg==", "IAo="])
async def test_an_empty_value_is_missing_and_blocks(value: str) -> None:
    """An empty key of a webhook's Secret made its notifications unsigned, with everything green."""
    empty = secret()
    empty["data"] = {"password": value}
    site = Site(config(), empty)
    await site.reconcile()
    evaluation = site.world.configs[MAIN].evaluation
    assert evaluation is not None
    assert [problem.reason for problem in evaluation.problems] == ["SecretNotFound"]
    assert evaluation.blocked


async def test_a_fault_of_ours_in_an_evaluation_does_not_keep_the_shards_from_being_looked_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = Site(config(), secret())

    def broken(*_: Any, **__: Any) -> None:
        raise LookupError("a fault of ours")

    monkeypatch.setattr("mailpush.controller.configs.reconcile.evaluate", broken)
    with pytest.raises(LookupError):
        await site.reconcile()
    assert site.heard.configs == [MAIN]
    state = site.world.configs[MAIN]
    assert state.fault is not None
    assert state.wanted_replicas is None, "unknown is not zero: no pod is one too many"


@pytest.mark.parametrize(("uid", "epoch", "kept"), [("m", 6, 6), ("backup", 4, 5), ("backup", 5, 5), ("backup", 6, 6)])
async def test_a_backup_that_is_put_in_place_of_the_map_does_not_replace_the_newest_copy(
    uid: str, epoch: int, kept: int
) -> None:
    """The copy is what P10 makes the map from again: the backup would give slots back to their former owners."""
    api = Api(shard_map(5, 5))
    found = maps(api)
    await found.load()
    other = shard_map(epoch, 9)
    other["metadata"]["uid"] = uid
    api.objects["ShardMap", "main"] = other
    found.seen("9")
    await found.load()
    assert (found.uid, found.map and found.map.epoch) == (uid, epoch)
    assert found.copy is not None
    assert found.copy.epoch == kept


async def test_how_many_pods_are_wanted_is_unknown_before_it_was_evaluated_and_not_none() -> None:
    status = config_status(
        ConfigState(OWNER, 1, {}, fault="refused"), (view(0),), MapView(), {}, "2026-01-01T00:00:00Z"
    )
    available = next(one for one in status["conditions"] if one["type"] == "ListenersAvailable")
    assert (available["status"], available["reason"]) == ("Unknown", "NotRead")
