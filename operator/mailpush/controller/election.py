"""Which of the operator's processes leads: an own Lease, taken and renewed by resourceVersion (protocol P11).

A process that leads and cannot renew for 10 s has to end; another takes over 15 s after it last saw a renewal, or at
once where the former one left the Lease empty. Only the own clock counts; renewTime is for people.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum
from typing import Final

import structlog

from mailpush.kube import resources
from mailpush.kube.client import Kube, Object
from mailpush.kube.errors import ConflictError, KubeError, NotFoundError

LASTS: Final = 15.0
MUST_RENEW_WITHIN: Final = 10.0
EVERY: Final = 2.0
STANDBY_EVERY: Final = 1.0
ANSWER_SECONDS: Final = 2.5

log = structlog.get_logger(__name__)


class LeadershipLostError(Exception):
    """Another process leads, or may soon: this one must end at once."""


class Look(Enum):
    """What a standby concludes from one look at the Lease."""

    MISSING = "missing"
    FREE = "free"
    EXPIRED = "expired"
    HELD = "held"


class LeaseJudge:
    """Judges the Lease of the leader from what was seen of it and when; no clock of its own, no I/O."""

    def __init__(self) -> None:
        self._version: str | None = None
        self._since: float = 0.0

    def look(self, lease: Object | None, now: float) -> Look:
        """`now` is in seconds of a monotonic clock."""
        if lease is None:
            return Look.MISSING
        version = lease["metadata"]["resourceVersion"]
        if version != self._version:
            self._version, self._since = version, now
        if not (lease.get("spec") or {}).get("holderIdentity"):
            return Look.FREE
        return Look.EXPIRED if now - self._since >= LASTS else Look.HELD

    def unreadable(self, now: float) -> None:
        """The API did not answer: the time until it does again proves nothing."""
        self._since = now


class Election:
    """One candidate. `lead` returns once it leads; `hold` then runs until leadership is lost or given up."""

    def __init__(
        self,
        kube: Kube,
        namespace: str,
        name: str,
        identity: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        on_tick: Callable[[], None] = lambda: None,
    ) -> None:
        self._kube = kube
        self._namespace = namespace
        self._name = name
        self.identity = identity
        self._clock = clock
        self._on_tick = on_tick
        self._lease: Object | None = None

    async def lead(self) -> None:
        """Waits until this process leads."""
        judge = LeaseJudge()
        announced = False
        while True:
            self._on_tick()
            try:
                lease = await self._read()
                look = judge.look(lease, self._clock())
                if (look is not Look.HELD or self._holds(lease)) and await self._take(lease):
                    log.info("leading", lease=self._name, identity=self.identity, found=look.value)
                    return
                if lease is not None and not announced:
                    log.info("standing_by", lease=self._name, leader=(lease.get("spec") or {}).get("holderIdentity"))
                    announced = True
            except KubeError as error:
                judge.unreadable(self._clock())
                log.warning("election_failed", lease=self._name, error=str(error))
            await asyncio.sleep(STANDBY_EVERY)

    async def hold(self) -> None:
        """Renews until cancelled.

        Raises:
            LeadershipLostError: another process has taken the Lease, or it could not be renewed in time.
        """
        renewed = self._clock()
        while True:
            self._on_tick()
            await asyncio.sleep(EVERY)
            sent = self._clock()
            # Also after a pause of the whole process: the right counts from the last renewal that was sent.
            if sent - renewed >= MUST_RENEW_WITHIN:
                raise LeadershipLostError(f"the Lease {self._name} was not renewed for {sent - renewed:.0f} s")
            try:
                await self._renew()
                renewed = sent
            except (ConflictError, NotFoundError):
                if not await self._still_mine():
                    raise LeadershipLostError(f"another process holds the Lease {self._name}") from None
            except KubeError as error:
                log.warning("renewal_failed", lease=self._name, error=str(error))

    async def release(self) -> None:
        """Leaves the Lease empty, so that the next one need not wait. Errors only cost the next one that time."""
        if self._lease is None:
            return
        body = self._body(self._lease, holder=False)
        try:
            await self._kube.replace(resources.LEASE, self._namespace, body, answer_seconds=ANSWER_SECONDS)
        except KubeError as error:
            log.warning("release_failed", lease=self._name, error=str(error))
        self._lease = None

    def _holds(self, lease: Object | None) -> bool:
        """Whether this process has taken it by a write whose answer was lost: nobody has to wait for its end."""
        return lease is not None and (lease.get("spec") or {}).get("holderIdentity") == self.identity

    async def _read(self) -> Object | None:
        try:
            return await self._kube.get(resources.LEASE, self._namespace, self._name, answer_seconds=ANSWER_SECONDS)
        except NotFoundError:
            return None

    async def _take(self, lease: Object | None) -> bool:
        try:
            if lease is None:
                body = self._body({"metadata": {"name": self._name, "namespace": self._namespace}, "spec": {}})
                self._lease = await self._kube.create(
                    resources.LEASE, self._namespace, body, answer_seconds=ANSWER_SECONDS
                )
            else:
                body = self._body(lease, takes=True)
                self._lease = await self._kube.replace(
                    resources.LEASE, self._namespace, body, answer_seconds=ANSWER_SECONDS
                )
        except ConflictError:
            return False
        return True

    async def _renew(self) -> None:
        if self._lease is None:
            raise LeadershipLostError("nothing was taken that could be renewed")
        self._lease = await self._kube.replace(
            resources.LEASE, self._namespace, self._body(self._lease), answer_seconds=ANSWER_SECONDS
        )

    async def _still_mine(self) -> bool:
        """After a conflict: an own renewal whose answer was lost, or somebody's label, is no loss."""
        try:
            lease = await self._read()
        except KubeError:
            return True  # not known; the ten seconds decide
        if lease is None or (lease.get("spec") or {}).get("holderIdentity") != self.identity:
            return False
        self._lease = lease
        return True

    def _body(self, lease: Object, *, holder: bool = True, takes: bool = False) -> Object:
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        spec = {**(lease.get("spec") or {}), "leaseDurationSeconds": int(LASTS), "renewTime": now}
        if holder:
            spec["holderIdentity"] = self.identity
        else:
            spec.pop("holderIdentity", None)
        if takes or "acquireTime" not in spec:
            spec["acquireTime"] = now
        if takes:
            spec["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + 1
        return {
            "apiVersion": resources.LEASE.api_version,
            "kind": resources.LEASE.kind,
            "metadata": lease["metadata"],
            "spec": spec,
        }
