"""Objects of a cluster that make a fleet: pods, Leases and a ShardMap as the API server shows them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from mailpush import names
from mailpush.cli.kubectl.shards.fleet import Fleet, fleet_of
from mailpush.sharding.leases import Holder, LeaseState, lease_annotations
from mailpush.sharding.shardmap import NONE, Move, PodRef, ShardMap
from mailpush.sharding.slots import SLOTS

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
MAP_UID = "map-uid"
EPOCH = 7


def ref(ordinal: int) -> PodRef:
    return PodRef(f"mail-push-main-{ordinal}", f"uid-{ordinal}")


def pod(ordinal: int, **changes: Any) -> dict[str, Any]:
    metadata = {"name": ref(ordinal).name, "uid": ref(ordinal).uid, "labels": {"controller-revision-hash": "new"}}
    return {
        "metadata": {**metadata, **changes.get("metadata", {})},
        "spec": {"nodeName": f"node-{ordinal % 2}"},
        "status": {"phase": "Running"},
    }


def lease(ordinal: int, ago: float | None = 1.0, **changes: Any) -> dict[str, Any]:
    """`ago`: seconds since it was renewed; None: nobody holds it."""
    state: dict[str, Any] = {
        "holder": None if ago is None else Holder(ref(ordinal).name, ref(ordinal).uid, "n"),
        "map_uid": MAP_UID,
        "applied_epoch": EPOCH,
        "released_through": EPOCH - 1,
        "capable": True,
        "formats": frozenset({1}),
        "counts": {"assigned": 10 * ordinal + 10, "listening": 10 * ordinal + 9, "failed": 1},
        **changes,
    }
    whole = LeaseState(**state)
    spec: dict[str, Any] = {}
    if ago is not None:
        renewed = (NOW - timedelta(seconds=ago)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {"holderIdentity": str(whole.holder), "renewTime": renewed}
    return {"metadata": {"name": ref(ordinal).name, "annotations": lease_annotations(whole)}, "spec": spec}


def shard_map(owners: int, *moves: Move, changes: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    """Slots dealt out in turn to so many pods."""
    refs = {ref(ordinal): ordinal for ordinal in range(owners)}
    for move in moves:
        refs.setdefault(move.receiver, len(refs))
    indexes = tuple(slot % owners if owners else NONE for slot in range(SLOTS))
    found = ShardMap(EPOCH, False, tuple(refs), indexes, moves)
    return {
        "metadata": {"name": "main", "uid": MAP_UID},
        "spec": found.to_spec(),
        "status": {"users": 60, "imbalance": "1.00", "changes": list(changes)},
    }


def config(replicas: int) -> dict[str, Any]:
    return {
        "apiVersion": names.API_VERSION,
        "kind": "MailPushConfig",
        "metadata": {"name": "main", "namespace": "mail", "uid": "config-uid"},
        "spec": {"listeners": {"replicas": replicas}},
    }


def fleet(
    owners: int = 3,
    *,
    replicas: int | None = None,
    pods: list[dict[str, Any]] | None = None,
    leases: list[dict[str, Any]] | None = None,
    found: dict[str, Any] | None = None,
    weights: list[int] | None = None,
) -> Fleet:
    """`owners` healthy pods that share the slots, unless told otherwise."""
    return fleet_of(
        config(owners if replicas is None else replicas),
        shard_map(owners) if found is None else found,
        pods=[pod(ordinal) for ordinal in range(owners)] if pods is None else pods,
        leases=[lease(ordinal) for ordinal in range(owners)] if leases is None else leases,
        stateful_set={"status": {"updateRevision": "new"}},
        now=NOW,
        weights=weights,
    )
