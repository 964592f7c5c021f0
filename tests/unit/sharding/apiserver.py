"""An API server in memory: Pods, Leases and one ShardMap, with resourceVersions."""

from dataclasses import dataclass, field
from itertools import count

from mailpush.sharding.leases import LeaseState, lease_annotations, parse_lease
from mailpush.sharding.shardmap import PodRef, ShardMap

LeaseVersion = tuple[str, LeaseState | None]


def reread(state: LeaseState) -> LeaseState:
    """What the next reader makes of what was written."""
    holder = str(state.holder) if state.holder else None
    return parse_lease({"metadata": {"annotations": lease_annotations(state)}, "spec": {"holderIdentity": holder}})


@dataclass
class PodObject:
    """The API's Pod object."""

    ref: PodRef
    phase: str = "Running"
    deleting: bool = False
    revision_current: bool = True


@dataclass
class Api:
    """Objects with resourceVersions; every version ever stored can still reach a watch that lags."""

    slots: int
    up: bool = True
    pods: dict[str, PodObject] = field(default_factory=dict)
    leases: dict[str, list[LeaseVersion]] = field(default_factory=dict)
    maps: list[tuple[str, ShardMap]] = field(default_factory=list)
    map_uid: str | None = None
    _numbers: "count[int]" = field(default_factory=lambda: count(1))

    def number(self) -> str:
        return str(next(self._numbers))

    def lease(self, name: str) -> LeaseVersion:
        return self.leases[name][-1] if name in self.leases else ("", None)

    def put_lease(self, name: str, version: str, state: LeaseState) -> bool:
        """A PUT with a resourceVersion; False is a conflict, and so is a Lease that is not there."""
        was = self.lease(name)
        if not self.up or was[1] is None or was[0] != version:
            return False
        new = reread(state)
        for old_number, new_number in zip(_lasting(was[1]), _lasting(new), strict=True):
            assert new_number >= old_number, f"{name}: an epoch on the Lease went down"
        self.leases[name].append((self.number(), new))
        return True

    def create_lease(self, name: str, state: LeaseState) -> bool:
        if not self.up or self.lease(name)[1] is not None:
            return False
        self.leases.setdefault(name, []).append((self.number(), reread(state)))
        return True

    def remove_lease(self, name: str, version: str) -> bool:
        """As the operator deletes one: by resourceVersion, and only where there is no Pod."""
        if not self.up or name in self.pods or self.lease(name)[1] is None or self.lease(name)[0] != version:
            return False
        self.delete_lease(name)
        return True

    def delete_lease(self, name: str) -> None:
        self.leases[name].append((self.number(), None))

    def map(self) -> ShardMap | None:
        return self.maps[-1][1] if self.map_uid is not None else None

    def restore_map(self, back: int) -> None:
        """An administrator restores a backup: an older map, as an object of its own."""
        older = self.maps[max(0, len(self.maps) - 1 - back)][1]
        self.map_uid = f"map-{self.number()}"
        self.maps.append((self.map_uid, older))

    def put_map(self, seen: tuple[str, int] | None, new: ShardMap) -> bool:
        """A PUT with the version that was read, or a create where none was."""
        now = None if self.map_uid is None else (self.map_uid, self.maps[-1][1].epoch)
        if not self.up or now != seen:
            return False
        if now is None:
            self.map_uid = f"map-{self.number()}"
        elif new.epoch != now[1] + 1:
            assert new.restoring, "each write raises the epoch by one, but for one that restores a map"
            assert new.epoch > now[1]
        assert self.map_uid is not None
        self.maps.append((self.map_uid, ShardMap.from_spec(new.to_spec(), self.slots)))
        return True


def _lasting(state: LeaseState) -> tuple[int, int, int]:
    return state.applied_epoch, state.released_through, state.floor
