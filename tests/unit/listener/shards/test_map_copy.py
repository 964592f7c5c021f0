"""Which pods show their copy of a map that is gone, and for how long (P10)."""

from typing import cast

import pytest

from mailpush.listener.shards.lease import LeaseKeeper
from mailpush.listener.shards.map_copy import SHOWN_BY, SHOWN_EVERY_SECONDS, MapCopy
from mailpush.sharding.copies import encode_copy
from mailpush.sharding.leases import Holder, LeaseState
from mailpush.sharding.shardmap import PodRef, ShardMap
from mailpush.sharding.slots import SLOTS

PODS = [PodRef(f"l-{number}", f"u{number}") for number in range(8)]
MAP = ShardMap(7, False, tuple(PODS), tuple(slot % len(PODS) for slot in range(SLOTS)))


class Cluster:
    """Pods that all have the map of epoch 7, and see each other's Leases."""

    def __init__(self) -> None:
        self.now = 0.0
        self.leases = {ref.name: LeaseState(holder=Holder(*ref, "n")) for ref in PODS}
        self.writes = 0
        self.copies = {ref: MapCopy(ref, cast("LeaseKeeper", Keeper(self, ref.name)), lambda: self.now) for ref in PODS}

    def turn(self, *silent: PodRef, shard_map: ShardMap | None = MAP) -> list[str]:
        """Who shows a copy after a turn of all but `silent`, each of which sees the Leases as they were before."""
        seen = dict(self.leases)
        for ref, copy in self.copies.items():
            if ref not in silent:
                copy.show(shard_map, seen)
        return [name for name, lease in self.leases.items() if lease.map_copy]


class Keeper:
    def __init__(self, cluster: Cluster, name: str) -> None:
        self._cluster = cluster
        self._name = name

    def update(self, *, urgent: bool = True, map_copy: str) -> None:
        self._cluster.writes += 1
        self._cluster.leases[self._name] = LeaseState(holder=self._cluster.leases[self._name].holder, map_copy=map_copy)


@pytest.fixture
def cluster() -> Cluster:
    cluster = Cluster()
    assert cluster.turn() == []
    for copy in cluster.copies.values():
        copy.needed()
    return cluster


def test_two_pods_show_it_once_and_no_more_until_it_is_there_again(cluster: Cluster) -> None:
    for _ in range(20):
        assert cluster.turn() == ["l-0", "l-1"]
        cluster.now += 1
    assert cluster.writes == SHOWN_BY
    assert cluster.leases["l-0"].map_copy == encode_copy(MAP)
    for copy in cluster.copies.values():
        copy.not_needed()
    assert cluster.turn() == []
    assert cluster.turn() == []
    assert cluster.writes == 2 * SHOWN_BY, "what was never shown is not taken back"


def test_where_those_are_silent_two_more_show_it(cluster: Cluster) -> None:
    assert cluster.turn(*PODS[:3]) == []
    cluster.now += SHOWN_EVERY_SECONDS
    assert cluster.turn(*PODS[:3]) == ["l-3"]


def test_who_has_no_lease_is_not_counted(cluster: Cluster) -> None:
    for ref in PODS[:3]:
        cluster.leases[ref.name] = LeaseState()
    assert cluster.turn(*PODS[:3]) == ["l-3", "l-4"]


def test_an_older_copy_of_another_keeps_nobody_from_showing_the_newer_one(cluster: Cluster) -> None:
    older = ShardMap(6, False, MAP.pods, MAP.owners)
    cluster.leases["l-7"] = LeaseState(holder=Holder(*PODS[7], "n"), map_copy=encode_copy(older))
    assert cluster.turn(PODS[7]) == ["l-0", "l-1", "l-7"]


def test_a_pod_that_has_never_read_a_map_shows_none(cluster: Cluster) -> None:
    assert cluster.turn(shard_map=None) == []
