"""How a field of a model is written as a property's text, and read back from it: by the type that the model gives it.

| type in the model | text |
| --- | --- |
| `bool` | `true` or `false` |
| `int`, bounded by `ge` and `le` | a decimal number |
| `Literal` of words | one of the words |
| `str` | as it is, blanks included, unless it stands in `properties`; empty counts as unset |
| `list[str]` | joined by commas |

A field that is None is not written; one that is not there is read as the model's default.
"""

import types
from collections.abc import Iterator
from typing import Any, Final, Literal, NamedTuple, Union, get_args, get_origin

from annotated_types import Ge, Le
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mailpush.properties.lookup import Lookup

BIGGEST: Final = 2_147_483_647
"""Java's, which OX reads these with."""


class Value(NamedTuple):
    """The type of a field, taken apart."""

    base: type
    """bool, int, str or list."""
    words: tuple[str, ...] = ()
    """What a Literal allows."""
    least: int = 0
    most: int = BIGGEST


def value_of(field: FieldInfo) -> Value:
    """
    Raises:
        TypeError: the field's type has no text.
    """
    annotations, words = [], ()
    metadata = list(field.metadata)
    for part in _parts(field.annotation):
        if get_origin(part) is Literal:
            words = get_args(part)
        elif isinstance(part, type) or get_origin(part) is list:
            annotations.append(get_origin(part) or part)
        elif isinstance(part, FieldInfo):
            metadata += part.metadata
    if words:
        return Value(str, words)
    (base,) = annotations or (None,)
    if base not in (bool, int, str, list):
        raise TypeError(f"{field.annotation} cannot be written as a property")
    least = next((int(str(one.ge)) for one in metadata if isinstance(one, Ge)), 0)
    most = next((int(str(one.le)) for one in metadata if isinstance(one, Le)), BIGGEST)
    return Value(base, least=least, most=most)


def boolean(value: bool) -> str:
    """As a property file has it."""
    return "true" if value else "false"


def written(value: Any) -> str | None:
    """The text of a field's value; None where the property is left out."""
    if value is None:
        return None
    if isinstance(value, bool):
        return boolean(value)
    return ", ".join(value) if isinstance(value, list) else str(value)


def read_value(lookup: Lookup, key: str, field: FieldInfo, *, default: Any, lenient: bool = False) -> Any:
    """The value of a property, as the field has it.

    Args:
        default: where the property is not there.
        lenient: OX takes a word that it does not know as `none`.
    """
    value = value_of(field)
    if value.words:
        if lenient:
            word = lookup.text(key)
            return default if not word else word if word in value.words else "none"
        return lookup.choice(key, default, value.words)
    if value.base is bool:
        return lookup.boolean(key, default)
    if value.base is int:
        return lookup.integer(key, default, value.least, value.most)
    if value.base is list:
        return list(lookup.names(key, default))
    return lookup.as_given(key) or default


def attribute_of(model: type[BaseModel], alias: str) -> str:
    """The attribute behind a field's name in Kubernetes."""
    return next(name for name, field in model.model_fields.items() if field.alias == alias)


def _parts(annotation: Any) -> Iterator[Any]:
    """What stands in `Annotated[...] | None`, each by itself."""
    origin = get_origin(annotation)
    if origin is Union or origin is types.UnionType:
        for part in get_args(annotation):
            if part is not type(None):
                yield from _parts(part)
    elif hasattr(annotation, "__metadata__"):
        yield from _parts(get_args(annotation)[0])
        yield from annotation.__metadata__
    else:
        yield annotation
