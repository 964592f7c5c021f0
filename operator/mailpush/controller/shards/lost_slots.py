"""Slots whose pod is dead and that nobody has taken over: after a while their users' statuses say so. Pure."""

from collections.abc import Mapping
from typing import Final

from mailpush.sharding.planning.observed import PodObservation
from mailpush.sharding.shardmap import NONE, PodRef, ShardMap

LOST_AFTER: Final = 30.0
"""Seconds; a takeover takes less than 20."""


class Losses:
    """Remembers since when each owner has been dead; None stands for slots that have no owner at all."""

    def __init__(self) -> None:
        self._dead_since: dict[PodRef | None, float] = {}

    def lost(
        self, now: float, shard_map: ShardMap, pods: Mapping[PodRef, PodObservation], *, hopeless: bool = False
    ) -> frozenset[int]:
        """The slots that are without a live owner for too long. `hopeless`: no pod is wanted, so none will come."""
        dead: set[PodRef | None] = {
            ref for ref in shard_map.pods if ref is not None and ref in pods and pods[ref].life.permits_fence
        }
        if NONE in shard_map.owners:
            dead.add(None)
        self._dead_since = {ref: self._dead_since.get(ref, now) for ref in dead}
        lost = {ref for ref, since in self._dead_since.items() if hopeless or now - since >= LOST_AFTER}
        if not lost:
            return frozenset()
        return frozenset(slot for slot, owner in enumerate(shard_map.owner_refs()) if owner in lost)
