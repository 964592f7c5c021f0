"""What a run finds: steps that went as they should or not, and the figures behind them."""

from dataclasses import dataclass, field
from typing import Any

from dev.demo.show import text
from dev.scenes import Findings


@dataclass
class Verdict(Findings):
    """Prints each step as it comes."""

    numbers: dict[str, dict[str, Any]] = field(default_factory=dict)

    def step(self, what: str, good: object, detail: object = "") -> bool:
        """Records one step and prints it; gives back whether it was good."""
        found = super().step(what, good, detail)
        text(f"{'ok   ' if found else 'WRONG'} {what}{f' ({detail})' if str(detail) else ''}")
        return found

    def number(self, **numbers: Any) -> None:
        """Figures of the scene."""
        self.numbers.setdefault(self.scene, {}).update(numbers)

    def figures(self) -> dict[str, Any]:
        """The line of JSON."""
        return {**super().figures(), **self.numbers}
