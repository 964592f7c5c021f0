"""Reads the PushUsers of the slots that this pod has or is about to have, and no others.

Slots that are gained get a list and a watch of their own at once, so that they can be taken as soon as they are free;
now and then the watches are put together again, without another list.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from typing import Final, Protocol

import structlog

from mailpush.kube.client import Kube
from mailpush.kube.errors import KubeError
from mailpush.kube.resources import PUSH_USER
from mailpush.listener.users.slot_watch import Progress, SlotWatch
from mailpush.listener.users.watch import Users
from mailpush.sharding.slots import SLOTS
from mailpush.work.pace import Backoff

ALL: Final = frozenset(range(SLOTS))
SELECTED: Final = 700
"""Slots of one watch: some 4 kB of address, half of what the strictest proxies take."""
EVERYTHING: Final = 8 * SELECTED
"""With more slots than this a pod reads all users of its MailPushConfig, and passes over those of other slots."""
SPARE_WATCHES: Final = 6
"""Watches more than are needed, before they are put together."""
LISTS_AT_ONCE: Final = 2
RETRY: Final = Backoff(0.4, 15.0)

log = structlog.get_logger(__name__)


class ReadObserver(Protocol):
    """Who waits for users to be read."""

    def users_listed(self) -> None:
        """Some more have been."""


class UserReader:
    """`want` says which slots are read, `run` reads them until cancelled, into `users`."""

    def __init__(self, kube: Kube, namespace: str, config: str, users: Users) -> None:
        self._kube = kube
        self._namespace = namespace
        self._config = config
        self._users = users
        self._observer: ReadObserver | None = None
        self._wanted: frozenset[int] = frozenset()
        self._everybody = False
        self._asked = False
        self._ready = False
        self._reachable = False
        self._too_long = False
        self._listed: set[int] = set()
        self._watches: dict[SlotWatch, asyncio.Task[None]] = {}
        self._lists = asyncio.Semaphore(LISTS_AT_ONCE)
        self._wake = asyncio.Event()

    def notify(self, observer: ReadObserver) -> None:
        """`observer` learns each time that some more have been listed."""
        self._observer = observer

    # -- what is to be read

    def want(self, slots: frozenset[int]) -> None:
        """From now on these slots are read; users of all others are forgotten at once."""
        first, self._asked = not self._asked, True
        if first or slots != self._wanted:
            self._wanted = slots
            self._changed()

    def want_everybody(self, everybody: bool) -> None:
        """Whether the users of all slots are read, whoever has them."""
        if everybody != self._everybody:
            self._everybody = everybody
            self._changed()

    # -- what has been read

    def ready(self) -> bool:
        """Whether this pod can take slots: it can read users, and had read all that it was to when it began."""
        return self._ready

    def knows_all(self) -> bool:
        """Whether the users of all slots are read."""
        return self._everybody and len(self._listed) == SLOTS

    def listed(self, slots: Collection[int]) -> frozenset[int]:
        """Those of the slots whose users have been read, and are watched."""
        return frozenset(self._listed.intersection(slots))

    # -- reading

    async def run(self) -> None:
        await self._probe()
        async with asyncio.TaskGroup() as group:
            while True:
                self._arrange(group)
                await self._wake.wait()
                self._wake.clear()

    async def _probe(self) -> None:
        """A pod without slots has no users to list: one small request shows that it could."""
        failures = 0
        while True:
            try:
                await self._kube.probe(PUSH_USER, self._namespace)
            except KubeError as error:
                failures += 1
                if failures == 1 or failures % 10 == 0:
                    log.warning("push_users_unreadable", error=str(error), failures=failures)
                await asyncio.sleep(RETRY.after(failures))
            else:
                self._reachable = True
                self._look()
                return

    def _changed(self) -> None:
        gone = {slot for watch in self._watches for slot in watch.held} - self._all_wanted()
        if gone:
            left = self._users.forget(gone)
            for watch in self._watches:
                watch.release(gone, left)
            self._listed -= gone
        self._wake.set()
        self._look()

    def _all_wanted(self) -> frozenset[int]:
        return ALL if self._everybody else self._wanted

    def _was_listed(self, watch: SlotWatch) -> None:
        self._listed |= watch.held
        self._look(some=True)

    def _look(self, *, some: bool = False) -> None:
        """Looks whether all that is wanted has been read; `some` more has."""
        ready = self._reachable and self._asked and self._listed.issuperset(self._all_wanted())
        became_ready = ready and not self._ready
        self._ready |= ready
        if self._observer is not None and (some or became_ready):
            self._observer.users_listed()

    # -- the watches

    def _arrange(self, group: asyncio.TaskGroup) -> None:
        """Ends watches that nobody needs, begins those that are missing, and puts them together where they are many."""
        for watch in [watch for watch in self._watches if not watch.held]:
            self._end(watch)
        missing = self._all_wanted().difference(*(watch.held for watch in self._watches))
        self._begin(group, missing)
        listed = [watch for watch in self._watches if (watch.version or "").isdecimal()]
        if len(self._watches) > len(self._parts(self._all_wanted())) + SPARE_WATCHES and len(listed) > 1:
            self._merge(group, listed)

    def _parts(self, slots: Collection[int]) -> list[tuple[int, ...]]:
        """The slots of each watch."""
        if not slots:
            return []
        if self._too_long or len(slots) > EVERYTHING:
            return [tuple(sorted(slots))]
        ordered = sorted(slots)
        return [tuple(ordered[begin : begin + SELECTED]) for begin in range(0, len(ordered), SELECTED)]

    def _begin(
        self, group: asyncio.TaskGroup, slots: Collection[int], through: Mapping[int, str] | None = None
    ) -> None:
        for part in self._parts(slots):
            progress = None
            if through is not None:
                seen = {slot: through[slot] for slot in part}
                progress = Progress(min(seen.values(), key=int), self._users.versions(part), seen)
            watch = SlotWatch(
                self._kube,
                self._namespace,
                self._config,
                part,
                self._users.observe,
                selects=not self._too_long and len(slots) <= EVERYTHING,
                on_listed=self._was_listed,
                on_too_long=self._is_too_long,
                lists=self._lists,
                progress=progress,
            )
            self._watches[watch] = group.create_task(watch.reflector.run())

    def _merge(self, group: asyncio.TaskGroup, watches: Iterable[SlotWatch]) -> None:
        """Fewer in place of these. They go on where the one that is least far has come to, and pass over what the
        others have seen beyond that."""
        through: dict[int, str] = {}
        for watch in watches:
            through |= dict.fromkeys(watch.held, watch.version or "")
            self._end(watch)
        self._begin(group, through, through)

    def _end(self, watch: SlotWatch) -> None:
        self._watches.pop(watch).cancel()

    def _is_too_long(self, watch: SlotWatch) -> None:
        log.warning(
            "selector_too_long",
            slots=len(watch.asked),
            hint="what answers for the Kubernetes API takes no address of 4 kB: each pod reads all users",
        )
        self._too_long = True
        watch.held.clear()
        self._wake.set()
