"""Where each pod stands for a plan: who is out, who may get slots, who only keeps them, who is to lose them."""

from collections.abc import Iterable

from mailpush.sharding.planning.death import PodLife
from mailpush.sharding.planning.observed import Fence, Observed, PodObservation
from mailpush.sharding.shardmap import FORMAT_VERSION, PodRef, ShardMap


class Membership:
    """The pods of one observation, seen from the map of that observation."""

    def __init__(self, observed: Observed, shard_map: ShardMap) -> None:
        self._pods = {pod.ref: pod for pod in observed.pods}
        self._map = shard_map
        self._map_uid = observed.map_uid
        self._replicas = observed.replicas
        fit = [pod for pod in observed.pods if self._fit(pod)]
        current = [pod for pod in fit if pod.revision_current]
        by_ordinal = sorted(current or fit, key=lambda pod: (pod.ordinal, pod.ref))
        self.targets: tuple[PodRef, ...] = tuple(pod.ref for pod in by_ordinal)
        """Pods that may get slots. An old revision gets none while a fit pod of the new one exists."""
        self.donors: tuple[PodRef, ...] = tuple(sorted(pod.ref for pod in fit if pod.ref not in set(self.targets)))
        """Pods of an old revision: they keep what they have."""

    def gone(self, ref: PodRef) -> bool:
        """Whether `ref` is proven to run nothing, and cannot start anything by this map or an older one (P8, P9).

        A Lease that another pod UID holds needs no fence: the former one can neither renew it nor take it back, since
        the Pod object has the other UID (P4); what is left of its right ends within the 15 s.
        """
        pod = self._pods.get(ref)
        if pod is None or pod.lease is None or not pod.life.permits_fence:
            return False
        if pod.lease.holder is None:
            return pod.lease.floor > self._map.epoch
        return not pod.lease.held_by(ref.uid)

    def released(self, ref: PodRef, epoch: int) -> bool:
        """Whether `ref` has said that it is done with every move up to `epoch` of this very map."""
        pod = self._pods.get(ref)
        return (
            pod is not None
            and pod.lease is not None
            and pod.lease.held_by(ref.uid)
            and pod.lease.map_uid == self._map_uid
            and pod.lease.released_through >= epoch
        )

    def coming(self) -> int:
        """How many of the pods that are wanted may be there in a moment: those that start, or do not exist yet.

        Not those that say why they take nobody, nor where it is not known how many are wanted.
        """
        here = {*self.targets, *self.donors}
        refusing = [
            pod
            for pod in self._pods.values()
            if pod.ref not in here
            and _alive(pod)
            and pod.lease is not None
            and not pod.lease.capable
            and pod.lease.reason
        ]
        return max(0, (self._replicas or 0) - len(here) - len(refusing))

    def alive(self, ref: PodRef) -> bool:
        """Whether `ref` holds its Lease and has renewed it lately."""
        pod = self._pods.get(ref)
        return pod is not None and _alive(pod)

    def why_leaving(self, ref: PodRef) -> str | None:
        """Why a live pod is to lose its slots, None where it keeps them.

        Not capable and no reason given means that its process is still starting: slots come back at once to a
        restarted container (P6), so they are not taken away meanwhile.
        """
        pod = self._pods.get(ref)
        if pod is None or pod.lease is None or not _alive(pod):
            return None
        if pod.deleting or pod.lease.draining:
            return "is ending"
        if self._replicas is not None and pod.ordinal >= self._replicas:
            return f"is above the {self._replicas} replicas that are wanted"
        if not pod.lease.capable and pod.lease.reason:
            return f"is not capable ({pod.lease.reason})"
        return None

    def fences(self, also: Iterable[PodRef] = ()) -> tuple[Fence, ...]:
        """The fences that proofs of death allow and that a next map waits for.

        None where no pod could take the slots (P9): a lone silent pod that is fenced ends its listeners for nothing,
        and so do the siblings of one that has just come back from where they all were.
        """
        names: set[str] = set()
        if not any(self._pods[target].life is PodLife.ALIVE for target in self.targets):
            return ()
        for ref in sorted(self._map.named().union(also)):
            pod = self._pods.get(ref)
            if pod is None or pod.lease is None or not pod.life.permits_fence or self.gone(ref):
                continue
            names.add(ref.name)
        return tuple(Fence(name, self._map.epoch + 1) for name in sorted(names))

    def need_an_epoch(self) -> tuple[str, ...]:
        """Pods that can follow this map only under a new epoch.

        Their Lease's floor is above it, so they start nothing (P9); or they have acked another map of this epoch, one
        that was deleted before anybody else knew it, so they cannot ack this one.
        """
        epoch, uid = self._map.epoch, self._map_uid
        return tuple(
            sorted(
                pod.ref.name
                for pod in self._pods.values()
                if (lease := pod.lease) is not None
                and lease.held_by(pod.ref.uid)
                and (lease.floor > epoch or (lease.map_uid != uid and lease.applied_epoch >= epoch))
            )
        )

    def unsure(self) -> bool:
        """Whether time alone may change what is known of a pod that the map names."""
        waiting = (PodLife.UNCERTAIN, PodLife.UNSEEN, PodLife.RETURNED)
        return any((pod := self._pods.get(ref)) is None or pod.life in waiting for ref in self._map.named())

    def _fit(self, pod: PodObservation) -> bool:
        lease = pod.lease
        return (
            lease is not None
            and _alive(pod)
            and lease.capable
            and self.why_leaving(pod.ref) is None
            # It has applied a map of this UID, so it runs nothing by a deleted one.
            and lease.map_uid == self._map_uid
            and (not lease.formats or FORMAT_VERSION in lease.formats)
        )


def _alive(pod: PodObservation) -> bool:
    return pod.life.lives and pod.lease is not None and pod.lease.held_by(pod.ref.uid)
