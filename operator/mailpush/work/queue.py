"""A queue of keys: each at most once in it, never worked on twice at a time, tried again with a growing delay."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

import structlog

from mailpush.work.pace import Backoff

Key = TypeVar("Key", bound=Hashable)
Work = Callable[[Key], Awaitable[None]]

RETRY: Final = Backoff(0.5, 60.0)
TICK_SECONDS: Final = 5.0

log = structlog.get_logger(__name__)


class WorkQueue(Generic[Key]):
    """Calls the work that `start` or `run` is given for each key, `workers` at a time.

    A key that is added while it is worked on is worked on once more: what changed meanwhile may have been read before
    the change. Each key has a task of its own, so that the event loop comes to everything else in between, whatever
    `work` awaits: a queue of 100,000 keys must not hold the renewal of a Lease.

    Args:
        expected: exceptions of the work of which the text is logged, without a traceback.
        conflicts: exceptions that are nobody's fault, such as an earlier write of another: logged for debugging only.
    """

    def __init__(
        self,
        name: str,
        *,
        workers: int = 1,
        expected: tuple[type[Exception], ...] = (),
        conflicts: tuple[type[Exception], ...] = (),
        retry: Backoff = RETRY,
    ) -> None:
        self.name = name
        self._workers = workers
        self._expected = expected
        self._conflicts = conflicts
        self._retry = retry
        self._work: Work[Key] | None = None
        self._queued: dict[Key, None] = {}  # ordered, as dicts are
        self._first: dict[Key, None] = {}
        self._again: set[Key] = set()
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}

    def __len__(self) -> int:
        """Keys that wait for a worker; those that wait for their time do not count."""
        return len(self._first) + len(self._queued) + len(self._again)

    def add(self, key: Key, *, first: bool = False) -> None:
        """As soon as may be; `first`: before all that were added without."""
        if timer := self._timers.pop(key, None):
            timer.cancel()
        if key in self._tasks:
            self._again.add(key)
        elif key not in self._first:
            if first:
                self._queued.pop(key, None)
            (self._first if first else self._queued)[key] = None
            self._fill()

    def add_after(self, key: Key, seconds: float) -> None:
        """After `seconds`; an earlier time that is set already stays."""
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= due:
                return
            timer.cancel()
        self._timers[key] = loop.call_at(due, self.add, key)

    def start(self, work: Work[Key]) -> None:
        """Begins; keys that were added before have waited for it.

        `work`: an exception in it is logged, and the key is tried again: one bad key does not stop the others.
        """
        self._work = work
        self._fill()

    async def run(self, work: Work[Key], tick: Callable[[], None] = lambda: None) -> None:
        """Works as after `start` until cancelled, and calls `tick` now and then, unless all workers hang."""
        self.start(work)
        try:
            while True:
                done: set[asyncio.Task[None]] = set()
                if self._tasks:
                    running = self._tasks.values()
                    done, _ = await asyncio.wait(running, timeout=TICK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                else:
                    await asyncio.sleep(TICK_SECONDS)
                if done or len(self._tasks) < self._workers:
                    tick()
        finally:
            self._work = None
            await self.close()

    async def interrupt(self, key: Key) -> None:
        """Takes `key` out: returns when nobody works on it. What was begun is cancelled."""
        self._queued.pop(key, None)
        self._first.pop(key, None)
        self._again.discard(key)
        self._failures.pop(key, None)
        if timer := self._timers.pop(key, None):
            timer.cancel()
        task = self._tasks.get(key)
        if task is not None and task is not asyncio.current_task():
            task.cancel()
            await asyncio.wait({task})

    async def idle(self) -> None:
        """Returns when nothing is queued or worked on; what waits for its time does not count."""
        while self._tasks:
            await asyncio.wait(set(self._tasks.values()))

    async def close(self) -> None:
        """Takes all keys out."""
        for key in [*self._timers, *self._first, *self._queued, *self._tasks]:
            await self.interrupt(key)

    def _fill(self) -> None:
        while self._work is not None and len(self._tasks) < self._workers:
            if not (lane := self._first or self._queued):
                return
            key = next(iter(lane))
            del lane[key]
            self._tasks[key] = asyncio.create_task(self._one(key, self._work))

    async def _one(self, key: Key, work: Work[Key]) -> None:
        try:
            await work(key)
            self._failures.pop(key, None)
        except Exception as error:
            self._failed(key, error)
        finally:
            del self._tasks[key]
            if key in self._again:
                self._again.discard(key)
                self._queued[key] = None
            self._fill()

    def _failed(self, key: Key, error: Exception) -> None:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = self._retry.after(failures)
        if not isinstance(error, (*self._expected, *self._conflicts)):
            log.exception("work_failed", queue=self.name, retry_in=round(delay, 1))
        else:
            say = log.debug if isinstance(error, self._conflicts) else log.warning
            say("work_will_be_retried", queue=self.name, key=str(key), error=str(error), retry_in=round(delay, 1))
        self.add_after(key, delay)
