"""P1's slots, and sets of slots as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpush.sharding.ranges import format_ranges, parse_ranges
from mailpush.sharding.slots import SLOTS, slot_of


@pytest.mark.parametrize(
    ("context_id", "user_id", "slot"),
    [
        (1, 3, 13507),
        (1, 4, 6921),
        (2, 3, 1379),
        (1, 249, 5433),
        (10, 12345, 13679),
        (2147483647, 2147483647, 5624),
    ],
)
def test_a_user_has_the_slot_that_the_protocol_lists(context_id: int, user_id: int, slot: int) -> None:
    assert slot_of(context_id, user_id) == slot


@given(st.integers(1, 2**31 - 1), st.integers(1, 2**31 - 1))
def test_every_user_has_a_slot_in_range(context_id: int, user_id: int) -> None:
    assert 0 <= slot_of(context_id, user_id) < SLOTS


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ([], ""),
        ([7], "7"),
        ([1, 0, 2, 17, 17], "0-2,17"),
        (range(SLOTS), "0-16383"),
        ([0, 2, 3], "0,2-3"),
    ],
)
def test_ranges_are_short_and_sorted(numbers: list[int], text: str) -> None:
    assert format_ranges(numbers) == text


@given(st.sets(st.integers(0, SLOTS - 1)))
def test_ranges_come_back_as_they_went(numbers: set[int]) -> None:
    assert parse_ranges(format_ranges(numbers)) == numbers


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a", "neither a number nor a range"),
        ("1,,2", "neither a number nor a range"),
        ("-1", "neither a number nor a range"),
        ("1-2-3", "neither a number nor a range"),
        ("٣", "neither a number nor a range"),
        ("9-0", "write 0-9"),
        ("0-16384", "goes beyond 16383"),
        ("0-999999999", "goes beyond 16383"),
    ],
)
def test_a_broken_range_says_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_ranges(text)
