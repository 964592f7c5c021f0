"""A queue of keys: each at most once in it, never worked on twice at a time, tried again with a growing delay."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

import structlog

Key = TypeVar("Key", bound=Hashable)

FIRST_DELAY: Final = 0.5
LONGEST_DELAY: Final = 60.0

log = structlog.get_logger(__name__)


class WorkQueue(Generic[Key]):
    """Keys that are to be brought in order.

    Args:
        expected: errors that are logged by their text alone, without a traceback.
        conflicts: errors that are nobody's fault, such as another's earlier write: logged for debugging only.

    `add` while a key is worked on makes it be worked on once more afterwards: what changed meanwhile may have been
    read before the change.
    """

    def __init__(
        self,
        name: str,
        *,
        expected: tuple[type[Exception], ...] = (),
        conflicts: tuple[type[Exception], ...] = (),
        on_tick: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self._expected = expected
        self._conflicts = conflicts
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._queued: set[Key] = set()
        self._working: set[Key] = set()
        self._again: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._on_tick = on_tick
        self._done = asyncio.Event()

    def __len__(self) -> int:
        return len(self._queued) + len(self._again)

    async def idle(self) -> None:
        """Waits until everything that was added has been worked on, well or not."""
        while self._queued or self._working:
            self._done.clear()
            await self._done.wait()

    def add(self, key: Key) -> None:
        """As soon as may be."""
        if timer := self._timers.pop(key, None):
            timer.cancel()
        if key in self._working:
            self._again.add(key)
        elif key not in self._queued:
            self._queued.add(key)
            self._ready.put_nowait(key)

    def add_after(self, key: Key, seconds: float) -> None:
        """After `seconds`, or before where somebody asks for it sooner."""
        due = asyncio.get_running_loop().time() + seconds
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= due:
                return
            timer.cancel()
        self._timers[key] = asyncio.get_running_loop().call_at(due, self.add, key)

    async def run(self, work: Callable[[Key], Awaitable[None]], *, idle_tick: float = 5.0) -> None:
        """One worker, until cancelled; run as many as may work at a time.

        An error of the API or of `work` itself is logged and the key tried again: one object that cannot be worked on
        must not stop the others.
        """
        while True:
            self._on_tick()
            try:
                key = await asyncio.wait_for(self._ready.get(), idle_tick)
            except TimeoutError:
                continue
            self._queued.discard(key)
            self._working.add(key)
            try:
                await work(key)
                self._failures.pop(key, None)
            except Exception as error:
                if not isinstance(error, (*self._expected, *self._conflicts)):
                    log.exception("work_failed", queue=self.name, key=str(key))
                self._failed(key, error, conflict=isinstance(error, self._conflicts))
            finally:
                self._working.discard(key)
                self._done.set()
                if key in self._again:
                    self._again.discard(key)
                    self.add(key)

    def _failed(self, key: Key, error: Exception, *, conflict: bool) -> None:
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = min(LONGEST_DELAY, FIRST_DELAY * 2**failures) * random.uniform(0.8, 1.2)  # noqa: S311 - spreads retries
        # A conflict is nobody's fault: another wrote first, and the next try sees what.
        (log.debug if conflict else log.warning)(
            "work_will_be_tried_again", queue=self.name, key=str(key), error=str(error), seconds=round(delay, 1)
        )
        self.add_after(key, delay)
