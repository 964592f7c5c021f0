"""Fences: only what was judged dead is fenced, never what the watch has brought since (P9)."""

import asyncio
from typing import Any

import pytest

from mailpush import names
from mailpush.controller.shards.leases import LeaseWriter
from mailpush.controller.shards.watch import DEADLINE, PodWatch
from mailpush.controller.state import OperatorState
from mailpush.controller.wakes import Wakes
from mailpush.kube.client import Object
from mailpush.kube.errors import ConflictError, UnreachableError
from mailpush.sharding.leases import parse_lease
from mailpush.sharding.planning.observed import Fence
from tests.sites.fakekube import Finds
from tests.unit.controller.builders import OWNER, pod

POD = "mail-push-main-0"


class Api(Finds):
    """An API server with one Lease, which takes a write only by its current resourceVersion."""

    def __init__(self) -> None:
        self.lease = lease(5)
        self.written: list[Object] = []
        self.labels: dict[str, str | None] = {}

    async def merge_patch(self, _resource: Any, _namespace: str, name: str, body: Object, **_: Any) -> Object:
        self.labels[name] = body["metadata"]["labels"][names.CALLBACK_LABEL]
        return body

    async def replace(self, _resource: Any, _namespace: str, body: Object, **_: Any) -> Object:
        if body["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise ConflictError(409, "Conflict", "another wrote first")
        self.written.append(body)
        self.lease = {**body, "metadata": {**body["metadata"], "resourceVersion": "100"}}
        return self.lease

    async def get(self, *_: Any, **__: Any) -> Object:
        return self.lease


def lease(version: int, name: str = POD, uid: str = "uid-1") -> Object:
    return {
        "metadata": {
            "name": name,
            "namespace": OWNER.namespace,
            "resourceVersion": str(version),
            "labels": names.listener_labels(OWNER.name),
        },
        "spec": {"holderIdentity": f"{name}/{uid}/nonce"},
    }


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def lookout(api: Api) -> PodWatch:
    found = PodWatch(api, (OWNER.namespace,), OperatorState(), Wakes())  # type: ignore[arg-type]
    found.saw(OWNER.namespace, POD, api.lease)
    return found


@pytest.fixture
def writer(api: Api, lookout: PodWatch) -> LeaseWriter:
    return LeaseWriter(api, OWNER, lookout, lambda: 0.0)  # type: ignore[arg-type]


async def test_a_lease_that_has_not_changed_since_it_was_judged_is_fenced(api: Api, writer: LeaseWriter) -> None:
    await writer.fence(Fence(POD, 8), judged="5")
    assert parse_lease(api.lease).holder is None
    assert parse_lease(api.lease).floor == 8


async def test_a_renewal_that_the_watch_brought_after_the_judgement_saves_the_pod(
    api: Api, writer: LeaseWriter, lookout: PodWatch
) -> None:
    api.lease = lease(6)
    lookout.saw(OWNER.namespace, POD, api.lease)
    await writer.fence(Fence(POD, 8), judged="5")
    assert not api.written


async def test_a_renewal_that_nobody_has_seen_yet_saves_the_pod_by_a_conflict(
    api: Api, writer: LeaseWriter, lookout: PodWatch
) -> None:
    api.lease = lease(6)
    await writer.fence(Fence(POD, 8), judged="5")
    assert not api.written
    assert lookout.sighting(OWNER.namespace, POD).observer.resource_version == "6"


async def test_pods_that_fall_silent_one_after_the_other_all_get_callbacks_again_once_the_last_one_has() -> None:
    api, now = Api(), [0.0]
    lookout = PodWatch(api, (OWNER.namespace,), OperatorState(), Wakes(), lambda: now[0])  # type: ignore[arg-type]
    writer = LeaseWriter(api, OWNER, lookout, lambda: now[0])  # type: ignore[arg-type]
    pods = [pod(0), pod(1)]

    def renewed(ordinal: int, version: int) -> None:
        ref = pods[ordinal].ref
        lookout.saw(OWNER.namespace, ref.name, lease(version, ref.name, ref.uid))

    async def kept() -> list[bool]:
        """Which pods callbacks may come to, after the labels were looked at."""
        api.labels.clear()
        await writer.keep_callbacks(tuple(pods))
        for number, one in enumerate(pods):
            if one.ref.name in api.labels:
                pods[number] = pod(number, callback_open=api.labels[one.ref.name] is not None)
        return [one.callback_open for one in pods]

    renewed(0, 1)
    now[0] = 2.0
    renewed(1, 2)
    now[0] = 7.0
    assert await kept() == [False, True]
    now[0] = 9.0
    assert await kept() == [True, True], "all are silent: the fault is elsewhere"
    renewed(1, 3)
    assert await kept() == [False, True]
    renewed(0, 4)
    assert await kept() == [True, True]
    await kept()
    assert not api.labels, "what is right is not written again"


async def test_a_read_that_hangs_has_a_deadline_and_holds_up_no_other() -> None:
    """One hung GET of a Lease held the shard loop for 30.5 s, and the takeover with it."""
    asked: dict[str, float] = {}

    class Hangs(Api):
        async def get(self, *arguments: Any, answer_seconds: float = 30.0, **_: Any) -> Object:
            name = arguments[-1]
            asked[name] = answer_seconds
            if name.endswith("-0"):
                await asyncio.sleep(0.01)
                raise UnreachableError("no answer in time")
            return lease(7, name)

    pods = PodWatch(Hangs(), (OWNER.namespace,), OperatorState(), Wakes(), lambda: 100.0)  # type: ignore[arg-type]
    names_ = frozenset(f"mail-push-main-{ordinal}" for ordinal in range(4))
    with pytest.raises(UnreachableError):
        await pods.look_at_quiet(OWNER.namespace, names_)
    assert asked == dict.fromkeys(names_, DEADLINE)
    for name in names_ - {POD}:
        assert pods.sighting(OWNER.namespace, name).observer.resource_version == "7"
