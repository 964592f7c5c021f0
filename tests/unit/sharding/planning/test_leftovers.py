"""Leases of pods that were scaled away: which are deleted, and which must stay."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpush.sharding.leases import Holder, LeaseState
from mailpush.sharding.planning.death import PodLife
from mailpush.sharding.planning.leftovers import leftover_leases
from mailpush.sharding.planning.observed import OrphanLease
from mailpush.sharding.shardmap import Move
from tests.unit.sharding.situations import A, B, C, make_map, pod, see

MAP = make_map("aaa")
ONE = {"replicas": 1}


def orphan(name: str = "l-2", life: PodLife = PodLife.EXPIRED, **lease: Any) -> OrphanLease:
    return OrphanLease(name, LeaseState(**{"applied_epoch": 4, **lease}), life)


def test_the_lease_of_a_pod_that_was_scaled_away_goes() -> None:
    observed = see(MAP, pod(A), orphans=(orphan("l-1"), orphan("l-2", holder=Holder("l-2", "u2", "n"))), **ONE)
    assert leftover_leases(observed) == ("l-2", "l-1")


@pytest.mark.parametrize(
    ("left", "changes"),
    [
        (orphan(life=PodLife.UNCERTAIN), {}),
        (orphan(life=PodLife.ALIVE), {}),
        (orphan(life=PodLife.UNSEEN), {}),
        (orphan("l-0"), {}),
        (orphan("l-2"), {"replicas": 3}),
        (orphan("l-2"), {"replicas": None}),
        (orphan("another"), {}),
        (orphan(applied_epoch=6), {}),
        (orphan(floor=6), {}),
        (orphan(released_through=6), {}),
        (orphan(map_copy="copy"), {}),
    ],
)
def test_what_may_run_or_is_wanted_or_knows_more_than_the_map_stays(left: OrphanLease, changes: dict[str, Any]) -> None:
    assert leftover_leases(see(MAP, pod(A, lease_applied_epoch=9), orphans=(left,), **{**ONE, **changes})) == ()


def test_a_map_that_names_the_pod_or_is_being_restored_keeps_its_lease() -> None:
    giver = make_map("aaa", Move(C, A, 5, frozenset({1})))
    for shard_map in (make_map("aac"), giver, replace(MAP, restoring=True)):
        assert leftover_leases(see(shard_map, pod(A), orphans=(orphan(),), **ONE)) == ()


def test_without_pods_one_lease_stays_that_knows_the_highest_epoch() -> None:
    left = (orphan("l-0", applied_epoch=5), orphan("l-1", applied_epoch=5), orphan("l-2"))
    assert leftover_leases(see(make_map("---"), orphans=left, replicas=0)) == ("l-2", "l-1")
    assert leftover_leases(see(make_map("---"), orphans=left[:1], replicas=0)) == ()


def test_a_lease_waits_until_another_has_seen_its_epoch() -> None:
    left = (orphan("l-2", floor=5),)
    assert leftover_leases(see(MAP, pod(A, lease_applied_epoch=4), orphans=left, **ONE)) == ()
    assert leftover_leases(see(MAP, pod(A, lease_applied_epoch=5), orphans=left, **ONE)) == ("l-2",)


EPOCHS = st.integers(0, 6)


@given(
    st.lists(st.tuples(EPOCHS, EPOCHS, st.sampled_from(PodLife)), max_size=5),
    st.lists(EPOCHS, max_size=2),
    st.integers(0, 5),
)
def test_the_highest_epoch_that_any_lease_knows_is_never_lost(
    left: list[tuple[int, int, PodLife]], running: list[int], replicas: int
) -> None:
    pods = [pod(ref, lease_applied_epoch=epoch) for ref, epoch in zip((A, B), running, strict=False)]
    first = len(pods)
    orphans = tuple(
        orphan(f"l-{first + number}", life, applied_epoch=applied, floor=floor)
        for number, (applied, floor, life) in enumerate(left)
    )
    gone = set(leftover_leases(see(MAP, *pods, orphans=orphans, replicas=replicas)))
    known = {one.name: max(one.lease.applied_epoch, one.lease.floor) for one in orphans} | {
        one.ref.name: one.lease.applied_epoch for one in pods if one.lease
    }
    assert max([0, *known.values()]) == max([0, *(epoch for name, epoch in known.items() if name not in gone)])
    assert all(one.life.permits_fence for one in orphans if one.name in gone)
