"""Property files as Java reads and writes them."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailpush.properties.format import PropertiesError, dump, load
from tests.golden import javaproperties

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
AWKWARD = st.text(" \t\f\r\n\\=:#!u0tnk\u00e9\u2028\U0001f4ec", max_size=30)


@pytest.mark.parametrize(
    ("text", "properties"),
    [
        ("key=value\n", {"key": "value"}),
        ("key:value", {"key": "value"}),
        ("key value", {"key": "value"}),
        ("  key \t=\f value ", {"key": "value "}),
        ("key==value", {"key": "=value"}),
        ("key= : value", {"key": ": value"}),
        ("key", {"key": ""}),
        ("=value", {"": "value"}),
        ("# a comment\n! another\n \t#and one\nkey=#value", {"key": "#value"}),
        ("# no continuation \\\nkey=value", {"key": "value"}),
        ("a=1\rb=2\r\nc=3\n\n\nd=4", {"a": "1", "b": "2", "c": "3", "d": "4"}),
        ("fruits  apple, banana, \\\n   pear, \\\r\n   plum", {"fruits": "apple, banana, pear, plum"}),
        ("a=1\\\n#b=2", {"a": "1#b=2"}),
        ("a=1\\\n\nb=2", {"a": "1", "b": "2"}),
        ("a=C:\\\\\\\\host\\\\\nb=2", {"a": "C:\\\\host\\", "b": "2"}),
        ("a\\ b\\=c\\:d=e", {"a b=c:d": "e"}),
        ("\\#a=1\n\\!b=2", {"#a": "1", "!b": "2"}),
        ("a=\\ \\t\\n\\r\\f\\z\\b\\'", {"a": " \t\n\r\fzb'"}),
        ("a=\\u00e4\\u00C4\\uD83D\\uDCEC!", {"a": "\u00e4\u00c4\U0001f4ec!"}),
        ("a=1\na=2", {"a": "2"}),
        ("a=\\", {"a": ""}),
        ("\\", {}),
        ("\\\n", {}),
        ("a=x\u0085y\u2028z\x0bw", {"a": "x\u0085y\u2028z\x0bw"}),
        ("", {}),
    ],
)
def test_a_file_is_read_as_java_reads_it(text: str, properties: dict[str, str]) -> None:
    assert load(text) == properties
    assert javaproperties.read(text) == properties


@pytest.mark.parametrize("value", ["\\u12", "\\u12g4", "\\u", "\\u 123", "\\u+123", "\\u١٢٣٤"])
def test_a_malformed_unicode_escape_is_refused_with_its_line_and_without_its_content(value: str) -> None:
    with pytest.raises(PropertiesError, match=r"^line 2: \\u needs four hexadecimal digits$") as caught:
        load(f"a=1\nsecret=hunter2{value}\n")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("value", ["\\ud83d", "\\udcec\\ud83d", "\\ud83dx"])
def test_half_a_surrogate_pair_is_refused(value: str) -> None:
    with pytest.raises(PropertiesError, match=r"^line 1: half of a surrogate pair$"):
        load(f"a={value}")


def test_half_a_surrogate_pair_is_not_written() -> None:
    with pytest.raises(PropertiesError, match="surrogate"):
        dump({"a": "\ud83d"})


def test_values_stay_readable_and_keys_unambiguous() -> None:
    properties = {"redis.url": "redis://host:6379/0", "a b=c:d#": " x = #1!", "\u00fc": "\U0001f4ec\\"}
    assert dump(properties, "Two\nlines, \u00fcber") == (
        "# Two\n# lines, \\u00FCber\n"
        "redis.url=redis://host:6379/0\na\\ b\\=c\\:d\\#=\\ x = #1!\n\\u00FC=\\uD83D\\uDCEC\\\\\n"
    )


@given(st.dictionaries(TEXT | AWKWARD, TEXT | AWKWARD, max_size=5), st.none() | TEXT)
@example({"": ""}, None)
@example({"a": "1\\"}, "ends in \\")
@example({"#a": "  "}, "x\ry=z")
def test_what_is_written_reads_back_the_same(properties: dict[str, str], header: str | None) -> None:
    text = dump(properties, header)
    assert re.fullmatch(r"[\n -~]*", text)
    assert load(text) == properties
    assert list(load(text)) == list(properties)
    assert javaproperties.read(text) == properties


@given(AWKWARD)
def test_both_readers_agree_on_any_text(text: str) -> None:
    try:
        properties = load(text)
    except PropertiesError:
        with pytest.raises(ValueError):  # noqa: PT011 - which of the two faults is found first does not matter
            javaproperties.read(text)
    else:
        assert javaproperties.read(text) == properties
