"""The sections of the catalogue: written from a MailPushConfig, and read back from property files."""

import functools
from typing import Any, TypeVar, cast

from mailpush.api.mailpushconfig import MailPushConfigSpec
from mailpush.api.meta import Model
from mailpush.properties.catalog import SECTIONS, plain_settings
from mailpush.properties.lookup import Lookup
from mailpush.properties.values import attribute_of, read_value, written

Properties = dict[str, str]
S = TypeVar("S", bound=Model)


def write_section(spec: MailPushConfigSpec, section: str, packages: frozenset[str]) -> Properties:
    """The properties of a section's plain settings; empty where the spec does not have the section.

    `packages`: those in effect.
    """
    part: Any = functools.reduce(_child, section.split("."), spec)
    properties: Properties = {}
    if part is None:
        return properties
    for setting in plain_settings(section):
        value = getattr(part, _attribute(type(part), setting.field))
        if value is None and setting.package is not None:
            value = setting.package in packages
        if setting.key is not None and (text := written(value)) is not None:
            properties[setting.key] = text
    return properties


def read_section(lookup: Lookup, section: str, model: type[S], packages: frozenset[str]) -> S:
    """The section as a model. What is not there has the model's default, which is OX's.

    `packages`: those in effect. `model`: that of the section.
    """
    if SECTIONS[section] is not model:
        raise TypeError(f"{section} is a {SECTIONS[section].__name__}")
    values: dict[str, Any] = {}
    for setting in plain_settings(section):
        attribute = _attribute(model, setting.field)
        field = model.model_fields[attribute]
        default = setting.package in packages if setting.package is not None else field.get_default()
        if setting.key is not None:
            values[attribute] = read_value(lookup, setting.key, field, default=default, lenient=setting.lenient)
    return cast("S", model.model_construct(**values))


def _attribute(model: type[Model], field: str) -> str:
    return attribute_of(model, field.rpartition(".")[2])


def _child(part: Any, name: str) -> Any:
    return None if part is None else getattr(part, attribute_of(type(part), name))
