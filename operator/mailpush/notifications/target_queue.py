"""The bounded queue of one target: waiting deliveries, running tries, and the time of the next try."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from heapq import heappop, heappush
from itertools import count, takewhile
from random import Random
from typing import Final

import structlog

from mailpush.notifications import backoff
from mailpush.notifications.backoff import Breaker, Circuit
from mailpush.notifications.claims.store import boottime
from mailpush.notifications.metrics import NotificationMetrics
from mailpush.notifications.open_deliveries import AlreadyTold, Delivery, OpenDeliveries, SlotSet, TryResult
from mailpush.notifications.target_health import Endings, TargetHealth
from mailpush.notifications.transports.base import Accepted, Refused, TryLater
from mailpush.work.pace import set_within

_log = structlog.get_logger(__name__)

_PAUSE: Final = 0.5  # seconds before a try that failed for a reason of ours, such as Redis being away


class TargetQueue:
    """Tries each delivery until it is accepted, refused or too old. `offer` never waits for the target."""

    def __init__(
        self,
        name: str,
        attempt: Callable[[Delivery], Awaitable[TryResult]],
        metrics: NotificationMetrics,
        *,
        bound: int,
        ttl: float,
        workers: int,
        random: Random,
        clock: Callable[[], float] = boottime,
    ) -> None:
        self.bound, self.ttl, self.workers = bound, ttl, workers
        self._name = name
        self._attempt = attempt
        self._metrics = metrics
        self._random = random
        self._clock = clock
        self._breaker = Breaker(random)
        self._trouble: str | None = None
        self._endings = Endings(name)
        self._open = OpenDeliveries()
        self._waiting: list[tuple[float, int, Delivery]] = []  # heap by the time of the next try
        self._serial = count()
        self._busy = 0
        self._wake = asyncio.Event()
        self._ended = asyncio.Event()  # set whenever a try has ended
        self._loop: asyncio.Task[None] | None = None
        self._closed = False

    def __len__(self) -> int:
        return len(self._open)

    def offer(self, delivery: Delivery) -> bool:
        """Queues the delivery; False if the queue is full or closed. One that is open already is not queued twice.

        Needs a running event loop.
        """
        if self._open.has(delivery.id):
            self._metrics.notifications.labels(self._name, "repeated").inc()
            return True
        self._drop_expired()
        if self._closed or len(self._open) >= self.bound:
            self._metrics.full.labels(self._name).inc()
            return False
        self._open.add(delivery)
        self._wait_until(self._clock(), delivery)
        if self._loop is None:
            self._loop = asyncio.create_task(self._run(), name=f"target {self._name}")
        return True

    @property
    def open(self) -> OpenDeliveries:
        """Deliveries that wait or are being tried."""
        return self._open

    def health(self) -> TargetHealth:
        now, oldest = self._clock(), next(iter(self._open), None)
        age = 0.0 if oldest is None else max(0.0, now - oldest.arrived)
        self._endings.log(now)
        return TargetHealth(len(self._open), age, self._breaker.circuit, self._trouble, self._endings.losing)

    def begin_anew(self) -> None:
        """The target has another address or secret: what waits is tried at once, whatever the former one has done."""
        self._breaker = Breaker(self._random)
        self._trouble = None
        self._endings.forget()
        self._waiting.clear()
        for delivery in self._open:
            if delivery.task is None:
                delivery.failures = 0
                self._wait_until(self._clock(), delivery)

    async def finish(self, slots: SlotSet | None, grace: float) -> None:
        """Waits until what is open for the slots (None: for all) is over, at most `grace` seconds.

        Does not wait for what cannot be tried now, such as behind an open circuit.
        """
        deadline = self._clock() + grace
        wanted = deque(self._open.of(slots))
        while self._hopeful(wanted) and (left := deadline - self._clock()) > 0:
            self._ended.clear()
            await set_within(self._ended, left)

    def release(self, slots: SlotSet | None) -> list[Delivery]:
        """Takes what is open for the slots (None: for all) out and returns it.

        A try on its way is not cut off: the target may have it already. It goes on under its claim, `released`, and
        is returned too; whoever takes it over waits for that claim.
        """
        rest = self._open.of(slots)
        for delivery in rest:
            delivery.released = True
            self._open.remove(delivery)
        self._gauge()
        return rest

    def refuse(self) -> None:
        """Takes nothing any more."""
        self._closed = True

    async def end(self) -> None:
        """Begins no try any more; those on their way go on."""
        self._closed = True
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
            self._loop = None

    async def under_way_ended(self) -> None:
        """Returns when no try is on its way."""
        while self._busy:
            self._ended.clear()
            await self._ended.wait()

    def _hopeful(self, wanted: deque[Delivery]) -> bool:
        """Whether waiting helps: a wanted one is on its way, or is due and may be tried."""
        while wanted and wanted[0] not in self._open:
            wanted.popleft()
        now = self._clock()
        blocked = self._breaker.wait(now) != 0
        return any(
            delivery.task is not None or (delivery.due <= now and not blocked)
            for delivery in wanted
            if delivery in self._open
        )

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            self._drop_expired()
            wait = self._start_due()
            self._gauge()
            await set_within(self._wake, wait)

    def _start_due(self) -> float | None:
        """Starts each delivery that is due. Returns the seconds until the next one, None if nothing waits."""
        while self._waiting:
            due, _, delivery = self._waiting[0]
            if delivery not in self._open:
                heappop(self._waiting)  # settled or expired meanwhile
                continue
            now = self._clock()
            if delivery.arrived <= now - self.ttl:
                self._expire(delivery)
                continue
            pause = self._breaker.wait(now)
            if self._busy >= self.workers or pause is None:
                return self._until_expiry(now)
            if due > now or pause > 0:
                return min(max(due - now, pause), self._until_expiry(now))
            heappop(self._waiting)
            self._breaker.starting()
            self._busy += 1
            delivery.task = asyncio.create_task(self._try(delivery))
            delivery.task.add_done_callback(partial(self._tried, delivery))
        return None

    def _until_expiry(self, now: float) -> float:
        oldest = next((each.arrived for each in self._open if each.task is None), now)
        return max(oldest + self.ttl - now, 0.0)

    async def _try(self, delivery: Delivery) -> TryResult:
        try:
            return await self._attempt(delivery)
        except Exception as error:  # a fault of ours must not end the queue
            _log.exception("a try to notify failed", target=self._name, error=error.__class__.__name__)
            return TryLater("error", of_target=False)

    def _tried(self, delivery: Delivery, task: asyncio.Task[TryResult]) -> None:
        """Called for each started task, also for one that was cancelled before its first step."""
        now = self._clock()
        result = TryLater("cancelled", of_target=False) if task.cancelled() else task.result()
        self._busy -= 1
        delivery.task = None
        self._learn(result, now)
        if isinstance(result, TryLater):
            if delivery in self._open:
                self._wait_until(now + self._pause(delivery, result), delivery)
        else:
            if delivery in self._open:
                self._open.remove(delivery)
            self._count(delivery, result, now)
        self._wake.set()
        self._ended.set()

    def _count(self, delivery: Delivery, result: Accepted | AlreadyTold | Refused, now: float) -> None:
        if isinstance(result, Accepted):
            self._metrics.notifications.labels(self._name, "accepted").inc()
            self._metrics.latency.labels(self._name).observe(max(0.0, now - delivery.arrived))
            self._endings.told()
        elif isinstance(result, AlreadyTold):
            self._metrics.notifications.labels(self._name, "told").inc()
        else:
            self._metrics.drops.labels(self._name, "refused").inc()
            self._endings.lost(result.reason, now)

    def _learn(self, result: TryResult, now: float) -> None:
        """Updates breaker and trouble from the result of a try."""
        if isinstance(result, AlreadyTold):
            self._breaker.inconclusive()
            return
        self._metrics.tries.labels(self._name, "accepted" if isinstance(result, Accepted) else result.reason).inc()
        if isinstance(result, Accepted):
            self._trouble = None
            self._breaker.succeeded()
            return
        self._trouble = result.reason
        if isinstance(result, Refused):
            self._breaker.succeeded()
        elif result.of_target:
            self._breaker.failed(now)
            self._breaker.hold(now + (result.after or 0.0))
        else:
            self._breaker.inconclusive()

    def _pause(self, delivery: Delivery, result: TryLater) -> float:
        if not result.of_target:
            return max(result.after or 0.0, _PAUSE)
        delivery.failures += 1
        return max(result.after or 0.0, backoff.RETRY.after(delivery.failures, self._random.random))

    def _wait_until(self, due: float, delivery: Delivery) -> None:
        delivery.due = due
        heappush(self._waiting, (due, next(self._serial), delivery))
        self._wake.set()

    def _drop_expired(self) -> None:
        horizon = self._clock() - self.ttl
        old = list(takewhile(lambda delivery: delivery.arrived <= horizon, self._open))
        for delivery in old:
            if delivery.task is None:
                self._expire(delivery)

    def _expire(self, delivery: Delivery) -> None:
        self._open.remove(delivery)
        self._metrics.drops.labels(self._name, "expired").inc()
        self._endings.lost(self._trouble or "expired", self._clock())

    def _gauge(self) -> None:
        self._metrics.open.labels(self._name).set(len(self._open))
        self._metrics.circuit_open.labels(self._name).set(self._breaker.circuit is not Circuit.CLOSED)
