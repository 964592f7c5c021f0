"""The MailPushConfig as its children see it: what every builder of a child is given first."""

from dataclasses import dataclass
from typing import Any

from mailpush import names
from mailpush.controller.keys import ConfigKey

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Owner:
    """Identity of a MailPushConfig; its UID tells it from a later one of the same name."""

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

    def metadata(self, name: str, *, annotations: dict[str, str] | None = None) -> Manifest:
        """The metadata of a child."""
        metadata: Manifest = {
            "name": name,
            "namespace": self.namespace,
            "labels": names.listener_labels(self.name),
            "ownerReferences": [self.reference()],
        }
        if annotations:
            metadata["annotations"] = annotations
        return metadata
