"""Conditions: a list by type, whose time changes only with the status. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

LONGEST_MESSAGE: Final = 4096
"""Characters of a condition's message; the definitions take 32768, and nobody reads as many."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a condition is to say; `status` is True, False or Unknown."""

    type: str
    status: str
    reason: str
    message: str

    @property
    def text(self) -> str:
        """The message as it is written."""
        return self.message[:LONGEST_MESSAGE]


def truth(value: bool) -> str:
    return "True" if value else "False"


def condition(verdict: Verdict, generation: int, before: tuple[str, str] | None, now: str) -> dict[str, Any]:
    """A condition as it is written.

    Args:
        before: status and lastTransitionTime of the condition that stands there; None where there is none.
        now: as `timestamp`.
    """
    return {
        "type": verdict.type,
        "status": verdict.status,
        "observedGeneration": generation,
        "lastTransitionTime": before[1] if before is not None and before[0] == verdict.status else now,
        "reason": verdict.reason,
        "message": verdict.text,
    }


def conditions(
    verdicts: Iterable[Verdict], before: Iterable[Mapping[str, Any]], generation: int, now: str
) -> list[dict[str, Any]]:
    """The conditions as they are written, given those that stand there."""
    stood = {old["type"]: (old["status"], old["lastTransitionTime"]) for old in before}
    return [condition(verdict, generation, stood.get(verdict.type), now) for verdict in verdicts]


def find(conditions_: Iterable[Mapping[str, Any]], type_: str) -> Mapping[str, Any] | None:
    """The condition of a type."""
    return next((one for one in conditions_ if one.get("type") == type_), None)


def timestamp(moment: datetime | None = None) -> str:
    """A moment (default: now) as Kubernetes writes times."""
    return (moment or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")
