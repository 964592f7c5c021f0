"""Which pod listens for whom, once nothing of it is on its way any more."""

from collections.abc import Collection

from mailpush.sharding.leases import parse_lease
from mailpush.sharding.shardmap import PodRef, ShardMap
from mailpush.sharding.slots import slot_of
from tests.sites.namespace import Namespace

NOBODY = PodRef("", "")


def spread(namespace: Namespace, pods: Collection[PodRef], user_ids: Collection[int]) -> dict[str, list[int]]:
    """The users 1:n, who are all that the MailPushConfig `main` listens for, by pod; empty while something is to come.

    Nothing is where the map moves nothing and gives the users to `pods` alone, and each of these has applied it and
    counts as many listening users as it is given. A status alone says less: its pod's name outlives the pod.
    """
    found = namespace.get("shardmap", "main")
    if found is None:
        return {}
    shard_map = ShardMap.from_spec(found["spec"])
    owners = {number: shard_map.owner_of(slot_of(1, number)) or NOBODY for number in user_ids}
    if shard_map.moves or shard_map.restoring or not set(owners.values()) <= set(pods):
        return {}
    statuses = {item["spec"]["userId"]: item.get("status", {}) for item in namespace.list("pushusers")}
    if not all(_says(statuses[number], owner) for number, owner in owners.items()):
        return {}
    by_pod = {pod: [number for number, owner in owners.items() if owner == pod] for pod in pods}
    if not all(_follows(namespace, pod, shard_map.epoch, len(users)) for pod, users in by_pod.items()):
        return {}
    return {pod.name: users for pod, users in by_pod.items()}


def even(by_pod: dict[str, list[int]]) -> bool:
    """Whether no pod has two users more than another."""
    counts = [len(users) for users in by_pod.values()]
    return bool(counts) and max(counts) - min(counts) <= 1


def _says(status: dict[str, object], owner: PodRef) -> bool:
    return (status.get("permanent"), status.get("pod")) == (True, owner.name)


def _follows(namespace: Namespace, pod: PodRef, epoch: int, listening: int) -> bool:
    lease = parse_lease(namespace.get("lease", pod.name) or {})
    return lease.held_by(pod.uid) and lease.applied_epoch >= epoch and lease.counts.get("listening") == listening
