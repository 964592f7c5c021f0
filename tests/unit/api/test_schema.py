"""The generated schemas: structural, bounded, described, and refusing what is misspelt."""

# ruff: noqa: RUF012 - pydantic copies a default that can change

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import jsonschema
import kubernetes_validate
import pytest
import yaml
from pydantic import ConfigDict, Field, ValidationError

from mailpush.api import crds
from mailpush.api.mailpushconfig import SECRET_PROPERTIES, SPEC_RULES, MailPushConfigSpec
from mailpush.api.meta import Model, list_map, rules
from mailpush.api.pushuser import NAME_MESSAGE, NAME_RULE, PushUserSpec
from mailpush.api.schema import closed_spec_schema, structural_schema

ROOT = Path(__file__).resolve().parents[3]
DEFINITIONS = crds.definitions()
EXAMPLES = {
    path.name: list(yaml.safe_load_all(path.read_text()))
    for path in (ROOT / "examples" / "mailpushconfig.yaml", ROOT / "examples" / "pushusers.yaml")
}


class Inner(Model):
    """Said
    in two lines."""

    model_config = ConfigDict(json_schema_extra=rules(("self.on", "switch it on")))
    on: bool = False
    """Switch."""
    name: str | None = None


class Outer(Model):
    """All kinds of fields."""

    inner: Annotated[Inner, Field(json_schema_extra=rules(("self == oldSelf", "immutable")))] = Inner()
    """A field's own words win."""
    optional: Inner | None = None
    number: Annotated[int, Field(ge=1)]
    quantity: int | str = 1
    word: Literal["a", "b"] = "a"
    constant: Literal[1] = 1
    labels: Annotated[dict[str, Annotated[str, Field(max_length=3)]], Field(max_length=2)] = {}
    items: Annotated[list[Inner], Field(max_length=4, json_schema_extra=list_map("name"))] = []
    free: list[dict[str, Any]] = []


INNER: dict[str, Any] = {
    "description": "Said in two lines.",
    "type": "object",
    "properties": {"on": {"description": "Switch.", "type": "boolean", "default": False}, "name": {"type": "string"}},
    "x-kubernetes-validations": [{"rule": "self.on", "message": "switch it on"}],
}


def test_a_model_becomes_a_structural_schema() -> None:
    own_rules = [*INNER["x-kubernetes-validations"], {"rule": "self == oldSelf", "message": "immutable"}]
    assert structural_schema(Outer) == {
        "description": "All kinds of fields.",
        "type": "object",
        "required": ["number"],
        "properties": {
            "inner": {
                **INNER,
                "description": "A field's own words win.",
                "default": {"on": False},
                "x-kubernetes-validations": own_rules,
            },
            "optional": INNER,
            "number": {"type": "integer", "format": "int64", "minimum": 1},
            "quantity": {
                "anyOf": [{"type": "integer"}, {"type": "string"}],
                "x-kubernetes-int-or-string": True,
            },
            "word": {"type": "string", "enum": ["a", "b"], "default": "a"},
            "constant": {"type": "integer", "format": "int64", "enum": [1], "default": 1},
            "labels": {
                "type": "object",
                "maxProperties": 2,
                "additionalProperties": {"type": "string", "maxLength": 3},
                "default": {},
            },
            "items": {
                "type": "array",
                "maxItems": 4,
                "items": INNER,
                "default": [],
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            },
            "free": {
                "type": "array",
                "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "default": [],
            },
        },
    }


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from nodes(schema[key], f"{path}[]")


def openapi(definition: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


SCHEMAS = [openapi(definition) for definition in DEFINITIONS.values()]
NODES = [(path, node) for schema in SCHEMAS for path, node in nodes(schema)]


@pytest.mark.parametrize("definition", DEFINITIONS.values(), ids=DEFINITIONS.keys())
def test_a_definition_is_valid_to_kubernetes(definition: dict[str, Any]) -> None:
    kubernetes_validate.validate(definition, "1.33", strict=True)


def test_every_string_list_and_map_has_a_limit() -> None:
    limits = {"string": ("maxLength", "enum"), "array": ("maxItems",), "object": ("maxProperties", "properties")}
    free = "x-kubernetes-preserve-unknown-fields"
    unbounded = [
        path
        for path, node in NODES
        if path != ".metadata"
        and not node.get(free)
        and not any(limit in node for limit in limits.get(node.get("type", "string"), ("format", "type")))
    ]
    assert unbounded == []


def test_every_field_is_described_for_kubectl_explain() -> None:
    fields = [(path, node) for path, node in NODES if not path.endswith("[]") and not path.startswith(".metadata")]
    assert [path for path, node in fields if not node.get("description", "").strip()] == []


def test_conditions_are_merged_by_type() -> None:
    for schema in SCHEMAS:
        conditions = schema["properties"]["status"]["properties"]["conditions"]
        assert conditions["x-kubernetes-list-type"] == "map"
        assert conditions["x-kubernetes-list-map-keys"] == ["type"]


def test_every_rule_says_what_to_change() -> None:
    found = [rule for _, node in NODES for rule in node.get("x-kubernetes-validations", ())]
    assert all(rule["message"] and "\n" not in rule["rule"] for rule in found)
    messages = [rule["message"] for rule in found]
    assert (
        'mailAccess.passwordSource is "session", so one of credentialStorage.enabled, mailAccess.userSecrets, '
        "mailAccess.oauth or mailAccess.doveadm is needed"
    ) in messages
    for field in ("configRef", "contextId", "userId"):
        assert f"{field} is immutable: delete this PushUser and create another one" in messages
    assert len(SPEC_RULES) == 4 + len(SECRET_PROPERTIES)


def test_the_name_of_a_push_user_is_a_rule_on_the_root_that_names_the_right_one() -> None:
    (rule,) = openapi(DEFINITIONS["pushusers.yaml"])["x-kubernetes-validations"]
    assert (rule["rule"], rule["messageExpression"]) == (NAME_RULE, NAME_MESSAGE)
    # string(<integer>) would be refused by the API server's cost estimate.
    assert "string(" not in NAME_RULE + NAME_MESSAGE


def test_a_rule_on_the_root_names_its_field() -> None:
    rules = [rule for one in DEFINITIONS.values() for rule in openapi(one).get("x-kubernetes-validations", ())]
    assert rules
    assert {rule["fieldPath"] for rule in rules} == {".metadata.name"}


def columns(file: str, wide: bool = False) -> list[str]:
    version = DEFINITIONS[file]["spec"]["versions"][0]
    return [
        column["name"].upper()
        for column in version["additionalPrinterColumns"]
        if wide or not column.get("priority", 0)
    ]


def test_kubectl_prints_the_columns_of_the_design() -> None:
    users = ["CONTEXT", "USER", "PERMANENT", "MECHANISM", "POD", "READY", "REASON", "AGE"]
    assert columns("pushusers.yaml") == users
    assert columns("pushusers.yaml", wide=True) == [*users, "LOGIN", "CLIENTS", "SERVER", "CREDENTIALS"]
    assert columns("shardmaps.yaml") == ["EPOCH", "PODS", "USERS", "MOVING", "IMBALANCE", "AGE"]


def test_the_committed_definitions_are_what_the_models_say() -> None:
    assert crds.drift(ROOT / "crds") == ""


def test_drift_is_shown_as_a_diff_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert crds.run(str(tmp_path / "crds"), check=False) == 0
    assert crds.run(str(tmp_path / "crds"), check=True) == 0
    changed = tmp_path / "crds" / "pushusers.yaml"
    changed.write_text(changed.read_text().replace("maxItems: 64", "maxItems: 65"))
    assert crds.run(str(tmp_path / "crds"), check=True) == 1
    difference = capsys.readouterr().out
    assert re.search(r"^- +maxItems: 65\n\+ +maxItems: 64$", difference, re.MULTILINE)


@pytest.mark.parametrize(
    "document", [document for documents in EXAMPLES.values() for document in documents], ids=lambda d: str(d["kind"])
)
def test_the_examples_are_what_they_show(document: dict[str, Any]) -> None:
    file = {"MailPushConfig": "mailpushconfigs.yaml", "PushUser": "pushusers.yaml"}[document["kind"]]
    jsonschema.validate(document, openapi(DEFINITIONS[file]))
    models: dict[str, type[Model]] = {"MailPushConfig": MailPushConfigSpec, "PushUser": PushUserSpec}
    spec = models[document["kind"]].model_validate(document["spec"])
    assert spec.manifest() == document["spec"]


CLOSED = closed_spec_schema()


def test_the_closed_schema_is_draft_7_and_knows_nothing_of_kubernetes() -> None:
    jsonschema.Draft7Validator.check_schema(CLOSED)
    assert "x-kubernetes" not in json.dumps(CLOSED)
    jsonschema.Draft7Validator(CLOSED).validate(EXAMPLES["mailpushconfig.yaml"][0]["spec"])


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("allowPermanentPsuh",), True),
        (("mailAccess", "servers", 0, "hots"), "dovecot"),
        (("mailAccess", "passwordSource"), "sesion"),
        (("packages", "status", "open-xchange-push-dovecot"), "true"),
        (("listeners", "replicas"), -1),
        (("listeners", "replicas"), "2"),
        (("listeners", "resources", "limits", "memory"), 1.5),
        (("redis", "url"), "redis://:password@redis"),
        (("transports", "webhooks", 0, "url"), "ftp://receiver"),
        (("allowedClients",), ["a,b"]),
    ],
)
def test_a_misspelt_field_or_a_wrong_value_is_refused_by_schema_and_model(path: tuple[Any, ...], value: Any) -> None:
    spec = copy.deepcopy(EXAMPLES["mailpushconfig.yaml"][0]["spec"])
    node = spec
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(CLOSED).validate(spec)
    with pytest.raises(ValidationError):
        MailPushConfigSpec.model_validate(spec, strict=True)


def test_free_parts_stay_free_in_the_closed_schema() -> None:
    spec = {
        "properties": {"com.openexchange.anything": "x"},
        "listeners": {"tolerations": [{"operator": "Exists"}], "resources": {"limits": {"cpu": 1, "memory": "1Gi"}}},
    }
    jsonschema.Draft7Validator(CLOSED).validate(spec)
    assert MailPushConfigSpec.model_validate(spec).manifest() == spec


def test_every_reference_takes_only_names_that_objects_have() -> None:
    """A name such as `../../team-b/secrets/it` was read with the operator's rights."""
    found = 0

    def look(schema: dict[str, Any], path: str) -> None:
        nonlocal found
        for name, child in schema.get("properties", {}).items():
            if name.endswith("Ref"):
                for part, field in child["properties"].items():
                    found += 1
                    assert "pattern" in field, f"{path}.{name}.{part}"
                    for hostile in ("../../team-b/secrets/it", "..", "a/b", "a%2fb", "", "a b"):
                        assert not re.search(field["pattern"], hostile), f"{path}.{name}.{part} takes {hostile!r}"
                    assert re.search(field["pattern"], "main-1")
            look(child, f"{path}.{name}")
        if "items" in schema:
            look(schema["items"], f"{path}[]")

    for file, definition in crds.definitions().items():
        look(definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"], file)
    assert found >= 12


def test_no_item_of_a_list_has_a_default_but_for_the_list_s_keys() -> None:
    """kubectl replaces lists as a whole: with one, an unchanged object was `configured` at each apply, for ever."""

    def items(schema: dict[str, Any], path: str, keys: tuple[str, ...] = (), *, within: bool = False) -> Iterator[str]:
        if within and "default" in schema:
            yield path
        for name, child in schema.get("properties", {}).items():
            yield from items(child, f"{path}.{name}", within=within and name not in keys)
        if "items" in schema:
            yield from items(
                schema["items"], f"{path}[]", tuple(schema.get("x-kubernetes-list-map-keys", ())), within=True
            )

    for definition in DEFINITIONS.values():
        spec = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        assert list(items(spec, "spec")) == []
