"""A second reader of Java property files, written apart from `mailpush.properties.format`.

It follows the prose of `java.util.Properties.load(Reader)` character by character and shares no code and no method with
the reader under test, so that a rule that both get wrong has to be misread twice.
"""

from collections.abc import Iterator

WHITE = {" ", "\t", "\f"}
LETTERS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


def read(text: str) -> dict[str, str]:
    """The properties of `text`. Raises ValueError for a malformed Unicode escape."""
    found: dict[str, str] = {}
    for line in _lines(text):
        key, rest = _key(line)
        found[_plain(key)] = _plain(_without_separator(rest))
    return found


def _lines(text: str) -> Iterator[list[str]]:
    """Logical lines, each as a list of units: a character, or a backslash and the character behind it."""
    position, end = 0, len(text)
    while position < end:
        while position < end and text[position] in WHITE | {"\r", "\n"}:
            position += 1
        if position < end and text[position] in "#!":
            while position < end and text[position] not in "\r\n":
                position += 1
            continue
        units: list[str] = []
        while position < end and text[position] not in "\r\n":
            if text[position] != "\\":
                units.append(text[position])
                position += 1
            elif position + 1 == end:
                position += 1
            elif text[position + 1] in "\r\n":
                position += 3 if text[position + 1 : position + 3] == "\r\n" else 2
                while position < end and text[position] in WHITE:
                    position += 1
                if not units:
                    break  # nothing stands before the continuation, so a new line begins here
            else:
                units.append(text[position : position + 2])
                position += 2
        if units:
            yield units


def _key(line: list[str]) -> tuple[list[str], list[str]]:
    for index, unit in enumerate(line):
        if unit in WHITE or unit in ("=", ":"):
            return line[:index], line[index:]
    return line, []


def _without_separator(rest: list[str]) -> list[str]:
    seen = False
    for index, unit in enumerate(rest):
        if unit in ("=", ":") and not seen:
            seen = True
        elif unit not in WHITE:
            return rest[index:]
    return []


def _plain(units: list[str]) -> str:
    code_units = bytearray()
    position = 0
    while position < len(units):
        unit = units[position]
        position += 1
        if unit == "\\u":
            digits = "".join(units[position : position + 4])
            if len(digits) != 4 or not all(digit in "0123456789abcdefABCDEF" for digit in digits):
                raise ValueError("malformed \\uxxxx")
            code_units += int(digits, 16).to_bytes(2, "big")
            position += 4
        else:
            character = LETTERS.get(unit[1], unit[1]) if len(unit) == 2 else unit
            code_units += character.encode("utf-16-be", "surrogatepass")
    return code_units.decode("utf-16-be", "strict")
