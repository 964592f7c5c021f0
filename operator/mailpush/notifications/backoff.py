"""When to retry one notification and a whole target. Pure: the caller gives time and chance."""

from __future__ import annotations

from enum import Enum
from random import Random
from typing import Final

from mailpush.work.pace import Backoff

RETRY: Final = Backoff(1.0, 60.0)
FAILURES_TO_OPEN: Final = 5


class Circuit(Enum):
    CLOSED = "closed"
    OPEN = "open"
    PROBING = "probing"


class Breaker:
    """A target's circuit breaker: after five failures in a row it pauses all tries, then allows a single one."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._failures = 0
        self._openings = 0
        self._not_before = 0.0
        self.circuit = Circuit.CLOSED

    def wait(self, now: float) -> float | None:
        """Seconds until a try may start, 0 for now; None while a probe is on its way."""
        if self.circuit is Circuit.PROBING:
            return None
        return max(0.0, self._not_before - now)

    def starting(self) -> None:
        """A try starts. Call it only after `wait` has returned 0."""
        if self.circuit is Circuit.OPEN:
            self.circuit = Circuit.PROBING

    def succeeded(self) -> None:
        """The target has answered, be it with a refusal."""
        self.circuit = Circuit.CLOSED
        self._failures = self._openings = 0
        self._not_before = 0.0

    def failed(self, now: float) -> None:
        self._failures += 1
        if self.circuit is Circuit.OPEN:
            return  # one that was on its way when the circuit opened
        if self.circuit is Circuit.PROBING or self._failures >= FAILURES_TO_OPEN:
            self.circuit = Circuit.OPEN
            self._openings += 1
            self._not_before = max(self._not_before, now + RETRY.after(self._openings + 1, self._random.random))

    def inconclusive(self) -> None:
        """The try ended before it reached the target."""
        if self.circuit is Circuit.PROBING:
            self.circuit = Circuit.OPEN

    def hold(self, until: float) -> None:
        """The target wants no try before `until` (Retry-After)."""
        self._not_before = max(self._not_before, until)
