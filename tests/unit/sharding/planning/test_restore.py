"""The first map, and a map that was deleted (P10)."""

from dataclasses import replace
from typing import Any

import pytest

from mailpush.sharding.leases import Holder, LeaseState
from mailpush.sharding.planning.death import PodLife
from mailpush.sharding.planning.planner import Fence, Observed, OrphanLease, Plan, PodObservation, plan
from mailpush.sharding.planning.restore import COPY_WITHIN
from mailpush.sharding.shardmap import NONE, Move, PodRef, ShardMap

A, B = PodRef("l-0", "u0"), PodRef("l-1", "u1")
COPY = ShardMap(7, False, (A, B), (0, 1, NONE), (Move(A, B, 7, frozenset({0})),))
RESTORING = ShardMap(1_000_009, True, (A, B), (0, 1, NONE))


def pod(ref: PodRef, life: PodLife = PodLife.ALIVE, **lease: Any) -> PodObservation:
    state = LeaseState(holder=Holder(ref.name, ref.uid, "n"), capable=True)
    return PodObservation(ref, "Running", False, int(ref.name[2:]), True, replace(state, **lease), life)


def see(shard_map: ShardMap | None, *pods: PodObservation, **more: Any) -> Observed:
    """Pods have had their time to show a copy of a map that is gone, unless `astray_since` says otherwise."""
    values: dict[str, Any] = {"astray_since": -COPY_WITHIN, **more}
    uid = "new" if shard_map else None
    return Observed(map=shard_map, map_uid=uid, pods=pods, weights=[1] * 3, replicas=2, now=0.0, slots=3, **values)


def test_the_first_map_is_empty_so_that_pods_can_ack_it() -> None:
    todo = plan(see(None, pod(A), pod(B)))
    assert todo.next_map == ShardMap(1, False, (), (NONE,) * 3)
    assert plan(see(None)).next_map == todo.next_map


def test_the_first_map_of_a_new_installation_begins_above_what_users_remember_of_a_former_one() -> None:
    assert plan(see(None, pod(A), pod(B), remembered_epoch=12)).next_map == ShardMap(13, False, (), (NONE,) * 3)


def test_before_all_leases_are_known_no_map_is_made() -> None:
    assert plan(see(None, pod(A), replace(pod(B), lease=None, life=PodLife.UNSEEN))).next_map is None


@pytest.mark.parametrize(
    "lease", [{"applied_epoch": 9}, {"released_through": 9}, {"floor": 9}, {"applied_epoch": 3, "floor": 9}]
)
def test_a_deleted_map_begins_far_above_whatever_a_lease_remembers(lease: dict[str, Any]) -> None:
    todo = plan(see(None, pod(A, **lease), pod(B), copy=COPY))
    assert todo.next_map == ShardMap(1_000_009, True, COPY.pods, COPY.owners)
    orphan = OrphanLease("l-7", LeaseState(**lease), PodLife.EXPIRED)
    assert plan(see(None, pod(A), orphans=(orphan,), copy=COPY)).next_map == todo.next_map


def test_without_any_copy_a_deleted_map_has_no_owners_and_still_restores_first() -> None:
    assert plan(see(None, pod(A, applied_epoch=9))).next_map == ShardMap(1_000_009, True, (), (NONE,) * 3)


@pytest.mark.parametrize("found", [None, replace(COPY, epoch=4)], ids=["deleted", "a backup"])
@pytest.mark.parametrize("life", [PodLife.ALIVE, PodLife.RETURNED, PodLife.UNCERTAIN])
def test_a_new_leader_waits_for_the_copy_of_a_pod_that_may_live(found: ShardMap | None, life: PodLife) -> None:
    """It has none of its own: every slot was given out anew, or to its owner of long ago."""
    lives = pod(A, life, map_uid="old", applied_epoch=7), pod(B)
    assert plan(see(found, *lives, astray_since=None)) == Plan(recheck_after=1.0, new_astray_since=0.0)
    assert plan(see(found, *lives, astray_since=-9.9)) == Plan(recheck_after=1.0, new_astray_since=-9.9)
    shown = plan(see(found, *lives, astray_since=-1.0, copy=COPY))
    assert shown.next_map == ShardMap(1_000_007, True, COPY.pods, COPY.owners)
    older = plan(see(found, *lives, astray_since=-1.0, copy=replace(COPY, epoch=6)))
    assert older.next_map is None, "one that lags"
    late = plan(see(found, *lives))
    assert late.next_map is not None
    assert (late.next_map.epoch, late.new_astray_since) == (1_000_007, None)


@pytest.mark.parametrize("life", [PodLife.EXPIRED, PodLife.RELEASED])
def test_nobody_waits_for_the_copy_of_the_dead(life: PodLife) -> None:
    assert plan(see(None, pod(A, life, map_uid="old", applied_epoch=7), pod(B), astray_since=None)).next_map is not None


ACKED: dict[str, Any] = {"map_uid": "new", "applied_epoch": 1_000_009}
OLD: dict[str, Any] = {"map_uid": "old", "applied_epoch": 9}


def test_when_every_lease_has_acked_the_map_restoring_ends() -> None:
    todo = plan(see(RESTORING, pod(A, **ACKED), pod(B, **ACKED)))
    assert todo.next_map == replace(RESTORING, epoch=1_000_010, restoring=False)


@pytest.mark.parametrize(
    "waiting",
    [
        pod(B, **OLD),
        pod(B, PodLife.UNCERTAIN, **OLD),
        replace(pod(B, PodLife.UNCERTAIN), lease=None),
        pod(B, PodLife.UNCERTAIN, holder=None),
        pod(B, PodLife.UNCERTAIN, holder=Holder("l-1", "next", "n"), **ACKED),
    ],
)
def test_while_a_pod_may_run_by_the_deleted_map_restoring_goes_on(waiting: PodObservation) -> None:
    assert plan(see(RESTORING, pod(A, **ACKED), waiting)) == Plan(recheck_after=1.0)


@pytest.mark.parametrize(
    "dead",
    [
        pod(B, PodLife.EXPIRED, **OLD),
        pod(B, PodLife.RELEASED, holder=None),
        pod(B, PodLife.RELEASED, holder=None, floor=1_000_009),
    ],
)
def test_a_dead_pod_is_fenced_first_while_restoring(dead: PodObservation) -> None:
    todo = plan(see(RESTORING, pod(A, **ACKED), dead))
    assert todo.fences == (Fence("l-1", 1_000_010),)
    assert todo.next_map is None


def test_a_fenced_pod_does_not_hold_up_restoring() -> None:
    fenced = pod(B, PodLife.RELEASED, holder=None, floor=1_000_010)
    assert plan(see(RESTORING, pod(A, **ACKED), fenced)).next_map is not None


def test_an_orphaned_lease_is_fenced_or_acked_too() -> None:
    held = LeaseState(holder=Holder("l-7", "u7", "n"), map_uid="old", applied_epoch=9)
    alive = see(RESTORING, pod(A, **ACKED), orphans=(OrphanLease("l-7", held, PodLife.ALIVE),))
    assert plan(alive) == Plan(recheck_after=1.0)
    dead = see(RESTORING, pod(A, **ACKED), orphans=(OrphanLease("l-7", held, PodLife.EXPIRED),))
    assert plan(dead).fences == (Fence("l-7", 1_000_010),)


@pytest.mark.parametrize("applied", [1_000_009, 1_000_050])
def test_a_map_that_restores_and_is_itself_no_successor_is_made_again_at_once(applied: int) -> None:
    """Deleted before anybody else knew it, or restored from a backup: raised by one each step it never arrives."""
    twin: dict[str, Any] = {"map_uid": "another", "applied_epoch": applied}
    todo = plan(see(RESTORING, pod(A, **ACKED), pod(B, **twin)))
    assert todo.next_map == replace(RESTORING, epoch=applied + 1_000_000)


def test_the_lease_of_a_pod_that_is_long_gone_shows_a_restored_backup_too() -> None:
    orphan = OrphanLease("l-7", LeaseState(map_uid="old", applied_epoch=9), PodLife.RELEASED)
    todo = plan(see(replace(COPY, epoch=8), pod(A), pod(B), orphans=(orphan,)))
    assert todo.next_map is not None
    assert (todo.next_map.epoch, todo.next_map.restoring) == (1_000_009, True)


def test_no_pod_that_is_silent_is_fenced_while_restoring_where_none_could_take_over() -> None:
    silent = pod(B, PodLife.EXPIRED, **OLD)
    assert plan(see(RESTORING, silent)).fences == ()
    assert plan(see(RESTORING, replace(pod(A, **ACKED, capable=False)), silent)).fences == ()
    assert plan(see(RESTORING, pod(A, **ACKED), silent)).fences == (Fence("l-1", 1_000_010),)
