"""Rules of a Hypothesis state machine that a run may or may not use."""

from collections.abc import Callable
from typing import Any

from hypothesis.stateful import precondition, rule


class Faults(list[str]):
    """The names of the rules that it has made: a machine has some of them as its `faults`.

    With a few kinds of fault a run goes deeper than with all of them at once, and has fewer excuses.
    """

    def rule(self, **arguments: Any) -> Callable[[Callable[..., None]], Any]:
        """As Hypothesis' `rule`, for a machine whose `faults` have the method's name."""

        def register(method: Callable[..., None]) -> Any:
            name = method.__name__
            self.append(name)
            enabled = precondition(lambda machine: name in machine.faults)
            use: Any = rule(**arguments)
            return use(enabled(method))

        return register
