"""The text form of Java property files, both ways.

Rules: the class documentation of `java.util.Properties` (`load` and `store`). What is written here is plain ASCII, so
that it reads the same whether a reader takes the file as ISO 8859-1 (as `load(InputStream)` does) or as UTF-8.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

_BLANKS: Final = " \t\f"
_LINE_END: Final = re.compile(r"\r\n|\r|\n")
_TRAILING_BACKSLASHES: Final = re.compile(r"\\*\Z")
_KEY_AND_SEPARATOR: Final = re.compile(r"((?:\\.|[^\\=: \t\f])*)[ \t\f]*[=:]?[ \t\f]*", re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(u([0-9A-Fa-f]{4})?|.)", re.DOTALL)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_READ: Final = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_WRITTEN: Final = {"\t": r"\t", "\n": r"\n", "\r": r"\r", "\f": r"\f", "\\": r"\\"}
_KEY_SPECIALS: Final = frozenset(" =:#!")


_UP_TO_BLANK: Final = "".join(map(chr, range(0x21)))


class PropertiesError(ValueError):
    """A property file that Java would not read. The text names the line, never its content, which may be a secret."""


def trimmed(text: str) -> str:
    """Without what Java's `String.trim` takes off at both ends: U+0000 to U+0020. A no-break space stays."""
    return text.strip(_UP_TO_BLANK)


def load(text: str) -> dict[str, str]:
    """The properties of a file; the last one wins where a key stands twice.

    Raises:
        PropertiesError: a `\\u` without four hexadecimal digits behind it, or half of a surrogate pair (which Java
            would take, and nothing that speaks UTF-8 could pass on).
    """
    properties = {}
    for number, line in _logical_lines(text):
        key_match = _KEY_AND_SEPARATOR.match(line)
        assert key_match is not None  # noqa: S101 - the expression matches the empty text too
        properties[_unescaped(key_match[1], number)] = _unescaped(line[key_match.end() :], number)
    return properties


def dump(properties: Mapping[str, str], header: str | None = None) -> str:
    """A file with the properties in the order given, after `header` as comment lines.

    Values are escaped no more than is needed, for people read these files: `redis://host:6379/0` stays as it is.

    Raises:
        PropertiesError: half of a surrogate pair in a key or value.
    """
    lines = [f"# {_escaped(line)}".rstrip() for line in _LINE_END.split(header)] if header else []
    lines += [f"{_escaped(key, _KEY_SPECIALS)}={_escaped_value(value)}" for key, value in properties.items()]
    return "".join(f"{line}\n" for line in lines)


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines joined over continuations, without blank lines and comments, with the number of their first line."""
    first, joined, continued = 1, "", False
    lines = _LINE_END.split(text)
    for number, natural in enumerate(lines, start=1):
        line = natural.lstrip(_BLANKS)
        if not continued:
            first, joined = number, ""
        if not joined and line.startswith(("#", "!")):
            continued = False
            continue
        continued = _ends_in_odd_backslashes(line)
        joined += line[:-1] if continued else line
        # Java takes a lone backslash at the very end of a file as an empty key. It is nothing here.
        if joined and (not continued or number == len(lines)):
            yield first, joined


def _ends_in_odd_backslashes(line: str) -> bool:
    trailing = _TRAILING_BACKSLASHES.search(line)
    return trailing is not None and len(trailing[0]) % 2 == 1


def _unescaped(text: str, line_number: int) -> str:
    def character(escape: re.Match[str]) -> str:
        if not escape[1].startswith("u"):
            return _READ.get(escape[1], escape[1])
        if escape[2] is None:
            raise PropertiesError(f"line {line_number}: \\u needs four hexadecimal digits")
        return chr(int(escape[2], 16))

    plain = _ESCAPE.sub(character, text)
    if not _SURROGATE.search(plain):
        return plain
    try:
        return plain.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:
        raise PropertiesError(f"line {line_number}: half of a surrogate pair") from None


def _escaped_value(value: str) -> str:
    # Only a blank at the beginning would be lost.
    return f"\\{_escaped(value)}" if value.startswith(" ") else _escaped(value)


def _escaped(text: str, specials: frozenset[str] = frozenset()) -> str:
    return "".join(_escaped_character(character, specials) for character in text)


def _escaped_character(character: str, specials: frozenset[str]) -> str:
    if written := _WRITTEN.get(character):
        return written
    if character in specials:
        return f"\\{character}"
    if " " <= character <= "~":
        return character
    if _SURROGATE.match(character):
        raise PropertiesError("half of a surrogate pair cannot be written to a property file")
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[i]:02X}{units[i + 1]:02X}" for i in range(0, len(units), 2))
