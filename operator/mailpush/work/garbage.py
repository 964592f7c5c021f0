"""Python's cyclic garbage collector in a process that holds very much for very long.

A full collection looks at every object that was not frozen: with 100,000 users it held the loop for five seconds, and a
pod's right lasts ten. So what has come to stay is frozen, some thousand objects of the program's at a time, and a full
collection finds only what came since. Reference counting frees what is frozen as ever; only a cycle that is frozen and
then dropped stays, so what is dropped often must not be a cycle.
"""

import gc
from typing import Final

EVERY: Final = 1000
YOUNG: Final = 1
"""The generations up to this one are collected first, so that no fresh garbage is frozen: a few milliseconds."""


class LongLived:
    """Counts what comes to stay, and freezes it a part at a time. One per process."""

    def __init__(self, every: int = EVERY) -> None:
        self._every = every
        self._come = 0

    def came(self) -> None:
        """One more, such as a user with all that is kept of it."""
        self._come += 1
        if self._come >= self._every:
            self.freeze()

    def freeze(self) -> None:
        """All that lives now is to be passed over from now on."""
        self._come = 0
        gc.collect(YOUNG)
        gc.freeze()
