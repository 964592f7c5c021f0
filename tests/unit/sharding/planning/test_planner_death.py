"""The operator's step: fences, the ends of moves, places in the map, missing Leases (P2, P3, P7 to P9)."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from mailpush.sharding.leases import Holder
from mailpush.sharding.planning.death import PodLife
from mailpush.sharding.planning.planner import (
    Fence,
    NewLease,
    Plan,
    PodObservation,
    missing_leases,
    named_only_by_map,
    plan,
)
from mailpush.sharding.shardmap import Move, PodRef, ShardMap
from tests.unit.sharding.situations import A, B, C, fenced, letters, make_map, pod, reasons, see

# -- death and fences


@pytest.mark.parametrize("life", [PodLife.EXPIRED])
def test_proof_of_death_permits_a_fence_and_nothing_else(life: PodLife) -> None:
    todo = plan(see(make_map("ab"), pod(A), pod(B, life)))
    assert todo.fences == (Fence("l-1", 6),)
    assert todo.next_map is None


def test_a_clean_release_is_fenced_too() -> None:
    todo = plan(see(make_map("ab"), pod(A), fenced(B, floor=5)))
    assert todo.fences == (Fence("l-1", 6),)
    assert todo.next_map is None


def test_the_slots_of_a_fenced_pod_go_to_the_others_at_once() -> None:
    todo = plan(see(make_map("abb"), pod(A), fenced(B), pod(C)))
    assert todo.fences == ()
    assert letters(todo.next_map) in ("acc", "aac", "aca")
    assert reasons(todo)[0] == "PodGone"


@pytest.mark.parametrize(
    "doubtful",
    [
        pod(B, PodLife.UNCERTAIN),
        pod(B, PodLife.UNSEEN, lease=None),
        pod(B, PodLife.UNCERTAIN, lease=None),
        # Another pod of this name was fenced; this one may still have its right.
        pod(B, PodLife.UNCERTAIN, lease_holder=None, lease_floor=6, phase=""),
        pod(B, PodLife.UNCERTAIN, lease_holder=Holder("l-1", "next", "n"), phase=""),
        pod(B, PodLife.EXPIRED, lease=None),
    ],
)
def test_where_a_pod_may_still_act_nothing_is_fenced_and_nothing_taken(doubtful: PodObservation) -> None:
    todo = plan(see(make_map("ab"), pod(A), doubtful))
    assert todo.fences == ()
    assert todo.next_map is None
    if not doubtful.life.permits_fence:
        assert todo.recheck_after == 1.0


def test_a_pod_whose_name_another_uid_has_held_for_its_fifteen_seconds_needs_no_fence() -> None:
    held_by_next = pod(B, PodLife.EXPIRED, lease_holder=Holder("l-1", "next", "n"), phase="")
    assert letters(plan(see(make_map("ab"), pod(A), held_by_next)).next_map) == "aa"


def test_a_dead_pod_without_slots_is_left_alone() -> None:
    assert plan(see(make_map("aa"), pod(A), pod(B, PodLife.EXPIRED))) == Plan()


def test_a_fenced_pod_that_is_back_gets_a_new_epoch() -> None:
    todo = plan(see(make_map("ab"), pod(A), pod(B, lease_floor=6)))
    assert todo.next_map == replace(make_map("ab", epoch=6), pods=(A, B))
    assert reasons(todo) == ["EpochRaised"]


def test_an_unnamed_pod_with_a_high_floor_gets_a_new_epoch_too() -> None:
    assert plan(see(make_map("a"), pod(A), pod(B, lease_floor=6))).next_map is not None


# -- moves


RELEASED: dict[str, Any] = {"lease_released_through": 5}
MOVE = Move(A, B, 5, frozenset({0}))


@pytest.mark.parametrize(
    ("giver", "receiver", "owners", "moves"),
    [
        (pod(A), pod(B), "ac", (MOVE,)),
        (pod(A, lease_released_through=4), pod(B), "ac", (MOVE,)),
        (pod(A, **RELEASED, lease_map_uid="a deleted map", lease_applied_epoch=4), pod(B), "ac", (MOVE,)),
        (pod(A, **RELEASED, lease_holder=Holder("l-0", "next", "n")), pod(B), "ac", (MOVE,)),
        (pod(A, **RELEASED), pod(B), "bc", ()),
        (pod(A, PodLife.UNCERTAIN, **RELEASED), pod(B, PodLife.UNCERTAIN), "bc", ()),
        (fenced(A), pod(B), "bc", ()),
        (fenced(A), pod(B, PodLife.UNCERTAIN), "bc", ()),
        (pod(A), fenced(B), "ac", ()),
        (pod(A, PodLife.UNCERTAIN), fenced(B), "ac", ()),
        (fenced(A), fenced(B), "cc", ()),
    ],
)
def test_a_move_ends_by_release_or_death_and_a_third_pod_waits_for_both(
    giver: PodObservation, receiver: PodObservation, owners: str, moves: tuple[Move, ...]
) -> None:
    shard_map = make_map("ac", MOVE)
    todo = plan(see(shard_map, giver, receiver, pod(C)))
    after = shard_map if todo.next_map is None else todo.next_map
    assert todo.fences == ()
    assert letters(after) == owners
    assert after.moves == moves


def test_a_slot_that_both_ends_have_left_goes_to_a_third_pod() -> None:
    todo = plan(see(make_map("ac", MOVE), pod(A, **RELEASED, lease_draining=True), fenced(B), pod(C)))
    assert letters(todo.next_map) == "cc"
    assert "MoveLost" in reasons(todo)


def test_a_receiver_that_is_itself_to_leave_waits_for_the_move_to_end() -> None:
    assert plan(see(make_map("ac", MOVE), pod(A), pod(B, lease_draining=True), pod(C))).next_map is None


def test_the_receiver_of_a_move_is_fenced_as_its_giver_is() -> None:
    todo = plan(see(make_map("ac", MOVE), pod(A, PodLife.EXPIRED), pod(B, PodLife.EXPIRED), pod(C)))
    assert todo.fences == (Fence("l-0", 6), Fence("l-1", 6))


def test_a_large_join_goes_on_until_all_is_even() -> None:
    shard_map, lives = make_map("a" * 12), (pod(A), pod(B))
    for _ in range(20):
        todo = plan(see(shard_map, *lives, weights=[0] * 12, replicas=2), max_in_flight=2)
        if todo.next_map is None:
            break
        shard_map = todo.next_map
        lives = (pod(A, lease_released_through=shard_map.epoch), pod(B))
    assert shard_map.moves == ()
    assert Counter(letters(shard_map)) == {"a": 6, "b": 6}


# -- places in the map


def test_pods_keep_their_index_and_a_place_is_reused_only_after_it_was_free_for_a_map() -> None:
    lost, new = PodRef("l-2", "old"), PodRef("l-2", "new")
    shard_map = ShardMap(5, False, (A, lost), (0, 1), ())
    gone = pod(lost, PodLife.RELEASED, lease_holder=None, lease_floor=6, phase="")
    after = plan(see(shard_map, pod(A), gone)).next_map
    assert after == ShardMap(6, False, (A,), (0, 0), ())
    with_new = plan(see(shard_map, gone, pod(A, ordinal=9), pod(new))).next_map
    assert with_new is not None
    assert with_new.pods == (A, None, new)
    assert with_new.owners == (0, 2)


def test_pods_that_only_the_map_names_are_to_be_observed_too() -> None:
    shard_map = make_map("ab", Move(A, C, 5, frozenset({0})))
    assert named_only_by_map(shard_map, [A]) == (B, C)
    assert named_only_by_map(None, [A]) == ()


# -- Leases that are missing (P3)


@pytest.mark.parametrize(
    ("owners", "pods", "wanted"),
    [
        ("a", [pod(A), pod(B, PodLife.UNCERTAIN, lease=None)], [NewLease("l-1", 5)]),
        ("a", [pod(A), pod(B, PodLife.UNCERTAIN, lease=None, deleting=True)], []),
        ("ab", [pod(A), pod(B, PodLife.UNCERTAIN, lease=None)], []),
        ("ab", [pod(A), pod(B, PodLife.EXPIRED, lease=None)], [NewLease("l-1", 6)]),
        ("ab", [pod(A), pod(B, PodLife.EXPIRED, lease=None, phase="")], [NewLease("l-1", 6)]),
        ("ab", [pod(A), pod(B)], []),
        (
            "ab",
            [
                pod(A),
                pod(B, PodLife.UNCERTAIN, lease=None, phase=""),
                pod(PodRef("l-1", "next"), PodLife.UNCERTAIN, lease=None),
            ],
            [],
        ),
    ],
)
def test_a_missing_lease_is_made_at_once_except_for_a_pod_that_the_map_names(
    owners: str, pods: list[PodObservation], wanted: list[NewLease]
) -> None:
    assert list(missing_leases(see(make_map(owners), *pods))) == wanted


def test_a_new_lease_begins_above_what_others_have_applied_when_a_backup_was_restored() -> None:
    pods = [pod(A, lease_applied_epoch=9), pod(B, PodLife.UNCERTAIN, lease=None)]
    assert missing_leases(see(make_map("a"), *pods)) == (NewLease("l-1", 9),)


def test_before_the_first_map_leases_begin_at_zero() -> None:
    observed = replace(see(make_map("-"), pod(A, PodLife.UNCERTAIN, lease=None)), map=None, map_uid=None)
    assert missing_leases(observed) == (NewLease("l-0", 0),)
