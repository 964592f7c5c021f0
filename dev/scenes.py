"""A run of scenes: which of them, and what is found in them, steps that went as they should or not."""

import argparse
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


class Named(Protocol):
    """A scene, by the name that the table and the command line use."""

    @property
    def name(self) -> str: ...
    @property
    def what(self) -> str: ...


@dataclass(frozen=True)
class Step:
    scene: str
    what: str
    good: bool
    detail: str = ""


@dataclass
class Findings:
    """Collects while the scenes play; `scene` is the label of the steps to come."""

    scene: str = ""
    steps: list[Step] = field(default_factory=list)

    def step(self, what: str, good: object, detail: object = "") -> bool:
        """Records one step; gives back whether it was good."""
        self.steps.append(Step(self.scene, what, bool(good), str(detail)))
        return bool(good)

    @property
    def wrong(self) -> list[Step]:
        return [step for step in self.steps if not step.good]

    def figures(self) -> dict[str, Any]:
        """The line of JSON."""
        return {"steps": len(self.steps), "wrong": [f"{step.scene}: {step.what}" for step in self.wrong]}


def parser_of(
    prog: str, description: str, scenes: Sequence[Named], always: Collection[str] = ()
) -> argparse.ArgumentParser:
    """A command line that names scenes. `always`: those that are played whichever are named."""
    listed = "\n".join(f"  {scene.name:10} {scene.what}" for scene in scenes)
    parser = argparse.ArgumentParser(
        prog=prog,
        description=description,
        epilog=f"scenes, in this order:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    only = "".join(f", and {name}" for name in always)
    parser.add_argument("scenes", nargs="*", metavar="SCENE", help=f"only these{only}; all of them by default")
    return parser


def parsed(parser: argparse.ArgumentParser, scenes: Sequence[Named]) -> argparse.Namespace:
    """The command line's arguments; a scene that there is not ends the process with a sentence."""
    arguments = parser.parse_args()
    unknown = set(arguments.scenes) - {scene.name for scene in scenes}
    if unknown:
        parser.error(f"no such scene: {', '.join(sorted(unknown))}")
    return arguments
