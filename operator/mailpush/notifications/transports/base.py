"""What every transport has in common: one try, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias


@dataclass(frozen=True, slots=True)
class Accepted:
    """The target has taken it."""


@dataclass(frozen=True, slots=True)
class TryLater:
    """Not now. `reason` is a word of a small fixed set, fit for a metric's label.

    `after`: seconds to wait at least, where that is known. `of_target`: the target failed, so its circuit breaker
    counts it; else it was for a reason of ours, such as a claim that another has.
    """

    reason: str
    after: float | None = None
    of_target: bool = True


@dataclass(frozen=True, slots=True)
class Refused:
    """Never: the target does not want this message, and would not want it again."""

    reason: str


Outcome: TypeAlias = Accepted | TryLater | Refused


class Transport(Protocol):
    """One target's way out. Retries, claims, bounds and the circuit breaker are not its business."""

    async def send(self, id: str, body: bytes) -> Outcome:
        """One try, done within the target's timeout. Raises nothing but CancelledError."""

    async def close(self) -> None: ...
