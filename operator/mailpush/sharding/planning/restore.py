"""Maps that are not the successor of a map: the first one, and one that was deleted (protocol P10)."""

from typing import Final

from mailpush.sharding.leases import LeaseState
from mailpush.sharding.planning.death import PodLife
from mailpush.sharding.planning.observed import Change, Fence, Observed, Plan
from mailpush.sharding.shardmap import NONE, ShardMap

JUMP: Final = 1_000_000
"""How far above everything a re-created map begins (P10)."""
SOON: Final = 1.0
COPY_WITHIN: Final = 10.0
"""Seconds in which pods show their copy of a map that is gone; one that is older than theirs would move their users."""


def plan_without_map(observed: Observed) -> Plan:
    """The first write of a map. Where Leases remember another one, it begins above it and says `restoring`."""
    if any(pod.life is PodLife.UNSEEN for pod in observed.pods):
        return Plan(recheck_after=SOON)
    leases = [lease for _, _, lease, _ in _lives(observed) if lease is not None]
    highest = max((lease.threshold for lease in leases), default=0)
    if highest == 0 and observed.copy is None:
        # Else no pod could say anything of users that a former installation has served: theirs would be the newer word.
        epoch = observed.remembered_epoch + 1
        first = ShardMap(epoch=epoch, restoring=False, pods=(), owners=(NONE,) * observed.slots)
        return Plan(next_map=first, changes=(Change("FirstMap", "the first map: nobody owns a slot yet"),))
    copy = observed.copy or ShardMap.empty(observed.slots)
    if (wait := _wait_for_copies(observed, copy.epoch)) is not None:
        return wait
    again = ShardMap(max(highest, copy.epoch) + JUMP, restoring=True, pods=copy.pods, owners=copy.owners)
    text = (
        f"the map was deleted; made again from a pod's copy of epoch {copy.epoch}"
        if observed.copy
        else ("the map was deleted and no pod has a copy; every slot is given out anew")
    )
    return Plan(next_map=again, changes=(Change("MapRestored", text),))


def overtaken(observed: Observed, shard_map: ShardMap) -> bool:
    """Whether the map is not the successor of the one that the Leases speak of (P10): a restored backup, say.

    Our own fences raise a floor to the map's epoch + 1 and no further. A map that restores may itself be no successor:
    a backup of one, or one that was deleted and made again before all had seen it.
    """
    return any(
        lease.floor > shard_map.epoch + 1
        or lease.applied_epoch > shard_map.epoch
        or (lease.map_uid not in (None, observed.map_uid) and lease.applied_epoch >= shard_map.epoch)
        for _, _, lease, _ in _lives(observed)
        if lease is not None
    )


def plan_again(observed: Observed, shard_map: ShardMap) -> Plan:
    """The first write after a map that is no successor: above everything, and `restoring` until all have seen it."""
    leases = [lease for _, _, lease, _ in _lives(observed) if lease is not None]
    copy = observed.copy if observed.copy is not None and observed.copy.epoch >= shard_map.epoch else shard_map
    if (wait := _wait_for_copies(observed, copy.epoch)) is not None:
        return wait
    highest = max([shard_map.epoch, copy.epoch, *(lease.threshold for lease in leases)])
    again = ShardMap(highest + JUMP, restoring=True, pods=copy.pods, owners=copy.owners)
    whose = "the map itself" if copy is shard_map else f"the copy of epoch {copy.epoch}"
    text = f"the map of epoch {shard_map.epoch} is no successor of what the pods have applied; made again from {whose}"
    return Plan(next_map=again, changes=(Change("MapRestored", text),))


def _wait_for_copies(observed: Observed, epoch: int) -> Plan | None:
    """Nothing yet, where a pod that may live has applied a newer map than that of `epoch`, and is about to show it."""
    since = observed.now if observed.astray_since is None else observed.astray_since
    newer = any(
        not life.permits_fence and lease is not None and lease.held_by(uid) and lease.applied_epoch > epoch
        for _, uid, lease, life in _lives(observed)
    )
    if not newer or observed.now - since >= COPY_WITHIN:
        return None
    return Plan(recheck_after=SOON, new_astray_since=since)


def plan_restoring(observed: Observed, shard_map: ShardMap) -> Plan:
    """The way out of `restoring`: each Lease has acked this map, or is fenced. Until then nothing starts or moves."""
    fences: set[str] = set()
    waiting = False
    for name, uid, lease, life in _lives(observed):
        if lease is None:
            waiting = True  # it is made again, with a floor, after its 15 s
        elif lease.held_by(uid):
            if lease.map_uid != observed.map_uid or lease.applied_epoch < shard_map.epoch:
                waiting = True
                fences.update({name} if life.permits_fence else ())
        elif not life.permits_fence:
            waiting = True
        elif lease.holder is None and lease.floor <= shard_map.epoch:
            waiting = True
            fences.add(name)
    # As everywhere (P9): only where a pod that lives, and has for some seconds, could take what the fenced one has.
    capable = any(pod.life is PodLife.ALIVE and pod.lease is not None and pod.lease.capable for pod in observed.pods)
    if fences and capable:
        return Plan(fences=tuple(Fence(name, shard_map.epoch + 1) for name in sorted(fences)), recheck_after=SOON)
    if waiting:
        return Plan(recheck_after=SOON)
    done = ShardMap(shard_map.epoch + 1, restoring=False, pods=shard_map.pods, owners=shard_map.owners)
    return Plan(next_map=done, changes=(Change("Restored", "every pod has applied the restored map or is fenced"),))


def _lives(observed: Observed) -> list[tuple[str, str, LeaseState | None, PodLife]]:
    """Each pod UID that may run something, with the Lease of its name and what is known of it."""
    lives = [(pod.ref.name, pod.ref.uid, pod.lease, pod.life) for pod in observed.pods]
    for orphan in observed.orphans:
        holder = orphan.lease.holder
        lives.append((orphan.name, holder.uid if holder else "", orphan.lease, orphan.life))
    return lives
