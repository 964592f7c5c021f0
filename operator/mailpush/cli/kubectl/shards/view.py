"""Who has what, what moves and why, what waits and for whom. Pure: a fleet in, what is shown out."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mailpush.cli.kubectl.shards.fleet import Fleet, FleetPod
from mailpush.cli.kubectl.table import columns
from mailpush.sharding.leases import LeaseState
from mailpush.sharding.planning.death import EXPIRES_AFTER, STALE_AFTER, PodLife
from mailpush.sharding.shardmap import NONE, Move, PodRef

CHANGES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class PodRow:
    """One pod. `users`, `listening` and `failed` as the pod's Lease says; None where it says nothing."""

    name: str
    node: str
    slots: int
    users: int | None
    listening: int | None
    failed: int | None
    state: str
    capable: bool
    draining: bool
    renewed: float | None
    applied_epoch: int | None


@dataclass(frozen=True, slots=True)
class MoveRow:
    """Slots on their way. `why`: empty where the map's last changes do not tell it any more."""

    giver: str
    receiver: str
    slots: int
    epoch: int
    why: str
    waits: str


@dataclass(frozen=True, slots=True)
class View:
    """What is shown of one MailPushConfig."""

    fleet: Fleet
    pods: tuple[PodRow, ...]
    moves: tuple[MoveRow, ...]
    waits: tuple[str, ...]
    changes: tuple[Mapping[str, Any], ...]

    @property
    def capable(self) -> int:
        return sum(pod.capable for pod in self.pods)

    def json(self) -> dict[str, Any]:
        """For `-o json` and `-o yaml`."""
        shard_map = self.fleet.map
        return {
            "name": self.fleet.name,
            "namespace": self.fleet.namespace,
            "epoch": None if shard_map is None else shard_map.epoch,
            "restoring": shard_map is not None and shard_map.restoring,
            "replicas": self.fleet.replicas,
            "users": self.fleet.map_status.get("users"),
            "imbalance": self.fleet.map_status.get("imbalance"),
            "pods": [
                {
                    "name": pod.name,
                    "node": pod.node,
                    "slots": pod.slots,
                    "users": pod.users,
                    "listening": pod.listening,
                    "failed": pod.failed,
                    "state": pod.state,
                    "capable": pod.capable,
                    "draining": pod.draining,
                    "renewedSecondsAgo": pod.renewed,
                    "appliedEpoch": pod.applied_epoch,
                }
                for pod in self.pods
            ],
            "moves": [
                {
                    "from": move.giver,
                    "to": move.receiver,
                    "slots": move.slots,
                    "epoch": move.epoch,
                    "why": move.why,
                    "waitsFor": move.waits,
                }
                for move in self.moves
            ],
            "waits": list(self.waits),
            "changes": [dict(change) for change in self.changes],
        }

    def lines(self) -> Iterator[str]:
        """For people."""
        fleet = self.fleet
        if fleet.map is None:
            yield f"MailPushConfig {fleet.name}: no shard map yet, so nobody is listened for"
        else:
            said = fleet.map_status
            users = f", {said['users']} users, imbalance {said.get('imbalance', '?')}" if "users" in said else ""
            yield (
                f"MailPushConfig {fleet.name}: epoch {fleet.map.epoch}{users}; "
                f"{self.capable} of {fleet.replicas} pods capable"
            )
        yield ""
        yield from columns(
            ("POD", "NODE", "SLOTS", "USERS", "LISTENING", "FAILED", "STATE", "RENEWED", "EPOCH"),
            [
                (
                    pod.name,
                    pod.node or "-",
                    pod.slots,
                    _or_dash(pod.users),
                    _or_dash(pod.listening),
                    _or_dash(pod.failed),
                    pod.state,
                    "-" if pod.renewed is None else f"{pod.renewed:.0f}s ago",
                    _or_dash(pod.applied_epoch),
                )
                for pod in self.pods
            ],
        )
        if self.moves:
            yield ""
            yield from columns(
                ("FROM", "TO", "SLOTS", "EPOCH", "WHY", "WAITS FOR"),
                [(m.giver, m.receiver, m.slots, m.epoch, m.why or "-", m.waits) for m in self.moves],
            )
        if self.waits:
            yield ""
            yield from (f"waiting: {sentence}" for sentence in self.waits)
        if self.changes:
            yield ""
            yield from columns(
                ("EPOCH", "WHEN", "LAST CHANGES"),
                [
                    (str(change.get("epoch")), change.get("time"), f"{change.get('reason')}: {change.get('message')}")
                    for change in self.changes[:CHANGES_SHOWN]
                ],
            )


def view(fleet: Fleet) -> View:
    """What a fleet looks like."""
    owned: Counter[PodRef | None] = Counter()
    if fleet.map is not None:
        owned.update(fleet.map.owner_refs())
    changes = tuple(one for one in fleet.map_status.get("changes") or () if isinstance(one, Mapping))
    by_ref = {pod.ref: pod for pod in fleet.pods}
    moves = () if fleet.map is None else fleet.map.moves
    return View(
        fleet,
        tuple(_row(pod, owned[pod.ref], fleet) for pod in fleet.pods),
        tuple(
            MoveRow(
                move.giver.name,
                move.receiver.name,
                len(move.slots),
                move.epoch,
                _why(move, changes),
                _waits_for(move, by_ref.get(move.giver), fleet),
            )
            for move in moves
        ),
        tuple(_waits(fleet, owned)),
        changes,
    )


def _row(pod: FleetPod, slots: int, fleet: Fleet) -> PodRow:
    lease = pod.lease
    own = lease if lease is not None and lease.held_by(pod.ref.uid) else None
    counts = own.counts if own is not None else {}
    return PodRow(
        name=pod.ref.name,
        node=pod.node,
        slots=slots,
        users=counts.get("assigned"),
        listening=counts.get("listening"),
        failed=counts.get("failed"),
        state=_state(pod, fleet),
        capable=own is not None and own.capable and not _silent(pod) and not _leaving(pod, fleet),
        draining=_leaving(pod, fleet) is not None,
        renewed=pod.renewed,
        applied_epoch=None if own is None else own.applied_epoch,
    )


def _leaving(pod: FleetPod, fleet: Fleet) -> str | None:
    observation, lease = pod.observation, pod.lease
    if observation.deleting:
        return "ending" if pod.exists else "deleted"
    if lease is not None and lease.held_by(pod.ref.uid) and lease.draining:
        return "draining"
    if observation.ordinal >= fleet.replicas:
        return f"leaving: only {fleet.replicas} pods are wanted"
    return None


def _state(pod: FleetPod, fleet: Fleet) -> str:
    lease, life = pod.lease, pod.observation.life
    if lease is None:
        return "no Lease yet"
    if life is PodLife.RELEASED:
        return _leaving(pod, fleet) or "not running"
    if not lease.held_by(pod.ref.uid):
        return "replaced by a pod of the same name"
    if _silent(pod):
        return "silent"
    return _leaving(pod, fleet) or _ability(pod, lease)


def _silent(pod: FleetPod) -> bool:
    return pod.renewed is None or pod.renewed >= STALE_AFTER


def _ability(pod: FleetPod, lease: LeaseState) -> str:
    if lease.capable:
        return "capable" if pod.observation.revision_current else "capable, old revision"
    return f"not capable: {lease.reason}" if lease.reason else "starting"


def _why(move: Move, changes: tuple[Mapping[str, Any], ...]) -> str:
    """From the sentence by which the planner began the move."""
    begins = f"from {move.giver.name} to {move.receiver.name}: "
    for change in changes:
        if change.get("epoch") == move.epoch and begins in str(change.get("message")):
            return str(change["message"]).partition(begins)[2]
    return ""


def _waits_for(move: Move, giver: FleetPod | None, fleet: Fleet) -> str:
    lease = giver.lease if giver is not None else None
    if giver is None or lease is None:
        return f"{move.giver.name}, whose Lease is missing"
    if lease.held_by(move.giver.uid) and lease.map_uid == fleet.map_uid and lease.released_through >= move.epoch:
        return f"nobody: released, {move.receiver.name} starts them"
    if giver.observation.life.lives:
        return f"{move.giver.name} to stop them (it has applied epoch {lease.applied_epoch})"
    return f"{move.giver.name}, which {_silence(giver)}"


def _silence(pod: FleetPod) -> str:
    if pod.observation.life is PodLife.RELEASED:
        return "does not run"
    if pod.renewed is None:
        return "has never renewed its Lease"
    return f"has not renewed its Lease for {pod.renewed:.0f} s"


def _waits(fleet: Fleet, owned: Counter[PodRef | None]) -> Iterator[str]:
    pods = [pod for pod in fleet.pods if pod.exists and pod.observation.ordinal < fleet.replicas]
    if len(pods) < fleet.replicas:
        yield f"{fleet.replicas - len(pods)} of the {fleet.replicas} pods that are wanted do not exist"
    shard_map = fleet.map
    if shard_map is None:
        if fleet.replicas:
            yield "the first map, for a pod that is capable: see the conditions of the MailPushConfig"
        return
    if shard_map.restoring:
        late = [pod.ref.name for pod in fleet.pods if pod.lease is not None and not _acked(pod, fleet)]
        yield f"the map is being restored; nothing starts before it is applied by {', '.join(late) or 'all, as it is'}"
    if homeless := sum(index == NONE for index in shard_map.owners):
        yield f"{homeless} slots have no owner: they wait for a pod that is capable"
    others = [pod for pod in fleet.pods if pod.lease is not None and pod.lease.capable and pod.observation.life.lives]
    for pod in fleet.pods:
        if owned[pod.ref] and not pod.observation.life.lives and pod.lease is not None:
            then = (
                f"after {EXPIRES_AFTER:.0f} s the operator gives them to other pods"
                if others
                else "no other pod is capable, so they stay"
            )
            yield f"{owned[pod.ref]} slots of {pod.ref.name}, which {_silence(pod)}: {then}"


def _acked(pod: FleetPod, fleet: Fleet) -> bool:
    lease = pod.lease
    if lease is None or lease.holder is None or fleet.map is None:
        return True
    return lease.map_uid == fleet.map_uid and lease.applied_epoch >= fleet.map.epoch


def _or_dash(number: int | None) -> int | str:
    return "-" if number is None else number
