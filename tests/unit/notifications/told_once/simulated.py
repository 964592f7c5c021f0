"""Processes with an event loop each, in a time that somebody else lets pass: one can be paused, or end, at any step."""

import asyncio
import selectors
from collections.abc import Callable
from typing import Final

MOST_TURNS: Final = 10_000
"""A loop that is never idle within one moment goes round for ever."""


class _NoWait(selectors.EpollSelector):
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return super().select(0)


class SimulatedLoop(asyncio.SelectorEventLoop):
    """It runs when told, and its clock is `now`. Paused, it is simply not told: what was due comes late, at once."""

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__(_NoWait())
        self._now = now

    def time(self) -> float:
        return self._now()

    def next_due(self) -> float | None:
        """When its next timer is due; None where there is none."""
        timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        return min((timer.when() for timer in timers if not timer.cancelled()), default=None)

    def run_due(self) -> None:
        """Runs all that is due now, and what comes of it."""
        for _ in range(MOST_TURNS):
            self.call_soon(self.stop)
            self.run_forever()
            due = self.next_due()
            if not self._ready and (due is None or due > self.time()):  # type: ignore[attr-defined]
                return
        raise AssertionError("the loop is never idle")

    def end(self) -> None:
        """After the last turn: tasks are cancelled, so that nothing is left pending."""
        while tasks := asyncio.all_tasks(self):
            for task in tasks:
                task.cancel()
            self.run_due()
        self.close()
