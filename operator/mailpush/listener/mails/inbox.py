"""Mails that this pod has answered for and that are not yet where they belong: in the journal, and in a queue by time.

Whoever has a mail puts it here at once: the callback, a mechanism that has seen one, the dispatcher that gives one
back, a process that replays the journal of a killed one. The router takes it from here.
"""

import asyncio
import heapq
import itertools
import time
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

import structlog

from mailpush.listener.mails import metrics
from mailpush.listener.mails.journal import Journal
from mailpush.listener.mails.journal_lines import Entry
from mailpush.listener.mails.open_entries import OpenEntries
from mailpush.notifications.dispatcher import Undelivered
from mailpush.notifications.notification import NewMail
from mailpush.work.clock import Clock
from mailpush.work.pace import set_within

TIME_TO_LIVE_SECONDS: Final = 900.0
CAPACITY: Final = 20_000
"""Mails that may be on their way; beyond it Dovecot gets a 503."""
NOWHERE: Final = 0
"""The number of an entry that is not in the journal."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Item:
    """A mail on its way."""

    entry: Entry
    until: float
    """By the monotonic clock: a step of the wall clock must not make a mail old."""
    tries: int = 0
    place: int = -1
    """The number of its place in the queue; any other is one that it has left."""
    owned: int | None = None
    """Its slot, where this pod has it and the mail waits for something else."""
    hint: str | None = None
    """The owner as another pod named it: good for one try."""
    busy: bool = False
    """Its owner had no room for this user's mails."""

    @property
    def mail(self) -> NewMail:
        return self.entry.mail


class Inbox:
    """One per process. It takes mails before the pod knows who owns what.

    Args:
        open_entries: keeps mails in the journal that this pod's dispatcher has taken.
        clock: monotonic seconds. now: Unix seconds, as the journal's.
    """

    def __init__(
        self,
        journal: Journal,
        open_entries: OpenEntries,
        *,
        capacity: int = CAPACITY,
        time_to_live: float = TIME_TO_LIVE_SECONDS,
        clock: Clock = time.monotonic,
        now: Clock = time.time,
    ) -> None:
        self._journal = journal
        self._open_entries = open_entries
        self._capacity = capacity
        self._time_to_live = time_to_live
        self._clock = clock
        self._now = now
        self._due: list[tuple[float, int, Item]] = []
        self._for_owner: dict[int, Item] = {}
        """Those in the queue that another owner may help, by their place."""
        self._of_slot: dict[int, dict[int, Item]] = {}
        """The others, by slot and place."""
        self._serial = itertools.count()
        self._pending = 0
        self._changed = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        for entry in journal.replay():
            self._begin(_again(entry))

    @property
    def pending(self) -> int:
        """Mails that are not yet where they belong."""
        return self._pending

    def offer(self, mail: NewMail) -> bool:
        """Takes a new mail into the journal and the queue, at once; False when there is no room.

        Where the disk does not take it, it is in memory only: nobody else has it, so that is better than to refuse it.
        """
        if self._pending >= self._capacity:
            return False
        entry = self._journal.append(mail)
        while entry is None and self._open_entries.shed():
            entry = self._journal.append(mail)
        if entry is None:
            return False
        self._begin(entry)
        return True

    def record(self, mail: NewMail) -> Entry | None:
        """Takes a mail that another pod keeps meanwhile into the journal alone; None where there is no room."""
        return self._journal.append(mail)

    def holds(self, entry: Entry) -> bool:
        """Whether the next process would find the mail, if this one were killed."""
        return self._journal.holds(entry)

    def give_back(self, rest: Undelivered) -> None:
        """Takes a mail that the dispatcher had and has not sent: for the next owner of the user.

        There is always room: the journal has the mail already, or the dispatcher had it in memory only.
        """
        entry = self._open_entries.take_out(rest.mail) or self._journal.append(rest.mail, rest.age)
        self._begin(_again(entry or Entry(NOWHERE, self._now() - rest.age, rest.mail)))

    def ownership_changed(self, slots: Collection[int] = ()) -> None:
        """Some slots have another owner: what waits for one is looked at again at once.

        `slots`: those that this pod has begun or stopped; of them also what waits for anything else.
        """
        waiting, self._for_owner = list(self._for_owner.values()), {}
        for slot in slots:
            waiting += self._of_slot.pop(slot, {}).values()
        for item in waiting:
            self.later(item, 0.0)
        self._changed.set()

    # -- the router's side

    def next_due(self) -> Item | None:
        """Takes the next mail whose time has come out of the queue."""
        now = self._clock()
        while self._due and self._due[0][0] <= now:
            _, place, item = heapq.heappop(self._due)
            if item.place == place:
                self._leave(item)
                return item
        return None

    async def until_due(self) -> None:
        """Waits until there may be something due; also gives way to others when there is at once."""
        if self._changed.is_set() or not self._due:
            await asyncio.sleep(0)
            if not self._due:
                await self._changed.wait()
            self._changed.clear()
            return
        wait = self._due[0][0] - self._clock()
        if wait <= 0:
            await asyncio.sleep(0)
            return
        await set_within(self._changed, wait)
        self._changed.clear()

    def later(self, item: Item, seconds: float, *, owned: int | None = None) -> None:
        """Puts a mail back: it is due after `seconds`, or as soon as slots have another owner.

        `owned`: its slot, where this pod has it; only a change of this one is of interest then, as for thousands of
        mails that wait for a target.
        """
        item.place, item.owned = next(self._serial), owned
        heapq.heappush(self._due, (self._clock() + seconds, item.place, item))
        if owned is None:
            self._for_owner[item.place] = item
        else:
            self._of_slot.setdefault(owned, {})[item.place] = item
        self._changed.set()

    def expired(self, item: Item) -> bool:
        return self._clock() >= item.until

    def finish(self, item: Item, outcome: str) -> None:
        """The mail is where it belongs, or is given up. `taken`: this pod's own dispatcher has it."""
        if outcome == "taken":
            self._open_entries.add(item.entry)
        else:
            self._journal.done(item.entry)
            if outcome != "handed_over":
                self._open_entries.ended(item.mail)
        self._pending -= 1
        metrics.PENDING.set(self._pending)
        metrics.HANDOVERS.labels(outcome).inc()
        if self._pending == 0:
            self._empty.set()

    def keep(self, entry: Entry) -> None:
        """A mail that was only recorded is with this pod's own dispatcher."""
        self._open_entries.add(entry)

    def forget(self, entry: Entry) -> None:
        """A mail that was only recorded is not ours."""
        self._journal.done(entry)

    async def flush(self, seconds: float) -> int:
        """Waits, while the router runs, until nothing is pending, at most so long. Returns what is left."""
        if not await set_within(self._empty, seconds):
            log.warning("handover_left_over", mails=self._pending)
        return self._pending

    def _leave(self, item: Item) -> None:
        if item.owned is None:
            self._for_owner.pop(item.place, None)
        elif (of_slot := self._of_slot.get(item.owned)) is not None:
            of_slot.pop(item.place, None)
            if not of_slot:
                del self._of_slot[item.owned]

    def _begin(self, entry: Entry) -> None:
        self._pending += 1
        metrics.PENDING.set(self._pending)
        self._empty.clear()
        age = min(max(self._now() - entry.at, 0.0), self._time_to_live)
        self.later(Item(entry, self._clock() + self._time_to_live - age), 0.0)


def _again(entry: Entry) -> Entry:
    """Of a mail that may have been told already: by a former process, or by a request that is on its way."""
    return replace(entry, mail=replace(entry.mail, again=True))
