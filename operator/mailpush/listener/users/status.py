"""The listener's part of a PushUser's status: the pod that owns the user applies it."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any, Final, Literal

from mailpush.api.conditions import Verdict, condition, timestamp, truth
from mailpush.api.meta import Condition
from mailpush.listener.mechanisms.base import Health
from mailpush.listener.users.user import User

Truth = Literal["True", "False", "Unknown"]

LISTENING: Final = "Listening"
READY: Final = "Ready"
LEFT: Final = "RegistrationLeft"
NEXT_ATTEMPT: Final = (
    (60.0, "within a minute"),
    (600.0, "within 10 minutes"),
    (3600.0, "within an hour"),
)
SAID_SECONDS: Final = 86_400


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


class Rank(IntEnum):
    """How much of what a user's status says is wrong: what is most wrong is written first."""

    LISTENING = 0
    """Whether the user is listened for, or nothing is said yet."""
    OWNER = 1
    """Which pod it is, or why."""
    DETAIL = 2
    """A sentence or a time."""


def rank(user: User | None, outcome: UserOutcome, pod: str) -> Rank:
    """Of the outcome, against what the user's status says as read."""
    if user is None:
        return Rank.DETAIL
    status = user.status
    stood = next((one.status for one in status.conditions if one.type == LISTENING), None)
    if stood != outcome.listening or status.permanent != outcome.permanent:
        return Rank.LISTENING
    return Rank.OWNER if (status.pod, status.reason) != (pod, outcome.reason) else Rank.DETAIL


def _credentials_said(user: User) -> tuple[str, int] | None:
    said = user.status.credentials
    return None if said is None else (said.source, _seconds(said.last_worked))


def _verdicts(outcome: UserOutcome) -> tuple[Verdict, ...]:
    verdicts = (
        Verdict(LISTENING, outcome.listening, outcome.reason, outcome.message),
        Verdict(READY, truth(outcome.permanent), outcome.reason, outcome.message),
    )
    return verdicts if outcome.left is None else (*verdicts, Verdict(LEFT, "True", *outcome.left))
