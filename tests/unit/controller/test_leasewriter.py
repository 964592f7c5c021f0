"""Fences: only what was judged dead is fenced, never what the watch has brought since (P9)."""

from typing import Any

import pytest

from mailpush import names
from mailpush.controller.leasewriter import LeaseWriter
from mailpush.controller.lookout import Lookout
from mailpush.controller.world import World
from mailpush.kube.client import Object
from mailpush.kube.errors import ConflictError
from mailpush.sharding.leases import parse_lease
from mailpush.sharding.observed import Fence
from tests.unit.controller.builders import OWNER

POD = "mail-push-main-0"


class Api:
    """An API server with one Lease, which takes a write only by its current resourceVersion."""

    def __init__(self) -> None:
        self.lease = lease(5)
        self.written: list[Object] = []

    async def replace(self, _resource: Any, _namespace: str, body: Object) -> Object:
        if body["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise ConflictError(409, "Conflict", "another wrote first")
        self.written.append(body)
        self.lease = {**body, "metadata": {**body["metadata"], "resourceVersion": "100"}}
        return self.lease

    async def get(self, *_: Any) -> Object:
        return self.lease


def lease(version: int) -> Object:
    return {
        "metadata": {
            "name": POD,
            "namespace": OWNER.namespace,
            "resourceVersion": str(version),
            "labels": names.listener_labels(OWNER.name),
        },
        "spec": {"holderIdentity": f"{POD}/uid-1/nonce"},
    }


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def lookout(api: Api) -> Lookout:
    found = Lookout(api, (OWNER.namespace,), World(), lambda _: None)  # type: ignore[arg-type]
    found.saw(OWNER.namespace, POD, api.lease)
    return found


@pytest.fixture
def writer(api: Api, lookout: Lookout) -> LeaseWriter:
    return LeaseWriter(api, OWNER, lookout, lambda: 0.0)  # type: ignore[arg-type]


async def test_a_lease_that_has_not_changed_since_it_was_judged_is_fenced(api: Api, writer: LeaseWriter) -> None:
    await writer.fence(Fence(POD, 8), judged="5")
    assert parse_lease(api.lease).holder is None
    assert parse_lease(api.lease).floor == 8


async def test_a_renewal_that_the_watch_brought_after_the_judgement_saves_the_pod(
    api: Api, writer: LeaseWriter, lookout: Lookout
) -> None:
    api.lease = lease(6)
    lookout.saw(OWNER.namespace, POD, api.lease)
    await writer.fence(Fence(POD, 8), judged="5")
    assert not api.written


async def test_a_renewal_that_nobody_has_seen_yet_saves_the_pod_by_a_conflict(
    api: Api, writer: LeaseWriter, lookout: Lookout
) -> None:
    api.lease = lease(6)
    await writer.fence(Fence(POD, 8), judged="5")
    assert not api.written
    assert lookout.sighting(OWNER.namespace, POD).observer.resource_version == "6"
