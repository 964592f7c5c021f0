"""Which pod is to own which slot: even in users first, then in slots; little moves; the same input, the same answer.

A slot's weight is the number of its users. Nothing here knows of moves, epochs or Leases: the planner does.
"""

import heapq
import math
from bisect import insort
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from mailpush.sharding.shardmap import PodRef

MOST_ABOVE: Final = 0.008
MOST_BELOW: Final = 0.015
"""How far from the mean a pod may stay: max/mean is below 1.01 with room to spare, and hardly anything swings back."""
COARSE: Final = 2.0
"""Users per filled slot from which one slot cannot even out everything; below it max - min <= 1 costs nothing."""

Owners = Sequence[PodRef | None]


def place(
    current: Owners,
    weights: Sequence[int],
    targets: Sequence[PodRef],
    *,
    donors: Collection[PodRef] = (),
    fixed: Collection[int] = (),
    rebalance: bool = True,
) -> tuple[PodRef | None, ...]:
    """The owner that each slot is to have.

    Args:
        current: the owner of each slot. Slots whose owner is neither a target nor a donor are given to targets.
        weights: users per slot.
        targets: pods that may own slots; among equals, the earlier one gets more.
        donors: pods that keep what they have and get nothing new.
        fixed: slots that stay as they are, whoever owns them; they count, and cannot be moved.
        rebalance: also even out what targets and donors have; without it only homeless slots are given out.
    """
    if not targets:
        return tuple(current)
    bins = {pod: _Bin(place) for place, pod in enumerate((*targets, *(pod for pod in donors if pod not in targets)))}
    receivers = [bins[pod] for pod in targets]
    pinned = frozenset(fixed)
    homeless: list[int] = []
    for slot, owner in enumerate(current):
        mine = None if owner is None else bins.get(owner)
        if slot in pinned:
            if mine is not None:
                mine.count(weights[slot])
        elif mine is None:
            homeless.append(slot)
        else:
            mine.add(slot, weights[slot])
    _give_homes(homeless, weights, receivers)
    if rebalance:
        everybody = list(bins.values())
        _even_users(everybody, receivers)
        _even_slots(everybody, receivers)
    owners = list(current)
    for pod, holder in bins.items():
        for slot in holder.slots():
            owners[slot] = pod
    return tuple(owners)


def user_counts(owners: Owners, weights: Sequence[int], pods: Iterable[PodRef]) -> dict[PodRef, int]:
    """Users of each of `pods`."""
    counts = dict.fromkeys(pods, 0)
    for owner, weight in zip(owners, weights, strict=True):
        if owner in counts:
            counts[owner] += weight
    return counts


def imbalance(counts: Collection[int]) -> float:
    """The heaviest load over the mean: 1.0 is perfect, and what is said where there is no load at all."""
    total = sum(counts)
    return max(counts) * len(counts) / total if total else 1.0


class _Bin:
    """What one pod has: movable slots by weight, and totals that also count the fixed ones."""

    __slots__ = ("by_weight", "filled", "load", "order", "size", "weights")

    def __init__(self, order: int) -> None:
        self.order = order
        self.load = 0
        self.size = 0
        self.filled = 0
        self.by_weight: dict[int, list[int]] = {}
        self.weights: list[int] = []  # ascending, of the movable slots, without 0

    def count(self, weight: int) -> None:
        self.load += weight
        self.size += 1
        self.filled += weight > 0

    def add(self, slot: int, weight: int) -> None:
        self.count(weight)
        if weight not in self.by_weight:
            self.by_weight[weight] = []
            if weight:
                insort(self.weights, weight)
        self.by_weight[weight].append(slot)

    def take(self, weight: int) -> int:
        slots = self.by_weight[weight]
        slot = slots.pop()
        if not slots:
            del self.by_weight[weight]
            if weight:
                self.weights.remove(weight)
        self.load -= weight
        self.size -= 1
        self.filled -= weight > 0
        return slot

    def slots(self) -> Iterable[int]:
        return (slot for slots in self.by_weight.values() for slot in slots)


def _give_homes(homeless: list[int], weights: Sequence[int], receivers: list[_Bin]) -> None:
    """The heaviest slot goes to the pod with the fewest users, the empty ones to those with the fewest slots."""
    heavy = sorted((slot for slot in homeless if weights[slot]), key=lambda slot: (-weights[slot], slot))
    by_load = [(bin_.load, bin_.size, bin_.order) for bin_ in receivers]
    heapq.heapify(by_load)
    for slot in heavy:
        bin_ = receivers[by_load[0][2]]
        bin_.add(slot, weights[slot])
        heapq.heapreplace(by_load, (bin_.load, bin_.size, bin_.order))
    by_size = [(bin_.size, bin_.order) for bin_ in receivers]
    heapq.heapify(by_size)
    for slot in homeless:
        if not weights[slot]:
            bin_ = receivers[by_size[0][1]]
            bin_.add(slot, 0)
            heapq.heapreplace(by_size, (bin_.size, bin_.order))


def _band(total: int, pods: int, grain: float) -> tuple[int, int]:
    """The lowest and the highest load that need no change: about one `grain` (a usual slot's weight) from the mean.

    For few users, about one a slot, these are nearly the two whole numbers at the mean.
    """
    mean = total / pods
    return (
        min(math.floor(mean), math.ceil(mean - min(mean * MOST_BELOW, grain))),
        max(math.ceil(mean), math.floor(mean + min(mean * MOST_ABOVE, grain))),
    )


def _even_users(everybody: list[_Bin], receivers: list[_Bin]) -> None:
    total = sum(bin_.load for bin_ in everybody)
    mean = total / len(everybody)
    filled = sum(bin_.filled for bin_ in everybody)
    grain = total / filled if filled else 1.0
    low, high = _band(total, len(everybody), grain if grain >= COARSE else 0.0)
    givers = list(everybody)
    while givers:
        heavy = max(givers, key=lambda bin_: (bin_.load, bin_.order))
        light = min(receivers, key=lambda bin_: (bin_.load, bin_.order))
        if (heavy.load <= high and light.load >= low) or heavy.load - light.load <= 1:
            return
        if not (_move_one(heavy, light, mean) or _swap(heavy, light)):
            givers.remove(heavy)  # one slot too heavy to go anywhere: the others can still be evened out
        elif len(givers) < len(everybody):
            givers = list(everybody)  # what did not fit before may fit now; each exchange lessens the differences


def _move_one(heavy: _Bin, light: _Bin, mean: float) -> bool:
    """Moves the slot that brings the pair nearest to the mean without making the light one the heavier."""
    gap = heavy.load - light.load
    wish = max(1.0, min(heavy.load - mean, mean - light.load))
    fitting = [weight for weight in heavy.weights if weight < gap]
    if not fitting:
        return False
    # At or below the wish the heaviest, so that few slots move; else the lightest, which overshoots least.
    below = [weight for weight in fitting if weight <= wish]
    weight = below[-1] if below else fitting[0]
    light.add(heavy.take(weight), weight)
    return True


def _swap(heavy: _Bin, light: _Bin) -> bool:
    """Exchanges two slots where no single one fits; False where that helps nothing either."""
    gap = heavy.load - light.load
    best: tuple[float, int, int] | None = None
    for out in heavy.weights:
        for back in light.weights:
            if 0 < out - back < gap:
                candidate = (abs(out - back - gap / 2), out, back)
                best = candidate if best is None else min(best, candidate)
    if best is None:
        return False
    _, out, back = best
    going, coming = heavy.take(out), light.take(back)
    light.add(going, out)
    heavy.add(coming, back)
    return True


def _even_slots(everybody: list[_Bin], receivers: list[_Bin]) -> None:
    """Evens out the number of slots by moving empty ones, which disturbs nobody."""
    low, high = _band(sum(bin_.size for bin_ in everybody), len(everybody), math.inf)
    givers = [bin_ for bin_ in everybody if 0 in bin_.by_weight]
    while givers:
        full = max(givers, key=lambda bin_: (bin_.size, bin_.order))
        bare = min(receivers, key=lambda bin_: (bin_.size, bin_.order))
        if (full.size <= high and bare.size >= low) or full.size - bare.size <= 1:
            return
        bare.add(full.take(0), 0)
        if 0 not in full.by_weight:
            givers.remove(full)
