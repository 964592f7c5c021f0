"""How fast IDLEs follow each other at a server that does not hold them."""

from typing import Final

from mailpush.work.clock import Clock
from mailpush.work.pace import Backoff, Pace, Sleep

SHORT_SECONDS: Final = 10.0
"""An IDLE that the server ended before this, for nothing, was in vain."""
VAIN_MOST: Final = 5
"""So many in vain, one after another, are a server that does not hold IDLE."""
LONGEST_WAIT: Final = 60.0

_AFTER_VAIN: Final = Backoff(1.0, LONGEST_WAIT)
_PER_SECOND: Final = 1.0
_BURST: Final = 5


class Rounds:
    """One user's IDLEs: at most one a second after a few, and later each time while they are in vain."""

    def __init__(self, clock: Clock, sleep: Sleep) -> None:
        self._clock = clock
        self._sleep = sleep
        self._pace = Pace(_PER_SECOND, _BURST, clock=clock, sleep=sleep)
        self._began = clock()
        self._vain = 0

    @property
    def vain(self) -> bool:
        return self._vain >= VAIN_MOST

    async def begin(self) -> None:
        """Waits for the next IDLE's turn."""
        await self._pace.turn()
        if self._vain:
            await self._sleep(_AFTER_VAIN.after(self._vain))
        self._began = self._clock()

    def ended(self, *, quiet: bool, news: bool) -> bool:
        """Takes how an IDLE ended; returns whether the server held it.

        `quiet`: we ended it, as nothing happened. `news`: there was mail.
        """
        held = quiet or self._clock() - self._began >= SHORT_SECONDS
        self._vain = 0 if held or news else self._vain + 1
        return held
