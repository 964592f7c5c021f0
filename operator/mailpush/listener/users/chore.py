"""Work on the whole credential storage that one pod does in the background, and what it says of it on its Lease."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import structlog

from mailpush.credentials.storage import StorageUnavailableError
from mailpush.credentials.stored import StoredCredentials, StoreState
from mailpush.listener.users.passcrypts import PasscryptsUnknownError
from mailpush.sharding.leases import RotationReport
from mailpush.work.clock import boottime
from mailpush.work.pace import Backoff

LOOK_SECONDS: Final = 10.0
NAMED_PODS: Final = 5
PODS_DIFFER: Final = "PodsDiffer"
RETRY: Final = Backoff(5.0, 300.0)

log = structlog.get_logger(__name__)


class Progress(Protocol):
    """How far it is, in entries."""

    @property
    def entries(self) -> int: ...

    @property
    def seen(self) -> int: ...

    @property
    def unreadable(self) -> int: ...

    @property
    def finished(self) -> bool: ...


class Chore:
    """
    Args:
        name: of its events in the log.
        stored: the storage that it is done on.
        owns: whether this pod is the one to do it.
        differing: the live pods for which it waits. Raises PasscryptsUnknownError.
        lack: what those pods have not done yet.
    """

    def __init__(
        self,
        name: str,
        stored: StoredCredentials,
        *,
        owns: Callable[[], bool],
        differing: Callable[[], Awaitable[list[str]]],
        lack: str,
    ) -> None:
        self.report = RotationReport(0)
        self._name = name
        self._stored = stored
        self._owns = owns
        self._differing = differing
        self._lack = lack
        self._agreed = float("-inf")

    async def run(self, work: Callable[[], Awaitable[object]]) -> None:
        """Until `work` is finished; it goes on where it stood when it is called again."""
        failures = 0
        while not self.report.finished:
            if not self._owns():
                self._waits("")
                await asyncio.sleep(LOOK_SECONDS)
                continue
            if self._stored.state is not StoreState.READY:
                self._waits(str(self._stored.trouble or ""))
                await asyncio.sleep(LOOK_SECONDS)
                continue
            done = self.report.done
            try:
                await work()
            except StorageUnavailableError as error:
                failures = 1 if self.report.done != done else failures + 1
                self._waits(str(error))
                await asyncio.sleep(LOOK_SECONDS if error.reason == PODS_DIFFER else RETRY.after(failures))
        log.info(f"{self._name}_finished", entries=self.report.total, unreadable=self.report.unreadable)

    async def gate(self) -> None:
        """Goes on while no live pod is behind.

        Raises:
            StorageUnavailableError: one is, or may be. The text names it.
        """
        if boottime() - self._agreed < LOOK_SECONDS:
            return
        try:
            others = await self._differing()
        except PasscryptsUnknownError as error:
            raise StorageUnavailableError(str(error), PODS_DIFFER) from None
        if others:
            more = f" and {len(others) - NAMED_PODS} more" if len(others) > NAMED_PODS else ""
            have = "have" if len(others) > 1 else "has"
            named = ", ".join(others[:NAMED_PODS])
            raise StorageUnavailableError(f"{named}{more} {have} not {self._lack} yet", PODS_DIFFER)
        self._agreed = boottime()

    def told(self, progress: Progress) -> None:
        """How far it has come."""
        done = progress.entries if progress.finished else progress.seen
        self.report = RotationReport(progress.entries, done, progress.unreadable, progress.finished)

    def _waits(self, why: str) -> None:
        if self.report.waits == why:
            return
        self.report = self.report._replace(waits=why)
        if why:
            log.warning(f"{self._name}_waits", why=why)
