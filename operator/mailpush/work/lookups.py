"""Name lookups that hang hold up nobody else: one at a time for each name, in threads of their own.

An event loop looks names up in a few threads that all of the process share (uvloop: libuv's four), and glibc waits ten
seconds and more for a name server that does not answer. So whoever looks up names that others have chosen, and whoever
must not wait for those, has a share of threads of its own.
"""

import asyncio
import copy
import ipaddress
import queue
import socket
import threading
import time
from concurrent.futures import Future
from typing import Final

from mailpush.work.clock import Clock

PATIENCE_SECONDS: Final = 5.0
"""After so long without an answer a name counts as one that has none, until the lookup ends."""
_REMEMBERED: Final = 1024


class _Lookup:
    """One lookup of a name, and for a while its answer."""

    def __init__(self, host: str, began: float) -> None:
        self.host = host
        self.began = began
        self.stale_at = float("inf")
        self.answer: Future[list[str] | Exception] = Future()
        self.answer.set_running_or_notify_cancel()  # who waits for it may be cancelled, the lookup may not


class Lookups:
    """One share: at most `threads` lookups at a time. It belongs to no event loop.

    Args:
        kept: seconds for which an answer counts.
        failed: seconds for which a name that was not found is not asked for again.
    """

    def __init__(self, threads: int, *, kept: float, failed: float, clock: Clock = time.monotonic) -> None:
        self._most = threads
        self._kept = kept
        self._failed = failed
        self._clock = clock
        self._names: dict[str, _Lookup] = {}
        self._queue: queue.SimpleQueue[_Lookup] = queue.SimpleQueue()
        self._threads = 0
        self._waiting = 0

    async def addresses(self, host: str) -> list[str]:
        """The IP addresses of a name, in the order of preference; of an address itself.

        Raises:
            OSError: as socket.getaddrinfo; EAI_AGAIN where there is no answer within PATIENCE_SECONDS.
            ValueError: no host name.
        """
        if _is_address(host):
            return [host]
        lookup = self._lookup(host)
        if lookup.answer.done():
            return _found(lookup.answer.result())
        try:
            async with asyncio.timeout(max(lookup.began + PATIENCE_SECONDS - self._clock(), 0.0)):
                return _found(await asyncio.wrap_future(lookup.answer))
        except TimeoutError:
            raise socket.gaierror(socket.EAI_AGAIN, "the name server does not answer") from None

    def forget(self, host: str) -> None:
        """Nobody answers at the addresses of this name: it may have others by now."""
        lookup = self._names.get(host)
        if lookup is not None and lookup.answer.done():
            del self._names[host]

    def _lookup(self, host: str) -> _Lookup:
        now = self._clock()
        lookup = self._names.get(host)
        if lookup is None or lookup.stale_at <= now:
            if len(self._names) >= _REMEMBERED:
                self._names = {name: each for name, each in self._names.items() if not each.answer.done()}
            lookup = self._names[host] = _Lookup(host, now)
            self._queue.put(lookup)
            under_way = sum(not each.answer.done() for each in self._names.values())
            if self._threads < min(under_way, self._most):
                self._threads += 1
                # A daemon: at its end the process does not wait for a lookup that hangs.
                threading.Thread(target=self._work, name="lookup", daemon=True).start()
        return lookup

    def _work(self) -> None:
        while True:
            lookup = self._queue.get()
            answer: list[str] | Exception
            try:
                infos = socket.getaddrinfo(lookup.host, None, type=socket.SOCK_STREAM)
                answer = list(dict.fromkeys(str(info[4][0]) for info in infos))
                lookup.stale_at = self._clock() + self._kept
            except Exception as error:
                answer = error
                lookup.stale_at = self._clock() + self._failed
            lookup.answer.set_result(answer)


def _found(answer: list[str] | Exception) -> list[str]:
    if isinstance(answer, Exception):
        raise copy.copy(answer)  # a traceback of its own for each who asked
    return list(answer)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
