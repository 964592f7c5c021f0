"""What the planner comes to when every pod obeys at once."""

from dataclasses import replace

import pytest

from mailpush.sharding.planning.death import PodLife
from mailpush.sharding.planning.forecast import ForecastError, forecast
from mailpush.sharding.planning.observed import Observed, Plan
from mailpush.sharding.planning.placement import user_counts
from mailpush.sharding.planning.planner import plan
from mailpush.sharding.shardmap import ShardMap
from tests.bench.placement import missed
from tests.unit.sharding.situations import UID, A, B, C, letters, make_map, pod, reasons, see


def users_moved(found: Observed, moves: object) -> int:
    weights = found.weight_list()
    return sum(weights[slot] for move in moves for slot in move.slots)  # type: ignore[attr-defined]


def test_it_ends_where_the_planner_has_nothing_left_to_do() -> None:
    seen = see(make_map("aaaaaa"), pod(A), pod(B), pod(C))
    found = forecast(seen)
    step = plan(found.observed)
    assert (step.next_map, step.fences) == (None, ())
    assert sorted(letters(found.observed.map)) == list("aabbcc")
    assert users_moved(found.observed, found.moves) == 4
    assert {change.reason for change in found.changes} == {"Rebalanced", "Moved"}


def test_a_move_that_is_under_way_ends_without_being_counted_again() -> None:
    first = plan(see(make_map("aaaaaa"), pod(A), pod(B), pod(C))).next_map
    assert first is not None
    assert first.moves
    found = forecast(see(first, pod(A), pod(B), pod(C)))
    assert found.moves == ()
    assert sorted(letters(found.observed.map)) == list("aabbcc")


def test_a_pod_that_drains_gives_only_what_it_has() -> None:
    seen = see(make_map("aabbcc"), pod(A), pod(B), pod(C, lease_draining=True))
    found = forecast(seen)
    assert letters(found.observed.map).startswith("aabb")
    assert set(letters(found.observed.map)) == {"a", "b"}
    assert users_moved(found.observed, found.moves) == 2


def test_a_dead_pod_is_fenced_before_its_slots_are_given_out() -> None:
    seen = see(make_map("aabbcc"), pod(A), pod(B), pod(C, PodLife.EXPIRED))
    assert plan(seen).fences
    found = forecast(seen)
    assert set(letters(found.observed.map)) == {"a", "b"}
    assert reasons(Plan(changes=found.changes)) == ["PodGone"]
    assert found.moves == (), "nobody is left to release them"


def test_a_pod_of_which_nothing_is_known_keeps_what_it_has() -> None:
    seen = see(make_map("aabbcc"), pod(A), pod(B), pod(C, PodLife.UNCERTAIN))
    assert letters(forecast(seen).observed.map) == "aabbcc"


def test_a_newcomer_with_a_fresh_lease_counts() -> None:
    fresh = pod(B, lease_map_uid=None, lease_applied_epoch=0)
    assert sorted(letters(forecast(see(make_map("aaaa"), pod(A), fresh, replicas=2)).observed.map)) == list("aabb")


def test_what_is_too_uneven_for_a_minute_is_evened_out() -> None:
    weights = [8, 8, 1, 1, 1, 1]
    seen = see(make_map("aabbcc"), pod(A), pod(B), pod(C), weights=weights)
    assert plan(seen).next_map is None
    found = forecast(seen)
    assert max(user_counts(found.owners(), weights, (A, B, C)).values()) < 16


def test_without_a_map_every_slot_gets_an_owner() -> None:
    fresh = [pod(ref, lease_map_uid=None, lease_applied_epoch=0) for ref in (A, B)]
    seen = Observed(map=None, map_uid=None, pods=tuple(fresh), weights=[1] * 4, replicas=2, now=0.0, slots=4)
    assert sorted(forecast(seen).owners(), key=str) == [A, A, B, B]


def test_a_planner_without_an_end_is_a_fault() -> None:
    def restless(observed: Observed) -> Plan:
        assert observed.map is not None
        return Plan(next_map=replace(observed.map, epoch=observed.map.epoch + 1))

    with pytest.raises(ForecastError, match="not come to an end"):
        forecast(replace(see(make_map("a"), pod(A)), map=ShardMap.empty(1), map_uid=UID), restless)


def test_the_bench_names_each_limit_that_is_missed() -> None:
    good = {
        "max_over_mean": 1.01,
        "moved_over_ideal": 1.05,
        "moved_over_ideal_when_one_leaves": 1.05,
        "plan_s": 1.0,
        "seven_users_on_three_pods": [[3, 2, 2]],
    }
    assert missed(good) == []
    bad = {"max_over_mean": 1.0101, "plan_s": 1.2, "seven_users_on_three_pods": [[3, 2, 2], [4, 2, 1]]}
    assert [sentence.split(" is ")[0] for sentence in missed(good | bad)] == [
        "max_over_mean",
        "plan_s",
        "seven users on three pods are spread [[3, 2, 2], [4, 2, 1]], not 3, 2, 2",
    ]
