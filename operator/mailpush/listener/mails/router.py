"""Brings each new mail to the pod that owns its user.

Dovecot has one callback URL for all users, so a callback reaches any pod. That pod has answered for the mail: it keeps
it until its own listeners or the owner's have taken it, follows the user when it moves, and gives up after 15 minutes.
"""

import asyncio
import heapq
import itertools
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import structlog

from mailpush.listener.mails import metrics
from mailpush.listener.mails.journal import Entry, Journal
from mailpush.listener.mails.offer import Local, TakeResult
from mailpush.listener.mails.open_entries import OpenEntries, OpenUsers
from mailpush.listener.mails.peers import Answer, PeerAnswer, Peers
from mailpush.notifications.notification import NewMail
from mailpush.sharding.slots import slot_of
from mailpush.work.pace import Backoff, set_within

log = structlog.get_logger(__name__)

OwnerOf = Callable[[int], str | None]
"""The name of the pod that owns a slot now, as far as is known here."""

TIME_TO_LIVE_SECONDS: Final = 900.0
RETRY: Final = Backoff(0.1, 5.0)
CAPACITY: Final = 20_000
"""Mails that may be on their way; beyond it Dovecot gets a 503."""
SENDS_TO_ONE: Final = 4
"""Mails on their way to one pod at the same time."""
IN_ONE_GO: Final = 50
"""Mails routed before the loop may do something else: it has callbacks to answer."""

_OUTCOMES: Final = {
    TakeResult.TAKEN: "taken",
    TakeResult.DENIED: "denied",
    TakeResult.UNKNOWN: "unknown_user",
}


@dataclass(slots=True)
class _Item:
    entry: Entry
    until: float
    """By the monotonic clock: a step of the wall clock must not make a mail old."""
    tries: int = 0
    hint: str | None = None
    """The owner as another pod named it: good for one try."""


@dataclass(slots=True)
class _Peer:
    sending: int = 0
    failures: int = 0
    rest_until: float = 0.0
    waiting: deque[_Item] = field(default_factory=deque)


class Router:
    """One per process. `offer` may be called before `run`: a pod takes callbacks before it knows who owns what.

    Args:
        me: this pod's name.
        local: offers a mail to this pod's own listeners.
        open_now: users whose mails the dispatcher has not told yet; they stay in the journal until it has.
        clock: monotonic seconds. now: Unix seconds, as the journal's.
    """

    def __init__(
        self,
        *,
        me: str,
        local: Local,
        owner_of: OwnerOf,
        peers: Peers,
        journal: Journal,
        open_now: OpenUsers = frozenset,
        capacity: int = CAPACITY,
        time_to_live: float = TIME_TO_LIVE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._me = me
        self._local = local
        self._owner_of = owner_of
        self._peers = peers
        self._journal = journal
        self._telling = OpenEntries(journal, open_now)
        self._capacity = capacity
        self._time_to_live = time_to_live
        self._clock = clock
        self._now = now
        self._due: list[tuple[float, int, _Item]] = []
        self._serial = itertools.count()
        self._state: dict[str, _Peer] = {}
        self._sends: set[asyncio.Task[None]] = set()
        self._pending = 0
        self._changed = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        for entry in journal.replay():
            self._begin(entry)

    @property
    def pending(self) -> int:
        """Mails that this pod has answered for and that are not yet where they belong."""
        return self._pending

    def offer(self, mail: NewMail, age: float = 0.0) -> bool:
        """Takes a new mail into the journal and the queue, at once; False when there is no room.

        `age`: seconds since it arrived, for one that the dispatcher gives back (`Undelivered`).
        """
        if self._pending >= self._capacity:
            return False
        entry = self._journal.append(mail, age)
        while entry is None and self._telling.shed():
            entry = self._journal.append(mail, age)
        if entry is None:
            return False
        self._begin(entry)
        return True

    def take(self, mail: NewMail) -> TakeResult:
        """Offers a mail that another pod hands over to this pod's listeners only; what they take is in the journal."""
        result = self._local(mail)
        if result is TakeResult.TAKEN and (entry := self._journal.append(mail)):
            self._telling.add(entry)
        return result

    def ownership_changed(self) -> None:
        """Slots have come, gone or moved: what waits for an owner is looked at again at once."""
        now = self._clock()
        self._due = [(min(due, now), serial, item) for due, serial, item in self._due]
        heapq.heapify(self._due)
        self._changed.set()

    async def run(self) -> None:
        """Routes until cancelled; what is then left stays in the journal."""
        sweeps = asyncio.create_task(self._telling.run())
        try:
            while True:
                self._changed.clear()
                self._route_due()
                await self._until_due()
        finally:
            tasks = [sweeps, *self._sends]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            self._telling.sweep()

    async def flush(self, seconds: float) -> int:
        """Waits, while `run` runs, until nothing is pending, at most so long. Gives what is left."""
        try:
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        except TimeoutError:
            log.warning("handover_left_over", mails=self._pending)
        return self._pending

    def _begin(self, entry: Entry) -> None:
        self._pending += 1
        metrics.PENDING.set(self._pending)
        self._empty.clear()
        age = min(max(self._now() - entry.at, 0.0), self._time_to_live)
        self._later(_Item(entry, self._clock() + self._time_to_live - age), 0.0)

    def _finish(self, item: _Item, outcome: str) -> None:
        if outcome == "taken":
            self._telling.add(item.entry)
        else:
            self._journal.done(item.entry)
        self._pending -= 1
        metrics.PENDING.set(self._pending)
        metrics.HANDOVERS.labels(outcome).inc()
        if self._pending == 0:
            self._empty.set()

    def _later(self, item: _Item, seconds: float) -> None:
        heapq.heappush(self._due, (self._clock() + seconds, next(self._serial), item))
        self._changed.set()

    def _retry(self, item: _Item) -> None:
        item.tries += 1
        self._later(item, RETRY.after(item.tries))

    def _route_due(self) -> None:
        now = self._clock()
        for _ in range(IN_ONE_GO):
            if not self._due or self._due[0][0] > now:
                return
            self._route(heapq.heappop(self._due)[2])

    async def _until_due(self) -> None:
        """Also gives way to others when there is more to do at once."""
        if self._changed.is_set() or not self._due:
            await asyncio.sleep(0)
            if not self._due:
                await self._changed.wait()
            return
        wait = self._due[0][0] - self._clock()
        if wait <= 0:
            await asyncio.sleep(0)
            return
        await set_within(self._changed, wait)

    def _route(self, item: _Item) -> None:
        mail = item.entry.mail
        if self._clock() >= item.until:
            log.warning("handover_expired", context=mail.context_id, user=mail.user_id)
            self._finish(item, "expired")
            return
        result = self._local(mail)
        if result is not TakeResult.NOT_MINE:
            self._finish(item, _OUTCOMES[result])
            return
        owner = item.hint or self._owner_of(slot_of(mail.context_id, mail.user_id))
        item.hint = None
        if owner is None or owner == self._me:
            self._retry(item)  # nobody has it, or we are to have it and do not yet
            return
        self._send_or_wait(item, owner)

    def _send_or_wait(self, item: _Item, owner: str) -> None:
        peer = self._state.setdefault(owner, _Peer())
        rest = peer.rest_until - self._clock()
        if rest > 0:
            self._later(item, rest)  # and then the owner is looked up anew
        elif peer.sending >= (1 if peer.failures else SENDS_TO_ONE):
            peer.waiting.append(item)
        else:
            peer.sending += 1
            task = asyncio.create_task(self._send(item, owner, peer))
            self._sends.add(task)
            task.add_done_callback(self._sends.discard)

    async def _send(self, item: _Item, owner: str, peer: _Peer) -> None:
        try:
            self._answered(item, peer, await self._peers.post(owner, item.entry.mail))
        finally:
            peer.sending -= 1
            ready = len(peer.waiting) if peer.failures else min(1, len(peer.waiting))
            for _ in range(ready):
                self._later(peer.waiting.popleft(), 0.0)
            if not peer.sending and not peer.waiting and not peer.failures:
                self._state.pop(owner, None)

    def _answered(self, item: _Item, peer: _Peer, answer: PeerAnswer) -> None:
        if answer.answer is Answer.UNREACHABLE:
            metrics.HANDOVERS.labels("unreachable").inc()
            if peer.rest_until <= (now := self._clock()):  # of those that were on their way together, one counts
                peer.failures += 1
                peer.rest_until = now + RETRY.after(peer.failures)
            self._retry(item)
            return
        peer.failures, peer.rest_until = 0, 0.0
        match answer.answer:
            case Answer.TAKEN:
                self._finish(item, "handed_over")
            case Answer.UNKNOWN_USER:
                self._finish(item, "unknown_user")
            case Answer.NOT_MINE:
                item.hint = answer.owner if answer.owner != self._me else None
                self._retry(item)
            case _:
                metrics.HANDOVERS.labels("refused").inc()
                self._retry(item)
