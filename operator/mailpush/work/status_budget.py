"""How many statuses of PushUsers are written in a second, by all processes together.

The operator deals the budget out: a part is its own, the rest goes to the listeners with their slots, of which each has
one owner. So a hundred pods together write no more than three, and a Lease that is renewed beside them does not wait.
"""

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final

from mailpush.work.pace import Pace

VARIABLE: Final = "MAILPUSH_STATUS_WRITES_PER_SECOND"
WRITES_PER_SECOND: Final = 300
"""What an API server with two cores does not take, and one with four does beside other work."""
MOST: Final = 100_000
OPERATOR_PART: Final = 1 / 3
AT_ONCE: Final = 16
"""Statuses of a MailPushConfig's users that listeners have under way at a time, all pods together."""
NOTES_AT_ONCE: Final = 32
"""Notes of registrations, likewise. They have no rate: a user is listened for only after his."""
LEAST: Final = 1 / 200
"""The part that a pod with next to no slots has."""


def read(variables: Mapping[str, str]) -> float:
    """Statuses in a second, as the environment says it.

    Raises:
        ValueError: with a sentence that names the variable.
    """
    text = variables.get(VARIABLE, "").strip() or str(WRITES_PER_SECOND)
    if not text.isdecimal() or not 1 <= int(text) <= MOST:
        raise ValueError(f"{VARIABLE} is {text!r}: set it to a whole number, 1 to {MOST}")
    return int(text)


def operator_pace(whole: float = WRITES_PER_SECOND) -> Pace:
    """The operator's own part; the burst lets it say at once what a few users wait for."""
    return Pace(whole * OPERATOR_PART, whole * OPERATOR_PART)


def for_listeners(whole: float) -> float:
    """Writes in a second of a MailPushConfig's listeners together."""
    return whole * (1 - OPERATOR_PART)


class StatusBudget:
    """One pod's part. It has none to speak of before `share`.

    Args:
        whole: writes in a second of all processes together.
        pace: for tests.
    """

    def __init__(self, whole: float = WRITES_PER_SECOND, *, pace: Pace | None = None) -> None:
        self._listeners = for_listeners(whole)
        self._pace = pace or Pace(self._listeners * LEAST, 1)
        self.at_once = 1
        self._notes = asyncio.Semaphore(1)

    def share(self, part: float) -> None:
        """The pod owns this part of all slots, 0 to 1."""
        part = max(part, LEAST)
        self._pace.change(self._listeners * part)
        self.at_once = max(1, round(AT_ONCE * part))
        self._notes = asyncio.Semaphore(max(1, round(NOTES_AT_ONCE * part)))

    async def turn(self) -> None:
        """Waits until a status may be written."""
        await self._pace.turn()

    def note(self) -> AbstractAsyncContextManager[None]:
        """While a registration is noted."""
        return self._notes
