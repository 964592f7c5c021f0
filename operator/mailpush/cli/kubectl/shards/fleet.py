"""The pods of one MailPushConfig and its ShardMap, as a cluster's objects show them at one moment. Pure.

The operator watches Leases for as long as it runs, and believes only its own clock (protocol P8). Here is one look, so
the API server's clock has to do: good enough to tell people, and nothing is written by it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mailpush import names
from mailpush.cli.kubectl.manifests import Object, Trouble
from mailpush.sharding.leases import LeaseState, parse_lease
from mailpush.sharding.planning.death import EXPIRES_AFTER, PodLife
from mailpush.sharding.planning.observed import Observed, PodObservation, named_only_by_map
from mailpush.sharding.shardmap import PodRef, ShardMap, ShardMapError


@dataclass(frozen=True, slots=True)
class FleetPod:
    """One listener pod.

    Attributes:
        renewed: seconds since its Lease was renewed, by the API server's clock; None where it never was.
        exists: whether there is a Pod object; else only the map names it.
    """

    observation: PodObservation
    renewed: float | None
    node: str
    exists: bool

    @property
    def ref(self) -> PodRef:
        return self.observation.ref

    @property
    def lease(self) -> LeaseState | None:
        return self.observation.lease


@dataclass(frozen=True, slots=True)
class Fleet:
    """One MailPushConfig's pods and map.

    Attributes:
        replicas: pods that the MailPushConfig wants.
        map: None where there is none yet; `map_uid` of its object, `map_status` what the operator says of it.
        weights: users who are to be listened for, by slot; None where they were not read.
    """

    name: str
    namespace: str
    replicas: int
    map: ShardMap | None
    map_uid: str | None
    map_status: Mapping[str, Any]
    pods: tuple[FleetPod, ...]
    weights: Sequence[int] | None = field(default=None, repr=False)

    def observed(self) -> Observed:
        """As the planner takes it."""
        return Observed(
            map=self.map,
            map_uid=self.map_uid,
            pods=tuple(pod.observation for pod in self.pods),
            weights=self.weights or {},
            replicas=self.replicas,
            now=0.0,
        )


def fleet_of(
    config: Object,
    shard_map: Object | None,
    *,
    pods: Sequence[Object],
    leases: Sequence[Object],
    stateful_set: Object | None,
    now: datetime,
    weights: Sequence[int] | None = None,
) -> Fleet:
    """
    Raises:
        Trouble: the ShardMap cannot be read.
    """
    name = str(config["metadata"]["name"])
    found: ShardMap | None = None
    if shard_map is not None:
        try:
            found = ShardMap.from_spec(shard_map["spec"])
        except ShardMapError as error:
            raise Trouble(f"ShardMap {name}: {error}; the operator makes it again, or update this plugin") from None
    by_name = {str(lease["metadata"]["name"]): lease for lease in leases}
    revision = ((stateful_set or {}).get("status") or {}).get("updateRevision")
    seen = [_pod(pod, by_name, revision, now) for pod in pods if _ordinal(pod["metadata"]["name"], name) is not None]
    seen += [_remembered(ref, by_name, now) for ref in named_only_by_map(found, [pod.ref for pod in seen])]
    seen.sort(key=lambda pod: (pod.observation.ordinal, pod.ref))
    listeners = (config.get("spec") or {}).get("listeners") or {}
    return Fleet(
        name=name,
        namespace=str(config["metadata"]["namespace"]),
        replicas=int(listeners.get("replicas", 0)),
        map=found,
        map_uid=None if shard_map is None else str(shard_map["metadata"]["uid"]),
        map_status={} if shard_map is None else shard_map.get("status") or {},
        pods=tuple(seen),
        weights=weights,
    )


def _ordinal(pod: str, config: str) -> int | None:
    prefix, _, number = pod.rpartition("-")
    return int(number) if prefix == names.statefulset_name(config) and number.isdecimal() else None


def _pod(body: Object, leases: Mapping[str, Object], revision: str | None, now: datetime) -> FleetPod:
    metadata = body["metadata"]
    ref = PodRef(str(metadata["name"]), str(metadata["uid"]))
    mine = (metadata.get("labels") or {}).get("controller-revision-hash", "")
    lease, renewed = _lease(leases.get(ref.name), now)
    observation = PodObservation(
        ref=ref,
        phase=str((body.get("status") or {}).get("phase") or "Pending"),
        deleting="deletionTimestamp" in metadata,
        ordinal=int(ref.name.rpartition("-")[2]),
        revision_current=not revision or not mine or mine == revision,
        lease=lease,
        life=life(ref, lease, renewed),
    )
    return FleetPod(observation, renewed, str((body.get("spec") or {}).get("nodeName") or ""), exists=True)


def _remembered(ref: PodRef, leases: Mapping[str, Object], now: datetime) -> FleetPod:
    """A pod that the map names and that has no Pod object any more."""
    lease, renewed = _lease(leases.get(ref.name), now)
    number = ref.name.rpartition("-")[2]
    observation = PodObservation(
        ref=ref,
        phase="",
        deleting=True,
        ordinal=int(number) if number.isdecimal() else 0,
        revision_current=True,
        lease=lease,
        life=life(ref, lease, renewed),
    )
    return FleetPod(observation, renewed, "", exists=False)


def _lease(body: Object | None, now: datetime) -> tuple[LeaseState | None, float | None]:
    if body is None:
        return None, None
    text = (body.get("spec") or {}).get("renewTime")
    try:
        renewed = max(0.0, (now - datetime.fromisoformat(text)).total_seconds()) if isinstance(text, str) else None
    except ValueError:
        renewed = None
    return parse_lease(body), renewed


def life(ref: PodRef, lease: LeaseState | None, renewed: float | None) -> PodLife:
    """What one look says of a pod. Nothing is ever done by it."""
    if lease is None:
        return PodLife.UNSEEN
    if lease.holder is None:
        return PodLife.RELEASED
    if not lease.held_by(ref.uid) or renewed is None or renewed >= EXPIRES_AFTER:
        return PodLife.EXPIRED
    return PodLife.ALIVE
