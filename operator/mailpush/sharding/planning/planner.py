"""The operator's step: from what it observes to the fences or the one next map that bring the world nearer (P7 to P10).

Pure. The caller carries the plan out by resourceVersion, observes and plans again; a plan that met a conflict is
forgotten. So every step is safe by itself, and no step counts on the one before.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final

from mailpush.sharding.planning.membership import Membership
from mailpush.sharding.planning.next_map import NextMap
from mailpush.sharding.planning.observed import (
    Change,
    Fence,
    NewLease,
    Observed,
    OrphanLease,
    Plan,
    PodObservation,
    missing_leases,
    named_only_by_map,
)
from mailpush.sharding.planning.placement import imbalance, place, user_counts
from mailpush.sharding.planning.restore import SOON, overtaken, plan_again, plan_restoring, plan_without_map
from mailpush.sharding.shardmap import Move, PodRef

__all__ = [
    "Change",
    "Fence",
    "NewLease",
    "Observed",
    "OrphanLease",
    "Plan",
    "PodObservation",
    "missing_leases",
    "named_only_by_map",
    "plan",
]

MAX_IN_FLIGHT: Final = 2_048
"""How many slots may be on their way at one time (P2)."""
MAX_MOVES: Final = 512
"""How many pairs of giver and receiver may be (P2): after some restarts of 100 pods a plan has well over 1,000."""
MAX_PODS: Final = 1_024
"""How many pods a map may name, by its definition."""
NAMED: Final = 8
"""Pods that a sentence names."""
OVERWEIGHT: Final = 1.05
NEWCOMER_WAITS: Final = 10.0
"""Seconds that a pod that has come waits for others that are about to, so that users move once for all of them."""
OVERWEIGHT_FOR: Final = 60.0
"""A registration alone moves nobody: only max/mean above OVERWEIGHT for this many seconds does."""


def plan(observed: Observed, max_in_flight: int = MAX_IN_FLIGHT) -> Plan:
    """What the operator is to do now; an empty plan where everything is as it is to be."""
    shard_map = observed.map
    if shard_map is None:
        return plan_without_map(observed)
    if overtaken(observed, shard_map):
        return plan_again(observed, shard_map)
    if shard_map.restoring:
        return plan_restoring(observed, shard_map)
    standing = Membership(observed, shard_map)
    if fences := standing.fences():
        return Plan(fences=fences, recheck_after=SOON, new_overweight_since=observed.overweight_since)
    draft = NextMap(shard_map)
    changes = _end_moves(draft, standing)
    weights = observed.weight_list()
    heavy_since, heavy_too_long = _overweight(observed, draft, standing, weights)
    newcomer_since, waits = _newcomer(observed, draft, standing)
    if standing.targets:
        for_newcomer = newcomer_since is not None and waits <= 0
        even_out = heavy_too_long or (not standing.donors and (bool(shard_map.moves) or for_newcomer))
        changes += _place(draft, standing, weights, even_out, max_in_flight)
    stuck = standing.need_an_epoch()
    if not draft.changed() and stuck:
        changes.append(Change("EpochRaised", f"a new epoch for {', '.join(stuck)}, fenced before and back again"))
    rechecks = [SOON] if standing.unsure() else []
    if heavy_since is not None:
        rechecks.append(max(0.0, heavy_since + OVERWEIGHT_FOR - observed.now))
    if newcomer_since is not None and waits > 0:
        rechecks.append(waits)
    return Plan(
        next_map=draft.write() if draft.changed() or stuck else None,
        changes=tuple(changes),
        recheck_after=min(rechecks, default=None),
        new_overweight_since=heavy_since,
        new_newcomer_since=newcomer_since,
    )


def _end_moves(draft: NextMap, standing: Membership) -> list[Change]:
    """Ends each move whose giver has released or is gone, drops each whose receiver is gone (P7)."""
    changes, going_on = [], []
    for move in draft.moves:
        what = f"{len(move.slots)} slots from {move.giver.name} to {move.receiver.name}"
        receiver_gone = standing.gone(move.receiver)
        if standing.released(move.giver, move.epoch) or standing.gone(move.giver):
            draft.give(move.slots, None if receiver_gone else move.receiver)
            changes.append(Change("MoveLost", f"both ends are out: {what}") if receiver_gone else Change("Moved", what))
        elif receiver_gone:
            changes.append(Change("MoveDropped", f"{move.receiver.name} is gone, they stay: {what}"))
        else:
            going_on.append(move)
    draft.moves = going_on
    return changes


def _overweight(
    observed: Observed, draft: NextMap, standing: Membership, weights: Sequence[int]
) -> tuple[float | None, bool]:
    """Since when the users have been spread too unevenly, and whether that has lasted too long."""
    loads = user_counts(draft.after_moves(), weights, (*standing.targets, *standing.donors)).values()
    if len(loads) < 2 or imbalance(loads) <= OVERWEIGHT or max(loads) - min(loads) <= 1:
        return None, False
    since = observed.now if observed.overweight_since is None else observed.overweight_since
    if observed.now - since < OVERWEIGHT_FOR:
        return since, False
    return observed.now, True  # counted anew, so that what cannot be evened out is not tried at each step


def _newcomer(observed: Observed, draft: NextMap, standing: Membership) -> tuple[float | None, float]:
    """Since when there has been a pod that may get slots and has none, and how many seconds it waits for others.

    Only what evens users out waits: slots without an owner, or of a pod that leaves, are given out at once.
    """
    if set(standing.targets) <= set(draft.after_moves()):
        return None, 0.0
    since = observed.now if observed.newcomer_since is None else observed.newcomer_since
    return since, since + NEWCOMER_WAITS - observed.now if standing.coming() else 0.0


def _place(
    draft: NextMap, standing: Membership, weights: Sequence[int], even_out: bool, max_in_flight: int
) -> list[Change]:
    """Gives free slots out at once, and begins moves for the rest of what placement wants, as many as may be."""
    current = draft.after_moves()
    fixed = {slot for move in draft.moves for slot in move.slots}
    stays = {*standing.targets, *standing.donors}
    owners = {owner for owner in draft.owners if owner is not None}
    gone = {owner for owner in owners if standing.gone(owner)}
    leaving = {owner: why for owner in owners - gone if (why := standing.why_leaving(owner))}
    frozen = owners - stays - gone - leaving.keys()
    # Nothing is taken from a pod that is not known to live: it could not release, and blocks the flight for others.
    fixed.update(slot for slot, owner in enumerate(draft.owners) if owner in frozen)
    targets = _with_a_place(standing.targets, draft)
    wanted = place(current, weights, targets, donors=standing.donors, fixed=fixed, rebalance=even_out)
    given: dict[PodRef | None, Counter[PodRef]] = defaultdict(Counter)
    to_move: list[tuple[bool, int, int]] = []
    for slot, target in enumerate(wanted):
        owner = current[slot]
        if target is None or target == owner or slot in fixed:
            continue
        if owner is None or owner in gone:
            draft.give((slot,), target)
            given[owner][target] += 1
        else:
            to_move.append((owner not in leaving, -weights[slot], slot))
    changes = [
        Change("PodGone", f"{owner.name} is gone: its slots go to {_listed(counts)}", owner)
        if owner is not None
        else Change("Assigned", f"slots without an owner go to {_listed(counts)}")
        for owner, counts in given.items()
    ]
    flights: dict[tuple[PodRef, PodRef], list[int]] = defaultdict(list)
    if given:
        return changes  # by itself: what is convenient never holds up what is urgent (P2)
    room = max(0, max_in_flight - draft.in_flight())
    for _, _, slot in sorted(to_move):
        giver, receiver = current[slot], wanted[slot]
        if room == 0:
            break
        if giver is None or receiver is None:
            continue
        if (giver, receiver) not in flights and len(draft.moves) + len(flights) >= MAX_MOVES:
            continue
        flights[giver, receiver].append(slot)
        room -= 1
    for (giver, receiver), slots in sorted(flights.items()):
        draft.moves.append(Move(giver, receiver, draft.epoch, frozenset(slots)))
        what = f"{len(slots)} slots from {giver.name} to {receiver.name}"
        if giver in leaving:
            changes.append(Change("Leaving", f"{what}: {giver.name} {leaving[giver]}", giver, leaving[giver]))
        else:
            changes.append(Change("Rebalanced", f"{what}: to spread the users evenly"))
    return changes


def _with_a_place(targets: Sequence[PodRef], draft: NextMap) -> list[PodRef]:
    """Those that the map has room to name: who is dead or leaving is named beside the successor until it is out."""
    named = draft.base.named()
    new = [target for target in targets if target not in named][: max(0, MAX_PODS - len(named))]
    return [target for target in targets if target in named or target in new]


def _listed(counts: Counter[PodRef]) -> str:
    named = [f"{pod.name} ({count})" for pod, count in sorted(counts.items())[:NAMED]]
    more = [f"{len(counts) - NAMED} more pods"] if len(counts) > NAMED else []
    return ", ".join([*named, *more])
