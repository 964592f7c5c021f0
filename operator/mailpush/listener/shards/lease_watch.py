"""The Leases that a pod has to see: its own, and those of its givers for as long as they have something to give (P7).

A hundred pods renew theirs every three seconds, so a pod that watched them all would get 33 a second for nothing. Those
of others are read when there is a question.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, Protocol

from mailpush import names
from mailpush.kube.client import Kube, Object
from mailpush.kube.errors import KubeError
from mailpush.kube.reflector import Change, Reflector
from mailpush.kube.resources import LEASE
from mailpush.sharding.leases import LeaseState, parse_lease
from mailpush.work.clock import Clock, boottime

ANSWER_SECONDS: Final = 5.0
"""For a read, a page of a list, and until a watch begins: a takeover, which waits for it, has 20."""
MOST_WATCHES: Final = 16
"""With more givers than this all Leases are watched meanwhile: each watch takes a connection."""
KNOWN_SECONDS: Final = 10.0
"""For how long what was read of one Lease counts, and until it is read again."""
ALL_SECONDS: Final = 2.0
EVERY: Final = ""
"""In place of a name."""


class LeaseObserver(Protocol):
    """The shards, as the Leases see them."""

    def observe_lease(self, change: Change, obj: Object) -> None:
        """A Lease as the API has it."""

    def forget_lease(self, name: str) -> None:
        """The Lease is not looked at any more: what is known of it gets old."""

    def leases_listed(self, leases: dict[str, LeaseState]) -> None:
        """All Leases of the MailPushConfig, by the names of their pods; asked for by `look_at_all_soon`."""


class LeaseWatch:
    """Watches the Lease of the pod `me`, and those that `watch` names; `run` it until cancelled."""

    def __init__(self, kube: Kube, namespace: str, config: str, me: str, *, clock: Clock = boottime) -> None:
        self._kube = kube
        self._namespace = namespace
        self._me = me
        self._selector = f"{names.CONFIG_LABEL}={config}"
        self._clock = clock
        self._observer: LeaseObserver | None = None
        self._wanted = frozenset({me})
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._seen: set[str] = set()
        """Those that the observer knows."""
        self._looked: dict[str, float] = {}
        self._all_looked = float("-inf")
        self._looks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()

    def notify(self, observer: LeaseObserver) -> None:
        self._observer = observer

    def watch(self, givers: frozenset[str]) -> None:
        """Says which are watched from now on, beside the own one."""
        wanted = givers | {self._me}
        if len(wanted) > MOST_WATCHES:
            wanted = frozenset({EVERY})
        if wanted != self._wanted:
            self._wanted = wanted
            self._wake.set()

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    self._arrange(group)
                    await self._wake.wait()
                    self._wake.clear()
        finally:
            for look in self._looks:
                look.cancel()

    # -- questions

    def look(self, pod: str) -> None:
        """Has the Lease of one pod read now, unless it was lately. The observer gets it, and loses it again soon."""
        now = self._clock()
        if now - self._looked.get(pod, float("-inf")) >= KNOWN_SECONDS:
            self._looked = {name: at for name, at in self._looked.items() if now - at < KNOWN_SECONDS}
            self._looked[pod] = now
            self._start(self._look(pod))

    def look_at_all_soon(self) -> None:
        """Has all of them read, unless they were just now."""
        now = self._clock()
        if now - self._all_looked >= ALL_SECONDS:
            self._all_looked = now
            self._start(self._look_at_all())

    async def all(self) -> dict[str, LeaseState]:
        """All Leases of the MailPushConfig now, by the names of their pods. Raises KubeError."""
        found, _ = await self._kube.list(
            LEASE, self._namespace, label_selector=self._selector, answer_seconds=ANSWER_SECONDS
        )
        return {one["metadata"]["name"]: parse_lease(one) for one in found}

    # -- inside

    def _arrange(self, group: asyncio.TaskGroup) -> None:
        for name in self._watches.keys() - self._wanted:
            self._watches.pop(name).cancel()
        for name in list(self._seen):
            self._forget(name)
        for name in self._wanted - self._watches.keys():
            reflector = Reflector(
                self._kube,
                LEASE,
                self._namespace,
                self._changed,
                label_selector=self._selector if name == EVERY else None,
                field_selector=None if name == EVERY else f"metadata.name={name}",
                answer_seconds=ANSWER_SECONDS,
            )
            self._watches[name] = group.create_task(reflector.run())

    def _changed(self, change: Change, obj: Object) -> None:
        self._seen.add(obj["metadata"]["name"])
        if self._observer is not None:
            self._observer.observe_lease(change, obj)

    def _forget(self, name: str) -> None:
        if self._wanted.isdisjoint({name, EVERY}):
            self._seen.discard(name)
            if self._observer is not None:
                self._observer.forget_lease(name)

    def _start(self, look: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(look)
        self._looks.add(task)
        task.add_done_callback(self._looks.discard)

    async def _look(self, pod: str) -> None:
        try:
            found = await self._kube.find(LEASE, self._namespace, pod, answer_seconds=ANSWER_SECONDS)
        except KubeError:
            return  # whoever needs it asks again
        if found is None:
            return
        self._changed("MODIFIED", found)
        await asyncio.sleep(KNOWN_SECONDS)
        self._forget(pod)

    async def _look_at_all(self) -> None:
        try:
            found = await self.all()
        except KubeError:
            return
        if self._observer is not None:
            self._observer.leases_listed(found)
