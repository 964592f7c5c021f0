"""Wrong logins are bounded by source; right ones never wait."""

from hypothesis import given
from hypothesis import strategies as st

from mailpush.http.logins import PROVEN_SECONDS, REFILL_SECONDS, SOURCES, TRIES, LoginGuard


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


def test_a_source_that_has_logged_in_is_not_locked_out_by_somebody_beside_it() -> None:
    clock = Clock()
    guard = LoginGuard(clock=clock)
    guard.accepted("10.0.0.1")
    checked(guard, "10.0.0.1", 1000)
    assert guard.lets_try("10.0.0.1")
    clock.now += PROVEN_SECONDS
    checked(guard, "10.0.0.1", 1000)
    assert not guard.lets_try("10.0.0.1")


def test_what_is_remembered_is_bounded() -> None:
    guard = LoginGuard(clock=Clock())
    for number in range(3 * SOURCES):
        guard.refused(str(number))
    assert guard.remembered == SOURCES


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(0, 50)), max_size=30))
def test_in_any_time_a_source_has_no_more_tries_than_it_began_with_and_gained(steps: list[tuple[float, int]]) -> None:
    clock = Clock()
    guard = LoginGuard(clock=clock)
    begun, total = clock.now, 0
    for seconds, tries in steps:
        clock.now += seconds
        total += checked(guard, "10.0.0.1", tries)
        assert total <= TRIES + (clock.now - begun) / REFILL_SECONDS + 1e-6
