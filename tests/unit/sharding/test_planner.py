"""The operator's step (P2, P7, P8, P9): each row is one situation and what follows from it."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from mailpush.sharding.death import PodLife
from mailpush.sharding.leases import Holder, LeaseState
from mailpush.sharding.planner import (
    Fence,
    NewLease,
    Observed,
    Plan,
    PodObservation,
    missing_leases,
    named_only_by_map,
    plan,
)
from mailpush.sharding.shardmap import NONE, Move, PodRef, ShardMap

A, B, C = (PodRef(f"l-{ordinal}", f"u{ordinal}") for ordinal in range(3))
UID = "map"


def pod(ref: PodRef, life: PodLife = PodLife.ALIVE, **changes: Any) -> PodObservation:
    """A healthy, capable pod that has applied the map, unless said otherwise; `lease_*` change its Lease."""
    lease = LeaseState(
        holder=Holder(ref.name, ref.uid, "n"), map_uid=UID, applied_epoch=5, capable=True, formats=frozenset({1})
    )
    lease = replace(lease, **{key[6:]: value for key, value in changes.items() if key.startswith("lease_")})
    fields: dict[str, Any] = {
        "phase": "Running",
        "deleting": False,
        "ordinal": int(ref.name[2:]),
        "revision_current": True,
        "lease": lease,
        **{key: value for key, value in changes.items() if not key.startswith("lease_")},
    }
    return PodObservation(ref=ref, life=life, **fields)


def fenced(ref: PodRef, floor: int = 6, **changes: Any) -> PodObservation:
    return pod(ref, PodLife.RELEASED, lease_holder=None, lease_floor=floor, **changes)


def make_map(owners: str, *moves: Move, epoch: int = 5) -> ShardMap:
    """`owners` has a letter per slot: a, b, c or - for none."""
    indexes = {"a": 0, "b": 1, "c": 2, "-": NONE}
    return ShardMap(epoch, False, (A, B, C), tuple(indexes[letter] for letter in owners), moves)


def see(shard_map: ShardMap, *pods: PodObservation, **changes: Any) -> Observed:
    slots = len(shard_map.owners)
    values: dict[str, Any] = {"weights": [1] * slots, "replicas": 3, "now": 1000.0, "slots": slots, **changes}
    return Observed(map=shard_map, map_uid=UID, pods=pods, **values)


def letters(shard_map: ShardMap | None) -> str:
    assert shard_map is not None
    names = {A: "a", B: "b", C: "c", None: "-"}
    return "".join(names.get(owner, "?") for owner in shard_map.owner_refs())


def reasons(todo: Plan) -> list[str]:
    return [change.reason for change in todo.changes]


# -- nothing to do, first slots


def test_where_everything_is_as_it_is_to_be_the_plan_is_empty() -> None:
    assert plan(see(make_map("abc"), pod(A), pod(B), pod(C))) == Plan()


def test_slots_without_an_owner_are_given_out_at_once() -> None:
    todo = plan(see(make_map("------"), pod(A), pod(B), pod(C)))
    assert todo.next_map is not None
    assert todo.next_map.epoch == 6
    assert todo.next_map.moves == ()
    assert sorted(letters(todo.next_map)) == list("aabbcc")
    assert reasons(todo) == ["Assigned"]


@pytest.mark.parametrize(
    "unfit",
    [
        pod(B, lease_capable=False, lease_reason="PermanentPushNotAllowed"),
        pod(B, lease_capable=False),
        pod(B, lease_draining=True),
        pod(B, deleting=True),
        pod(B, ordinal=3),
        pod(B, lease_map_uid="a deleted map"),
        pod(B, lease_map_uid=None),
        pod(B, lease_formats=frozenset({2})),
        pod(B, revision_current=False),
        pod(B, PodLife.UNCERTAIN),
        pod(B, PodLife.UNSEEN, lease=None),
        pod(B, lease_holder=Holder("l-1", "another uid", "n")),
        fenced(B),
    ],
)
def test_a_pod_that_is_not_fit_gets_nothing(unfit: PodObservation) -> None:
    assert letters(plan(see(make_map("----"), pod(A), unfit)).next_map) == "aaaa"


def test_an_old_revision_gets_slots_where_there_is_no_other() -> None:
    assert letters(plan(see(make_map("--"), pod(A, revision_current=False))).next_map) == "aa"


def test_without_a_fit_pod_nothing_is_written() -> None:
    assert plan(see(make_map("--"), pod(A, lease_capable=False))).next_map is None


# -- joining, leaving, weight


def test_a_pod_that_joins_receives_moves_and_owns_nothing_yet() -> None:
    todo = plan(see(make_map("aaaabbbb"), pod(A), pod(B), pod(C)))
    assert todo.next_map is not None
    assert letters(todo.next_map) == "aaaabbbb"
    assert {move.receiver for move in todo.next_map.moves} == {C}
    assert {move.epoch for move in todo.next_map.moves} == {6}
    assert sum(len(move.slots) for move in todo.next_map.moves) == 2


def test_no_more_slots_are_in_flight_than_allowed_and_those_with_users_go_first() -> None:
    weights = [0, 0, 0, 0, 0, 1, 1, 1]
    observed = see(make_map("aaaaaaaa"), pod(A, lease_draining=True), pod(B), weights=weights)
    todo = plan(observed, max_in_flight=3)
    assert todo.next_map is not None
    assert todo.next_map.moves == (Move(A, B, 6, frozenset({5, 6, 7})),)
    later = plan(replace(observed, map=todo.next_map), max_in_flight=3)
    assert later.next_map is None


@pytest.mark.parametrize(
    "leaving",
    [
        pod(B, lease_draining=True),
        pod(B, deleting=True),
        pod(B, ordinal=3),
        pod(B, lease_capable=False, lease_reason="PackageDisabled"),
    ],
)
def test_a_pod_that_leaves_gives_its_slots_by_moves(leaving: PodObservation) -> None:
    todo = plan(see(make_map("ab"), pod(A), leaving))
    assert todo.next_map is not None
    assert letters(todo.next_map) == "ab"
    assert todo.next_map.moves == (Move(B, A, 6, frozenset({1})),)
    assert reasons(todo) == ["Leaving"]


@pytest.mark.parametrize(
    "staying",
    [
        pod(B, revision_current=False),
        pod(B, lease_capable=False, lease_reason=""),
        pod(B, PodLife.UNCERTAIN, lease_draining=True),
        pod(B, PodLife.UNCERTAIN),
        pod(B, PodLife.UNSEEN, lease=None),
    ],
)
def test_a_pod_of_an_old_revision_or_one_that_starts_or_is_not_known_to_live_keeps_its_slots(
    staying: PodObservation,
) -> None:
    assert plan(see(make_map("ab"), pod(A), staying)).next_map is None


def test_a_registration_alone_moves_nobody_before_a_minute_of_overweight() -> None:
    observed = see(make_map("aaab"), pod(A), pod(B), weights=[2, 2, 2, 1])
    first = plan(observed)
    assert first.next_map is None
    assert first.new_overweight_since == 1000.0
    assert first.recheck_after == 60.0
    again = plan(replace(observed, now=1059.0, overweight_since=1000.0))
    assert again.next_map is None
    assert again.new_overweight_since == 1000.0
    due = plan(replace(observed, now=1060.0, overweight_since=1000.0))
    assert due.next_map is not None
    assert due.next_map.moves[0].giver == A
    assert reasons(due) == ["Rebalanced"]


@pytest.mark.parametrize(
    ("owners", "weights"), [("aaab", [1, 1, 0, 1]), ("ab", [100, 101]), ("aabb", [0, 0, 0, 0]), ("ab", [103, 97])]
)
def test_a_difference_of_one_or_below_five_percent_is_no_overweight(owners: str, weights: list[int]) -> None:
    todo = plan(see(make_map(owners), pod(A), pod(B), weights=weights, now=2000.0, overweight_since=1000.0))
    assert todo == Plan()


def test_overweight_that_cannot_be_evened_out_is_not_tried_at_each_step() -> None:
    todo = plan(see(make_map("ab"), pod(A), pod(B), weights=[9, 1], now=1060.0, overweight_since=1000.0))
    assert todo.next_map is None
    assert todo.new_overweight_since == 1060.0


def test_a_rollout_does_not_deal_out_anew_for_each_pod_that_comes_back() -> None:
    old = [pod(ref, revision_current=False) for ref in (A, B)]
    assert plan(see(make_map("aaabbb"), *old, pod(C))).next_map is None
    todo = plan(see(make_map("aaabbb"), old[0], pod(B, deleting=True, revision_current=False), pod(C)))
    assert todo.next_map is not None
    assert todo.next_map.moves == (Move(B, C, 6, frozenset({3, 4, 5})),)


def test_weights_may_be_given_by_slot() -> None:
    listed = see(make_map("----"), pod(A), pod(B), weights=[0, 3, 0, 3])
    assert plan(listed) == plan(replace(listed, weights={1: 3, 3: 3}))


# -- death and fences


@pytest.mark.parametrize("life", [PodLife.EXPIRED, PodLife.TERMINAL])
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
        (pod(A, **RELEASED, lease_map_uid="a deleted map"), pod(B), "ac", (MOVE,)),
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
        todo = plan(see(shard_map, *lives, weights=[0] * 12), max_in_flight=2)
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


def test_before_the_first_map_leases_begin_at_zero() -> None:
    observed = replace(see(make_map("-"), pod(A, PodLife.UNCERTAIN, lease=None)), map=None, map_uid=None)
    assert missing_leases(observed) == (NewLease("l-0", 0),)
