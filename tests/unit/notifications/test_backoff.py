"""Delays and the circuit breaker."""

from __future__ import annotations

from random import Random

import pytest

from mailpush.notifications.backoff import FAILURES_TO_OPEN, RETRY, Breaker, Circuit


@pytest.mark.parametrize("failures", range(1, 100))
def test_delays_grow_to_a_bound_and_are_spread(failures: int) -> None:
    delays = [RETRY.after(failures, Random(seed).random) for seed in range(50)]
    whole = min(2.0 ** (failures - 1), RETRY.longest)
    assert all(whole / 2 <= each <= whole for each in delays)
    assert len(set(delays)) > 1


def opened(now: float = 100.0) -> Breaker:
    breaker = Breaker(Random(1))
    for _ in range(FAILURES_TO_OPEN):
        breaker.failed(now)
    return breaker


def test_it_opens_only_after_failures_in_a_row() -> None:
    breaker = Breaker(Random(1))
    for _ in range(3):
        for _ in range(FAILURES_TO_OPEN - 1):
            breaker.failed(100)
        breaker.succeeded()
    assert breaker.wait(100) == 0


def test_one_alone_probes_an_open_circuit() -> None:
    breaker = opened()
    wait = breaker.wait(100)
    assert wait is not None
    assert wait > 0
    assert breaker.wait(100 + wait) == 0
    breaker.starting()
    assert breaker.wait(100 + wait) is None


def test_a_failed_probe_opens_it_for_longer_up_to_a_bound() -> None:
    breaker, now, waits = opened(), 100.0, []
    for _ in range(20):
        wait = breaker.wait(now)
        assert wait
        waits.append(wait)
        now += wait
        breaker.starting()
        breaker.failed(now)
    assert waits[3] > waits[0]
    assert max(waits) <= RETRY.longest


def test_a_probe_that_succeeds_closes_it() -> None:
    breaker = opened()
    breaker.starting()
    breaker.succeeded()
    assert (breaker.circuit, breaker.wait(100)) == (Circuit.CLOSED, 0)


def test_a_probe_that_never_asked_lets_the_next_one_probe() -> None:
    breaker = opened()
    later = 100 + RETRY.longest
    breaker.starting()
    breaker.inconclusive()
    assert breaker.wait(later) == 0
    assert breaker.circuit is Circuit.OPEN


def test_failures_of_those_that_were_on_their_way_do_not_prolong_it() -> None:
    breaker = opened()
    before = breaker.wait(100)
    breaker.failed(100)
    assert breaker.wait(100) == before


def test_a_target_that_asks_for_rest_gets_it() -> None:
    breaker = Breaker(Random(1))
    breaker.failed(100)
    breaker.hold(130)
    assert breaker.wait(100) == 30
