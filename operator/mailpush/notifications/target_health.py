"""What is known of a target from how its notifications have ended."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import Final

import structlog

from mailpush.notifications.backoff import FAILURES_TO_OPEN, Circuit

_log = structlog.get_logger(__name__)

RECENT: Final = 20
LOG_SECONDS: Final = 60.0
"""The shortest time between two log lines on the same target."""


@dataclass(frozen=True, slots=True)
class TargetHealth:
    """The state of a target, for the condition TransportDegraded.

    `trouble`: the reason of the last failed try. `losing`: the reason for which notifications are dropped, where that
    goes on.
    """

    open: int
    oldest_seconds: float
    circuit: Circuit
    trouble: str | None
    losing: str | None = None


class Endings:
    """How the last notifications of a target have ended: told, or lost for a reason. Logs the lost ones.

    A single mail that a target refuses is that mail's trouble. Where half of the last twenty are lost, at least five,
    it is the target's, until five in a row are told.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self._recent: deque[str | None] = deque(maxlen=RECENT)
        self._losing = False
        self._unlogged: Counter[str] = Counter()
        self._logged_at: float | None = None

    @property
    def losing(self) -> str | None:
        """The commonest reason of the lost ones, where losing goes on."""
        if not self._losing:
            return None
        reasons = Counter(reason for reason in self._recent if reason is not None)
        return reasons.most_common(1)[0][0]

    def told(self) -> None:
        self._recent.append(None)
        if self._losing and not any(list(self._recent)[-FAILURES_TO_OPEN:]):
            self.forget()

    def lost(self, reason: str, now: float) -> None:
        """`reason`: a word of a small fixed set."""
        self._recent.append(reason)
        lost = sum(each is not None for each in self._recent)
        self._losing = self._losing or (lost >= FAILURES_TO_OPEN and 2 * lost >= len(self._recent))
        self._unlogged[reason] += 1
        self.log(now)

    def forget(self) -> None:
        """The target is another one from now on, or well again."""
        self._recent.clear()
        self._losing = False

    def log(self, now: float) -> None:
        """One line for all that were lost since the last one, at most one a minute."""
        if not self._unlogged or (self._logged_at is not None and now - self._logged_at < LOG_SECONDS):
            return
        _log.warning("notifications_dropped", target=self._target, reasons=dict(sorted(self._unlogged.items())))
        self._unlogged.clear()
        self._logged_at = now
