"""The shard loop over an API server in memory: deadlines of what a takeover waits for, and what the planner gets."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mailpush import names
from mailpush.controller.owner import ConfigKey
from mailpush.controller.shards.loop import ShardLoop
from mailpush.controller.shards.watch import DEADLINE, LIST_DEADLINE, PodWatch
from mailpush.controller.state import ConfigState, OperatorState
from mailpush.controller.wakes import Wakes
from mailpush.kube.client import Object
from mailpush.kube.errors import ConflictError, KubeError, NotFoundError, UnreachableError
from mailpush.kube.resources import Resource
from mailpush.sharding.copies import encode_copy
from mailpush.sharding.leases import Holder, LeaseState, lease_annotations, parse_lease
from mailpush.sharding.shardmap import NONE, PodRef, ShardMap
from mailpush.sharding.slots import SLOTS
from tests.sites.fakekube import Finds
from tests.unit.controller.builders import OWNER, Keys, Others, evaluation

REFS = [PodRef(f"mail-push-main-{ordinal}", f"uid-{ordinal}") for ordinal in range(4)]


class Api(Finds):
    """Objects with resourceVersions. `deadlines`: of each request, by method and kind. `faults`: by method and name."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Object] = {}
        self.deadlines: list[tuple[str, str, float]] = []
        self.faults: dict[tuple[str, str], Callable[[], Awaitable[None]]] = {}
        self.version = 100

    async def asked(self, method: str, resource: Resource, name: str, options: dict[str, Any]) -> None:
        self.deadlines.append((method, resource.kind, options.get("answer_seconds", 30.0)))
        if fault := self.faults.get((method, name)):
            await fault()

    def put(self, resource: Resource | str, body: Object) -> Object:
        self.version += 1
        kind = resource if isinstance(resource, str) else resource.kind
        metadata = {"namespace": OWNER.namespace, "uid": f"{kind}-{self.version}", "generation": 1, **body["metadata"]}
        stored = {**body, "metadata": {**metadata, "resourceVersion": str(self.version)}}
        self.objects[kind, body["metadata"]["name"]] = stored
        return stored

    async def get(self, resource: Resource, _namespace: str, name: str, **options: Any) -> Object:
        await self.asked("get", resource, name, options)
        if (found := self.objects.get((resource.kind, name))) is None:
            raise NotFoundError(404, "NotFound", name)
        return found

    async def create(self, resource: Resource, _namespace: str, body: Object, **options: Any) -> Object:
        await self.asked("create", resource, body["metadata"]["name"], options)
        return self.put(resource, body)

    async def replace(self, resource: Resource, _namespace: str, body: Object, **options: Any) -> Object:
        await self.asked("replace", resource, body["metadata"]["name"], options)
        found = self.objects[resource.kind, body["metadata"]["name"]]
        if found["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"]:
            raise ConflictError(409, "Conflict", "another wrote first")
        return self.put(resource, body)

    async def apply(self, resource: Resource, _namespace: str, body: Object, **options: Any) -> Object:
        await self.asked("apply", resource, body["metadata"]["name"], options)
        before = self.objects.get((resource.kind, body["metadata"]["name"]), {"metadata": {}})
        return self.put(resource, {**before, **body, "metadata": {**before["metadata"], **body["metadata"]}})

    async def merge_patch(self, resource: Resource, _namespace: str, name: str, body: Object, **options: Any) -> Object:
        await self.asked("merge_patch", resource, name, options)
        before = self.objects.get((resource.kind, name), {"metadata": {"name": name}})
        return self.put(resource, {**before, "metadata": {**before["metadata"], **body["metadata"]}})

    async def delete(self, resource: Resource, _namespace: str, name: str, **options: Any) -> None:
        await self.asked("delete", resource, name, options)
        found = self.objects[resource.kind, name]
        if options.get("resource_version") not in (None, found["metadata"]["resourceVersion"]):
            raise ConflictError(409, "Conflict", "another wrote first")
        del self.objects[resource.kind, name]


class Users:
    """Nobody has registered."""

    def __init__(self) -> None:
        self.lost: frozenset[int] = frozenset()

    def listed(self, _namespace: str) -> bool:
        return True

    def owner_epoch(self, _key: ConfigKey) -> int:
        return 0

    def slots_lost(self, _key: ConfigKey, slots: frozenset[int]) -> None:
        self.lost = slots

    def weights(self, _key: ConfigKey) -> list[int]:
        return [0] * SLOTS

    def version(self, _key: ConfigKey) -> int:
        return 1

    def denied(self, _key: ConfigKey) -> dict[str, int]:
        return {}


class Site:
    """A shard loop that has seen `pods` pods live, which share a map of epoch 5."""

    def __init__(self, pods: int = 4) -> None:
        self.api, self.now, self.pods = Api(), 100.0, REFS[:pods]
        self.state = OperatorState()
        config = ConfigState(OWNER, 1, {}, evaluation=evaluation(listeners={"replicas": 4}), looked=True)
        config.status_version = "1"
        self.state.configs[OWNER.key] = config
        self.watch = PodWatch(self.api, (OWNER.namespace,), self.state, Wakes(), lambda: self.now)  # type: ignore[arg-type]
        for reflector in self.watch.reflectors():
            reflector.listed.set()
        self.loop = ShardLoop(
            self.api,  # type: ignore[arg-type]
            OWNER,
            self.state,
            self.watch,
            Users(),
            configs=Keys(),  # type: ignore[arg-type]
            events=Others(),  # type: ignore[arg-type]
            wake=asyncio.Event(),
            on_step=lambda: None,
            clock=lambda: self.now,
        )
        self.map = self.put_map(ShardMap(5, False, tuple(self.pods), tuple(n % pods for n in range(SLOTS))))
        for ref in self.pods:
            self.pod(ref)
            self.lease(ref)
        self.renew()

    def put_map(self, shard_map: ShardMap, **metadata: Any) -> Object:
        return self.api.put(
            "ShardMap", {"metadata": {**OWNER.metadata("main"), **metadata}, "spec": shard_map.to_spec()}
        )

    def pod(self, ref: PodRef) -> None:
        owners = [{"kind": "StatefulSet", "name": names.statefulset_name("main")}]
        labels = {**names.listener_labels("main"), names.CALLBACK_LABEL: names.CALLBACK_OPEN}
        metadata = {"name": ref.name, "uid": ref.uid, "ownerReferences": owners, "labels": labels}
        body = self.api.put("Pod", {"kind": "Pod", "metadata": metadata, "status": {"phase": "Running"}})
        self.watch._pod_changed("ADDED", body)

    def lease(self, ref: PodRef, **changes: Any) -> None:
        """Writes it, as the pod does, and the watch shows it."""
        content: dict[str, Any] = {
            "holder": Holder(ref.name, ref.uid, "n"),
            "map_uid": self.map["metadata"]["uid"],
            "applied_epoch": 5,
            "capable": True,
            **changes,
        }
        lease = LeaseState(**content)
        body = {
            "metadata": OWNER.metadata(ref.name, annotations=lease_annotations(lease)),
            "spec": {"holderIdentity": str(lease.holder) if lease.holder else ""},
        }
        self.watch._lease_changed("MODIFIED", self.api.put("Lease", body))

    def renew(self, *refs: PodRef) -> None:
        for ref in refs or self.pods:
            self.lease(ref)

    def wait(self, seconds: int, *alive: PodRef) -> None:
        """Time passes, and these renew their Leases."""
        for _ in range(seconds // 2):
            self.now += 2
            self.renew(*alive)

    async def step(self) -> bool:
        try:
            return await self.loop.step()
        finally:
            if self.loop._aside is not None:
                await asyncio.wait({self.loop._aside})

    def spec(self) -> ShardMap:
        return ShardMap.from_spec(self.api.objects["ShardMap", "main"]["spec"])

    def fenced(self) -> set[str]:
        return {
            name for (kind, name), body in self.api.objects.items() if kind == "Lease" and not parse_lease(body).holder
        }


async def test_whatever_a_shard_loop_asks_has_the_deadline_of_a_takeover() -> None:
    """The map's delete and its labels, pods' labels and the statuses had 30 s each."""
    site = Site()
    await site.step()
    site.wait(8, REFS[0])
    await site.step()  # takes the labels of callbacks off
    site.wait(8, REFS[0])
    await site.step()
    await site.step()
    assert site.spec().owner_refs() == [REFS[0]] * SLOTS
    # Somebody takes its labels off, then sets it back: it is deleted and made again, with new Leases.
    site.put_map(site.spec(), uid=site.map["metadata"]["uid"], labels={})
    site.loop.maps.surprise()
    await site.step()
    site.put_map(ShardMap(1, False, (), (NONE,) * SLOTS), uid=site.map["metadata"]["uid"])
    site.loop.maps.surprise()
    site.pod(PodRef("mail-push-main-9", "uid-9"))
    await site.step()
    await site.step()
    asked = {(method, kind) for method, kind, _ in site.api.deadlines}
    assert asked >= {
        ("get", "ShardMap"),
        ("create", "ShardMap"),
        ("replace", "ShardMap"),
        ("delete", "ShardMap"),
        ("merge_patch", "ShardMap"),
        ("apply", "ShardMap"),
        ("get", "Lease"),
        ("create", "Lease"),
        ("replace", "Lease"),
        ("merge_patch", "Pod"),
        ("apply", "MailPushConfig"),
    }
    assert {seconds for *_, seconds in site.api.deadlines} == {DEADLINE}
    assert {reflector._answer_seconds for reflector in site.watch.reflectors()} == {LIST_DEADLINE}


@pytest.mark.parametrize("fault", [UnreachableError("no answer within 2.5 s"), KubeError(403, "Forbidden", "refused")])
async def test_a_fence_that_fails_or_hangs_holds_up_no_other(fault: KubeError) -> None:
    site = Site()
    await site.step()
    others = asyncio.Event()

    async def fail() -> None:
        await others.wait()  # it hangs until the others are done
        raise fault

    async def note() -> None:
        if len(site.fenced()) == 1:
            others.set()

    site.api.faults["replace", REFS[1].name] = fail
    site.api.faults["replace", REFS[3].name] = note
    site.wait(16, REFS[0])
    with pytest.raises(KubeError):
        await site.step()
    assert site.fenced() == {REFS[2].name, REFS[3].name}


async def test_a_lease_that_no_pod_and_no_map_names_shows_that_the_map_is_no_successor() -> None:
    """A backup of the map from before a scale-down: only the Lease of a pod that is gone has seen the newer map."""
    site = Site(pods=2)
    gone = PodRef("mail-push-main-7", "uid-7")
    site.lease(gone, holder=None, map_uid="of the map before", applied_epoch=900, floor=901)
    await site.step()
    written = site.spec()
    assert written.restoring
    assert written.epoch == 901 + 1_000_000
    # And it is looked at closely, until it is known to act no more.
    site.api.deadlines.clear()
    site.now += 4
    site.renew()
    await site.step()
    assert ("get", "Lease", DEADLINE) in site.api.deadlines


@pytest.mark.parametrize("gone", ["deleted", "a backup"])
async def test_a_new_leader_makes_a_map_that_is_gone_again_from_the_copy_that_a_pod_shows(gone: str) -> None:
    """It has none of its own, and gave every slot out anew, or to its owner of long ago."""
    site = Site()
    known = site.spec()
    if gone == "deleted":
        site.api.objects.pop(("ShardMap", "main"))
    else:
        site.put_map(ShardMap(2, False, tuple(REFS), (3,) * SLOTS), uid="of the backup")
    for _ in range(3):
        assert not await site.step()
        site.now += 1
        site.renew()
    site.lease(REFS[2], map_copy=encode_copy(known))
    await site.step()
    made = site.spec()
    assert (made.epoch, made.restoring, made.owners) == (1_000_005, True, known.owners)


async def test_where_no_pod_shows_a_copy_the_map_is_made_without_one_after_ten_seconds() -> None:
    """A process that was restarted has none, though its Lease says what the former one had applied."""
    site = Site()
    site.api.objects.pop(("ShardMap", "main"))
    steps = 0
    while ("ShardMap", "main") not in site.api.objects:
        await site.step()
        site.now += 1
        site.renew()
        steps += 1
        assert steps <= 12
    made = site.spec()
    assert (steps, made.epoch, made.restoring, set(made.owners)) == (11, 1_000_005, True, {NONE})


@pytest.mark.parametrize("in_the_way", ["another owner's map", "another writer of the map", "a Lease that hides"])
async def test_what_is_in_the_way_each_time_is_asked_for_once_a_second_and_not_twenty_times(in_the_way: str) -> None:
    site = Site()
    if in_the_way == "another owner's map":
        site.map["metadata"]["ownerReferences"] = [{"uid": "of a former MailPushConfig"}]

        async def conflict() -> None:
            raise ConflictError(409, "AlreadyExists", "main")

        site.api.faults["create", "main"] = conflict
    elif in_the_way == "another writer of the map":
        site.map = site.put_map(ShardMap(5, False, tuple(site.pods), (NONE,) * SLOTS))
        site.renew()

        async def faster() -> None:
            raise ConflictError(409, "Conflict", "another wrote first")

        site.api.faults["replace", "main"] = faster
    else:
        site.pod(PodRef("mail-push-main-9", "uid-9"))

        async def there() -> None:
            raise ConflictError(409, "AlreadyExists", "one that a read does not show yet")

        site.api.faults["create", "mail-push-main-9"] = there
    at_once = 0
    for _ in range(10):
        at_once += await site.step()
        site.now += 1
        site.renew()
    assert at_once <= 1


async def test_nothing_is_said_of_a_mailpushconfig_that_was_not_looked_at_yet() -> None:
    site = Site()
    config = site.state.configs[OWNER.key]
    config.looked = False
    await site.step()
    assert ("apply", "MailPushConfig") not in {(method, kind) for method, kind, _ in site.api.deadlines}
    config.looked = True
    await site.step()
    assert ("apply", "MailPushConfig") in {(method, kind) for method, kind, _ in site.api.deadlines}


@pytest.mark.parametrize("pod_is_back", [False, True])
async def test_a_lease_of_a_pod_beyond_the_replicas_is_deleted_unless_there_is_a_pod(pod_is_back: bool) -> None:
    site = Site(3)
    gone = REFS[3]
    site.state.configs[OWNER.key].evaluation = evaluation(listeners={"replicas": 3})
    site.lease(gone, holder=None)
    site.wait(20, *site.pods)
    if pod_is_back:  # which the watch has not shown yet
        site.api.put("Pod", {"metadata": {"name": gone.name, "uid": "uid-9"}})
    for _ in range(3):
        await site.step()
    left = {name for kind, name in site.api.objects if kind == "Lease"}
    assert left == {ref.name for ref in REFS[: 4 if pod_is_back else 3]}


async def test_a_lease_that_somebody_takes_after_it_was_judged_stays() -> None:
    site = Site(3)
    gone = REFS[3]
    site.state.configs[OWNER.key].evaluation = evaluation(listeners={"replicas": 3})
    site.lease(gone, holder=None)
    site.wait(20, *site.pods)

    async def taken() -> None:
        site.lease(gone)

    site.api.faults["get", gone.name] = taken
    for _ in range(3):
        await site.step()
    assert ("Lease", gone.name) in site.api.objects
