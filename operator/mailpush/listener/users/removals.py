"""Stored passwords of users who are gone: deleted after the user is unregistered, and only when the API says so."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Final

import structlog
from pydantic import ValidationError

from mailpush import names
from mailpush.credentials.storage import StorageUnavailableError
from mailpush.kube.client import Kube
from mailpush.kube.errors import KubeError
from mailpush.kube.resources import PUSH_USER
from mailpush.listener.users.stored_entries import StoredEntries
from mailpush.listener.users.user import User, UserKey, key_of
from mailpush.work.clock import Clock
from mailpush.work.pace import Backoff, Pace
from mailpush.work.queue import WorkQueue

PAGE: Final = 500
ROUND_SECONDS: Final = 3600.0
SEEN_SECONDS: Final = 3600.0
"""An entry is without a user for so long, as this pod sees it, before it is looked at."""
OLD_SECONDS: Final = 7 * 86_400
"""A password may be put, or thousands imported, days before the PushUsers are made."""
PER_SECOND: Final = 10.0

log = structlog.get_logger(__name__)


class Removals:
    """Deletes the entry of a user that is `gone`, once a GET of the very PushUser says so.

    A watch's DELETED or a list that lacks the user is no proof: it may be another version's, or cut short.
    """

    def __init__(self, kube: Kube, namespace: str, config: str, entries: StoredEntries) -> None:
        self._kube = kube
        self._namespace = namespace
        self._config = config
        self._entries = entries
        self._pace = Pace(PER_SECOND, PER_SECOND)
        self._queue: WorkQueue[UserKey] = WorkQueue(
            "removals",
            workers=2,
            expected=(KubeError, StorageUnavailableError, TimeoutError),
            retry=Backoff(5.0, 600.0),
        )

    def start(self) -> None:
        """Within the event loop."""
        self._queue.start(self._remove)

    def gone(self, key: UserKey) -> None:
        """The user is deleted, or has no client any more, and is unregistered."""
        stored = self._entries.stored
        if stored is not None and not stored.foreign:
            self._queue.add(key)

    async def close(self) -> None:
        await self._queue.close()

    async def _remove(self, key: UserKey) -> None:
        stored = self._entries.stored
        if stored is None or stored.foreign:
            return
        await self._pace.turn()
        if await self._is_wanted(key):
            return
        if await stored.delete(key):
            log.info("credentials_deleted", context=key[0], user=key[1], reason="the user is gone")
        self._entries.reread(key)

    async def _is_wanted(self, key: UserKey) -> bool:
        """Whether there is a PushUser with a client. Raises KubeError."""
        name = names.push_user_name(self._config, *key)
        found = await self._kube.find(PUSH_USER, self._namespace, name)
        if found is None:
            return False
        try:
            return bool(User.of(found).spec.clients)
        except ValidationError:
            return True


class Janitor:
    """Finds entries that nobody has deleted: the pod that was to do it has ended. One pod looks, now and then.

    Args:
        wanted: reads the users who have a client, of all pods; raises KubeError.
        may_look: whether this pod is to look.
    """

    def __init__(
        self,
        entries: StoredEntries,
        removals: Removals,
        *,
        wanted: Callable[[], Awaitable[Collection[UserKey]]],
        may_look: Callable[[], bool],
        clock: Clock = time.time,
    ) -> None:
        self._entries = entries
        self._removals = removals
        self._wanted = wanted
        self._may_look = may_look
        self._clock = clock
        self._without: dict[UserKey, float] = {}
        """Since when each entry has no user, as seen here."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(ROUND_SECONDS / 2)
            try:
                await self.look()
            except (StorageUnavailableError, KubeError):
                continue  # it is said elsewhere, and there is time

    async def look(self) -> None:
        """One round. Raises StorageUnavailableError, KubeError."""
        stored = self._entries.stored
        if stored is None or stored.foreign or not self._may_look():
            self._without.clear()
            return
        old: list[UserKey] = []
        after: UserKey | None = None
        while page := await stored.page(after, PAGE):
            after = page[-1].key
            old += [entry.key for entry in page if self._clock() - entry.changed >= OLD_SECONDS]
            await asyncio.sleep(0)
        wanted = await self._wanted() if old else ()
        now = self._clock()
        self._without = {key: self._without.get(key, now) for key in old if key not in wanted}
        for key, since in self._without.items():
            if now - since >= SEEN_SECONDS:
                self._removals.gone(key)


async def wanted_users(kube: Kube, namespace: str, config: str) -> set[UserKey]:
    """The users of a MailPushConfig who have a client, of all pods. Raises KubeError."""
    wanted: set[UserKey] = set()
    async for page, _ in kube.pages(PUSH_USER, namespace, label_selector=f"{names.CONFIG_LABEL}={config}"):
        wanted |= {
            key for item in page if item["spec"].get("clients") and (key := key_of(config, item["metadata"]["name"]))
        }
        await asyncio.sleep(0)
    return wanted
