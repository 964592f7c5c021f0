"""The shard map: which pod owns which slot, under which epoch, and what is on its way (protocol P2)."""

import base64
import binascii
import sys
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from mailpush.sharding.ranges import format_ranges, parse_ranges
from mailpush.sharding.slots import SLOTS

FORMAT_VERSION: Final = 1
NONE: Final = 65_535
"""The owner of a slot that nobody owns."""
MAX_EPOCH: Final = 2**63 - 1


class ShardMapError(ValueError):
    """A ShardMap's spec that cannot be followed; the text says which field is wrong."""


class PodRef(NamedTuple):
    """One life of a pod: a StatefulSet gives the next pod the same name, never the same UID."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Move:
    """Slots on their way: `receiver` starts them once `giver` has released everything up to `epoch` (P7)."""

    giver: PodRef
    receiver: PodRef
    epoch: int
    slots: frozenset[int]


@dataclass(frozen=True, slots=True)
class ShardMap:
    """One state of the map. While a slot moves, `owners` still names its giver.

    `pods` gives each pod an index, None is a free place; `owners` holds one index per slot, or NONE.
    """

    epoch: int
    restoring: bool
    pods: tuple[PodRef | None, ...]
    owners: tuple[int, ...]
    moves: tuple[Move, ...] = ()

    @classmethod
    def empty(cls, slots: int = SLOTS) -> "ShardMap":
        """The map before the first one: epoch 0, nobody owns anything."""
        return cls(epoch=0, restoring=False, pods=(), owners=(NONE,) * slots)

    def owner_of(self, slot: int) -> PodRef | None:
        """The pod that owns `slot`; while it moves, the giver."""
        index = self.owners[slot]
        return None if index == NONE else self.pods[index]

    def owner_refs(self) -> list[PodRef | None]:
        """The owner of each slot, in order."""
        pods = self.pods
        return [None if index == NONE else pods[index] for index in self.owners]

    def slots_of(self, pod: PodRef) -> frozenset[int]:
        """The slots that `pod` owns, with those that it is giving and without those that it is to receive."""
        if pod not in self.pods:
            return frozenset()
        mine = self.pods.index(pod)
        return frozenset(slot for slot, index in enumerate(self.owners) if index == mine)

    def moving(self) -> dict[int, Move]:
        """The move of each slot that is on its way."""
        return {slot: move for move in self.moves for slot in move.slots}

    def named(self) -> frozenset[PodRef]:
        """The pods that own a slot or are one end of a move; `pods` may hold more."""
        owners = {pod for index in set(self.owners) if index != NONE and (pod := self.pods[index]) is not None}
        return frozenset(owners.union(*((move.giver, move.receiver) for move in self.moves)))

    def to_spec(self) -> dict[str, Any]:
        """The spec of the ShardMap object, exactly as P2 has it. A free place is a pod with an empty name and UID."""
        index = {pod: place for place, pod in enumerate(self.pods) if pod is not None}
        return {
            "formatVersion": FORMAT_VERSION,
            "epoch": self.epoch,
            "restoring": self.restoring,
            "pods": [{"name": pod.name, "uid": pod.uid} if pod else {"name": "", "uid": ""} for pod in self.pods],
            "owners": _encode_owners(self.owners),
            "moves": [
                {
                    "from": index[move.giver],
                    "to": index[move.receiver],
                    "epoch": move.epoch,
                    "slots": format_ranges(move.slots),
                }
                for move in self.moves
            ],
        }

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any], slots: int = SLOTS) -> "ShardMap":
        """The map that a ShardMap object's spec describes.

        Raises:
            ShardMapError: another formatVersion, or a spec that contradicts itself. Nothing of it may be followed.
        """
        version = spec.get("formatVersion")
        if version != FORMAT_VERSION or isinstance(version, bool):
            raise ShardMapError(f"formatVersion is {version!r}; this version reads {FORMAT_VERSION} only")
        restoring = spec.get("restoring", False)
        if not isinstance(restoring, bool):
            raise ShardMapError("restoring is neither true nor false")
        pods = tuple(_pod(item) for item in _sequence(spec, "pods"))
        known = [pod for pod in pods if pod is not None]
        if len(set(known)) != len(known):
            raise ShardMapError("pods names a pod twice")
        owners = _decode_owners(spec.get("owners"), slots)
        for index in set(owners):
            if index != NONE and (index >= len(pods) or pods[index] is None):
                raise ShardMapError(f"owners names the pod {index}, which pods does not have")
        moves = tuple(_move(item, pods, owners) for item in _sequence(spec, "moves"))
        if sum(len(move.slots) for move in moves) != len({slot for move in moves for slot in move.slots}):
            raise ShardMapError("two moves name one slot")
        return cls(epoch=_epoch(spec), restoring=restoring, pods=pods, owners=owners, moves=moves)


def lost_between(before: ShardMap, after: ShardMap) -> frozenset[PodRef]:
    """The pods whose slots have gone to others without a move that would show that they have released them.

    They are dead, or have ended without the operator: what they had answered for and not handed over is lost. Where a
    map in between was not seen, a planned move may look so as well.
    """
    moving = before.moving()
    lost: set[PodRef] = set()
    for slot, (old, new) in enumerate(zip(before.owners, after.owners, strict=True)):
        giver = None if old == NONE else before.pods[old]
        taker = None if new == NONE else after.pods[new]
        if giver is None or giver == taker or giver in lost:
            continue
        move = moving.get(slot)
        if move is None or move.receiver != taker:
            lost.add(giver)
    return frozenset(lost)


def _sequence(spec: Mapping[str, Any], field: str) -> Sequence[Any]:
    value = spec.get(field)
    if value is None:
        return ()
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise ShardMapError(f"{field} is no list")
    return value


def _epoch(item: Mapping[str, Any]) -> int:
    epoch = item.get("epoch")
    if not isinstance(epoch, int) or isinstance(epoch, bool) or not 0 <= epoch <= MAX_EPOCH:
        raise ShardMapError(f"epoch is {epoch!r}, not a whole number from 0")
    return epoch


def _pod(item: Any) -> PodRef | None:
    name, uid = (item.get("name"), item.get("uid")) if isinstance(item, Mapping) else (None, None)
    if not isinstance(name, str) or not isinstance(uid, str) or bool(name) != bool(uid):
        raise ShardMapError("pods holds an entry without a name and a uid")
    return PodRef(name, uid) if name else None


def _move(item: Any, pods: Sequence[PodRef | None], owners: Sequence[int]) -> Move:
    if not isinstance(item, Mapping):
        raise ShardMapError("moves holds an entry that is no object")
    ends: list[PodRef] = []
    for field in ("from", "to"):
        index = item.get(field)
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(pods):
            raise ShardMapError(f"a move's {field} is {index!r}, which pods does not have")
        pod = pods[index]
        if pod is None:
            raise ShardMapError(f"a move's {field} is {index}, a free place")
        ends.append(pod)
    if ends[0] == ends[1]:
        raise ShardMapError(f"a move goes from {ends[0].name} to itself")
    text = item.get("slots")
    if not isinstance(text, str):
        raise ShardMapError("a move's slots is no text")
    try:
        slots = parse_ranges(text, len(owners))
    except ValueError as error:
        raise ShardMapError(f"a move's slots: {error}") from None
    if any(pods[owners[slot]] != ends[0] if owners[slot] != NONE else True for slot in slots):
        raise ShardMapError(f"a move takes slots from {ends[0].name} that it does not own")
    return Move(ends[0], ends[1], _epoch(item), slots)


def _encode_owners(owners: Sequence[int]) -> str:
    numbers = array("H", owners)
    if sys.byteorder == "little":
        numbers.byteswap()
    return base64.b64encode(numbers.tobytes()).decode("ascii")


def _decode_owners(text: Any, slots: int) -> tuple[int, ...]:
    try:
        raw = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except (binascii.Error, ValueError):
        raise ShardMapError("owners is no base64") from None
    if len(raw) != 2 * slots:
        raise ShardMapError(f"owners holds {len(raw)} bytes, not the {2 * slots} of {slots} slots")
    numbers = array("H")
    numbers.frombytes(raw)
    if sys.byteorder == "little":
        numbers.byteswap()
    return tuple(numbers)
