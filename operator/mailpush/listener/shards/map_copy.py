"""This pod's copy of the shard map, shown on its Lease while the API has no map that follows it (protocol P10)."""

from collections.abc import Mapping
from typing import Final

import structlog

from mailpush.listener.shards.lease import LeaseKeeper
from mailpush.sharding.copies import encode_copy, epoch_of
from mailpush.sharding.leases import LeaseState
from mailpush.sharding.shardmap import PodRef, ShardMap
from mailpush.work.clock import Clock

SHOWN_BY: Final = 2
SHOWN_EVERY_SECONDS: Final = 2.0
"""Pods that show their copy at first, and seconds until as many more do where nobody has."""

log = structlog.get_logger(__name__)


class MapCopy:
    """The operator makes a map that is gone again from what a pod shows; a new leader has no copy of its own.

    Two pods begin, and two more as often as nobody shows one: each Lease goes to all pods at each renewal.
    """

    def __init__(self, me: PodRef, keeper: LeaseKeeper, clock: Clock) -> None:
        self._me = me
        self._keeper = keeper
        self._clock = clock
        self._since: float | None = None
        self._shown: int | None = None
        """The epoch of the copy on the Lease."""

    def needed(self) -> None:
        """The map was deleted, or one that is no successor stands in its place."""
        if self._since is None:
            self._since = self._clock()

    @property
    def is_needed(self) -> bool:
        """Whether the API lacks this pod's map."""
        return self._since is not None

    def not_needed(self) -> None:
        """The API has this pod's map, or one that follows it."""
        self._since = None

    def show(self, shard_map: ShardMap | None, leases: Mapping[str, LeaseState]) -> None:
        """Called at each turn. `leases`: all that are known, by their pods' names."""
        if self._since is None or shard_map is None:
            if self._shown is not None:
                self._keeper.update(urgent=False, map_copy="")
                self._shown = None
            return
        others = {name: lease for name, lease in leases.items() if name != self._me.name}
        if self._shown == shard_map.epoch or any(
            epoch_of(lease.map_copy) >= shard_map.epoch for lease in others.values()
        ):
            return
        named = {ref.name for ref in shard_map.named()}
        before = [name for name in named.intersection(others) if name < self._me.name and others[name].holder]
        if self._clock() - self._since >= len(before) // SHOWN_BY * SHOWN_EVERY_SECONDS:
            self._keeper.update(map_copy=encode_copy(shard_map))
            self._shown = shard_map.epoch
            log.info("map_copy_shown", epoch=shard_map.epoch)
