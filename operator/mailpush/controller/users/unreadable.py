"""PushUsers that stand there and that we cannot read, because the definitions are of another version than we are."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from pydantic import ValidationError

from mailpush import names
from mailpush.api.conditions import Verdict, condition, find, timestamp
from mailpush.kube import resources
from mailpush.kube.client import Kube, Object

REASON = "SpecUnreadable"


class Unreadable(NamedTuple):
    """What is known of such an object."""

    uid: str
    generation: int
    text: str
    """What is to be said of it, without any of its values."""
    accepted: Mapping[str, Any] | None
    """The condition that stands there."""
    heard: bool
    """Whether a pod has said something of the user."""

    @classmethod
    def of(cls, body: Object, error: ValidationError) -> Self:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        fields = "; ".join(f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in faults)
        conditions = (body.get("status") or {}).get("conditions") or ()
        return cls(
            uid=body["metadata"]["uid"],
            generation=body["metadata"].get("generation", 0),
            text=f"update the CustomResourceDefinitions or the operator; it cannot read {fields}",
            accepted=find(conditions, "Accepted"),
            heard=find(conditions, "Listening") is not None,
        )

    @property
    def told(self) -> bool:
        """Whether the condition says so already."""
        return self.accepted is not None and (
            self.accepted["reason"],
            self.accepted["message"],
            self.accepted.get("observedGeneration"),
        ) == (REASON, self._verdict.text, self.generation)

    @property
    def _verdict(self) -> Verdict:
        return Verdict("Accepted", "False", REASON, self.text)

    async def tell(self, kube: Kube, namespace: str, name: str) -> None:
        """Writes the condition. Raises KubeError."""
        stood = self.accepted and (self.accepted["status"], self.accepted["lastTransitionTime"])
        status: dict[str, Any] = {"conditions": [condition(self._verdict, self.generation, stood or None, timestamp())]}
        if not self.heard:
            status["reason"] = REASON
        body = {"metadata": {"name": name, "uid": self.uid}, "status": status}
        await kube.apply(resources.PUSH_USER, namespace, body, manager=names.OPERATOR_MANAGER, subresource="status")
