"""Situations for the planner: three pods, short maps written as letters."""

from dataclasses import replace
from typing import Any

from mailpush.sharding.leases import Holder, LeaseState
from mailpush.sharding.planning.death import PodLife
from mailpush.sharding.planning.planner import Observed, Plan, PodObservation
from mailpush.sharding.shardmap import NONE, Move, PodRef, ShardMap

A, B, C = (PodRef(f"l-{ordinal}", f"u{ordinal}") for ordinal in range(3))
UID = "map"


def pod(ref: PodRef, life: PodLife = PodLife.ALIVE, **changes: Any) -> PodObservation:
    """A healthy, capable pod that has applied the map, unless said otherwise; `lease_*` change its Lease."""
    lease = LeaseState(
        holder=Holder(ref.name, ref.uid, "n"), map_uid=UID, applied_epoch=5, capable=True, formats=frozenset({1})
    )
    lease = replace(lease, **{key[6:]: value for key, value in changes.items() if key.startswith("lease_")})
    fields: dict[str, Any] = {
        "phase": "Running",
        "deleting": False,
        "ordinal": int(ref.name[2:]),
        "revision_current": True,
        "lease": lease,
        **{key: value for key, value in changes.items() if not key.startswith("lease_")},
    }
    return PodObservation(ref=ref, life=life, **fields)


def fenced(ref: PodRef, floor: int = 6, **changes: Any) -> PodObservation:
    return pod(ref, PodLife.RELEASED, lease_holder=None, lease_floor=floor, **changes)


def make_map(owners: str, *moves: Move, epoch: int = 5) -> ShardMap:
    """`owners` has a letter per slot: a, b, c or - for none."""
    indexes = {"a": 0, "b": 1, "c": 2, "-": NONE}
    return ShardMap(epoch, False, (A, B, C), tuple(indexes[letter] for letter in owners), moves)


def see(shard_map: ShardMap, *pods: PodObservation, **changes: Any) -> Observed:
    slots = len(shard_map.owners)
    values: dict[str, Any] = {"weights": [1] * slots, "replicas": 3, "now": 1000.0, "slots": slots, **changes}
    return Observed(map=shard_map, map_uid=UID, pods=pods, **values)


def letters(shard_map: ShardMap | None) -> str:
    assert shard_map is not None
    names = {A: "a", B: "b", C: "c", None: "-"}
    return "".join(names.get(owner, "?") for owner in shard_map.owner_refs())


def reasons(todo: Plan) -> list[str]:
    return [change.reason for change in todo.changes]
