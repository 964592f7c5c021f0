"""A queue of keys: each is worked on once at a time, and once more where it was added meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

import structlog

K = TypeVar("K", bound=Hashable)

RETRY_SECONDS: Final = 5.0

log = structlog.get_logger(__name__)


class KeyedWork(Generic[K]):
    """Calls `do(key)` for each key that is added, `workers` at a time; a failure is logged and tried again."""

    def __init__(self, do: Callable[[K], Awaitable[None]], *, workers: int = 32) -> None:
        self._do = do
        self._workers = workers
        self._queued: dict[K, None] = {}  # ordered, as dicts are
        self._again: set[K] = set()
        self._tasks: dict[K, asyncio.Task[None]] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}

    def add(self, key: K) -> None:
        if timer := self._timers.pop(key, None):
            timer.cancel()
        if key in self._tasks:
            self._again.add(key)
            return
        self._queued[key] = None
        self._fill()

    def add_later(self, key: K, seconds: float) -> None:
        """As `add`, after `seconds`; an earlier time that is set already stays."""
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= loop.time() + seconds:
                return
            timer.cancel()
        self._timers[key] = loop.call_later(seconds, self.add, key)

    async def interrupt(self, key: K) -> None:
        """Takes `key` out: returns when nobody works on it. What was begun is cancelled."""
        self._queued.pop(key, None)
        self._again.discard(key)
        if timer := self._timers.pop(key, None):
            timer.cancel()
        task = self._tasks.get(key)
        if task is not None and task is not asyncio.current_task():
            task.cancel()
            await asyncio.wait({task})

    async def idle(self) -> None:
        """Returns when nothing is queued or being worked on; what was put off with `add_later` does not count."""
        while self._tasks:
            await asyncio.wait(set(self._tasks.values()))

    async def close(self) -> None:
        for key in [*self._timers, *self._queued, *self._tasks]:
            await self.interrupt(key)

    def _fill(self) -> None:
        while self._queued and len(self._tasks) < self._workers:
            key = next(iter(self._queued))
            del self._queued[key]
            self._tasks[key] = asyncio.create_task(self._one(key))

    async def _one(self, key: K) -> None:
        try:
            await self._do(key)
        except Exception:
            log.exception("work_failed", retry_in=RETRY_SECONDS)
            self.add_later(key, RETRY_SECONDS)
        finally:
            del self._tasks[key]
            if key in self._again:
                self._again.discard(key)
                self._queued[key] = None
            self._fill()
