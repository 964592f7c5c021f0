"""This pod's Lease: taken once, renewed for as long as the process is well, emptied at its end (protocol P3 to P5)."""

import asyncio
import copy
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from mailpush.kube.client import Kube, Object
from mailpush.kube.errors import ConflictError, KubeError, NotFoundError, UnreachableError
from mailpush.kube.resources import LEASE, POD
from mailpush.sharding.leases import Ack, Holder, LeaseState, parse_lease, replaced_annotations
from mailpush.sharding.rights import Right
from mailpush.sharding.shardmap import PodRef
from mailpush.work.clock import Clock, boottime
from mailpush.work.pace import Backoff, Sleep, set_within

# Below the 3 s between renewals, so that a request that hangs costs one renewal and not the right.
ANSWER_SECONDS: Final = 2.5
TAKE_EVERY_SECONDS: Final = 1.0
RETRY: Final = Backoff(0.2, 2.0)

log = structlog.get_logger(__name__)


class LeaseLostError(Exception):
    """Another process or nobody holds the Lease now: this one is to stop its listeners and to exit."""


class LeaseKeeper:
    """Keeps the Lease of one process of the pod `me`. `update` and `ack` change its content."""

    def __init__(
        self,
        kube: Kube,
        namespace: str,
        me: PodRef,
        right: Right,
        nonce: str,
        *,
        clock: Clock = boottime,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.holder = Holder(me.name, me.uid, nonce)
        self.right = right
        self._kube = kube
        self._namespace = namespace
        self._me = me
        self._clock = clock
        self._sleep = sleep
        self._object: Object = {}
        self._state = LeaseState()
        self._wake = asyncio.Event()
        self._waiting_for = ""

    @property
    def state(self) -> LeaseState:
        """What the Lease says or is about to say."""
        return self._state

    # -- what the process publishes

    def update(self, *, urgent: bool = True, **changes: Any) -> None:
        """Changes fields of LeaseState. An urgent change goes out at once, any other with the next renewal."""
        changed = replace(self._state, **changes)
        if changed != self._state:
            self._state = changed
            if urgent:
                self._wake.set()

    def ack(self, ack: Ack) -> None:
        """Publishes at once which map is applied and what is released: a receiver waits for it (P7)."""
        state = self._state.with_ack(ack)
        if state != self._state:
            self._state = state
            self._wake.set()

    def look(self) -> None:
        """Reads the Lease now, not at the next renewal: another process has changed it."""
        self._wake.set()

    # -- its life

    async def take(self) -> LeaseState:
        """Waits for the Lease, takes it by P4, and gives what it said before.

        It is taken whoever holds it, but only while the API's Pod of this name is this very pod: so a process whose
        pod object was deleted cannot take back what its successor has.
        """
        while True:
            self._wake.clear()
            try:
                before = await self._try_to_take()
            except ConflictError:
                continue  # somebody wrote in between: look again
            except KubeError as error:
                self._wait_for("the Kubernetes API", str(error))
            else:
                if before is not None:
                    log.info("lease_taken", lease=self._me.name, holder=str(self.holder), threshold=before.threshold)
                    return before
            await set_within(self._wake, TAKE_EVERY_SECONDS)

    async def keep(self) -> None:
        """Renews until cancelled.

        Raises:
            LeaseLostError: another process or nobody holds the Lease, or it is gone.
        """
        failures = 0
        while True:
            if failures:
                await self._sleep(RETRY.after(failures))
            else:
                await set_within(self._wake, self.right.renewal_due_in(self._clock()))
            if not self.right.may_renew(self._clock()):
                await self._sleep(0.1)  # the main loop hangs or was paused: it has to show first that it goes on
                continue
            self._wake.clear()
            try:
                await self._write(self._state)
                failures = 0
            except ConflictError:
                failures = 0 if await self._still_mine() else failures + 1
                self._wake.set()
            except NotFoundError:
                self._lost("the Lease is gone")
            except KubeError as error:
                failures += 1
                if failures in (1, 10) or failures % 100 == 0:
                    log.warning("lease_not_renewed", error=str(error), right_left=round(self._remaining(), 1))

    async def release(self, within: float) -> bool:
        """Empties the holder, for a process that has stopped everything (P8); gives whether that has worked.

        Nothing else may run `keep` meanwhile. Never raises: the operator finds an unreleased pod dead after 15 s.
        """
        if self._state.holder is None:
            return False  # never taken
        try:
            async with asyncio.timeout(within):
                while True:
                    try:
                        await self._write(self._state.released())
                    except ConflictError:
                        await self._still_mine()
                    except NotFoundError:
                        return False
                    except KubeError:
                        await self._sleep(0.3)
                    else:
                        log.info("lease_released", lease=self._me.name)
                        return True
        except (TimeoutError, LeaseLostError):
            return False
        finally:
            self.right.ended()

    # -- steps

    async def _try_to_take(self) -> LeaseState | None:
        try:
            lease = await self._get(LEASE)
        except NotFoundError:
            self._wait_for("its Lease", "the operator has not made it yet")
            return None
        try:
            pod = await self._get(POD)
        except NotFoundError:
            pod = {}
        if pod.get("metadata", {}).get("uid") != self._me.uid:
            self._wait_for("its Pod", f"the API's Pod {self._me.name} is not this one ({self._me.uid})")
            return None
        before = parse_lease(lease)
        self._object = lease
        taken = before.taken_by(self.holder)
        # Keep what this process has published already: it may have read its settings while it waited.
        described = self._state
        self._state = replace(
            described,
            holder=taken.holder,
            map_uid=taken.map_uid,
            applied_epoch=taken.applied_epoch,
            released_through=taken.released_through,
            floor=taken.floor,
        )
        await self._write(self._state)
        return before

    async def _write(self, state: LeaseState) -> None:
        sent_at = self._clock()
        self._object = await self._kube.replace(
            LEASE, self._namespace, lease_object(self._object, state), answer_seconds=ANSWER_SECONDS
        )
        if state.holder is not None:
            self.right.renewed(sent_at)

    async def _still_mine(self) -> bool:
        """Reads the Lease anew after a conflict; False where it could not be read."""
        try:
            self._object = await self._get(LEASE)
        except NotFoundError:
            self._lost("the Lease is gone")
        except KubeError:
            return False
        found = parse_lease(self._object)
        if found.holder != self.holder:
            self._lost(f"its holder is {found.holder or 'nobody'} now")
        self._state = replace(self._state, floor=max(self._state.floor, found.floor))
        return True

    def _lost(self, why: str) -> None:
        self.right.ended()
        raise LeaseLostError(f"this process ({self.holder}) has lost the Lease {self._me.name}: {why}")

    async def _get(self, resource: Any) -> Object:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._kube.get(resource, self._namespace, self._me.name)
        except TimeoutError:
            raise UnreachableError(f"GET {resource.plural}: no answer within {ANSWER_SECONDS} s") from None

    def _remaining(self) -> float:
        return self.right.remaining(self._clock())

    def _wait_for(self, what: str, why: str) -> None:
        if what != self._waiting_for:
            self._waiting_for = what
            log.warning("waiting", waiting_for=what, why=why)


def lease_object(base: Object, state: LeaseState) -> Object:
    """`base`, a Lease as read, with the content of `state`. What others put there stays."""
    lease = copy.deepcopy(base)
    metadata = lease.setdefault("metadata", {})
    metadata.pop("managedFields", None)
    metadata["annotations"] = replaced_annotations(metadata.get("annotations"), state)
    spec = lease.setdefault("spec", {})
    spec["holderIdentity"] = str(state.holder) if state.holder else ""
    # For people and kubectl only: no program may compare it with a clock (P8).
    spec["renewTime"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return lease
