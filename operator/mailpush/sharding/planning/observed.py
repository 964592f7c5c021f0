"""What the planner is given and what it answers: values only, so that tests compare them and a command prints them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mailpush.sharding.leases import LeaseState
from mailpush.sharding.planning.death import PodLife
from mailpush.sharding.shardmap import PodRef, ShardMap
from mailpush.sharding.slots import SLOTS


@dataclass(frozen=True, slots=True)
class PodObservation:
    """One life of a pod: a Pod object, or a pod that only the map still names (phase "", life by the observer).

    `lease` is the Lease of the pod's *name*, whoever holds it; None where it is missing or was not read yet.
    `ordinal` is the number at the end of the name; `revision_current` whether the pod has the StatefulSet's newest
    revision (true for a pod that only the map names: it plays no part there).
    """

    ref: PodRef
    phase: str
    deleting: bool
    ordinal: int
    revision_current: bool
    lease: LeaseState | None
    life: PodLife


@dataclass(frozen=True, slots=True)
class OrphanLease:
    """A Lease whose name no Pod object and no pod of the map has. `life` is that of its holder's UID, if it has one."""

    name: str
    lease: LeaseState
    life: PodLife


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """Everything that a plan is made from.

    Attributes:
        map, map_uid: the ShardMap and its object's UID, both None where there is none. As the API server has it:
            the plan may only be written with the resourceVersion that this was read with (P2).
        pods: each Pod object of the StatefulSet, and each pod of `named_only_by_map`.
        orphans: Leases of ours that belong to none of `pods`; needed for P10 only.
        copy: the newest copy of the map that the operator or a pod has, where the map itself is gone (P10).
        astray_since: what the last plan returned as `new_astray_since`.
        weights: users per slot, as a sequence or by slot.
        replicas: how many pods are wanted; None where nobody has evaluated that yet, which is not zero (P11).
        now: seconds of the operator's monotonic clock.
        overweight_since: what the last plan returned as `new_overweight_since`.
        newcomer_since: what the last plan returned as `new_newcomer_since`.
        remembered_epoch: the highest `ownerEpoch` in a PushUser's status: of an installation that was removed, too.
    """

    map: ShardMap | None
    map_uid: str | None
    pods: tuple[PodObservation, ...]
    weights: Sequence[int] | Mapping[int, int]
    replicas: int | None
    now: float
    overweight_since: float | None = None
    newcomer_since: float | None = None
    orphans: tuple[OrphanLease, ...] = ()
    copy: ShardMap | None = None
    astray_since: float | None = None
    slots: int = SLOTS
    remembered_epoch: int = 0

    def weight_list(self) -> Sequence[int]:
        """Users of each slot, in order."""
        if isinstance(self.weights, Mapping):
            return [self.weights.get(slot, 0) for slot in range(self.slots)]
        return self.weights


@dataclass(frozen=True, slots=True)
class Fence:
    """Update this Lease by the resourceVersion last seen: `LeaseState.fenced(floor)`. On a conflict observe anew."""

    lease_name: str
    floor: int


@dataclass(frozen=True, slots=True)
class NewLease:
    """Create this Lease: no holder, and this floor."""

    name: str
    floor: int


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that a plan does and why: a reason in one word, and a sentence for people.

    `pod`: the pod that loses slots by it, where one is the cause; `why` it does, as the end of a sentence on it.
    """

    reason: str
    text: str
    pod: PodRef | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now. Either `fences` or `next_map`, never both: the fences must have been seen before a map follows.

    `next_map` is written by PUT with the resourceVersion of the map that was observed (by create where there was
    none); on a conflict it is thrown away (P2). Observe and plan again after `recheck_after` seconds at the latest.
    """

    fences: tuple[Fence, ...] = ()
    next_map: ShardMap | None = None
    changes: tuple[Change, ...] = ()
    recheck_after: float | None = None
    new_overweight_since: float | None = None
    new_newcomer_since: float | None = None
    new_astray_since: float | None = None


def named_only_by_map(shard_map: ShardMap | None, pods: Sequence[PodRef]) -> tuple[PodRef, ...]:
    """Pods that the map names and that have no Pod object: they belong into `Observed.pods` as well."""
    if shard_map is None:
        return ()
    return tuple(sorted(shard_map.named() - set(pods)))


def missing_leases(observed: Observed) -> tuple[NewLease, ...]:
    """The Leases to create now (P3). Only to be asked once all Leases have been listed.

    A pod that the map names gets it back only after its 15 s, above the map's epoch: else a process that nobody
    watches any more could still act. Another pod gets it at once, not below the map's epoch: with its old Lease it has
    lost what kept it from starting by an old map out of a stale cache, or by a backup that was restored.
    """
    applied = [pod.lease.applied_epoch for pod in observed.pods if pod.lease is not None]
    epoch = 0 if observed.map is None else max([observed.map.epoch, *applied])
    named = frozenset() if observed.map is None else observed.map.named()
    by_name: dict[str, list[PodObservation]] = {}
    for pod in observed.pods:
        by_name.setdefault(pod.ref.name, []).append(pod)
    wanted = []
    for name, pods in sorted(by_name.items()):
        if any(pod.lease is not None for pod in pods):
            continue
        owners = [pod for pod in pods if pod.ref in named]
        if owners:
            if all(pod.life.permits_fence for pod in owners):
                wanted.append(NewLease(name, epoch + 1))
        elif any(pod.phase and not pod.deleting for pod in pods):
            wanted.append(NewLease(name, epoch))
    return tuple(wanted)
