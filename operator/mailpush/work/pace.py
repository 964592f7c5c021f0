"""How fast, and when again: a rate, a growing delay, a wait with an end."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from mailpush.work.clock import Clock

Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Backoff:
    """A delay that doubles with each failure in a row, from `first` to `longest` seconds."""

    first: float
    longest: float

    def after(self, failures: int, chance: Callable[[], float] = random.random) -> float:
        """Seconds before the next try after `failures` failures in a row (1 or more).

        Jitter takes up to half of it, so that those who failed together do not come back together.
        """
        whole = min(self.longest, self.first * 2.0 ** min(failures - 1, 30))
        return whole * (0.5 + 0.5 * chance())


class Pace:
    """`rate` turns a second, `burst` of them at once. Those who wait are served in the order in which they came."""

    def __init__(
        self, rate: float, burst: float, *, clock: Clock = time.monotonic, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._sleep = sleep
        self._free_at = clock() - burst / rate
        """When all turns up to now are used up: each turn moves it on by 1/rate."""

    def change(self, rate: float) -> None:
        """Another rate from now on; those who wait already keep their turns."""
        if rate != self._rate:
            now = self._clock()
            self._free_at = now + (self._free_at - now) * self._rate / rate
            self._rate = rate

    @property
    def ready_in(self) -> float:
        """Seconds until the next turn; 0 for now. It is not taken."""
        now = self._clock()
        wait = max(self._free_at, now - self._burst / self._rate) + 1 / self._rate - now
        return wait if wait > 1e-6 else 0.0  # less is rounding

    def take(self) -> float:
        """Takes the next turn; the seconds until it comes."""
        wait = self.ready_in
        self._free_at = max(self._free_at, self._clock() - self._burst / self._rate) + 1 / self._rate
        return wait

    async def turn(self) -> None:
        """Waits for the next turn."""
        if wait := self.take():
            await self._sleep(wait)


async def set_within(event: asyncio.Event, seconds: float | None) -> bool:
    """Waits until `event` is set, at most `seconds` (None: without end); returns whether it is."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
