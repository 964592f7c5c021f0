"""What the API server takes, the operator and the listeners read, or a condition says that they cannot."""

import copy
import re
from collections.abc import Iterator
from typing import Any, Final

import pytest
from pydantic import ValidationError

from mailpush.api import crds
from mailpush.api.mailpushconfig import MailPushConfigSpec
from mailpush.api.meta import Model
from mailpush.api.pushuser import PushUserSpec
from mailpush.decision.evaluation import evaluate
from mailpush.properties.secrets import ResolvedSecrets

Place = tuple[str | int, ...]

MODELS: Final[dict[str, type[Model]]] = {"mailpushconfigs.yaml": MailPushConfigSpec, "pushusers.yaml": PushUserSpec}
SCHEMAS: Final = {
    file: crds.definitions()[file]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    for file in MODELS
}
ODD: Final = (
    *" \t\n\v\f\r\x00\x1c\x1f\x7f\x85\u00a0\u1680\u2003\u2028\u202f\u3000\u200b\ufeff",
    *',"@/%:.-_*?\\',
    *"\u00e9\u212a\u017f\u0661\U0001f4ec",
)
"""Blanks of ASCII and of Unicode, what separates, and letters and digits that engines fold or count otherwise."""
EXAMPLES: Final = ("a", "abc", "http://a", "redis://a", "mysql://a/b")
LENGTHS: Final = (16, 63, 64, 128, 253, 255, 512, 1024, 2048, 4096)


def api_server_matches(pattern: str, text: str) -> bool:
    r"""As Go's RE2: `\s` is five characters of ASCII, `$` the very end."""
    assert not re.search(r"\\[dwbpDWSBP]|\(\?", pattern), f"{pattern}: say it in a class of characters"
    return re.search(pattern.replace(r"\s", r"\t\n\f\r ").replace("$", r"\Z"), text) is not None


def api_server_takes(schema: dict[str, Any], value: Any) -> bool:
    """Types, lengths and patterns. Rules (CEL) are another matter: tests/unit/cli/test_manifests.py."""
    if schema.get("x-kubernetes-int-or-string"):
        return isinstance(value, int) or len(value) <= schema["maxLength"]
    if isinstance(value, str):
        return (
            schema["type"] == "string"
            and schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value))
            and value in schema.get("enum", (value,))
            and ("pattern" not in schema or api_server_matches(schema["pattern"], value))
        )
    if isinstance(value, list):
        return len(value) <= schema["maxItems"] and all(api_server_takes(schema["items"], one) for one in value)
    if isinstance(value, dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        fields = schema.get("properties", {})
        return len(value) <= schema.get("maxProperties", len(value)) and all(
            api_server_takes(fields[key] if fields else schema["additionalProperties"], one)
            for key, one in value.items()
        )
    return True


def filled(schema: dict[str, Any]) -> Any:
    """A value in which every field is set, each list and each map with one item."""
    if "additionalProperties" in schema:
        return {"a": filled(schema["additionalProperties"])}
    simple = {"integer": schema.get("minimum", 0), "boolean": True}
    match schema.get("type", "string"):
        case "string":
            return next(one for one in (*schema.get("enum", ()), *EXAMPLES) if api_server_takes(schema, one))
        case "array":
            return [filled(schema["items"])]
        case "object":
            return {name: filled(child) for name, child in schema.get("properties", {}).items()}
        case other:
            return simple[other]


def texts(value: Any, place: Place = ()) -> Iterator[tuple[Place, str]]:
    """Every text of a value and where it stands."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict | list):
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from texts(one, (*place, key))


def maps(schema: dict[str, Any], place: Place = ()) -> Iterator[Place]:
    """Every map of names."""
    if "additionalProperties" in schema:
        yield place
    for name, child in schema.get("properties", {}).items():
        yield from maps(child, (*place, name))
    if "items" in schema:
        yield from maps(schema["items"], (*place, 0))


def odd(text: str) -> Iterator[str]:
    yield ""
    for character in ODD:
        yield from (character, character + text, text + character, f"{text}{character}{text}")
    for length in (*LENGTHS, *(most + 1 for most in LENGTHS)):
        yield text + "a" * (length - len(text))
        yield text + "\U0001f4ec" * (length - len(text))


def with_other(spec: Any, place: Place, text: str, *, key: bool = False) -> Any:
    """A copy with `text` at a place; or as the `key` in the map that stands there."""
    if not place:
        return {text: spec["a"]} if key else text
    changed = copy.copy(spec)
    changed[place[0]] = with_other(spec[place[0]], place[1:], text, key=key)
    return changed


def cases(file: str) -> Iterator[tuple[str, Any]]:
    schema = SCHEMAS[file]
    whole = filled(schema)
    for place, text in texts(whole):
        yield from ((f"{place} is {one[:80]!r}", with_other(whole, place, one)) for one in odd(text))
    for place in maps(schema):
        yield from ((f"{place} has {one[:80]!r}", with_other(whole, place, one, key=True)) for one in odd("a"))


def is_read(model: type[Model], spec: Any) -> bool:
    try:
        model.model_validate(spec, strict=True, by_alias=True, by_name=False)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("file", MODELS)
def test_the_api_server_and_the_models_take_the_same_texts(file: str) -> None:
    """What one of them alone takes is an object that stands there and that nobody can read."""
    schema, model = SCHEMAS[file], MODELS[file]
    assert is_read(model, filled(schema))
    differing = [what for what, spec in cases(file) if api_server_takes(schema, spec) != is_read(model, spec)]
    assert differing == []


@pytest.mark.parametrize("character", [*" \t\v\x00\x85\u00a0\u2003,@%\U0001f4ec"])
def test_a_config_that_the_api_server_takes_is_run_by_or_has_a_condition(character: str) -> None:
    """Whatever stands in its texts: it is rendered, and read back, or a problem says what cannot be."""
    schema = SCHEMAS["mailpushconfigs.yaml"]
    whole = filled(schema)
    taken = [
        spec
        for place, text in texts(whole)
        for spec in (with_other(whole, place, f"{text}{character}"), with_other(whole, place, character))
        if api_server_takes(schema, spec)
    ]
    assert taken
    for spec in taken:
        found = evaluate("main", MailPushConfigSpec.model_validate(spec), ResolvedSecrets(b"key"))
        if found.settings is None:
            assert "SettingsInvalid" in {problem.reason for problem in found.problems}
