"""What the planner comes to if every pod does at once what it is asked to: for whoever wants to know before.

Pure. It asks the planner itself step by step, and plays the pods: a fence is written, a map applied, a move released.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from mailpush.sharding.leases import Ack
from mailpush.sharding.planning.observed import Change, Fence, Observed, Plan, PodObservation
from mailpush.sharding.planning.planner import plan
from mailpush.sharding.shardmap import Move, PodRef

MOST_STEPS: Final = 1_000
FIRST_UID: Final = "forecast"
"""UID of a map that the forecast itself begins."""


class ForecastError(RuntimeError):
    """The planner does not come to an end, which is a fault of ours."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """Where the planner's steps lead.

    Attributes:
        observed: the world once there is nothing left to do.
        changes: what the steps said of themselves, in order.
        moves: the moves that began on the way; slots without a live owner are given out without one.
        maps: how many maps were written.
    """

    observed: Observed
    changes: tuple[Change, ...]
    moves: tuple[Move, ...]
    maps: int

    def owners(self) -> list[PodRef | None]:
        """The owner of each slot in the end."""
        end = self.observed.map
        return [None] * self.observed.slots if end is None else end.owner_refs()


def forecast(observed: Observed, planner: Callable[[Observed], Plan] = plan) -> Forecast:
    """Plans until nothing is left to do.

    What takes time to prove does not happen: a pod of which nothing is known keeps what it has.

    Raises:
        ForecastError: there is no end to it.
    """
    changes: list[Change] = []
    moves: list[Move] = []
    maps = 0
    waited = False
    for _ in range(MOST_STEPS):
        observed = _applied(observed)
        step = planner(observed)
        observed = replace(
            observed,
            overweight_since=step.new_overweight_since,
            newcomer_since=step.new_newcomer_since,
            astray_since=step.new_astray_since,
        )
        if step.fences:
            observed = replace(observed, pods=tuple(_fenced(pod, step.fences) for pod in observed.pods))
        elif step.next_map is not None:
            before = set(() if observed.map is None else observed.map.moves)
            moves += [move for move in step.next_map.moves if move not in before]
            changes += step.changes
            maps += 1
            observed = replace(observed, map=step.next_map, map_uid=observed.map_uid or FIRST_UID)
        elif _comes_with_time(step) and step.recheck_after is not None and not waited:
            waited = True
            observed = replace(observed, now=observed.now + step.recheck_after)
            continue
        else:
            return Forecast(observed, tuple(changes), tuple(moves), maps)
        waited = False
    raise ForecastError(f"the planner has not come to an end in {MOST_STEPS} steps")


def _comes_with_time(step: Plan) -> bool:
    """Users who are spread too unevenly for too long are evened out, and a pod that has come waits for others."""
    return step.new_overweight_since is not None or step.new_newcomer_since is not None


def _fenced(pod: PodObservation, fences: tuple[Fence, ...]) -> PodObservation:
    if pod.lease is None or not pod.life.permits_fence:
        return pod
    floors = [fence.floor for fence in fences if fence.lease_name == pod.ref.name]
    return replace(pod, lease=pod.lease.fenced(max(floors))) if floors else pod


def _applied(observed: Observed) -> Observed:
    """Each live pod has applied the map, and released what it takes."""
    shard_map, uid = observed.map, observed.map_uid
    if shard_map is None:
        return observed
    ack = Ack(uid, shard_map.epoch, shard_map.epoch)

    def acked(pod: PodObservation) -> PodObservation:
        if pod.lease is None or not pod.life.lives or not pod.lease.held_by(pod.ref.uid):
            return pod
        return replace(pod, lease=pod.lease.with_ack(ack))

    return replace(observed, pods=tuple(map(acked, observed.pods)))
