"""The interface of every transport: one try and its outcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias


@dataclass(frozen=True, slots=True)
class Accepted:
    """The target has accepted the notification."""


@dataclass(frozen=True, slots=True)
class TryLater:
    """The try failed and may be repeated. `reason`: a word of a small fixed set, for a metric's label.

    `after`: the least seconds to wait, if known. `of_target`: the target failed, so its circuit breaker counts it.
    Otherwise the reason is ours, such as a claim that another pod holds.
    """

    reason: str
    after: float | None = None
    of_target: bool = True


@dataclass(frozen=True, slots=True)
class Refused:
    """The target has refused this notification, and would refuse it again. `reason`: as in `TryLater`."""

    reason: str


Outcome: TypeAlias = Accepted | TryLater | Refused


class Transport(Protocol):
    """Sends to one target. The queue and the dispatcher do retries, claims, bounds and the circuit breaker."""

    async def send(self, id: str, body: bytes) -> Outcome:
        """Makes one try within the target's timeout. Raises only CancelledError."""

    async def close(self) -> None: ...
