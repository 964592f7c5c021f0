"""Which MailPushConfig an object belongs to, and what every builder of a child starts from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from mailpush import names

Manifest = dict[str, Any]


class ConfigKey(NamedTuple):
    """Namespace and name of a MailPushConfig."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Self:
        """The key of a MailPushConfig object itself."""
        metadata = body["metadata"]
        return cls(metadata["namespace"], metadata["name"])

    @classmethod
    def of_child(cls, body: Mapping[str, Any]) -> Self | None:
        """The key of the MailPushConfig that a child says it belongs to; None where it does not say.

        The owner counts more than the label: somebody may have taken the label off.
        """
        metadata = body["metadata"]
        for owner in metadata.get("ownerReferences") or ():
            if is_config(owner):
                return cls(metadata["namespace"], owner["name"])
        config = (metadata.get("labels") or {}).get(names.CONFIG_LABEL)
        return cls(metadata["namespace"], config) if config else None


def is_config(reference: Mapping[str, Any]) -> bool:
    """Whether an ownerReference names a MailPushConfig."""
    version: str = reference.get("apiVersion", "")
    return reference.get("kind") == "MailPushConfig" and version.startswith(names.GROUP + "/")


@dataclass(frozen=True, slots=True)
class Owner:
    """Identity of a MailPushConfig; its UID distinguishes it from a later one of the same name."""

    namespace: str
    name: str
    uid: str

    @property
    def key(self) -> ConfigKey:
        return ConfigKey(self.namespace, self.name)

    def reference(self) -> Manifest:
        """The ownerReference of a child: Kubernetes deletes the child with the MailPushConfig."""
        return {
            "apiVersion": names.API_VERSION,
            "kind": "MailPushConfig",
            "name": self.name,
            "uid": self.uid,
            "controller": True,
            # Not blockOwnerDeletion: it needs a right on the owner's finalizers, and nobody waits for the children.
            "blockOwnerDeletion": False,
        }

    def metadata(self, name: str, *, annotations: dict[str, str] | None = None, kept: bool = False) -> Manifest:
        """The metadata of a child; `kept`: it stays when the MailPushConfig goes."""
        metadata: Manifest = {
            "name": name,
            "namespace": self.namespace,
            "labels": names.listener_labels(self.name),
        }
        if not kept:
            metadata["ownerReferences"] = [self.reference()]
        if annotations:
            metadata["annotations"] = annotations
        return metadata
