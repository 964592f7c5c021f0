"""What the operator keeps of one PushUser: a kilobyte of it, since there may be a hundred thousand."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from sys import intern
from typing import Any, Final, NamedTuple, Self, TypeVar

import msgspec

from mailpush import names
from mailpush.api.conditions import find
from mailpush.api.pushuser import PushUserSpec
from mailpush.controller.owner import ConfigKey
from mailpush.kube.client import Object
from mailpush.sharding.slots import slot_of

Value = TypeVar("Value", bound=Hashable)

MOST_SHARED: Final = 4096


class UserName(NamedTuple):
    """Namespace and name of a PushUser object."""

    namespace: str
    name: str


class Said(NamedTuple):
    """What a condition says; compared to see whether it has to be written again."""

    status: str
    reason: str
    message: str
    generation: int
    since: str


@dataclass(slots=True)
class UserRecord:
    """One PushUser object as last read."""

    uid: str
    version: str
    generation: int
    config: ConfigKey
    context_id: int
    user_id: int
    clients: tuple[str, ...]
    packed: bytes
    """The spec as JSON: as a model it is ten times as large, and only a decision needs all of it."""
    slot: int
    labelled: bool
    """Whether the labels are right."""
    accepted: Said | None
    listening: Said | None
    ready: Said | None
    left: Said | None
    """RegistrationLeft."""
    registered: int
    """How many mailboxes have an entry for the user."""
    created: str
    """RFC 3339."""
    duplicate_of: str | None
    secret_version: str | None
    """Of the user's Secret, as the status says."""
    mechanism: str | None
    deleting: bool
    finalizers: tuple[str, ...]
    owner_epoch: int = 0
    weighs: bool = True
    """Whether a listener is to run: the others do not count when users are spread."""

    @property
    def spec(self) -> PushUserSpec:
        return PushUserSpec.model_validate(msgspec.json.decode(self.packed))

    @classmethod
    def of(cls, body: Object) -> Self:
        """
        Raises:
            pydantic.ValidationError: the CRD is of another version than we are.
        """
        metadata: dict[str, Any] = body["metadata"]
        spec = PushUserSpec.model_validate(body["spec"])
        status: dict[str, Any] = body.get("status") or {}
        conditions = status.get("conditions") or ()
        labels = metadata.get("labels") or {}
        config = _shared(ConfigKey(metadata["namespace"], spec.config_ref.name))
        slot = slot_of(spec.context_id, spec.user_id)
        return cls(
            uid=metadata["uid"],
            version=metadata["resourceVersion"],
            generation=metadata.get("generation", 0),
            config=config,
            context_id=spec.context_id,
            user_id=spec.user_id,
            clients=_shared(tuple(spec.clients)),
            packed=msgspec.json.encode(body["spec"]),
            slot=slot,
            labelled=all(labels.get(label) == value for label, value in wanted_labels(config, slot).items()),
            accepted=_said(conditions, "Accepted"),
            listening=_said(conditions, "Listening"),
            ready=_said(conditions, "Ready"),
            left=_said(conditions, "RegistrationLeft"),
            registered=len(status.get("registrations") or ()),
            created=_shared(metadata.get("creationTimestamp", "")),
            duplicate_of=status.get("duplicateOf"),
            secret_version=status.get("secretVersion"),
            mechanism=_shared(status.get("mechanism")),
            deleting="deletionTimestamp" in metadata,
            finalizers=_shared(tuple(metadata.get("finalizers") or ())),
            owner_epoch=status.get("ownerEpoch") or 0,
        )


def wanted_labels(config: ConfigKey, slot: int) -> dict[str, str]:
    """The labels by which listeners select their users."""
    return {names.CONFIG_LABEL: config.name, names.SLOT_LABEL: str(slot)}


def _said(conditions: Sequence[dict[str, Any]], type_: str) -> Said | None:
    condition = find(conditions, type_)
    if condition is None:
        return None
    said = Said(
        intern(condition["status"]),
        intern(condition["reason"]),
        _shared(condition["message"]),
        condition.get("observedGeneration", 0),
        _shared(condition["lastTransitionTime"]),
    )
    return _shared(said)


_copies: dict[Hashable, Any] = {}


def _shared(value: Value) -> Value:
    """One copy of what many users have in common: clients, sentences, times.

    Forgets all of them now and then, as a sentence may be of one user alone: then a few are there twice.
    """
    if len(_copies) >= MOST_SHARED:
        _copies.clear()
    found: Value = _copies.setdefault(value, value)
    return found
