"""What a run finds: steps that went as they should or not, and sums that must be zero."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from dev.scenes import Findings

SUMS: Final = ("untold", "strangers", "orphans", "hangs", "false_greens")
"""Mails that nobody was notified of, mails that the wrong user was notified of, entries left at a Dovecot that answers,
operations that did not end, and statuses that were green while nobody was listened for."""


@dataclass
class Verdict(Findings):
    """Steps, and the sums."""

    sums: Counter[str] = field(default_factory=Counter)

    def add(self, name: str, number: int) -> None:
        if name not in SUMS:
            raise ValueError(f"{name} is not one of {', '.join(SUMS)}")
        self.sums[name] += number

    def figures(self) -> dict[str, Any]:
        """The line of JSON."""
        return {**super().figures(), **{name: self.sums[name] for name in SUMS}}

    @property
    def good(self) -> bool:
        return not self.wrong and not any(self.sums.values())
