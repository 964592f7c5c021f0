"""What a pod's Lease says (protocol P3), and the only changes that are made to it.

`capable` false with an empty `reason` means: the process is still starting. A process that will not do the work says
`capable` false with the reason, and loses its slots.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

PREFIX: Final = "mailpush.dev/"
MAP_UID: Final = PREFIX + "map-uid"
APPLIED_EPOCH: Final = PREFIX + "applied-epoch"
RELEASED_THROUGH: Final = PREFIX + "released-through"
FLOOR: Final = PREFIX + "floor"
CONFIG_HASH: Final = PREFIX + "config-hash"
CAPABLE: Final = PREFIX + "capable"
REASON: Final = PREFIX + "reason"
DRAINING: Final = PREFIX + "draining"
PACKAGES: Final = PREFIX + "packages"
COUNTS: Final = PREFIX + "counts"
FORMATS: Final = PREFIX + "formats"
MAP_COPY: Final = PREFIX + "map-copy"
SIGNS: Final = PREFIX + "signs"
PASSCRYPT: Final = PREFIX + "passcrypt"
CREDENTIALS: Final = PREFIX + "credentials"

_WHERE_NEEDED: Final = frozenset({PASSCRYPT, CREDENTIALS, MAP_COPY})

COUNTED: Final = ("assigned", "listening", "failed", "sweeping")
_NUMBER: Final = re.compile(r"[0-9]{1,19}")
FAR: Final = 2**62  # an epoch is an int64 and rises from one write to the next


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a Lease: one process of one pod. `nonce` is random per process."""

    pod: str
    uid: str
    nonce: str

    @classmethod
    def parse(cls, text: str) -> "Holder":
        """Reads `<pod>/<uid>/<nonce>`.

        Raises:
            ValueError: not of this form.
        """
        parts = text.split("/")
        if len(parts) != 3 or not all(parts):
            raise ValueError("a holder is <pod>/<pod uid>/<random per process>")
        return cls(*parts)

    def __str__(self) -> str:
        return f"{self.pod}/{self.uid}/{self.nonce}"


class ServerReport(NamedTuple):
    """How a pod does with one mail server: `users` of it are to be listened for, and `failed` of them are not.

    `reason`: the commonest among the failed, of `alike` users, and `text` a sentence on it, perhaps empty.
    """

    users: int
    failed: int = 0
    reason: str = ""
    alike: int = 0
    text: str = ""

    @property
    def degraded(self) -> bool:
        """Whether so many fail that it is hardly theirs: a quarter."""
        return self.failed > 0 and 4 * self.failed >= self.users


class CallbackReport(NamedTuple):
    """`registered`: the pod's users for whom Dovecot is to call. `called`: it has, since the pod's process runs.

    `trouble`: what is wrong with the callbacks that come, in a word; empty where nothing is.
    """

    registered: int = 0
    called: bool = False
    trouble: str = ""


class RotationReport(NamedTuple):
    """How far a pod has encrypted the credential storage anew, or copied it, in entries: `done` of `total`.

    `unreadable`: neither passcrypt reads them. `finished`: the previous passcrypt, or the former store, is needed no
    more.
    `waits`: a sentence on what it waits for; empty where it goes on, or where another pod does it.
    """

    total: int
    done: int = 0
    unreadable: int = 0
    finished: bool = False
    waits: str = ""


class WritesReport(NamedTuple):
    """Whether OX's table takes passwords: `refusing` of the `schemas` that the pod has looked at take none.

    `reason`: why, in a word, of those with the name `schema` or, where it is empty, of all; empty where none refuses.
    """

    schemas: int
    refusing: int = 0
    reason: str = ""
    schema: str = ""


NO_CALLBACKS: Final = CallbackReport()


@dataclass(frozen=True, slots=True)
class Ack:
    """What a pod says of the map that it has applied: it runs nothing that a map up to here has taken from it."""

    map_uid: str | None
    applied_epoch: int
    released_through: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseState:
    """A Lease's content. `counts` has the keys `assigned`, `listening`, `failed`, `sweeping`; `denied` counts users by
    reason.

    `degraded`: the targets of notifications that the pod does not get through to, each with the reason in a word.
    `signs`: the holder's process signs its answers to hand-overs.
    `servers`: by name, the mail servers of the pod's users.
    `redis`: what keeps the pod's Redis from taking claims, in a word; empty where nothing does.
    `eviction`: the `maxmemory-policy` of the pod's Redis, empty where it is not known.
    `passcrypt`: the fingerprint of the pod's passcrypt, by which pods are compared; empty without a storage.
    `storage`: what keeps the pod from the credential storage, in a word; empty where nothing does.
    `token`: what keeps the pod from the next access token, in a word; empty where nothing does.
    `doveadm`: what keeps all users of the pod from Dovecot's doveadm, in a word; empty where nothing does.
    `rotation`: of the storage's passcrypt, where the pod has a previous one.
    `writes`: of OX's table, where passwords are put there.
    `kept`: where the pod keeps stored passwords, in a word; empty where it keeps none.
    `migration`: of the cluster memory's entries to the database, where the pod has both.
    `map_copy`: of the last good map, while the API has none that follows it; see `copies`.
    """

    holder: Holder | None = None
    map_uid: str | None = None
    applied_epoch: int = 0
    released_through: int = 0
    floor: int = 0
    config_hash: str | None = None
    capable: bool = False
    reason: str = ""
    draining: bool = False
    packages: frozenset[str] = frozenset()
    counts: Mapping[str, int] = field(default_factory=dict)
    denied: Mapping[str, int] = field(default_factory=dict)
    degraded: Mapping[str, str] = field(default_factory=dict)
    servers: Mapping[str, ServerReport] = field(default_factory=dict)
    eviction: str = ""
    redis: str = ""
    callbacks: CallbackReport = NO_CALLBACKS
    formats: frozenset[int] = frozenset()
    signs: bool = False
    passcrypt: str = ""
    storage: str = ""
    token: str = ""
    doveadm: str = ""
    rotation: RotationReport | None = None
    writes: WritesReport | None = None
    kept: str = ""
    migration: RotationReport | None = None
    map_copy: str = ""

    @property
    def threshold(self) -> int:
        """The lowest epoch from which a process that takes this Lease now may start slots (P6)."""
        return max(self.applied_epoch, self.released_through, self.floor)

    def held_by(self, uid: str) -> bool:
        """Whether a process of the pod with this UID holds it."""
        return self.holder is not None and self.holder.uid == uid

    def taken_by(self, holder: Holder) -> "LeaseState":
        """As a starting process writes it: what must survive a restart stays, the rest described the former process."""
        return LeaseState(
            holder=holder,
            map_uid=self.map_uid,
            applied_epoch=self.applied_epoch,
            released_through=self.released_through,
            floor=self.floor,
        )

    def with_ack(self, ack: Ack) -> "LeaseState":
        """With what the pod may say now. The epochs never go down, and the map's UID changes only with a higher one."""
        if ack.applied_epoch > self.applied_epoch:
            released = max(self.released_through, ack.released_through)
            return replace(self, map_uid=ack.map_uid, applied_epoch=ack.applied_epoch, released_through=released)
        if ack.map_uid == self.map_uid and ack.released_through > self.released_through:
            return replace(self, released_through=ack.released_through)
        return self

    def released(self) -> "LeaseState":
        """As a process writes it that has stopped everything and ends (P8: clean release)."""
        return replace(self, holder=None, capable=False)

    def fenced(self, floor: int) -> "LeaseState":
        """As the operator writes it before it takes a pod's slots (P9)."""
        return replace(self, holder=None, capable=False, floor=max(self.floor, floor), map_copy="")


def parse_lease(obj: Mapping[str, Any]) -> LeaseState:
    """The content of a `coordination.k8s.io/v1` Lease object, given as decoded JSON.

    A broken annotation counts as absent, and nothing is raised. A holder that is not of our form is still a holder,
    with an empty UID: only an empty one proves a clean release.
    """
    annotations = _mapping(_mapping(obj.get("metadata")).get("annotations"))

    def text(key: str) -> str:
        return _text(annotations, key)

    counts = _object(text(COUNTS))
    credentials = _object(text(CREDENTIALS))
    writes = _typed(credentials.get("writes"), [int, int, str, str])
    return LeaseState(
        holder=_holder(_mapping(obj.get("spec")).get("holderIdentity")),
        map_uid=text(MAP_UID) or None,
        applied_epoch=_number(text(APPLIED_EPOCH)),
        released_through=_number(text(RELEASED_THROUGH)),
        floor=_number(text(FLOOR)),
        config_hash=text(CONFIG_HASH) or None,
        capable=text(CAPABLE) == "true",
        reason=text(REASON),
        draining=text(DRAINING) == "true",
        packages=frozenset(part for part in text(PACKAGES).split(",") if part),
        counts=_whole(counts),
        denied=_whole(_mapping(counts.get("denied"))),
        degraded={key: why for key, why in _mapping(counts.get("degraded")).items() if isinstance(why, str)},
        servers=_servers(_mapping(counts.get("servers"))),
        eviction=_text(counts, "eviction"),
        redis=_text(counts, "redis"),
        callbacks=CallbackReport(*_typed(counts.get("callbacks"), [int, bool, str])),
        formats=frozenset(int(part) for part in text(FORMATS).split(",") if _NUMBER.fullmatch(part)),
        passcrypt=text(PASSCRYPT),
        storage=_text(credentials, "storage"),
        token=_text(credentials, "token"),
        doveadm=_text(credentials, "doveadm"),
        rotation=_rotation(credentials, "rotation"),
        kept=_text(credentials, "kept"),
        migration=_rotation(credentials, "migration"),
        writes=WritesReport(*writes) if writes else None,
        map_copy=text(MAP_COPY),
        signs=bool(text(SIGNS)) and text(SIGNS) == _mapping(obj.get("spec")).get("holderIdentity"),
    )


def lease_annotations(state: LeaseState) -> dict[str, str]:
    """Every annotation of the state; the holder is not among them, it is the Lease's `spec.holderIdentity`."""
    counts: dict[str, Any] = {key: state.counts.get(key, 0) for key in COUNTED}
    counts["denied"] = dict(sorted(state.denied.items()))
    if state.degraded:
        counts["degraded"] = dict(sorted(state.degraded.items()))
    if state.servers:
        counts["servers"] = dict(sorted(state.servers.items()))
    if state.redis:
        counts["redis"] = state.redis
    if state.eviction:
        counts["eviction"] = state.eviction
    if state.callbacks != NO_CALLBACKS:
        counts["callbacks"] = state.callbacks
    annotations = {
        MAP_UID: state.map_uid or "",
        APPLIED_EPOCH: str(state.applied_epoch),
        RELEASED_THROUGH: str(state.released_through),
        FLOOR: str(state.floor),
        CONFIG_HASH: state.config_hash or "",
        CAPABLE: "true" if state.capable else "false",
        REASON: state.reason,
        DRAINING: "true" if state.draining else "false",
        PACKAGES: ",".join(sorted(state.packages)),
        COUNTS: json.dumps(counts, separators=(",", ":")),
        FORMATS: ",".join(str(number) for number in sorted(state.formats)),
        # The process and no mere "true": an older version that takes the Lease may leave the annotation as it is.
        SIGNS: str(state.holder) if state.signs and state.holder is not None else "",
    }
    return annotations | {key: text for key, text in _where_needed(state).items() if text}


def _where_needed(state: LeaseState) -> dict[str, str]:
    """The annotations that a Lease has only where there is something to say; empty texts are left out."""
    words = {"storage": state.storage, "token": state.token, "doveadm": state.doveadm, "kept": state.kept}
    credentials: dict[str, Any] = {key: word for key, word in words.items() if word}
    for key, report in (("rotation", state.rotation), ("migration", state.migration)):
        if report is not None:
            *numbers, waits = report
            credentials[key] = numbers  # in the form of versions that knew of no waiting
            credentials |= {f"{key}Waits": waits} if waits else {}
    if state.writes is not None:
        credentials["writes"] = state.writes
    return {
        PASSCRYPT: state.passcrypt,
        CREDENTIALS: json.dumps(credentials, separators=(",", ":")) if credentials else "",
        MAP_COPY: state.map_copy,
    }


def replaced_annotations(before: Mapping[str, str] | None, state: LeaseState) -> dict[str, str]:
    """Those of a Lease that gets this state; what others put there stays."""
    kept = {key: value for key, value in (before or {}).items() if key not in _WHERE_NEEDED}
    return kept | lease_annotations(state)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Mapping[str, Any], key: str) -> str:
    found = value.get(key)
    return found if isinstance(found, str) else ""


def _holder(value: Any) -> Holder | None:
    if value is None or value == "":
        return None
    try:
        return Holder.parse(str(value))
    except ValueError:
        return Holder(pod=str(value), uid="", nonce="")


def _number(text: str) -> int:
    number = int(text) if _NUMBER.fullmatch(text) else 0
    return number if number < FAR else 0


def _object(text: str) -> Mapping[str, Any]:
    try:
        return _mapping(json.loads(text) if text else {})
    except (ValueError, RecursionError):
        return {}


def _servers(value: Mapping[str, Any]) -> dict[str, ServerReport]:
    reports = {name: _typed(report, [int, int, str, int, str]) for name, report in value.items()}
    return {name: ServerReport(*report) for name, report in reports.items() if report}


def _rotation(credentials: Mapping[str, Any], key: str) -> RotationReport | None:
    numbers = _typed(credentials.get(key), [int, int, int, bool])
    return RotationReport(*numbers)._replace(waits=_text(credentials, f"{key}Waits")) if numbers else None


def _typed(value: Any, types: list[type]) -> list[Any]:
    """The list, if its parts are of these types; else an empty one."""
    return value if isinstance(value, list) and [type(part) for part in value] == types else []


def _whole(value: Mapping[str, Any]) -> dict[str, int]:
    return {key: number for key, number in value.items() if isinstance(number, int) and not isinstance(number, bool)}
