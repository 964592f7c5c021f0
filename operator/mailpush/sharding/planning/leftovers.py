"""Leases that nobody needs any more: of pods beyond the replicas that are gone for good."""

from mailpush.sharding.leases import LeaseState
from mailpush.sharding.planning.observed import Observed, OrphanLease


def leftover_leases(observed: Observed) -> tuple[str, ...]:
    """Names of the Leases to delete, each by the resourceVersion that it was judged by.

    Such a Lease has neither a Pod object nor a place in the map, its last holder is dead by P8, and the ordinal is not
    wanted. What P10 needs stays: a Lease goes only where one that remains has seen an epoch as high, so the last one
    stays where no pod is wanted. A process that comes back all the same finds none, and ends (P4).
    """
    if observed.map is None or observed.map.restoring or observed.replicas is None:
        return ()
    named = {ref.name for ref in observed.map.named()} | {pod.ref.name for pod in observed.pods}
    leftover = [
        orphan
        for orphan in observed.orphans
        if orphan.name not in named
        and _ordinal(orphan.name) >= observed.replicas
        and orphan.life.permits_fence
        and _epoch(orphan.lease) <= observed.map.epoch
        and not orphan.lease.map_copy
    ]
    leftover.sort(key=_rank)
    kept = [pod.lease for pod in observed.pods if pod.lease is not None]
    kept += [orphan.lease for orphan in observed.orphans if orphan not in leftover]
    highest = max(map(_epoch, kept), default=-1)
    if leftover and _epoch(leftover[-1].lease) > highest:
        leftover.pop()
    return tuple(orphan.name for orphan in leftover)


def _rank(orphan: OrphanLease) -> tuple[int, int]:
    """The last one is the one to keep: of the highest epoch, and of those the pod that comes back first."""
    return _epoch(orphan.lease), -_ordinal(orphan.name)


def _epoch(lease: LeaseState) -> int:
    return max(lease.applied_epoch, lease.released_through, lease.floor)


def _ordinal(name: str) -> int:
    """-1 for a name that is none of a StatefulSet's pods: it is never beyond the replicas."""
    digits = name.rpartition("-")[2]
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 10 else -1
