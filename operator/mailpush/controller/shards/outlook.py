"""What one shard loop sees of pods, Leases and users: the observation that a plan is made from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mailpush.controller.owner import Owner
from mailpush.controller.shards.maps import ShardMaps
from mailpush.controller.shards.report import UserFigures
from mailpush.controller.shards.watch import PodWatch, Sighting
from mailpush.controller.state import ConfigState, OperatorState, Pod
from mailpush.sharding.planning.observed import OrphanLease, PodObservation, named_only_by_map
from mailpush.sharding.shardmap import PodRef


@dataclass(frozen=True, slots=True)
class Outlook:
    """One observation, and what it is made from: where nothing of it has changed, neither has the plan."""

    map_version: str | None
    pods: tuple[PodObservation, ...]
    orphans: tuple[OrphanLease, ...]
    weights_version: int
    replicas: int | None
    lease_versions: Mapping[str, str | None] = field(compare=False)
    """The resourceVersions of the Leases that the judgements are about; a renewal alone changes no plan."""


class Observer:
    """Observes the pods of one MailPushConfig, those that only its map names, and Leases that nobody has any more."""

    def __init__(
        self,
        owner: Owner,
        state: OperatorState,
        pods: PodWatch,
        users: UserFigures,
        *,
        maps: ShardMaps,
        clock: Callable[[], float],
    ) -> None:
        self._key = owner.key
        self._state = state
        self._pods = pods
        self._users = users
        self._maps = maps
        self._clock = clock

    async def observe(self, state: ConfigState, pods: tuple[Pod, ...]) -> Outlook:
        """Looks, too, at each Lease of which there has been no news.

        Raises:
            KubeError: one could not be read.
        """
        namespace = self._key.namespace
        shard_map = self._maps.map
        remembered = named_only_by_map(shard_map, [pod.ref for pod in pods])
        known = frozenset({pod.ref.name for pod in pods} | {ref.name for ref in remembered})
        others = self._pods.lease_names(self._key) - known
        settled = shard_map is not None and not shard_map.restoring
        # Leases of pods that are long gone show whether the map is a successor; a close look is needed only where it is
        # made again (P10).
        await self._pods.look_at_quiet(namespace, known if settled else known | others)
        now = self._clock()
        revision = self._state.revisions.get(self._key)
        observations = [self._observation(pod, revision, now) for pod in pods]
        observations += [self._remembered(ref, now) for ref in remembered]
        orphans = self._orphans(others, now)
        return Outlook(
            map_version=self._maps.version,
            pods=tuple(observations),
            orphans=tuple(orphans),
            weights_version=self._users.version(self._key),
            replicas=state.wanted_replicas,
            lease_versions={
                name: self._sighting(name).observer.resource_version
                for name in (*(observation.ref.name for observation in observations), *(one.name for one in orphans))
            },
        )

    def _observation(self, pod: Pod, revision: str | None, now: float) -> PodObservation:
        sighting = self._sighting(pod.ref.name)
        return PodObservation(
            ref=pod.ref,
            phase=pod.phase,
            deleting=pod.deleting,
            ordinal=pod.ordinal,
            revision_current=not revision or not pod.revision or pod.revision == revision,
            lease=sighting.state,
            life=sighting.observer.state(now, pod.ref, exists=True),
        )

    def _remembered(self, ref: PodRef, now: float) -> PodObservation:
        """A pod that the map names and that has no Pod object: its process may run on after a forced delete."""
        sighting = self._sighting(ref.name)
        ordinal = ref.name.rpartition("-")[2]
        return PodObservation(
            ref=ref,
            phase="",
            deleting=True,
            ordinal=int(ordinal) if ordinal.isdecimal() else 0,
            revision_current=True,
            lease=sighting.state,
            life=sighting.observer.state(now, ref, exists=False),
        )

    def _orphans(self, others: frozenset[str], now: float) -> list[OrphanLease]:
        found = []
        for name in sorted(others):
            sighting = self._sighting(name)
            if (lease := sighting.state) is not None:
                ref = PodRef(name, lease.holder.uid if lease.holder else "")
                found.append(OrphanLease(name, lease, sighting.observer.state(now, ref, exists=False)))
        return found

    def _sighting(self, name: str) -> Sighting:
        return self._pods.sighting(self._key.namespace, name)
