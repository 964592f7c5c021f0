"""A rate, a growing delay, a wait with an end."""

import asyncio
from random import Random

import pytest

from mailpush.work.pace import Backoff, Pace, set_within


@pytest.mark.parametrize("failures", [*range(1, 40), 10_000])
def test_delays_double_up_to_a_bound_and_are_spread(failures: int) -> None:
    backoff = Backoff(0.5, 60.0)
    delays = [backoff.after(failures, Random(seed).random) for seed in range(50)]
    whole = min(0.5 * 2.0 ** (failures - 1) if failures < 40 else 60.0, 60.0)
    assert all(whole / 2 <= each <= whole for each in delays)
    assert len(set(delays)) > 1


async def test_a_burst_goes_at_once_and_the_rest_at_the_rate() -> None:
    now = 100.0
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        nonlocal now
        slept.append(seconds)
        now += seconds

    pace = Pace(10.0, 3, clock=lambda: now, sleep=sleep)
    for _ in range(6):
        await pace.turn()
    assert slept == pytest.approx([0.1, 0.1, 0.1])
    now += 1000.0
    for _ in range(4):
        await pace.turn()
    assert slept == pytest.approx([0.1, 0.1, 0.1, 0.1])


async def test_another_rate_holds_for_what_was_waited_for_at_the_former_one() -> None:
    now = 100.0
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    pace = Pace(1.0, 1, clock=lambda: now, sleep=sleep)
    for _ in range(3):
        await pace.turn()
    pace.change(10.0)
    await pace.turn()
    assert slept == pytest.approx([1.0, 2.0, 0.3])
    now += 1000.0
    await pace.turn()
    await pace.turn()
    assert slept[3:] == pytest.approx([0.1])


async def test_a_wait_ends_when_the_event_is_set_or_its_time_is_over() -> None:
    event = asyncio.Event()
    assert not await set_within(event, 0.001)
    waiting = asyncio.create_task(set_within(event, None))
    await asyncio.sleep(0)
    event.set()
    assert await waiting
