"""From pydantic models to schemas: structural OpenAPI v3 for CustomResourceDefinitions, JSON schema for the chart."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from mailpush.api.mailpushconfig import MailPushConfigSpec
from mailpush.api.meta import Model

Schema = dict[str, Any]

_KEPT: Final = (
    "description",
    "type",
    "format",
    "enum",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "required",
)
_ANYTHING: Final[Schema] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def structural_schema(model: type[Model]) -> Schema:
    """The schema of a model as a CustomResourceDefinition takes it.

    References are inlined, titles dropped, optional fields are not required instead of nullable, integers are int64.
    Defaults of objects are written out in full: the API server tries the rules on them before it fills them in.
    """
    generated = model.model_json_schema(by_alias=True)
    return _structural(generated, generated.get("$defs", {}))


def closed_spec_schema() -> Schema:
    """JSON schema (draft 7) of a MailPushConfig's spec that refuses unknown fields, for the chart's values."""
    return _closed(structural_schema(MailPushConfigSpec))


def without_item_defaults(schema: Schema, keys: Sequence[str] = (), *, within: bool = False) -> Schema:
    """A structural schema without defaults in lists' items, but for the lists' keys; descriptions tell them instead.

    kubectl and Argo CD compare a list as a whole: what the API server fills in would be a difference for ever.

    Args:
        keys: fields of this node that keep their defaults; `within`: the node stands in a list.
    """
    node = dict(schema)
    if "items" in node:
        kept = node.get("x-kubernetes-list-map-keys", ())
        node["items"] = without_item_defaults(node["items"], kept, within=True)
    if "properties" in node:
        node["properties"] = {
            name: without_item_defaults(child, within=within and name not in keys)
            for name, child in node["properties"].items()
        }
    if within and (default := node.pop("default", None)) not in (None, [], {}):
        node["description"] = f"{node.get('description', '')} Default: {json.dumps(default)}.".strip()
    return node


def _structural(node: Mapping[str, Any], defs: Mapping[str, Any]) -> Schema:
    node = _resolved(node, defs)
    if {"integer", "string"} == {choice.get("type") for choice in node.get("anyOf", ())}:
        text = {key: value for key, value in node.items() if key in ("description", "maxLength", "pattern")}
        return text | {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True}
    if "const" in node:
        node = node | {"enum": [node["const"]]}
    schema: Schema = {key: node[key] for key in _KEPT if key in node}
    if schema["type"] == "integer":
        schema["format"] = "int64"
    if "description" in schema:
        schema["description"] = " ".join(schema["description"].split())
    if "items" in node:
        schema["items"] = _structural(node["items"], defs)
    if "properties" in node:
        schema["properties"] = {name: _structural(child, defs) for name, child in node["properties"].items()}
    elif schema["type"] == "object":
        values = node.get("additionalProperties")
        schema |= {"additionalProperties": _structural(values, defs)} if isinstance(values, Mapping) else _ANYTHING
    if node.get("default") is not None:
        schema["default"] = _without_nulls(node["default"])
    schema |= {key: value for key, value in node.items() if key.startswith("x-kubernetes-")}
    return schema


def _resolved(node: Mapping[str, Any], defs: Mapping[str, Any]) -> dict[str, Any]:
    """The node with its reference and its optionality taken in; what stands beside a reference wins."""
    siblings = dict(node)
    if reference := siblings.pop("$ref", None):
        return _merged(_resolved(defs[reference.removeprefix("#/$defs/")], defs), siblings)
    choices = [choice for choice in siblings.get("anyOf", ()) if choice != {"type": "null"}]
    if len(choices) == 1:
        del siblings["anyOf"]
        return _merged(_resolved(choices[0], defs), siblings)
    return siblings


def _merged(inner: Mapping[str, Any], outer: Mapping[str, Any]) -> dict[str, Any]:
    both = {**inner, **outer}
    rules = [*inner.get("x-kubernetes-validations", ()), *outer.get("x-kubernetes-validations", ())]
    return both | ({"x-kubernetes-validations": rules} if rules else {})


def _without_nulls(default: Any) -> Any:
    if not isinstance(default, Mapping):
        return default
    return {name: _without_nulls(value) for name, value in default.items() if value is not None}


def _closed(node: Schema) -> Schema:
    schema = {key: value for key, value in node.items() if not key.startswith("x-kubernetes-") and key != "default"}
    if schema.get("format") == "int64":
        del schema["format"]
    if "items" in schema:
        schema["items"] = _closed(schema["items"])
    if "properties" in schema:
        schema["properties"] = {name: _closed(child) for name, child in schema["properties"].items()}
        schema["additionalProperties"] = False
    elif isinstance(schema.get("additionalProperties"), dict):
        schema["additionalProperties"] = _closed(schema["additionalProperties"])
    return schema
