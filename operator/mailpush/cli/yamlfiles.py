"""YAML and JSON as kubectl and Helm read them, whose parser (go-yaml 2) takes other words than PyYAML's.

`y` is true, a date is a text, `12:30` is one as well, `4.0` is the number 4, every key is a text, and half of a
surrogate pair is a fault. Measured with kubectl 1.32; tests/unit/cli/test_yamlfiles.py has the table.
"""

import base64
import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import yaml
from yaml.constructor import ConstructorError

_TAG: Final = "tag:yaml.org,2002:"
_TRUE: Final = frozenset(["y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"])
_FALSE: Final = frozenset(["n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"])
_NULL: Final = frozenset(("", "~", "null", "Null", "NULL"))
_NO_JSON: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_INTEGER: Final = re.compile(r"([-+]?)(?:(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO][0-7]+|[1-9][0-9]*|0)|(0[0-7]+))")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_LONGEST_INTEGER: Final = 70
"""64 digits of a binary number, its sign and its prefix."""
_WRITTEN_OUT: Final = 1e21
"""Go writes a number below as an integer into JSON where it is one."""
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def load_all(text: str) -> list[Any]:
    """The documents of a file: what begins with a brace is JSON where it can be, everything else YAML.

    Raises:
        yaml.YAMLError: it is neither; with `problem_mark` where the place is known.
        ValueError: a number or a date that nothing can be made of. RecursionError: it is nested too deeply.
    """
    if text.lstrip().startswith("{"):
        try:
            return list(_json_documents(text))
        except json.JSONDecodeError:
            pass
    return list(yaml.load_all(text, Loader=_Loader))


def _json_documents(text: str) -> Iterator[Any]:
    decoder = json.JSONDecoder(parse_float=lambda number: _plain_number(float(number)), parse_constant=_refuse)
    rest = text.strip()
    while rest:
        document, end = decoder.raw_decode(rest)
        yield _whole(document)
        rest = rest[end:].lstrip()


def _refuse(word: str) -> Any:
    raise json.JSONDecodeError(f"{word} is no JSON", word, 0)


def _whole(value: Any) -> Any:
    """With U+FFFD in place of half a surrogate pair, as Go's decoder."""
    if isinstance(value, str):
        if not _SURROGATE.search(value):
            return value
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, list):
        return [_whole(one) for one in value]
    return {_whole(key): _whole(one) for key, one in value.items()} if isinstance(value, Mapping) else value


def _plain_number(number: float) -> int | float:
    return int(number) if abs(number) < _WRITTEN_OUT and number == int(number) else number


def _number(text: str) -> int | float | None:
    """None where it is a text."""
    if text[:1] == ".":
        plain = text
    elif text[:1].isascii() and text[:1] in "+-0123456789" and text:
        plain = text.replace("_", "")
    else:
        return None
    found = _INTEGER.fullmatch(plain) if len(plain) <= _LONGEST_INTEGER else None
    if found is not None:
        number = int(found[1] + (found[2] or found[3]), 0 if found[2] else 8)
        if -(2**63) <= number < 2**64:
            return number
    if not _FLOAT.fullmatch(plain):
        return None
    value = float(plain)
    return None if math.isinf(value) else _plain_number(value)


class _Loader(yaml.SafeLoader):
    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        if kind is not yaml.ScalarNode or not implicit[0]:
            return super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]
        if value in _TRUE or value in _FALSE:
            return f"{_TAG}bool"
        if value in _NULL:
            return f"{_TAG}null"
        if value == "<<":
            return f"{_TAG}merge"
        return f"{_TAG}float" if _NO_JSON.fullmatch(value) or _number(value) is not None else f"{_TAG}str"

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        self.flatten_mapping(node)
        return {self._key(key): self.construct_object(value, deep=deep) for key, value in node.value}

    def _key(self, node: yaml.Node) -> str:
        key = self.construct_object(node, deep=True)
        if isinstance(key, bool):
            return str(key).lower()
        if isinstance(key, str | int | float):
            return str(key)
        raise ConstructorError(None, None, "a key that is no text", node.start_mark)

    def words(self, node: yaml.ScalarNode) -> str:
        text = str(self.construct_scalar(node))
        if _SURROGATE.search(text):
            raise ConstructorError(None, None, "half of a surrogate pair", node.start_mark)
        return text

    def truth(self, node: yaml.ScalarNode) -> bool:
        text = self.words(node)
        if text not in _TRUE and text not in _FALSE:
            raise ConstructorError(None, None, "neither true nor false", node.start_mark)
        return text in _TRUE

    def number(self, node: yaml.ScalarNode) -> int | float:
        number = _number(self.words(node))
        if number is None:
            raise ConstructorError(None, None, "no number that JSON has", node.start_mark)
        return number

    def nothing(self, node: yaml.ScalarNode) -> None:
        if self.words(node) not in _NULL:
            raise ConstructorError(None, None, "not null", node.start_mark)

    def binary(self, node: yaml.ScalarNode) -> str:
        return base64.b64decode(self.words(node)).decode("utf-8", "replace")

    def as_it_is(self, node: yaml.Node) -> Any:
        """Of a tag that says nothing: by the kind of the node."""
        if isinstance(node, yaml.ScalarNode):
            return self.words(node)
        if isinstance(node, yaml.SequenceNode):
            return self.construct_sequence(node, deep=True)
        assert isinstance(node, yaml.MappingNode)  # noqa: S101 - there is no other
        return self.construct_mapping(node, deep=True)


for _tag, _constructor in {
    "str": _Loader.words,
    "timestamp": _Loader.words,
    "bool": _Loader.truth,
    "int": _Loader.number,
    "float": _Loader.number,
    "null": _Loader.nothing,
    "binary": _Loader.binary,
    "set": _Loader.as_it_is,
    "omap": _Loader.as_it_is,
    "pairs": _Loader.as_it_is,
}.items():
    _Loader.add_constructor(f"{_TAG}{_tag}", _constructor)
_Loader.add_constructor(None, _Loader.as_it_is)
