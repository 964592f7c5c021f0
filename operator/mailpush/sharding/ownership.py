"""Which slots a pod's process is to run now, and what it may say of it (protocol P3, P6, P7, P10): no I/O, no clock.

The process feeds in what it reads; it stops `to_stop()`, starts `to_start()`, and publishes `ack()` on its Lease.
It reports `started` before the first effect of a slot and `stopped` after the last one, so `running` is never less
than what really runs.
"""

from collections.abc import Iterable

from mailpush.sharding.leases import Ack, LeaseState
from mailpush.sharding.shardmap import Move, PodRef, ShardMap


class Ownership:
    """The view of one process of the pod `me`; `start` is its Lease as it read it when it took it."""

    def __init__(self, me: PodRef, start: LeaseState) -> None:
        self.me = me
        self._start = start
        self._threshold = start.threshold
        self._map: ShardMap | None = None
        self._map_uid: str | None = None
        self._mine: frozenset[int] = frozenset()
        self._giving: tuple[Move, ...] = ()
        self._receiving: tuple[Move, ...] = ()
        self._releases: dict[tuple[PodRef, str], int] = {}
        self._running: set[int] = set()
        self._handed_over: frozenset[int] = frozenset()
        """Slots that are ours and whose giver was seen to have released them."""
        self._retired = False
        self._ack = Ack(start.map_uid, start.applied_epoch, start.released_through)

    # -- what the process has read

    def observe_map(self, map_uid: str, shard_map: ShardMap) -> None:
        """A ShardMap was read. One that is not newer than the last changes nothing: reads may come from a stale cache.

        A re-created map has another UID and, by P10, an epoch far above: so the epoch alone shows which is newer.
        """
        if self._map is not None and shard_map.epoch <= self._map.epoch:
            return
        handed = [move.slots for move in self._receiving if self._is_released(move)]
        self._handed_over = self._handed_over.union(*handed)
        self._map, self._map_uid = shard_map, map_uid
        self._giving = tuple(move for move in shard_map.moves if move.giver == self.me)
        self._receiving = tuple(move for move in shard_map.moves if move.receiver == self.me)
        given = frozenset(slot for move in self._giving for slot in move.slots)
        self._mine = shard_map.slots_of(self.me) - given
        self._handed_over &= self._mine
        self._releases = {key: through for key, through in self._releases.items() if self._may_matter(key[0], through)}
        self._raise_ack()

    def observe_lease(self, pod_name: str, lease: LeaseState | None) -> None:
        """Another pod's Lease was read, None when it is missing. A release, once seen, stays true."""
        if lease is None or lease.holder is None or lease.map_uid is None:
            return
        # The UID counts: a later pod of the same name has taken over the annotations, not the release.
        ref = PodRef(pod_name, lease.holder.uid)
        key, through = (ref, lease.map_uid), lease.released_through
        if through > self._releases.get(key, 0) and self._may_matter(ref, through):
            self._releases[key] = through

    def started(self, slots: Iterable[int]) -> None:
        """The listeners of these slots are about to be started."""
        self._running.update(slots)
        self._raise_ack()

    def stopped(self, slots: Iterable[int]) -> None:
        """The listeners of these slots have really ended: nothing of them will have an effect any more."""
        self._running.difference_update(slots)
        self._handed_over -= frozenset(slots)
        self._raise_ack()

    def retire(self) -> None:
        """The process ends: from now on it is to run nothing. When all has stopped, it may empty its Lease's holder."""
        self._retired = True

    # -- what is to be done

    @property
    def epoch(self) -> int:
        """The epoch of the newest map that was read, 0 before the first."""
        return 0 if self._map is None else self._map.epoch

    @property
    def running(self) -> frozenset[int]:
        """The slots whose listeners run or may still run."""
        return frozenset(self._running)

    @property
    def desired(self) -> frozenset[int]:
        """The slots whose listeners are to run now."""
        if self._map is None or self._retired:
            return frozenset()
        if not self._may_start:
            inbound = (move.slots for move in self._receiving)
            return self._mine.union(*inbound) & self._running
        released = (move.slots for move in self._receiving if self._is_released(move))
        inbound_running = (move.slots & self._running for move in self._receiving)
        return self._mine.union(*released, *inbound_running)

    def to_stop(self) -> frozenset[int]:
        """Slots that run and must not."""
        return frozenset(self._running - self.desired)

    @property
    def retired(self) -> bool:
        """Whether the process ends."""
        return self._retired

    def given(self) -> frozenset[int]:
        """Slots that a move gives to another pod, or the end of this process to whoever is to have them: the next owner
        waits for the release.
        """
        if self._retired:
            return frozenset(self._running)
        return frozenset().union(*(move.slots for move in self._giving))

    def to_start(self) -> frozenset[int]:
        """Slots that are to run and do not yet."""
        return self.desired - self._running

    def inherited(self, slots: Iterable[int]) -> frozenset[int]:
        """Of slots that are to start, those whose last owner was not seen to release them: it is dead, or it was this
        pod's own former process (P15).
        """
        released = (move.slots for move in self._receiving if self._is_released(move))
        return frozenset(slots) - self._handed_over.union(*released)

    def to_warm(self) -> frozenset[int]:
        """Slots that will be ours as soon as their giver releases: list the users, read credentials, connect."""
        if self._retired:
            return frozenset()
        waiting = (move.slots for move in self._receiving if not self._is_released(move))
        return frozenset().union(*waiting) - self._running

    def to_read(self) -> frozenset[int]:
        """Slots whose users are to be known: those that run or may still run, are ours, or will be."""
        if self._retired:
            return self.running
        return self._mine.union(self._running, *(move.slots for move in self._receiving))

    def givers(self) -> frozenset[str]:
        """Names of the pods whose Leases show when an inbound move may start."""
        return frozenset(move.giver.name for move in self._receiving if not move.slots <= self._running)

    def ack(self) -> Ack:
        """What may be published now. It never goes down; until everything has stopped that must, it does not rise.

        `released_through` may rise before `applied_epoch`: moves that are done on our side do not wait for later ones.
        """
        return self._ack

    # -- inside

    @property
    def _may_start(self) -> bool:
        return self._map is not None and not self._map.restoring and self._map.epoch >= self._threshold

    def _is_released(self, move: Move) -> bool:
        return self._map_uid is not None and self._releases.get((move.giver, self._map_uid), 0) >= move.epoch

    def _may_matter(self, giver: PodRef, through: int) -> bool:
        """Whether a release may still let a slot start: a later map's moves to us that this one lacks are later, too.

        A Lease may be seen before the map whose moves it releases, so what lies above this map is kept.
        """
        if self._map is None or through > self._map.epoch:
            return True
        return any(move.giver == giver for move in self._receiving)

    def _raise_ack(self) -> None:
        if self._map is None or self._map_uid is None:
            return
        allowed = self._mine.union(*(move.slots for move in self._receiving))
        late = self._running - allowed
        if not late:
            if self._map.epoch > self._ack.applied_epoch:
                released = max(self._map.epoch, self._ack.released_through)
                self._ack = Ack(self._map_uid, self._map.epoch, released)
            return
        giving = [move for move in self._giving if move.slots & late]
        if self._map_uid != self._ack.map_uid or late - frozenset().union(*(move.slots for move in giving)):
            return  # another map's epochs say nothing here, and a slot that just went away belongs to no move's epoch
        through = min(move.epoch for move in giving) - 1
        if through > self._ack.released_through:
            self._ack = Ack(self._ack.map_uid, self._ack.applied_epoch, through)
