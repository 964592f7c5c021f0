"""Writes what has become of this pod's users into their statuses."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import structlog

from mailpush import names
from mailpush.api.meta import Condition
from mailpush.kube.client import Kube, Object
from mailpush.kube.errors import ConflictError, InvalidError, KubeError, NotFoundError
from mailpush.kube.objects import older
from mailpush.kube.resources import PUSH_USER
from mailpush.listener.users.status import Rank, UserOutcome, rank, says, status_of
from mailpush.listener.users.user import User, UserKey
from mailpush.sharding.slots import SLOTS
from mailpush.work.pace import Backoff
from mailpush.work.status_budget import StatusBudget

RETRY: Final = Backoff(0.5, 10.0)
AT_ONCE: Final = 50
"""Outcomes that are looked at in one turn of the loop and found to be said already."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Sent:
    """What was written last. `version`: of the object with it, once the API server has answered."""

    outcome: UserOutcome
    generation: int
    conditions: list[Condition]
    version: str = ""

    def stands(self, user: User, outcome: UserOutcome) -> bool:
        """Whether the outcome was written already, and the watch does not show it yet, nor anything that came later.

        What others write comes meanwhile: labels, the operator's conditions, a finalizer. Each leads to another look.
        """
        same = (self.outcome, self.generation) == (outcome, user.generation)
        return same and bool(self.version) and (user.version == self.version or older(user.version, self.version))


class KnownUsers(Protocol):
    """The users as last read."""

    def get(self, key: UserKey, /) -> User | None: ...


class WritePermission(Protocol):
    """Knows whether this pod has its right (P5)."""

    def may_write(self) -> bool: ...


class StatusWriter:
    """Writes statuses in the background: the latest of each user, what is most wrong first, only while the pod may.

    `budget`: how many in a second, and how many at a time.
    """

    def __init__(
        self,
        kube: Kube,
        namespace: str,
        pod: str,
        users: KnownUsers,
        permission: WritePermission,
        *,
        budget: StatusBudget,
    ) -> None:
        self._kube = kube
        self._namespace = namespace
        self._pod = pod
        self._users = users
        self._permission = permission
        self._budget = budget
        self._pending: dict[UserKey, UserOutcome] = {}
        self._lanes: dict[Rank, dict[UserKey, None]] = {one: {} for one in Rank}
        self._sent: dict[UserKey, _Sent] = {}
        self._in_flight: dict[UserKey, asyncio.Task[None]] = {}
        self._failures = 0
        self._wake = asyncio.Event()

    def owns(self, slots: int) -> None:
        """The pod has so many slots: its part of the budget."""
        self._budget.share(slots / SLOTS)

    def submit(self, key: UserKey, outcome: UserOutcome) -> None:
        """Queues the outcome; never blocks. It replaces one of this user that is not written yet."""
        self._pending[key] = outcome
        wanted = rank(self._users.get(key), outcome, self._pod)
        for one, lane in self._lanes.items():
            if one is not wanted:
                lane.pop(key, None)
        self._lanes[wanted].setdefault(key)
        self._wake.set()

    async def drop(self, keys: Iterable[UserKey]) -> None:
        """The users are released: drops what is queued for them, and waits for what is on its way."""
        under_way = []
        for key in keys:
            self._take_out(key)
            self._sent.pop(key, None)
            if task := self._in_flight.get(key):
                under_way.append(task)
        if under_way:
            # A late write of ours cannot hide the next owner's for long: it sees the difference and writes again.
            await asyncio.wait(under_way, timeout=1.0)

    async def run(self) -> None:
        """Writes until cancelled."""
        said = 0
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._pending:
                if not self._permission.may_write():
                    await asyncio.sleep(0.5)
                    continue
                key = self._next() if len(self._in_flight) < self._budget.at_once else None
                if key is None:
                    await asyncio.wait(self._in_flight.values(), return_when=asyncio.FIRST_COMPLETED)
                    continue
                if not self._is_news(key, self._pending[key]):
                    self._take_out(key)
                    said += 1
                    if said % AT_ONCE == 0:
                        await asyncio.sleep(0)
                    continue
                await self._budget.turn()
                # What is to be said may be another by now, or nothing, or something else may be more urgent.
                if (key := self._next()) is not None and self._permission.may_write():
                    self._send(key, self._take_out(key))
                if self._failures:
                    await asyncio.sleep(RETRY.after(self._failures))

    def _next(self) -> UserKey | None:
        """What is most wrong and for longest; not whose former status is on its way."""
        return next((key for lane in self._lanes.values() for key in lane if key not in self._in_flight), None)

    def _take_out(self, key: UserKey) -> UserOutcome | None:
        for lane in self._lanes.values():
            lane.pop(key, None)
        return self._pending.pop(key, None)

    def _is_news(self, key: UserKey, outcome: UserOutcome) -> bool:
        """Whether it is to be written."""
        user = self._users.get(key)
        if user is None or (user.status.owner_epoch or 0) > outcome.epoch:
            return False  # gone, or a later owner has written
        before = self._sent.get(key)
        if says(user, outcome, self._pod) and (before is None or before.outcome == outcome):
            return False
        return before is None or not before.stands(user, outcome)

    def _send(self, key: UserKey, outcome: UserOutcome | None) -> None:
        user = self._users.get(key)
        if outcome is None or user is None or not self._is_news(key, outcome):
            return
        before = self._sent.get(key)
        conditions = user.status.conditions if before is None else before.conditions
        status = status_of(user, outcome, self._pod, conditions, datetime.now(UTC))
        written = [Condition.model_validate(condition) for condition in status["conditions"]]
        self._sent[key] = _Sent(outcome, user.generation, written)
        task = asyncio.create_task(self._write(user, outcome, status))
        self._in_flight[key] = task
        task.add_done_callback(lambda _: self._in_flight.pop(key, None))

    async def _write(self, user: User, outcome: UserOutcome, status: dict[str, Any]) -> None:
        # With the UID: a PushUser that was deleted and made again under the same name is another one.
        body: Object = {"metadata": {"name": user.name, "uid": user.uid}, "status": status}
        try:
            answer = await self._kube.apply(
                PUSH_USER, self._namespace, body, manager=names.LISTENER_MANAGER, subresource="status"
            )
            self._failures = 0
            if (sent := self._sent.get(user.key)) is not None and sent.outcome is outcome:
                sent.version = answer["metadata"].get("resourceVersion", "")
        except (NotFoundError, ConflictError):
            return
        except InvalidError as error:
            log.warning("status_refused", push_user=user.name, error=str(error))
        except KubeError as error:
            self._failures += 1
            if self._failures in (1, 20):
                log.warning("status_not_written", push_user=user.name, error=str(error))
            if self._sent.pop(user.key, None) is not None and user.key not in self._pending:  # not released meanwhile
                self.submit(user.key, outcome)
