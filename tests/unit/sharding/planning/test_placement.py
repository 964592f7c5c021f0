"""Even, sticky, deterministic placement."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpush.sharding.planning.placement import imbalance, place, user_counts
from mailpush.sharding.shardmap import PodRef
from mailpush.sharding.slots import SLOTS

Owners = tuple[PodRef | None, ...]


def pods(number: int) -> list[PodRef]:
    return [PodRef(f"l-{ordinal}", f"u{ordinal}") for ordinal in range(number)]


def crowd(users: int, slots: int = SLOTS) -> list[int]:
    """Users per slot as a hash spreads them."""
    chance = random.Random(users)
    weights = [0] * slots
    for _ in range(users):
        weights[chance.randrange(slots)] += 1
    return weights


def loads(owners: Owners, weights: list[int], targets: list[PodRef]) -> list[int]:
    return list(user_counts(owners, weights, targets).values())


def moved(before: Owners, after: Owners, weights: list[int]) -> tuple[int, int]:
    """Users and slots that have another owner than before."""
    slots = [slot for slot, owner in enumerate(before) if owner != after[slot]]
    return sum(weights[slot] for slot in slots), len(slots)


@pytest.mark.parametrize(("users", "number"), [(0, 3), (1, 3), (12, 3), (13, 5), (500, 7), (5_000, 7)])
def test_few_users_differ_by_one_at_most_and_so_do_the_slots(users: int, number: int) -> None:
    weights, targets = crowd(users), pods(number)
    owners = place([None] * SLOTS, weights, targets)
    counts = loads(owners, weights, targets)
    assert sum(counts) == users
    assert max(counts) - min(counts) <= 1
    sizes = Counter(owners).values()
    assert len(sizes) == number
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("users", "number"), [(20_000, 9), (100_000, 100), (1_000_000, 3), (1_000_000, 100)])
def test_a_crowd_is_within_one_percent_before_and_after_a_pod_joins_or_leaves(users: int, number: int) -> None:
    weights, targets = crowd(users), pods(number + 1)
    first = place([None] * SLOTS, weights, targets[:-1])
    joined = place(first, weights, targets)
    left = place(joined, weights, targets[1:])
    for owners, present in ((first, targets[:-1]), (joined, targets), (left, targets[1:])):
        assert imbalance(loads(owners, weights, present)) <= 1.01
    ideal = users / (number + 1)
    assert moved(first, joined, weights)[0] <= 1.05 * ideal
    assert moved(joined, left, weights)[0] <= 1.05 * ideal


def test_a_pod_that_joins_takes_its_share_of_empty_slots_and_no_more() -> None:
    weights, targets = crowd(12), pods(4)
    first = place([None] * SLOTS, weights, targets[:-1])
    joined = place(first, weights, targets)
    users, slots = moved(first, joined, weights)
    assert users == 3
    assert slots <= SLOTS // 4
    sizes = Counter(joined).values()
    assert max(sizes) / (SLOTS / 4) <= 1.01
    assert min(sizes) / (SLOTS / 4) >= 0.98
    assert all(owner == targets[-1] for owner, before in zip(joined, first, strict=True) if owner != before)


def test_a_pod_that_leaves_moves_only_its_own_slots() -> None:
    weights, targets = crowd(1_000), pods(4)
    first = place([None] * SLOTS, weights, targets)
    after = place(first, weights, targets[1:])
    stayed = [slot for slot, owner in enumerate(first) if owner != targets[0]]
    assert all(first[slot] == after[slot] for slot in stayed)
    assert targets[0] not in after


@given(
    st.lists(st.tuples(st.sampled_from([None, *pods(5)]), st.integers(0, 4)), min_size=1, max_size=40),
    st.integers(1, 4),
    st.booleans(),
)
def test_every_slot_gets_a_target_the_same_each_time_and_a_second_look_changes_nothing(
    slots: list[tuple[PodRef | None, int]], number: int, rebalance: bool
) -> None:
    current, weights, targets = [owner for owner, _ in slots], [weight for _, weight in slots], pods(number)
    owners = place(current, weights, targets, rebalance=rebalance)
    assert set(owners) <= set(targets)
    assert place(current, weights, targets, rebalance=rebalance) == owners
    assert place(owners, weights, targets, rebalance=rebalance) == owners
    if not rebalance:
        assert all(owner == now for owner, now in zip(current, owners, strict=True) if owner in targets)


@given(st.lists(st.integers(0, 1), min_size=1, max_size=60), st.integers(1, 5), st.randoms(use_true_random=False))
def test_users_that_share_no_slot_always_end_within_one_of_each_other(
    weights: list[int], number: int, chance: random.Random
) -> None:
    targets = pods(number)
    current = [chance.choice(targets) for _ in weights]
    counts = loads(place(current, weights, targets), weights, targets)
    assert max(counts) - min(counts) <= 1


def test_without_rebalance_only_homeless_slots_move() -> None:
    targets = pods(2)
    assert place([targets[0]] * 6, [1] * 6, targets, rebalance=False) == (targets[0],) * 6


def test_without_targets_everything_stays() -> None:
    assert place([pods(1)[0], None], [1, 1], []) == (pods(1)[0], None)


def test_a_donor_gives_and_never_gets() -> None:
    old, new = pods(2)
    owners = place([old] * 6 + [None] * 2, [1] * 8, [new], donors=[old])
    assert Counter(owners) == {old: 4, new: 4}
    assert Counter(place([None] * 4, [1] * 4, [new], donors=[old])) == {new: 4}


def test_fixed_slots_stay_and_count() -> None:
    first, second = pods(2)
    lost = PodRef("l-9", "lost")
    current = [first, first, first, lost, None, None]
    owners = place(current, [1] * 6, [first, second], fixed={0, 1, 3})
    assert owners[:2] == (first, first)
    assert owners[3] == lost
    assert loads(owners, [1] * 6, [first, second]) in ([2, 3], [3, 2])


def test_one_giant_slot_does_not_keep_the_others_from_being_evened_out() -> None:
    targets = pods(3)
    owners = place([targets[0], *[targets[1]] * 8], [1000] + [1] * 8, targets)
    counts = loads(owners, [1000] + [1] * 8, targets)
    assert counts == [1000, 4, 4]


@pytest.mark.parametrize(("counts", "result"), [([], 1.0), ([0, 0], 1.0), ([3, 3], 1.0), ([4, 2], 4 / 3)])
def test_imbalance_is_the_heaviest_over_the_mean(counts: list[int], result: float) -> None:
    assert imbalance(counts) == result
