"""Which MailPushConfig an object belongs to."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from mailpush import names


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
            if owner.get("kind") == "MailPushConfig" and owner.get("apiVersion", "").startswith(names.GROUP + "/"):
                return cls(metadata["namespace"], owner["name"])
        config = (metadata.get("labels") or {}).get(names.CONFIG_LABEL)
        return cls(metadata["namespace"], config) if config else None


def older(version: str, than: str) -> bool:
    """Whether one resourceVersion is before another of the same resource (KEP-5504); what is no number is not."""
    return version.isdecimal() and than.isdecimal() and int(version) < int(than)
