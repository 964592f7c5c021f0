"""Wrong logins are bounded, by source and all together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpush.http.logins import OVERALL, PROVEN_FACTOR, PROVEN_SECONDS, REFILL_SECONDS, SOURCES, TRIES, LoginGuard


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def checked(guard: LoginGuard, source: str, tries: int) -> int:
    """How many of so many wrong logins are checked at all."""
    found = 0
    for _ in range(tries):
        if guard.lets_try(source):
            found += 1
            guard.refused(source)
    return found


def test_one_source_has_a_few_tries_at_once_and_then_one_now_and_then() -> None:
    clock = Clock()
    guard = LoginGuard(clock=clock)
    assert checked(guard, "10.0.0.1", 10_000) == TRIES
    clock.now += 10 * REFILL_SECONDS
    assert checked(guard, "10.0.0.1", 10_000) == 10
    assert guard.lets_try("10.0.0.2"), "another is not concerned"


def test_a_source_that_has_logged_in_has_a_wider_bound_for_somebody_beside_it() -> None:
    clock = Clock()
    guard = LoginGuard(clock=clock)
    guard.accepted("10.0.0.1")
    assert checked(guard, "10.0.0.1", 1000) == TRIES * PROVEN_FACTOR
    clock.now += PROVEN_SECONDS
    assert checked(guard, "10.0.0.1", 1000) == TRIES, "for an hour"


@pytest.mark.parametrize("sources", [1, 2, SOURCES, SOURCES + 1, 4 * SOURCES])
def test_however_many_sources_there_are_all_together_are_bounded(sources: int) -> None:
    """A source that was forgotten came back with all its tries: 1,025 addresses had no bound at all."""
    guard = LoginGuard(clock=Clock())
    found = sum(checked(guard, f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}", 1) for n in [*range(sources)] * 12)
    assert found <= OVERALL
    guard.accepted("192.0.2.1")
    assert guard.lets_try("192.0.2.1"), "who has logged in goes on"
    assert guard.remembered <= SOURCES


@pytest.mark.parametrize("other", ["2001:db8::2", "2001:db8::ffff:1%eth0", "::ffff:10.0.0.1"])
def test_an_ipv6_network_is_one_source_and_a_mapped_address_is_the_ipv4_one(other: str) -> None:
    guard = LoginGuard(clock=Clock())
    checked(guard, "2001:db8::1", TRIES)
    checked(guard, "10.0.0.1", TRIES)
    assert not guard.lets_try(other)
    assert guard.lets_try("2001:db8:0:1::1")


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(0, 50)), max_size=30))
def test_in_any_time_a_source_has_no_more_tries_than_it_began_with_and_gained(steps: list[tuple[float, int]]) -> None:
    clock = Clock()
    guard = LoginGuard(clock=clock)
    begun, total = clock.now, 0
    for seconds, tries in steps:
        clock.now += seconds
        total += checked(guard, "10.0.0.1", tries)
        assert total <= TRIES + (clock.now - begun) / REFILL_SECONDS + 1e-6
