"""All push users, in memory: what of each one matters to the operator, and how many there are in each slot.

A reflector of our own rather than kopf: kopf never reports users that were deleted while its watch was broken, and
keeps 2 to 20 kB for each. What is kept here is a small record a user.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import structlog
from pydantic import ValidationError

from mailpush.controller.owner import ConfigKey
from mailpush.controller.users.record import UserName, UserRecord
from mailpush.controller.users.unreadable import Unreadable
from mailpush.controller.wakes import Wakes
from mailpush.kube import resources
from mailpush.kube.client import Kube, Object
from mailpush.kube.objects import older
from mailpush.kube.reflector import Change, Reflector
from mailpush.sharding.slots import SLOTS
from mailpush.work.queue import WorkQueue

log = structlog.get_logger(__name__)


class UserObserver(Protocol):
    """Who hears of each change of a user's record."""

    def transition(self, name: UserName, before: UserRecord, after: UserRecord) -> None:
        """The record as it was and as it is."""

    def gone(self, name: UserName, body: Object) -> None:
        """The PushUser is deleted; the object as it was last."""


class UserStore:
    """The users of the given namespaces. Each that has changed or gone is added to `queue`.

    `came`: called with each that is new.
    """

    def __init__(
        self,
        kube: Kube,
        namespaces: tuple[str, ...],
        queue: WorkQueue[UserName],
        wakes: Wakes,
        *,
        came: Callable[[], None] = lambda: None,
    ) -> None:
        self._records: dict[UserName, UserRecord] = {}
        self._unreadable: dict[UserName, Unreadable] = {}
        self._by_config: dict[ConfigKey, set[str]] = {}
        self._weights: dict[ConfigKey, array[int]] = {}
        self._versions: dict[ConfigKey, int] = {}
        self._denied: dict[ConfigKey, Counter[str]] = {}
        self._observer: UserObserver | None = None
        self._queue = queue
        self._wakes = wakes
        self._came = came
        self._reflectors = {
            namespace: Reflector(kube, resources.PUSH_USER, namespace, self._changed, bodies=False)
            for namespace in namespaces
        }

    def reflectors(self) -> Iterator[Reflector]:
        """All that have to run."""
        yield from self._reflectors.values()

    def observe(self, observer: UserObserver) -> None:
        """`observer` hears of changes from now on: this process leads."""
        self._observer = observer

    def listed(self, namespace: str) -> bool:
        return self._reflectors[namespace].listed.is_set()

    async def wait_listed(self, namespace: str) -> None:
        await self._reflectors[namespace].listed.wait()

    def get(self, name: UserName) -> UserRecord | None:
        return self._records.get(name)

    def unreadable(self, name: UserName) -> Unreadable | None:
        """What is known of an object that has no record because it cannot be read."""
        return self._unreadable.get(name)

    def all(self) -> Iterator[tuple[UserName, UserRecord]]:
        """Every user; what comes or goes meanwhile may be left out."""
        yield from list(self._records.items())

    def names_of(self, key: ConfigKey) -> list[UserName]:
        """The users of a MailPushConfig, whether it exists or not."""
        return [UserName(key.namespace, name) for name in self._by_config.get(key, ())]

    def count(self, key: ConfigKey) -> int:
        return len(self._by_config.get(key, ()))

    def weights(self, key: ConfigKey) -> Sequence[int]:
        """Users of each slot who are to be listened for."""
        return self._weights.get(key) or array("l", bytes(8 * SLOTS))

    def denied(self, key: ConfigKey) -> Mapping[str, int]:
        """Users whose condition Accepted is False, by reason."""
        return self._denied.get(key) or {}

    def owner_epoch(self, key: ConfigKey) -> int:
        """The highest epoch under which a pod has written a status, also one of a former installation."""
        return max((self._records[name].owner_epoch for name in self.names_of(key)), default=0)

    def version(self, key: ConfigKey) -> int:
        """Changes whenever the weights do."""
        return self._versions.get(key, 0)

    def weigh(self, name: UserName, weighs: bool) -> None:
        """Says whether a listener is to run for the user."""
        record = self._records.get(name)
        if record is not None and record.weighs != weighs:
            self._count(record, -1)
            record.weighs = weighs
            self._count(record, 1)

    def take(self, body: Object) -> None:
        """An object as the API server just answered it to a write of ours; the watch shows whether it still exists."""
        record = self._records.get(UserName(body["metadata"]["namespace"], body["metadata"]["name"]))
        if record is not None and record.uid == body["metadata"]["uid"]:
            self._changed("MODIFIED", body)

    def _changed(self, change: Change, body: Object) -> None:
        metadata = body["metadata"]
        name = UserName(metadata.get("namespace", ""), metadata["name"])
        self._unreadable.pop(name, None)
        if change in ("DELETED", "ABSENT"):
            if change == "DELETED" and self._observer is not None:
                self._observer.gone(name, body)
            self._drop(name)
            self._queue.add(name)
            return
        before = self._records.get(name)
        if before is not None and older(metadata["resourceVersion"], before.version):
            return  # the watch lags behind a write of ours
        try:
            record = UserRecord.of(body)
        except ValidationError as error:
            self._unreadable[name] = Unreadable.of(body, error)
            log.warning("push_user_not_understood", user=str(name), fields=error.error_count())
            self._drop(name)
        else:
            if before is not None:
                record.weighs = before.weighs
            self._replace(name, before, record)
        self._queue.add(name)

    def _replace(self, name: UserName, before: UserRecord | None, record: UserRecord) -> None:
        if before is not None and (before.config, before.slot) == (record.config, record.slot):
            self._tally(before, -1)
            self._records[name] = record
            self._tally(record, 1)
            if self._observer is not None:
                self._observer.transition(name, before, record)
            return
        if before is not None:
            self._drop(name)
        else:
            self._came()
        self._records[name] = record
        self._by_config.setdefault(record.config, set()).add(name.name)
        self._tally(record, 1)
        self._count(record, 1)

    def _drop(self, name: UserName) -> None:
        record = self._records.pop(name, None)
        if record is None:
            return
        self._by_config.get(record.config, set()).discard(name.name)
        self._tally(record, -1)
        self._count(record, -1)

    def _tally(self, record: UserRecord, change: int) -> None:
        if record.accepted is None or record.accepted.status != "False":
            return
        denied = self._denied.setdefault(record.config, Counter())
        denied[record.accepted.reason] += change
        if not denied[record.accepted.reason]:
            del denied[record.accepted.reason]

    def _count(self, record: UserRecord, change: int) -> None:
        if not record.weighs:
            return
        weights = self._weights.setdefault(record.config, array("l", bytes(8 * SLOTS)))
        weights[record.slot] += change
        self._versions[record.config] = self.version(record.config) + 1
        self._wakes.wake(record.config)
