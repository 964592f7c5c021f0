"""One PushUser object as a listener reads it."""

from dataclasses import dataclass, field
from typing import Any, Self

from mailpush import names
from mailpush.api.pushuser import PushUserSpec, PushUserStatus
from mailpush.kube.client import Object
from mailpush.sharding.slots import slot_of

UserKey = tuple[int, int]
"""Context and user."""


def key_of(config: str, name: str) -> UserKey | None:
    """The user of a PushUser's name, which the API server enforces; None where it is no name of one of `config`."""
    prefix, _, rest = name.rpartition("-")
    prefix, _, context = prefix.rpartition("-")
    if prefix != config or not (context.isdecimal() and rest.isdecimal()):
        return None
    return int(context), int(rest)


@dataclass(frozen=True, slots=True)
class User:
    """One PushUser object. `deleting`: it carries a deletionTimestamp, so the user is to be unregistered."""

    name: str
    uid: str
    generation: int
    spec: PushUserSpec
    status: PushUserStatus = field(default_factory=PushUserStatus)
    deleting: bool = False
    finalizer: bool = False
    """Whether a registration at Dovecot was seen: the operator sets the finalizer for it."""
    version: str = ""
    created: str = ""
    """RFC 3339."""
    resync: str | None = None
    """Another value than before: the mail server is to be looked at again."""

    @property
    def key(self) -> UserKey:
        return (self.spec.context_id, self.spec.user_id)

    @property
    def slot(self) -> int:
        """Computed, never read from the label: that may be missing, old or wrong."""
        return slot_of(self.spec.context_id, self.spec.user_id)

    @classmethod
    def of(cls, obj: Object) -> Self:
        """
        Raises:
            pydantic.ValidationError: the object is not one of the CRD's.
        """
        metadata: dict[str, Any] = obj["metadata"]
        return cls(
            name=metadata["name"],
            uid=metadata.get("uid", ""),
            generation=metadata.get("generation", 0),
            spec=PushUserSpec.model_validate(obj.get("spec")),
            status=PushUserStatus.model_validate(obj.get("status") or {}),
            deleting=metadata.get("deletionTimestamp") is not None,
            finalizer=names.FINALIZER in (metadata.get("finalizers") or ()),
            version=metadata.get("resourceVersion", ""),
            created=metadata.get("creationTimestamp", ""),
            resync=(metadata.get("annotations") or {}).get(names.RESYNC_ANNOTATION),
        )
