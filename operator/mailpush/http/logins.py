"""Refused logins, bounded: how often somebody may try a password that is wrong."""

import asyncio
import ipaddress
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, TypeVar

from mailpush.work.clock import Clock
from mailpush.work.pace import Sleep

T = TypeVar("T")

TRIES: Final = 10
"""Wrong logins that one source may send at once; one that has logged in before has ten times as many."""
REFILL_SECONDS: Final = 6.0
"""After so many seconds a source has one more try; one that has logged in before, ten."""
PROVEN_SECONDS: Final = 3600.0
"""For so long a source counts as one that has logged in: behind the same address somebody else may guess."""
PROVEN_FACTOR: Final = 10
OVERALL: Final = 100
"""Wrong logins of all unproven sources together, at once; one more in REFILL_SECONDS / 10."""
SOURCES: Final = 1024
"""Sources that are remembered, so that memory stays bounded whoever asks."""
DELAY_SECONDS: Final = 0.5
"""What a wrong login costs."""


@dataclass(slots=True)
class _Bucket:
    """Tries that are left, filled by time."""

    most: float
    refill: float
    left: float
    seen: float

    def at(self, now: float) -> float:
        return min(self.most, self.left + (now - self.seen) / self.refill)

    def take(self, now: float) -> None:
        self.left, self.seen = max(0.0, self.at(now) - 1.0), now


class LoginGuard:
    """Says before a login is checked whether it is checked at all.

    Not for the callback: a right login that is not checked there would cost a mail.

    A source is an IPv4 address or an IPv6 network of 64 bits. One that is forgotten, as many others came meanwhile,
    still counts with all the others.
    """

    def __init__(self, *, clock: Clock = time.monotonic, sleep: Sleep = asyncio.sleep) -> None:
        self._clock = clock
        self._sleep = sleep
        self._sources: OrderedDict[str, _Bucket] = OrderedDict()
        self._proven: OrderedDict[str, float] = OrderedDict()
        self._overall = _Bucket(OVERALL, REFILL_SECONDS / PROVEN_FACTOR, OVERALL, clock())

    @property
    def remembered(self) -> int:
        """Sources that are remembered."""
        return max(len(self._sources), len(self._proven))

    def lets_try(self, address: str | None) -> bool:
        """Whether a login from `address` is checked now."""
        source, now = _source(address), self._clock()
        bucket = self._sources.get(source)
        if bucket is not None and bucket.at(now) < 1.0:
            return False
        return self._is_proven(source, now) or self._overall.at(now) >= 1.0

    def accepted(self, address: str | None) -> None:
        """The login was right."""
        source, now = _source(address), self._clock()
        if not self._is_proven(source, now):
            self._sources.pop(source, None)  # its wider bound counts from now on
        _put(self._proven, source, now + PROVEN_SECONDS)

    def refused(self, address: str | None) -> None:
        """The login was wrong."""
        source, now = _source(address), self._clock()
        proven = self._is_proven(source, now)
        factor = PROVEN_FACTOR if proven else 1
        bucket = self._sources.get(source)
        if bucket is None or bucket.most != TRIES * factor:
            bucket = _Bucket(TRIES * factor, REFILL_SECONDS / factor, TRIES * factor, now)
        bucket.take(now)
        _put(self._sources, source, bucket)
        if not proven:
            self._overall.take(now)

    async def delay(self) -> None:
        """What a refused login costs whoever waits for the answer."""
        await self._sleep(DELAY_SECONDS)

    def _is_proven(self, source: str, now: float) -> bool:
        return now < self._proven.get(source, float("-inf"))


def _put(kept: OrderedDict[str, T], source: str, value: T) -> None:
    kept[source] = value
    kept.move_to_end(source)
    while len(kept) > SOURCES:
        kept.popitem(last=False)


def _source(address: str | None) -> str:
    try:
        found = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return ""
    if found.version == 4:
        return str(found)
    mapped = found.ipv4_mapped
    return str(mapped) if mapped else str(ipaddress.ip_network((int(found) >> 64 << 64, 64)))
