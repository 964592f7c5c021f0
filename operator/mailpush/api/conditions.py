"""Conditions: a list by type, whose time changes only with the status. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

LONGEST_MESSAGE: Final = 4096


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a condition is to say; `status` is True, False or Unknown."""

    type: str
    status: str
    reason: str
    message: str


def truth(value: bool) -> str:
    return "True" if value else "False"


def conditions(
    verdicts: Iterable[Verdict], before: Iterable[Mapping[str, Any]], generation: int, now: str
) -> list[dict[str, Any]]:
    """The conditions as they are to be written, given those that stand there."""
    known = {condition["type"]: condition for condition in before}
    result = []
    for verdict in verdicts:
        old = known.get(verdict.type)
        same = old is not None and old["status"] == verdict.status
        result.append(
            {
                "type": verdict.type,
                "status": verdict.status,
                "observedGeneration": generation,
                "lastTransitionTime": old["lastTransitionTime"] if old is not None and same else now,
                "reason": verdict.reason,
                "message": verdict.message[:LONGEST_MESSAGE],
            }
        )
    return result


def find(conditions_: Iterable[Mapping[str, Any]], type_: str) -> Mapping[str, Any] | None:
    """The condition of a type."""
    return next((condition for condition in conditions_ if condition.get("type") == type_), None)


def timestamp() -> str:
    """Now, as Kubernetes writes times."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
