"""The budget of statuses: however many pods share it, together they write as much."""

import asyncio

import pytest

from mailpush.work.pace import Pace
from mailpush.work.status_budget import AT_ONCE, StatusBudget, for_listeners, operator_pace


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


async def seconds_for(turns: int, part: float) -> float:
    """How long a pod with this part of the slots takes for so many writes."""
    clock = Clock()
    budget = StatusBudget(300, pace=Pace(1.0, 1, clock=lambda: clock.now, sleep=clock.sleep))
    budget.share(part)
    for _ in range(turns):
        await budget.turn()
    return clock.now - 100.0


@pytest.mark.parametrize("pods", [1, 3, 10, 100])
async def test_as_many_are_written_by_one_pod_as_by_a_hundred(pods: int) -> None:
    of_each = 1000 // pods
    assert await seconds_for(of_each, 1 / pods) == pytest.approx(1000 / for_listeners(300), rel=0.11)


async def test_a_pod_without_slots_may_still_say_something() -> None:
    assert await seconds_for(2, 0) < 5


@pytest.mark.parametrize(("pods", "most"), [(1, AT_ONCE), (4, AT_ONCE // 4), (100, 1)])
def test_requests_under_way_are_shared_as_well(pods: int, most: int) -> None:
    budget = StatusBudget()
    budget.share(1 / pods)
    assert budget.at_once == most


async def test_notes_of_registrations_have_no_rate_but_are_bounded_at_a_time() -> None:
    budget = StatusBudget()
    budget.share(1 / 16)
    at_once = most = 0

    async def note() -> None:
        nonlocal at_once, most
        async with budget.note():
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0)
            at_once -= 1

    await asyncio.gather(*(note() for _ in range(20)))
    assert most == 2


async def test_the_operator_has_its_own_part() -> None:
    assert operator_pace(300)._rate + for_listeners(300) == 300
