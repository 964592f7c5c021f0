"""A ShardMap in figures for people. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mailpush.api.conditions import Verdict, conditions
from mailpush.sharding.planning.placement import imbalance, user_counts
from mailpush.sharding.shardmap import NONE, ShardMap


@dataclass(frozen=True, slots=True)
class MapView:
    """What matters of the ShardMap: `unowned` slots have no owner, `moving` are on their way; `pods` own slots."""

    epoch: int = 0
    restoring: bool = False
    unowned: int = 0
    moving: int = 0
    imbalance: float = 1.0
    pods: int = 0
    users: int = 0


def map_view(shard_map: ShardMap | None, weights: Sequence[int]) -> MapView:
    """Figures of a map with these users in each slot."""
    if shard_map is None:
        return MapView(users=sum(weights))
    owners = shard_map.owner_refs()
    pods = {owner for owner in owners if owner is not None}
    return MapView(
        epoch=shard_map.epoch,
        restoring=shard_map.restoring,
        unowned=sum(index == NONE for index in shard_map.owners),
        moving=sum(len(move.slots) for move in shard_map.moves),
        imbalance=imbalance(user_counts(owners, weights, pods).values()) if pods else 1.0,
        pods=len(pods),
        users=sum(weights),
    )


def shard_map_status(before: Mapping[str, Any], view: MapView, generation: int, now: str) -> dict[str, Any]:
    """The status of a ShardMap, without its changes."""
    if view.restoring:
        verdict = Verdict("Balanced", "False", "Restoring", "the map is being made again; nothing starts until it is")
    elif view.moving:
        verdict = Verdict("Balanced", "False", "Moving", f"{view.moving} slots are on their way")
    elif view.unowned:
        verdict = Verdict("Balanced", "False", "Unowned", f"{view.unowned} slots have no owner")
    else:
        verdict = Verdict("Balanced", "True", "Balanced", f"{view.pods} pods share {view.users} users")
    return {
        "conditions": conditions([verdict], before.get("conditions") or (), generation, now),
        "pods": view.pods,
        "users": view.users,
        "moving": view.moving,
        "imbalance": f"{view.imbalance:.2f}",
    }
