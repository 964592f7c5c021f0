"""The operator's step: who gets slots, who loses them, and when nobody does (P2)."""

from dataclasses import replace

import pytest

from mailpush.sharding.leases import Holder
from mailpush.sharding.planning.death import PodLife
from mailpush.sharding.planning.planner import Plan, PodObservation, plan
from mailpush.sharding.shardmap import Move
from tests.unit.sharding.situations import A, B, C, fenced, letters, make_map, pod, reasons, see

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
        pod(B, lease_map_uid="a deleted map", lease_applied_epoch=4),
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


def test_where_all_pods_have_another_passcrypt_each_keeps_its_slots_and_its_listeners() -> None:
    wrong = [pod(one, lease_capable=False, lease_reason="PasscryptMismatch") for one in (A, B, C)]
    assert plan(see(make_map("abc"), *wrong)) == Plan()
    some = plan(see(make_map("abc"), wrong[0], wrong[1], pod(C))).next_map
    assert some is not None
    assert {move.receiver for move in some.moves} == {C}, "those of some move to who has the right one"


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


# -- a pod that has come waits for those that are about to


def started(count: int, now: float = 1000.0, since: float | None = None, **changes: object) -> Plan:
    """A owns all; B, and C where `count` is 3, have just come, of the three pods that are wanted."""
    pods = [pod(A), pod(B), pod(C)][:count]
    return plan(see(make_map("aaaaaa"), *pods, now=now, newcomer_since=since, **changes))


def test_a_pod_that_has_come_waits_for_another_that_starts_so_that_users_move_once_for_both() -> None:
    alone = started(2)
    assert (alone.next_map, alone.new_newcomer_since, alone.recheck_after) == (None, 1000.0, 10.0)
    both = started(3, now=1004.0, since=1000.0)
    assert both.next_map is not None
    assert sum(len(move.slots) for move in both.next_map.moves) == 4, "a third for each, in one go"


def test_it_waits_ten_seconds_and_no_longer() -> None:
    assert started(2, now=1009.0, since=1000.0).recheck_after == 1.0
    late = started(2, now=1010.0, since=1000.0)
    assert late.next_map is not None
    assert {move.receiver for move in late.next_map.moves} == {B}


@pytest.mark.parametrize("replicas", [2, None])
def test_it_waits_for_nobody_where_no_other_is_wanted(replicas: int | None) -> None:
    assert started(2, replicas=replicas).next_map is not None


def test_it_does_not_wait_for_a_pod_that_says_why_it_takes_nobody() -> None:
    excluded = pod(C, lease_capable=False, lease_reason="PermanentPushNotAllowed")
    todo = plan(see(make_map("aaaaaa"), pod(A), pod(B), excluded))
    assert todo.next_map is not None
    starting = pod(C, lease_capable=False)
    assert plan(see(make_map("aaaaaa"), pod(A), pod(B), starting)).next_map is None


def test_what_is_urgent_waits_for_nobody() -> None:
    homeless = plan(see(make_map("aaa---"), pod(A), pod(B)))
    assert homeless.next_map is not None
    assert None not in homeless.next_map.owner_refs()
    leaving = plan(see(make_map("aaaaaa"), pod(A, lease_draining=True), pod(B)))
    assert leaving.next_map is not None
    assert {move.giver for move in leaving.next_map.moves} == {A}
