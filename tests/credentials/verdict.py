"""What a run finds: steps that went as they should or not, and the figures behind them."""

from dataclasses import dataclass, field
from typing import Any

from dev.demo.show import text


@dataclass(frozen=True)
class Step:
    scene: str
    what: str
    good: bool
    detail: str = ""


@dataclass
class Verdict:
    """Collects while the scenes play; `scene` is the label of what is to come."""

    scene: str = ""
    steps: list[Step] = field(default_factory=list)
    numbers: dict[str, dict[str, Any]] = field(default_factory=dict)

    def step(self, what: str, good: object, detail: object = "") -> bool:
        """Records one step and prints it; gives back whether it was good."""
        step = Step(self.scene, what, bool(good), str(detail))
        self.steps.append(step)
        text(f"{'ok   ' if step.good else 'WRONG'} {what}{f' ({detail})' if step.detail else ''}")
        return step.good

    def number(self, **numbers: Any) -> None:
        """Figures of the scene."""
        self.numbers.setdefault(self.scene, {}).update(numbers)

    @property
    def wrong(self) -> list[Step]:
        return [step for step in self.steps if not step.good]

    def figures(self) -> dict[str, Any]:
        """The line of JSON."""
        return {
            "steps": len(self.steps),
            "wrong": [f"{step.scene}: {step.what}" for step in self.wrong],
            **self.numbers,
        }
