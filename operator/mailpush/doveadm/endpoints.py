"""Which endpoint is asked next: one after the other, and those that failed rest for a while, as in OX."""

from collections.abc import Sequence
from typing import Final

from mailpush.doveadm.errors import DoveadmUnreachableError
from mailpush.work.clock import Clock

PROBE_SECONDS: Final = 5.0
"""Where all of them rest, one is asked as often as this, and nobody else waits for it."""


class Endpoints:
    """
    Args:
        urls: at least one.
        rest: seconds for which one that failed is not asked, as long as there is another.
    """

    def __init__(self, urls: Sequence[str], rest: float, clock: Clock) -> None:
        self._urls = list(urls)
        self._rest = rest
        self._clock = clock
        self._failed: dict[str, float] = {}
        """When each that rests failed last."""
        self._why = ""
        """What is said of the last that failed: who is not let to it says the same."""
        self._next = 0
        self._probed = float("-inf")

    def __len__(self) -> int:
        return len(self._urls)

    def next(self) -> str:
        """
        Raises:
            DoveadmUnreachableError: all of them rest.
        """
        now = self._clock()
        awake = [url for url in self._urls if now - self._failed.get(url, float("-inf")) >= self._rest]
        if awake:
            self._next += 1
            return awake[self._next % len(awake)]
        if now - max(self._probed, *self._failed.values()) < PROBE_SECONDS:
            raise DoveadmUnreachableError(self._why)
        self._probed = now
        return min(self._urls, key=self._failed.__getitem__)

    def failed(self, url: str, why: str) -> None:
        """It did not answer."""
        self._failed[url], self._why = self._clock(), why

    def worked(self, url: str) -> None:
        """It has answered."""
        self._failed.pop(url, None)
