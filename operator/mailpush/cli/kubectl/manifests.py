"""Objects of files and clusters as our models, or a sentence that says what is wrong with them."""

import base64
import binascii
import difflib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml
from pydantic import ValidationError

from mailpush import names
from mailpush.api.mailpushconfig import MailPushConfigSpec
from mailpush.api.meta import Model
from mailpush.api.pushuser import PushUserSpec
from mailpush.api.rules import broken
from mailpush.cli.yamlfiles import load_all

Object = dict[str, Any]
M = TypeVar("M", bound=Model)

_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_QUOTED: Final = "is no text: put it in quotes"
_SENTENCES: Final = {
    "string_type": _QUOTED,
    "bool_type": "must be true or false, without quotes",
    "int_type": "must be a number without quotes",
    "dict_type": "must be a map",
    "model_type": "must be a map",
    "model_attributes_type": "must be a map",
    "list_type": "must be a list",
    "missing": "is missing",
    "string_unicode": "holds half of a surrogate pair, which is no text",
}


_FIELDS: Final = ("apiVersion", "kind", "metadata", "spec", "status")
_FIELDS_OF_SECRETS: Final = ("apiVersion", "kind", "metadata", "data", "stringData", "type", "immutable")
_METADATA: Final = (
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
)


class Trouble(Exception):  # noqa: N818 - it reads as what it is
    """The question cannot be answered; the text says why and what to do."""


def documents(file: Path) -> list[Object]:
    """The objects of a YAML file (`-`: standard input), those of a List one by one.

    Raises:
        Trouble: it cannot be read; the sentence never shows its text.
    """
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
        loaded = load_all(text)
    except OSError as error:
        raise Trouble(f"{file} cannot be read: {error.strerror or type(error).__name__}") from None
    except UnicodeDecodeError:
        raise Trouble(f"{file} is no text in UTF-8") from None
    except RecursionError:
        raise Trouble(f"{file} is nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:
        # Without the text around the place, which may be a Secret's.
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark is not None else ""
        raise Trouble(f"{file} is no YAML{where}") from None
    flat: list[Object] = []
    for document in loaded:
        if not isinstance(document, dict):
            continue
        if document.get("kind") != "List":
            flat.append(document)
            continue
        items = document.get("items") or []
        if not isinstance(items, list):
            raise Trouble(f"{file} has a List whose items are no list")
        flat += [item for item in items if isinstance(item, dict)]
    return flat


def name_of(document: Mapping[str, Any]) -> str:
    """Name of an object. Raises Trouble where it has none, or one that no object can have."""
    kind = document.get("kind")
    name = mapping(document, "metadata", f"a {kind}").get("name")
    if name is None or name == "":
        raise Trouble(f"a {kind} needs metadata.name")
    if not isinstance(name, str):
        raise Trouble(f"a {kind}: metadata.name {_QUOTED}")
    if len(name) > 253 or not _NAME.fullmatch(name):
        raise Trouble(
            f"a {kind}: metadata.name {name!r} must be of lower case letters, digits, dots and dashes, and begin and "
            "end with a letter or digit"
        )
    return name


def namespace_of(document: Mapping[str, Any]) -> str | None:
    """Its namespace; None where it names none. Raises Trouble where that is no text."""
    kind = document.get("kind")
    namespace = mapping(document, "metadata", f"a {kind}").get("namespace")
    if namespace is not None and not isinstance(namespace, str):
        raise Trouble(f"a {kind}: metadata.namespace {_QUOTED}")
    return namespace


def mapping(document: Mapping[str, Any], field: str, whose: str) -> Mapping[str, Any]:
    """A field that is a map or left out. Raises Trouble where it is something else."""
    value = document.get(field)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise Trouble(f"{whose}: {field} must be a map")
    return value


def config_spec(document: Mapping[str, Any], *, of_file: bool) -> MailPushConfigSpec:
    """
    Args:
        of_file: whether no API server has seen it, so that its rules have to be looked at here.

    Raises:
        Trouble: what the API server would refuse; each field with what is wrong.
    """
    spec = _spec(MailPushConfigSpec, "MailPushConfig", document, of_file)
    mapping(document["metadata"], "annotations", f"MailPushConfig {name_of(document)}: metadata")
    return spec


def user_spec(document: Mapping[str, Any], *, of_file: bool) -> PushUserSpec:
    """As `config_spec`, of a PushUser."""
    return _spec(PushUserSpec, "PushUser", document, of_file)


def _spec(model: type[M], kind: str, document: Mapping[str, Any], of_file: bool) -> M:
    name = name_of(document)
    whose = f"{kind} {name}"
    if of_file:
        _look_around(document, whose, names.API_VERSION, _FIELDS)
        if document.get("spec") is None:
            raise Trouble(f"{whose}: spec is missing")
    given = _without_nulls(document.get("spec"))
    try:
        # Strict and by the names of Kubernetes alone: "true" in quotes is no boolean there either.
        spec = model.model_validate({} if given is None else given, strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        raise Trouble(f"{whose}: {'; '.join(_faults(error, model))}") from None
    if of_file:
        full = {"metadata": {"name": name}, "spec": spec.model_dump(mode="json", by_alias=True, exclude_none=True)}
        if found := broken(kind, full):
            raise Trouble(f"{whose}: {'; '.join(found)}")
    return spec


def _look_around(document: Mapping[str, Any], whose: str, api_version: str, fields: Sequence[str]) -> None:
    """Raises Trouble for what kubectl or the API server refuses beside the spec."""
    given = document.get("apiVersion")
    if given is None:
        raise Trouble(f"{whose}: apiVersion is missing; it is {api_version}")
    if given != api_version:
        raise Trouble(f'{whose}: apiVersion is "{given}"; allowed is {api_version}')
    metadata = mapping(document, "metadata", whose)
    for path, known, there in (("", fields, document), ("metadata.", _METADATA, metadata)):
        for field in there:
            if field not in known:
                raise Trouble(f"{whose}: {path}{field}: {_unknown(field, known)}")
    for field in ("annotations", "labels"):
        for key, value in mapping(metadata, field, f"{whose}: metadata").items():
            if value is not None and not isinstance(value, str):
                raise Trouble(f"{whose}: metadata.{field}.{key}: {_QUOTED}")


def _unknown(field: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(field, known, n=1)
    return "there is no such field" + (f"; near it: {near[0]}" if near else "")


def _without_nulls(value: Any) -> Any:
    """The API server takes what is null in a map for what is not there; not so in a list."""
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    return {key: _without_nulls(one) for key, one in value.items() if one is not None}


def _faults(error: ValidationError, model: type[Model]) -> Iterator[str]:
    for fault in error.errors(include_url=False):
        yield f"{_path(fault['loc'])}: {_sentence(fault, model)}" if fault["loc"] else f"spec {_sentence(fault, model)}"


def _path(places: Sequence[int | str]) -> str:
    return "spec" + "".join(f"[{place}]" if isinstance(place, int) else f".{place}" for place in places)


def _sentence(fault: Any, model: type[Model]) -> str:
    """What is wrong with one field. Its value only where that cannot be a secret: a word out of a list, a number."""
    kind, value = fault["type"], fault["input"]
    if kind == "extra_forbidden":
        return _unknown(str(fault["loc"][-1]), _fields_at(model, fault["loc"][:-1]))
    if kind == "literal_error":
        words = " (on, off, yes and no without quotes mean true and false in YAML)" if isinstance(value, bool) else ""
        shown = str(value).lower() if isinstance(value, bool) else value
        return f'is "{shown}"; allowed is {fault["ctx"]["expected"]}{words}'
    if kind in _SENTENCES:
        return _SENTENCES[kind]
    given = f"is {value}; " if isinstance(value, int | float) else ""
    return f"{given}{fault['msg'][:1].lower()}{fault['msg'][1:]}"


def _fields_at(model: type[Model], places: Sequence[int | str]) -> list[str]:
    schema = model.model_json_schema(by_alias=True)
    definitions = schema.get("$defs", {})

    def resolved(node: Any) -> Any:
        while True:
            choices = [choice for choice in node.get("anyOf", ()) if choice.get("type") != "null"]
            if "$ref" in node:
                node = definitions[node["$ref"].removeprefix("#/$defs/")]
            elif len(choices) == 1:
                node = choices[0]
            else:
                return node

    node = resolved(schema)
    for place in places:
        child = node.get("items") if isinstance(place, int) else node.get("properties", {}).get(place)
        if child is None:
            return []
        node = resolved(child)
    return list(node.get("properties", {}))


def decoded(secret: Mapping[str, Any]) -> Object:
    """A Secret of a file with its `stringData` where the API server would put it. Values stay in it: never print it.

    Raises:
        Trouble: data that the API server would refuse; the text names the key.
    """
    whose = f"Secret {name_of(secret)}"
    _look_around(secret, whose, "v1", _FIELDS_OF_SECRETS)
    data: Object = {}
    for key, value in mapping(secret, "data", whose).items():
        if not _is_base64(value):
            raise Trouble(f"{whose}: data.{key} is no base64; plain text goes into stringData")
        data[key] = value
    for key, value in mapping(secret, "stringData", whose).items():
        if not isinstance(value, str):
            raise Trouble(f"{whose}: stringData.{key} {_QUOTED}")
        data[key] = base64.b64encode(value.encode()).decode("ascii")
    return {**secret, "data": data}


def _is_base64(value: Any) -> bool:
    try:
        base64.b64decode(re.sub(r"[\r\n]", "", value), validate=True)
    except (binascii.Error, ValueError, TypeError):
        return False
    return True
