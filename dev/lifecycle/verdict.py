"""What a run finds: steps that went as they should or not, and four sums that must be zero."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

SUMS: Final = ("untold", "strangers", "orphans", "hangs", "false_greens")
"""Mails that nobody was notified of, mails that the wrong user was notified of, entries left at a Dovecot that answers,
operations that did not end, and statuses that were green while nobody was listened for."""


@dataclass(frozen=True)
class Step:
    scene: str
    what: str
    good: bool
    detail: str = ""


@dataclass
class Verdict:
    """Collects while the scenes play; `scene` is the label of the steps to come."""

    scene: str = ""
    steps: list[Step] = field(default_factory=list)
    sums: Counter[str] = field(default_factory=Counter)

    def step(self, what: str, good: bool, detail: str = "") -> bool:
        """Records one step; gives back whether it was good."""
        self.steps.append(Step(self.scene, what, good, detail))
        return good

    def add(self, name: str, number: int) -> None:
        if name not in SUMS:
            raise ValueError(f"{name} is not one of {', '.join(SUMS)}")
        self.sums[name] += number

    @property
    def wrong(self) -> list[Step]:
        return [step for step in self.steps if not step.good]

    def figures(self) -> dict[str, object]:
        """The line of JSON."""
        return {
            "steps": len(self.steps),
            "wrong": [f"{step.scene}: {step.what}" for step in self.wrong],
            **{name: self.sums[name] for name in SUMS},
        }

    @property
    def good(self) -> bool:
        return not self.wrong and not any(self.sums.values())
