"""The listener's part of a PushUser's status: the pod that owns the user applies it."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, Protocol

import structlog

from mailpush import names
from mailpush.api.conditions import Verdict, condition, timestamp, truth
from mailpush.api.meta import Condition
from mailpush.kube.client import Kube, Object
from mailpush.kube.errors import ConflictError, InvalidError, KubeError, NotFoundError
from mailpush.kube.objects import older
from mailpush.kube.resources import PUSH_USER
from mailpush.listener.mechanisms.base import Health
from mailpush.listener.users.user import User, UserKey
from mailpush.work.pace import Backoff, Pace

Truth = Literal["True", "False", "Unknown"]

LISTENING: Final = "Listening"
READY: Final = "Ready"
LEFT: Final = "RegistrationLeft"
WRITES_PER_SECOND: Final = 100.0
WRITERS: Final = 8
NEXT_ATTEMPT: Final = (
    (60.0, "within a minute"),
    (600.0, "within 10 minutes"),
    (3600.0, "within an hour"),
)
RETRY: Final = Backoff(0.5, 10.0)
SAID_SECONDS: Final = 86_400

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class UserOutcome:
    """What has become of one user in this pod. `epoch`: of the map under which the pod got the user's slot."""

    listening: Truth
    reason: str
    message: str
    mechanism: str | None
    epoch: int
    left: tuple[str, str] | None = None
    """Reason and sentence of a former registration that could not be taken away."""
    credentials: tuple[str, int] | None = None
    """Source of the credentials, and when they worked last, in seconds since 1970; 0 for never."""

    @property
    def permanent(self) -> bool:
        return self.listening == "True"


class Said:
    """What is said of the credentials. A later login is said once a day: each change is a write of the status."""

    def __init__(self) -> None:
        self._source: str | None = None
        self._worked = 0

    @property
    def now(self) -> tuple[str, int] | None:
        return None if self._source is None else (self._source, self._worked)

    def see(self, user: User, source: str | None) -> None:
        """The source of the user's credentials, and what the status says of it, perhaps by another pod."""
        before = user.status.credentials
        if source != self._source:
            self._source, self._worked = source, 0
        if before is not None and before.source == source:
            self._worked = max(self._worked, _seconds(before.last_worked))

    def worked(self, at: float) -> None:
        """They have worked at `at`, in seconds since 1970."""
        if at - self._worked >= SAID_SECONDS:
            self._worked = int(at)


def _seconds(text: str | None) -> int:
    try:
        return int(datetime.fromisoformat(text).timestamp()) if text else 0
    except ValueError:
        return 0


def next_attempt(seconds: float) -> str:
    """When a listener that has failed tries again, in steps: each new text is a write of the user's status."""
    return next((text for most, text in NEXT_ATTEMPT if seconds <= most), "later")


class FailureText:
    """The message of a failure that goes on, with the time until the next attempt.

    While it is the same failure the time never gets shorter again: a wait is random, and the status is not to be
    written at each attempt.
    """

    def __init__(self) -> None:
        self._last = ("", "", 0.0)

    def text(self, health: Health) -> str:
        """What is said of the failure `health`."""
        if health.retry_at is None:
            return health.message
        seconds = health.retry_at - time.monotonic()
        if self._last[:2] == (health.reason, health.message):
            seconds = max(seconds, self._last[2])
        self._last = (health.reason, health.message, seconds)
        return f"{health.message}; the next attempt comes {next_attempt(seconds)}"


def status_of(user: User, outcome: UserOutcome, pod: str, before: Iterable[Condition], now: datetime) -> dict[str, Any]:
    """The listener's part of the status. `before`: the conditions as they were, for the time of the last change."""
    stood = {one.type: (one.status, one.last_transition_time) for one in before}
    status: dict[str, Any] = {
        "conditions": [
            condition(verdict, user.generation, stood.get(verdict.type), timestamp(now))
            for verdict in _verdicts(outcome)
        ],
        "pod": pod,
        "permanent": outcome.permanent,
        "reason": outcome.reason,
        "ownerEpoch": outcome.epoch,
    }
    if outcome.mechanism is not None:
        status["mechanism"] = outcome.mechanism
    if outcome.credentials is not None:
        source, worked = outcome.credentials
        status["credentials"] = {"source": source}
        if worked:
            status["credentials"]["lastWorked"] = timestamp(datetime.fromtimestamp(worked, UTC))
    return status


def says(user: User, outcome: UserOutcome, pod: str) -> bool:
    """Whether the user's status, as read, says this already. The epoch does not count: it only orders the writers."""
    status = user.status
    said = {one.type: (one.status, one.reason, one.message, one.observed_generation) for one in status.conditions}
    return (
        status.pod == pod
        and status.permanent == outcome.permanent
        and status.reason == outcome.reason
        and status.mechanism == outcome.mechanism
        and (LEFT in said) == (outcome.left is not None)
        and _credentials_said(user) == outcome.credentials
        and all(
            said.get(verdict.type) == (verdict.status, verdict.reason, verdict.text, user.generation)
            for verdict in _verdicts(outcome)
        )
    )


def _credentials_said(user: User) -> tuple[str, int] | None:
    said = user.status.credentials
    return None if said is None else (said.source, _seconds(said.last_worked))


def _verdicts(outcome: UserOutcome) -> tuple[Verdict, ...]:
    verdicts = (
        Verdict(LISTENING, outcome.listening, outcome.reason, outcome.message),
        Verdict(READY, truth(outcome.permanent), outcome.reason, outcome.message),
    )
    return verdicts if outcome.left is None else (*verdicts, Verdict(LEFT, "True", *outcome.left))


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
    """Writes statuses in the background: the latest of each user, at a bounded rate, only while the pod may."""

    def __init__(
        self,
        kube: Kube,
        namespace: str,
        pod: str,
        users: KnownUsers,
        permission: WritePermission,
        *,
        per_second: float = WRITES_PER_SECOND,
    ) -> None:
        self._kube = kube
        self._namespace = namespace
        self._pod = pod
        self._users = users
        self._permission = permission
        self._pace = Pace(per_second, 1)
        self._pending: dict[UserKey, UserOutcome] = {}
        self._sent: dict[UserKey, _Sent] = {}
        self._in_flight: dict[UserKey, asyncio.Task[None]] = {}
        self._failures = 0
        self._wake = asyncio.Event()

    def submit(self, key: UserKey, outcome: UserOutcome) -> None:
        """Queues the outcome; never blocks. It replaces one of this user that is not written yet."""
        self._pending[key] = outcome
        self._wake.set()

    async def drop(self, keys: Iterable[UserKey]) -> None:
        """The users are released: drops what is queued for them, and waits for what is on its way."""
        under_way = []
        for key in keys:
            self._pending.pop(key, None)
            self._sent.pop(key, None)
            if task := self._in_flight.get(key):
                under_way.append(task)
        if under_way:
            # A late write of ours cannot hide the next owner's for long: it sees the difference and writes again.
            await asyncio.wait(under_way, timeout=1.0)

    async def run(self) -> None:
        """Writes until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._pending:
                if not self._permission.may_write():
                    await asyncio.sleep(0.5)
                    continue
                key = next((key for key in self._pending if key not in self._in_flight), None)
                if key is None or len(self._in_flight) >= WRITERS:
                    await asyncio.wait(self._in_flight.values(), return_when=asyncio.FIRST_COMPLETED)
                    continue
                self._send(key, self._pending.pop(key))
                await self._pace.turn()
                if self._failures:
                    await asyncio.sleep(RETRY.after(self._failures))

    def _send(self, key: UserKey, outcome: UserOutcome) -> None:
        user = self._users.get(key)
        if user is None or (user.status.owner_epoch or 0) > outcome.epoch:
            return  # gone, or a later owner has written
        before = self._sent.get(key)
        if says(user, outcome, self._pod) and (before is None or before.outcome == outcome):
            return
        if before is not None and before.stands(user, outcome):
            return
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
            if user.key in self._sent:  # not released meanwhile
                self._pending.setdefault(user.key, outcome)
                self._sent.pop(user.key, None)
                self._wake.set()
