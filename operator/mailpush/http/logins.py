"""Refused logins, bounded: how often one source may try a password that is wrong."""

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from mailpush.work.clock import Clock
from mailpush.work.pace import Sleep

TRIES: Final = 10
"""Wrong logins that one source may send at once."""
REFILL_SECONDS: Final = 6.0
"""After so many seconds a source has one more try."""
PROVEN_SECONDS: Final = 3600.0
"""A source whose login was right is not locked out for so long: behind a NAT it may be somebody else who guesses."""
SOURCES: Final = 1024
"""Sources that are remembered, so that memory stays bounded whoever asks."""
DELAY_SECONDS: Final = 0.5
"""What a wrong login costs on a port where nobody waits for the answer."""


@dataclass(slots=True)
class _Source:
    tries: float
    seen: float
    proven_until: float = float("-inf")


class LoginGuard:
    """Says before a login is checked whether it is checked at all. Right logins are never slowed.

    A source is an IP address. A login that is not checked is answered like one that is wrong, only sooner (429).
    """

    def __init__(self, *, clock: Clock = time.monotonic, sleep: Sleep = asyncio.sleep) -> None:
        self._clock = clock
        self._sleep = sleep
        self._sources: OrderedDict[str, _Source] = OrderedDict()

    @property
    def remembered(self) -> int:
        """Sources that are remembered."""
        return len(self._sources)

    def lets_try(self, source: str | None) -> bool:
        """Whether `source` may try a login now."""
        found = self._sources.get(source or "")
        if found is None:
            return True
        now = self._clock()
        return now < found.proven_until or self._tries(found, now) >= 1.0

    def accepted(self, source: str | None) -> None:
        """The login was right."""
        found = self._source(source)
        found.proven_until = found.seen + PROVEN_SECONDS

    def refused(self, source: str | None) -> None:
        """The login was wrong."""
        found = self._source(source)
        found.tries = max(0.0, found.tries - 1.0)

    async def delay(self) -> None:
        """What a refused login costs whoever waits for the answer."""
        await self._sleep(DELAY_SECONDS)

    def _source(self, source: str | None) -> _Source:
        name, now = source or "", self._clock()
        found = self._sources.pop(name, None) or _Source(float(TRIES), now)
        found.tries, found.seen = self._tries(found, now), now
        self._sources[name] = found
        while len(self._sources) > SOURCES:
            self._sources.popitem(last=False)
        return found

    def _tries(self, source: _Source, now: float) -> float:
        return min(float(TRIES), source.tries + (now - source.seen) / REFILL_SECONDS)
