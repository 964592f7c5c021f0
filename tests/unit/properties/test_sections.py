"""The sections of the catalogue: written by the types of the models, and read back to the same."""

from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from mailpush.api.catchup import CatchUp
from mailpush.api.mailaccess import MailAccess
from mailpush.api.mailpushconfig import MailPushConfigSpec
from mailpush.api.mechanisms import Mechanisms
from mailpush.api.meta import Model, Port
from mailpush.properties.catalog import SECTIONS, plain_settings
from mailpush.properties.format import dump
from mailpush.properties.lookup import Lookup
from mailpush.properties.sections import read_section, write_section
from mailpush.properties.values import BIGGEST, Value, attribute_of, value_of

NOTHING: frozenset[str] = frozenset()


class Kinds(Model):
    flag: bool | None = None
    bounded: Annotated[int, Field(ge=3, le=9)] = 3
    open: int = 0
    maybe: Annotated[int, Field(ge=1)] | None = None
    port: Port = 1
    word: Literal["a", "b"] = "a"
    text: Annotated[str, Field(min_length=1)] | None = None
    texts: list[Annotated[str, Field(max_length=3)]] = []  # noqa: RUF012 - pydantic copies it
    nested: dict[str, str] = {}  # noqa: RUF012


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("flag", Value(bool)),
        ("bounded", Value(int, least=3, most=9)),
        ("open", Value(int, least=0, most=BIGGEST)),
        ("maybe", Value(int, least=1, most=BIGGEST)),
        ("port", Value(int, least=1, most=65535)),
        ("word", Value(str, ("a", "b"))),
        ("text", Value(str)),
        ("texts", Value(list)),
    ],
)
def test_the_model_says_how_a_property_is_read(attribute: str, value: Value) -> None:
    assert value_of(Kinds.model_fields[attribute]) == value


def test_a_type_without_a_text_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot be written"):
        value_of(Kinds.model_fields["nested"])


@pytest.mark.parametrize("section", SECTIONS)
def test_every_row_of_a_section_has_a_field_with_a_text(section: str) -> None:
    model = SECTIONS[section]
    rows = plain_settings(section)
    assert rows
    for row in rows:
        assert value_of(model.model_fields[attribute_of(model, row.field.rpartition(".")[2])])


def values_of(model: type[Model], section: str) -> st.SearchStrategy[dict[str, Any]]:
    """Any values of a section's plain fields that have a text of their own."""
    kinds: dict[str, st.SearchStrategy[Any]] = {}
    for row in plain_settings(section):
        attribute = attribute_of(model, row.field.rpartition(".")[2])
        value = value_of(model.model_fields[attribute])
        texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
        kinds[attribute] = {
            bool: st.booleans(),
            int: st.integers(value.least, min(value.most, BIGGEST)),
            str: st.sampled_from(value.words) if value.words else texts,
            list: st.lists(st.from_regex(r"http://[a-z]{1,9}", fullmatch=True), unique=True),
        }[value.base]
    return st.fixed_dictionaries(kinds)


def spec_with(section: str, part: Model) -> MailPushConfigSpec:
    """A spec that has `part` as its `section`."""
    *outer, last = section.split(".")
    within: dict[str, type[Model]] = {"mechanisms": Mechanisms, "mailAccess": MailAccess, "catchUp": CatchUp}
    models: list[type[Model]] = [MailPushConfigSpec, *(within[name] for name in outer)]
    for model, name in zip(reversed(models), reversed([*outer, last]), strict=True):
        content: dict[str, Any] = {attribute_of(model, name): part}
        part = model.model_construct(**content)
    assert isinstance(part, MailPushConfigSpec)
    return part


@pytest.mark.parametrize("section", SECTIONS)
@given(data=st.data())
def test_what_is_written_is_read_back(section: str, data: st.DataObject) -> None:
    model = SECTIONS[section]
    values = data.draw(values_of(model, section))
    written = write_section(spec_with(section, model.model_construct(**values)), section, NOTHING)
    read = read_section(Lookup({"some.properties": dump(written)}), section, model, NOTHING)
    assert {name: getattr(read, name) for name in values} == values


def test_a_section_is_read_as_its_own_model_only() -> None:
    with pytest.raises(TypeError, match=r"mechanisms\.imapidle is a ImapIdleSettings"):
        read_section(Lookup({}), "mechanisms.imapidle", Kinds, NOTHING)
