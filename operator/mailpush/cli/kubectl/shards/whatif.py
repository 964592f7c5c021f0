"""What a change of the pods would move, before it moves: the operator's own planner on what is observed. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from mailpush import names
from mailpush.cli.kubectl.manifests import Trouble
from mailpush.cli.kubectl.shards.fleet import Fleet
from mailpush.cli.kubectl.table import columns
from mailpush.sharding.leases import Holder, LeaseState
from mailpush.sharding.planning.death import PodLife
from mailpush.sharding.planning.forecast import forecast
from mailpush.sharding.planning.observed import Observed, PodObservation
from mailpush.sharding.planning.placement import imbalance
from mailpush.sharding.shardmap import FORMAT_VERSION, PodRef

TO_COME: Final = "to come"
"""UID of a pod that does not exist yet."""
NOBODY: Final = "(nobody)"


@dataclass(frozen=True, slots=True)
class Load:
    """Slots of a pod, and users in them."""

    slots: int = 0
    users: int = 0


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What a change comes to.

    Attributes:
        replicas: pods that are wanted now, and then. `without`: pods that leave although they are wanted.
        pods: by name, what each has before and after, the pod of no owner last.
        moved: slots and users that change their owner, each time counted; `ideal` users have to at least.
        moves: slots and users by giver and receiver.
    """

    name: str
    replicas: tuple[int, int]
    without: tuple[str, ...]
    pods: tuple[tuple[str, Load, Load], ...]
    moved: Load
    ideal: int
    moves: tuple[tuple[str, str, Load], ...]
    imbalance: tuple[float, float]
    notes: tuple[str, ...]

    def json(self) -> dict[str, Any]:
        """For `-o json` and `-o yaml`."""
        return {
            "name": self.name,
            "replicas": {"now": self.replicas[0], "then": self.replicas[1]},
            "without": list(self.without),
            "moved": _load(self.moved),
            "idealUsers": self.ideal,
            "imbalance": {"now": round(self.imbalance[0], 4), "then": round(self.imbalance[1], 4)},
            "pods": [{"name": name, "now": _load(now), "then": _load(then)} for name, now, then in self.pods],
            "moves": [{"from": giver, "to": receiver, **_load(load)} for giver, receiver, load in self.moves],
            "notes": list(self.notes),
        }

    def lines(self) -> Iterator[str]:
        """For people."""
        change = [f"{self.replicas[0]} to {self.replicas[1]} pods"] if self.replicas[0] != self.replicas[1] else []
        change += [f"without {', '.join(self.without)}"] if self.without else []
        users = sum(now.users for _, now, _ in self.pods)
        yield (
            f"MailPushConfig {self.name}, {', '.join(change) or 'as it is'}: {self.moved.users} of {users} users would "
            f"move, and {self.ideal} have to; {self.moved.slots} slots"
        )
        yield ""
        yield from columns(
            ("POD", "USERS", "THEN", "SLOTS", "THEN"),
            [(name, now.users, then.users, now.slots, then.slots) for name, now, then in self.pods],
        )
        if self.moves:
            yield ""
            yield from columns(
                ("FROM", "TO", "USERS", "SLOTS"),
                [(giver, receiver, load.users, load.slots) for giver, receiver, load in self.moves],
            )
        yield ""
        yield f"most users of a pod over the mean: {self.imbalance[0]:.3f}, then {self.imbalance[1]:.3f}"
        yield from (f"note: {note}" for note in self.notes)


def what_if(fleet: Fleet, replicas: int | None, without: Sequence[str] = ()) -> WhatIf:
    """Plans the change to its end.

    Raises:
        Trouble: a pod that is not there is to leave.
    """
    known = {pod.ref.name for pod in fleet.pods if pod.exists}
    unknown = [name for name in without if name not in known]
    if unknown:
        raise Trouble(
            f"there is no pod {', '.join(unknown)} of MailPushConfig {fleet.name} "
            f"(there: {', '.join(sorted(known)) or 'none'})"
        )
    wanted = fleet.replicas if replicas is None else replicas
    baseline = _with_pods(fleet.observed(), fleet.name, fleet.replicas)
    before = forecast(baseline)
    changed = _leaving(replace(before.observed, replicas=wanted), without)
    after = forecast(_with_pods(changed, fleet.name, wanted, without))
    weights = fleet.observed().weight_list()
    had, have = _loads(before.owners(), weights), _loads(after.owners(), weights)
    stay = [pod.ref.name for pod in after.observed.pods if pod.ordinal < wanted and pod.ref.name not in without]
    moves: dict[tuple[str, str], Load] = {}
    for move in after.moves:
        pair = (move.giver.name, move.receiver.name)
        so_far = moves.get(pair, Load())
        users = sum(weights[slot] for slot in move.slots)
        moves[pair] = Load(so_far.slots + len(move.slots), so_far.users + users)
    listed = {*had, *have, *(pod.ref.name for pod in after.observed.pods)}
    rows = tuple((name, had.get(name, Load()), have.get(name, Load())) for name in sorted(listed, key=_order))
    return WhatIf(
        name=fleet.name,
        replicas=(fleet.replicas, wanted),
        without=tuple(without),
        pods=rows,
        moved=Load(sum(load.slots for load in moves.values()), sum(load.users for load in moves.values())),
        ideal=_ideal(had, stay),
        moves=tuple((*pair, load) for pair, load in sorted(moves.items(), key=lambda one: tuple(map(_order, one[0])))),
        imbalance=(_imbalance(had, had), _imbalance(have, stay)),
        notes=tuple(_notes(fleet, wanted, baseline)),
    )


def _with_pods(observed: Observed, config: str, wanted: int, without: Sequence[str] = ()) -> Observed:
    """With the pods that are wanted and do not run, as if they did: the StatefulSet makes them."""
    running = {pod.ref.name for pod in observed.pods if pod.life.lives and not pod.deleting}
    made = []
    for ordinal in range(wanted):
        name = f"{names.statefulset_name(config)}-{ordinal}"
        if name not in running and name not in without:
            made.append(_to_come(name, ordinal))
    coming = {pod.ref.name: pod for pod in made}
    # Who had the name before cannot take its Lease back from the pod that comes.
    former = tuple(
        replace(pod, life=PodLife.EXPIRED, lease=coming[pod.ref.name].lease) if pod.ref.name in coming else pod
        for pod in observed.pods
    )
    return replace(observed, pods=(*former, *made))


def _to_come(name: str, ordinal: int) -> PodObservation:
    lease = LeaseState(holder=Holder(name, TO_COME, TO_COME), capable=True, formats=frozenset({FORMAT_VERSION}))
    return PodObservation(PodRef(name, TO_COME), "Running", False, ordinal, True, lease, PodLife.ALIVE)


def _leaving(observed: Observed, without: Sequence[str]) -> Observed:
    """As `kubectl drain` and a full cluster leave it: these pods end, and none comes in their place."""
    return replace(
        observed,
        pods=tuple(replace(pod, deleting=True) if pod.ref.name in without else pod for pod in observed.pods),
    )


def _loads(owners: Sequence[PodRef | None], weights: Sequence[int]) -> dict[str, Load]:
    slots: dict[str, int] = {}
    users: dict[str, int] = {}
    for owner, weight in zip(owners, weights, strict=True):
        name = NOBODY if owner is None else owner.name
        slots[name] = slots.get(name, 0) + 1
        users[name] = users.get(name, 0) + weight
    return {name: Load(slots[name], users[name]) for name in slots}


def _ideal(had: dict[str, Load], stay: Sequence[str]) -> int:
    """Users who have to move at least, so that pods that leave have none and none has less than its whole share."""
    if not stay:
        return 0
    leaving = sum(load.users for name, load in had.items() if name not in (*stay, NOBODY))
    share = sum(load.users for load in had.values()) // len(stay)
    homeless = had.get(NOBODY, Load()).users  # they are given out, and leave nobody
    return max(leaving, sum(max(0, share - had.get(name, Load()).users) for name in stay) - homeless)


def _imbalance(loads: dict[str, Load], pods: Sequence[str] | dict[str, Load]) -> float:
    counted = [loads.get(name, Load()).users for name in pods if name != NOBODY]
    return imbalance(counted) if counted else 1.0


def _notes(fleet: Fleet, wanted: int, baseline: Observed) -> Iterator[str]:
    absent = [pod.ref.name for pod in baseline.pods if pod.ref.uid == TO_COME]
    if absent:
        yield f"{', '.join(absent)} of the {fleet.replicas} pods that are wanted do not run; they count as if they did"
    if fleet.map is not None and (moving := len(fleet.map.moving())):
        yield f"{moving} slots are on their way now; they count as if they had arrived"
    for pod in fleet.pods:
        lease = pod.lease
        if pod.observation.life.lives and lease is not None and not lease.capable:
            yield f"{pod.ref.name} is not capable ({lease.reason or 'it starts'}), so it gets nobody"
    if wanted == 0:
        yield "with 0 pods nobody is listened for, and no slot moves"
    elif wanted < fleet.replicas:
        yield "pods with the highest numbers go, each when it has given its users away"


def _order(name: str) -> tuple[int, str, int]:
    prefix, _, number = name.rpartition("-")
    return (name == NOBODY, prefix, int(number) if number.isdecimal() else -1)


def _load(load: Load) -> dict[str, int]:
    return {"slots": load.slots, "users": load.users}
