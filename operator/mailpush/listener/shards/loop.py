"""The loop that keeps this pod's slots by the shard map: stop, then ack, then start (protocol P6, P7)."""

import asyncio
from collections.abc import Collection, Iterable
from typing import Final, Protocol

import structlog

from mailpush.http.health import Pulse
from mailpush.kube.client import Kube, Object
from mailpush.kube.errors import KubeError
from mailpush.kube.reflector import Change, Reflector
from mailpush.kube.resources import SHARD_MAP
from mailpush.listener.shards.lease import LeaseKeeper
from mailpush.listener.shards.lease_watch import LeaseWatch
from mailpush.listener.shards.map_copy import MapCopy
from mailpush.sharding.leases import LeaseState, parse_lease
from mailpush.sharding.ownership import Ownership
from mailpush.sharding.ranges import format_ranges
from mailpush.sharding.shardmap import Move, PodRef, ShardMap, ShardMapError, lost_between
from mailpush.work.clock import Clock, boottime
from mailpush.work.pace import set_within

TICK_SECONDS: Final = 1.0
WRITTEN_SECONDS: Final = 5.0
"""How long a slot that has stopped waits for its last sends to be written, at most."""
LIST_SECONDS: Final = 5.0
"""For a list of the map, and until a watch begins: a takeover, which waits for it, has 20."""

log = structlog.get_logger(__name__)


class SlotKeeping(Protocol):
    """The part of the supervisor that the loop drives."""

    def start_slots(self, slots: Iterable[int], epoch: int) -> None: ...

    def warm_slots(self, slots: frozenset[int]) -> None: ...

    async def stop_slots(self, slots: Iterable[int]) -> None: ...

    def counts(self) -> tuple[dict[str, int], dict[str, int]]: ...


class WaitsForOwners(Protocol):
    """The mails that wait for the owner of their user: the inbox."""

    def ownership_changed(self, slots: Collection[int] = ()) -> None:
        """Slots may have another owner; `slots` are those that this pod has begun or stopped."""


class Sweeps(Protocol):
    """What looks for mails whose callbacks may have been lost."""

    def request(self, why: str, *, everywhere: bool = False) -> None: ...

    @property
    def left(self) -> int: ...


class Sends(Protocol):
    """What knows which notifications of a slot were sent, and whether all pods know it: the claims of own users."""

    def own(self, slots: Iterable[int], inherited: Collection[int] = ()) -> None: ...

    def disown(self, slots: Iterable[int]) -> None: ...

    def held_back(self, slots: Iterable[int]) -> frozenset[int]: ...

    async def written(self, slots: Collection[int], seconds: float) -> bool: ...


class ReadsUsers(Protocol):
    """The reader of the users."""

    def want(self, slots: frozenset[int]) -> None:
        """Says whose users are read from now on."""

    def listed(self, slots: Collection[int]) -> frozenset[int]:
        """Those of the slots whose users have been read."""


class Shards:
    """Reads the ShardMap and the Leases of this pod and its givers, and drives the supervisor.

    Args:
        lease_watch: told whose Leases are needed.
        users: told whose are needed; no slot starts before its users are listed.
        pulse: the loop beats at each turn.
        sends: slots whose sends are not written yet are not given away.
    """

    def __init__(
        self,
        me: PodRef,
        config: str,
        keeper: LeaseKeeper,
        supervisor: SlotKeeping,
        *,
        lease_watch: LeaseWatch,
        users: ReadsUsers,
        mails: WaitsForOwners,
        pulse: Pulse,
        sends: Sends,
        clock: Clock = boottime,
    ) -> None:
        self._sweeps: Sweeps | None = None
        self._sends = sends
        self._me = me
        self._config = config
        self._keeper = keeper
        self._supervisor = supervisor
        self._lease_watch = lease_watch
        self._users = users
        self._mails = mails
        self._pulse = pulse
        self._clock = clock
        self._ownership: Ownership | None = None
        self._map: ShardMap | None = None
        self._map_uid = ""
        self._map_read = False
        self._moves: dict[int, Move] = {}
        self._leases: dict[str, LeaseState] = {}
        """Those that are watched, or were looked at just now."""
        self._all_leases: dict[str, LeaseState] | None = None
        """All of them, while the copies of other pods matter."""
        self._stopping: set[int] = set()
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()
        self._unreadable: str | None = None
        self._copy = MapCopy(me, keeper, clock)

    def notify(self, sweeps: Sweeps) -> None:
        """`sweeps` hears of each pod that is lost."""
        self._sweeps = sweeps

    def reflector(self, kube: Kube, namespace: str) -> Reflector:
        """Of the map."""
        return Reflector(
            kube,
            SHARD_MAP,
            namespace,
            self.observe_map,
            field_selector=f"metadata.name={self._config}",
            on_listed=self.map_listed,
            answer_seconds=LIST_SECONDS,
        )

    # -- what is read

    def map_listed(self) -> None:
        """The map has been read, or there is none."""
        self._map_read = True
        self.wake()

    def observe_map(self, change: Change, obj: Object) -> None:
        if change in ("DELETED", "ABSENT"):
            # The operator makes it again from what the pods remember (P10); until then all stays as it is.
            log.warning("shard_map_deleted")
            self._copy.needed()
            self.wake()
            return
        version = obj["metadata"]["resourceVersion"]
        try:
            shard_map = ShardMap.from_spec(obj.get("spec") or {})
        except ShardMapError as error:
            if version != self._unreadable:
                self._unreadable = version
                log.warning("shard_map_unreadable", error=str(error))
            return
        if self._map is not None and shard_map.epoch <= self._map.epoch:
            if (obj["metadata"]["uid"], shard_map.epoch) == (self._map_uid, self._map.epoch):
                self._copy.not_needed()
            else:
                self._copy.needed()
                self.wake()
            return
        self._copy.not_needed()
        self._look_who_is_lost(shard_map)
        self._map, self._map_uid, self._moves = shard_map, obj["metadata"]["uid"], shard_map.moving()
        if self._ownership is not None:
            self._ownership.observe_map(self._map_uid, shard_map)
        self.wake()
        self._mails.ownership_changed()

    def _look_who_is_lost(self, shard_map: ShardMap) -> None:
        if self._map is None or self._sweeps is None:
            return
        if lost := lost_between(self._map, shard_map) - {self._me}:
            log.warning("pods_lost", pods=sorted(pod.name for pod in lost), epoch=shard_map.epoch)
            self._sweeps.request("pod_lost")

    def pods(self) -> int:
        """How many pods the map names."""
        return 1 if self._map is None else max(1, sum(pod is not None for pod in self._map.pods))

    def observe_lease(self, change: Change, obj: Object) -> None:
        name = obj["metadata"]["name"]
        lease = None if change in ("DELETED", "ABSENT") else parse_lease(obj)
        before = self._leases.pop(name, None)
        if lease is not None:
            self._leases[name] = lease
        if name == self._me.name:
            if lease is None or lease.holder != self._keeper.holder:
                self._keeper.look()
            return
        if self._ownership is not None:
            self._ownership.observe_lease(name, lease)
        if self._moves and lease is not None and (before is None or before.released_through < lease.released_through):
            self.wake()
            self._mails.ownership_changed()

    def forget_lease(self, name: str) -> None:
        self._leases.pop(name, None)

    def leases_listed(self, leases: dict[str, LeaseState]) -> None:
        self._all_leases = leases
        self.wake()

    def begin(self, start: LeaseState) -> None:
        """The Lease is ours; `start` is what it said before. From now on slots may be started."""
        self._ownership = Ownership(self._me, start)
        if self._map is not None:
            self._ownership.observe_map(self._map_uid, self._map)
        for name, lease in self._leases.items():
            if name != self._me.name:
                self._ownership.observe_lease(name, lease)
        self.wake()

    def wake(self) -> None:
        self._wake.set()

    # -- who owns what

    def owner_of(self, slot: int) -> str | None:
        """The pod that has the slot, as far as this one knows; the receiver once the giver has released."""
        if self._map is None:
            return None
        move = self._moves.get(slot)
        if move is not None and self._has_left(move, slot):
            return move.receiver.name
        owner = self._map.owner_of(slot)
        return owner.name if owner is not None else None

    def stands(self, pod: str) -> bool:
        """Whether the map names the pod."""
        return self._map is not None and any(ref.name == pod for ref in self._map.pods if ref is not None)

    def signs(self, pod: str) -> bool:
        """Whether the pod signs its answers: no only where its Lease says so, as that of an older version does.

        Asked where an answer is not signed. A Lease that is not known is read; until then the answer is not believed.
        """
        lease = self._leases.get(pod)
        if lease is None:
            self._lease_watch.look(pod)
        return lease is None or lease.holder is None or lease.signs

    async def successors(self) -> bool:
        """Whether another pod could take this one's slots now; where the API does not say, whether there is another."""
        try:
            leases = await self._lease_watch.all()
        except KubeError:
            return self._map is not None and any(ref.name != self._me.name for ref in self._map.named())
        return any(
            name != self._me.name and lease.holder is not None and lease.capable and not lease.draining
            for name, lease in leases.items()
        )

    # -- the loop

    async def run(self) -> None:
        """Runs until cancelled. A fault here ends the process: slots that nobody keeps must not look kept."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._pulse.beat("shards")
                self._keeper.right.ticked(self._clock())
                self._wake.clear()
                if self._ownership is not None:
                    self._turn(self._ownership, group)
                await set_within(self._wake, TICK_SECONDS)

    async def drain(self, within: float) -> bool:
        """Waits until the operator has moved all slots away, at most `within` seconds; returns whether it has."""
        return await self._until_empty(within)

    async def retire(self, within: float) -> bool:
        """Stops all slots, whoever is to have them; returns whether all have stopped within `within` seconds."""
        if self._ownership is not None:
            self._ownership.retire()
            self.wake()
        return await self._until_empty(within)

    def _turn(self, ownership: Ownership, group: asyncio.TaskGroup) -> None:
        ending = ownership.to_stop() - self._stopping
        if ending and not ownership.retired:
            # 'Not releasable yet' (P15). What was taken without a move has another owner already.
            ending -= self._sends.held_back(ownership.given() & ending)
        if ending:
            self._stopping |= ending
            group.create_task(self._stop(ownership, ending))
        if self._keeper.right.holds(self._clock()):
            beginning = self._users.listed(ownership.to_start()) - self._stopping
            if beginning:
                self._sends.own(beginning, ownership.inherited(beginning))
                ownership.started(beginning)
                self._supervisor.start_slots(beginning, ownership.epoch)
                log.debug("slots_begin", slots=format_ranges(beginning))
                log.info("slots_started", slots=_short(beginning), count=len(beginning), epoch=ownership.epoch)
                self._mails.ownership_changed(beginning)
        self._lease_watch.watch(ownership.givers())
        self._supervisor.warm_slots(self._users.listed(ownership.to_warm()))
        if self._map_read:  # only then is it known that this pod has no slots
            self._users.want(ownership.to_read())
        if not ownership.running:
            self._empty.set()
        else:
            self._empty.clear()
        self._publish(ownership)

    async def _stop(self, ownership: Ownership, slots: frozenset[int]) -> None:
        given = ownership.given() & slots
        await self._supervisor.stop_slots(slots)
        if given:
            await self._sends.written(given, WRITTEN_SECONDS)
        self._sends.disown(slots)
        ownership.stopped(slots)
        self._stopping -= slots
        log.debug("slots_end", slots=format_ranges(slots))
        log.info("slots_stopped", slots=_short(slots), count=len(slots), epoch=ownership.epoch)
        self._publish(ownership)
        self.wake()
        self._mails.ownership_changed(slots)

    def _publish(self, ownership: Ownership) -> None:
        self._keeper.ack(ownership.ack())
        counts, denied = self._supervisor.counts()
        if self._sweeps is not None:
            counts["sweeping"] = self._sweeps.left
        self._keeper.update(urgent=False, counts=counts, denied=denied)
        self._show_copy()

    def _show_copy(self) -> None:
        if not self._copy.is_needed:
            self._all_leases = None
            self._copy.show(self._map, {})
            return
        self._lease_watch.look_at_all_soon()  # who shows one already
        if self._all_leases is not None:
            self._copy.show(self._map, self._all_leases)

    def _has_left(self, move: Move, slot: int) -> bool:
        """Of a move between two other pods only the map says so: until then its giver names the receiver (`peers`)."""
        if move.giver == self._me:
            return self._ownership is None or slot not in self._ownership.running
        if move.receiver == self._me and self._ownership is not None and slot in self._ownership.running:
            return True
        lease = self._leases.get(move.giver.name)
        return (
            lease is not None
            and lease.held_by(move.giver.uid)
            and lease.map_uid == self._map_uid
            and lease.released_through >= move.epoch
        )

    async def _until_empty(self, within: float) -> bool:
        if self._ownership is None or not self._ownership.running:
            return True
        self._empty.clear()
        return await set_within(self._empty, within)


def _short(slots: Iterable[int]) -> str:
    text = format_ranges(slots)
    return text if len(text) <= 60 else text[:60] + "..."
