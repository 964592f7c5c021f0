"""What the custom resources share: the base model, references to Secrets, conditions."""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict

from mailpush.names import MAX_CONFIG_NAME

Name = Annotated[str, Field(min_length=1, max_length=253)]
ObjectName = Annotated[
    str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", max_length=253)
]
"""Name of an object, as Kubernetes takes it (RFC 1123). Nothing else may become part of a request's path."""
DataKey = Annotated[str, Field(pattern=r"^\.?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$", max_length=253)]
"""Key in a ConfigMap's or Secret's data, as Kubernetes takes it."""
DnsLabel = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
ConfigName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=MAX_CONFIG_NAME)]
BLANKS: Final = r"\t-\r "
"""ASCII's blanks, for a class of a pattern. `\\s` is another thing to each: to the API server (Go) five of these, to
pydantic (Rust) all of Unicode's. What one takes and the other does not, nobody could read."""
ClientId = Annotated[str, Field(pattern=rf'^[^,"{BLANKS}]+$', max_length=64)]
ClientPattern = Annotated[str, Field(pattern=rf'^[^,"{BLANKS}]+$', max_length=128)]
Port = Annotated[int, Field(ge=1, le=65535)]
Milliseconds = Annotated[int, Field(ge=0, le=86_400_000)]
Text = Annotated[str, Field(max_length=1024)]
Toggle = Literal["enabled", "disabled"]


def rules(*pairs: tuple[str, str]) -> JsonDict:
    """The API server's rules for a model or field: CEL that must hold, and what it says where that does not."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in pairs]}


def list_map(key: str) -> JsonDict:
    """A list whose items are identified by `key`, which must be unique; appliers merge by it."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


LIST_SET: Final[JsonDict] = {"x-kubernetes-list-type": "set"}
"""A list of which no item may stand twice."""


class Model(BaseModel):
    """Field names are snake_case here and camelCase in Kubernetes; unknown fields are refused."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, use_attribute_docstrings=True
    )

    def manifest(self) -> dict[str, Any]:
        """As Kubernetes takes it: camelCase, without what is not set."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)


class StatusModel(Model):
    """A status may come from a newer version: fields that we do not know are passed over."""

    model_config = ConfigDict(extra="ignore")


class LocalReference(Model):
    """An object of the same namespace."""

    name: ObjectName
    """Name of the object."""


class SecretKeyReference(Model):
    """One key of a Secret of the same namespace. Its label mailpush.dev/use must name the purpose (see
    docs/security.md), so that no other Secret of the namespace can be sent anywhere."""

    name: ObjectName
    """Name of the Secret."""
    key: DataKey
    """Key in the Secret's data."""


class Condition(StatusModel):
    """metav1.Condition."""

    type: Annotated[str, Field(max_length=316)]
    """Type of the condition in CamelCase."""
    status: Literal["True", "False", "Unknown"]
    """True, False or Unknown."""
    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """The metadata.generation that the condition was set for."""
    last_transition_time: Annotated[str, Field(max_length=64, json_schema_extra={"format": "date-time"})]
    """When the status last changed (RFC 3339)."""
    reason: Annotated[str, Field(min_length=1, max_length=1024)]
    """A stable word in CamelCase for programs."""
    message: Annotated[str, Field(max_length=32768)]
    """A sentence for people: what is the case and what to do."""
