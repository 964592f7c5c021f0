"""Bytes from an IMAP server to values: framing with literals, then tokens. No I/O and no IMAP state here."""

from __future__ import annotations

import re
from typing import Final, TypeAlias

from mailpush.imap.errors import ImapProtocolError

MAX_LINE: Final = 64 * 1024  # bytes of one line; Dovecot's own limit for a client's line is 64 KiB as well
MAX_LITERAL: Final = 256 * 1024  # bytes; we fetch at most 16 KiB of a header
MAX_RESPONSE: Final = 1024 * 1024  # bytes of one response with all its literals
MAX_DEPTH: Final = 32

_LITERAL = re.compile(rb"~?\{(\d{1,10})\+?\}\Z")
# Human text of a status or continuation may end in anything, also in `{5}`: only data responses hold literals.
_DATA_RESPONSE = re.compile(rb"\* (?!(?:OK|NO|BAD|BYE|PREAUTH)\b)", re.IGNORECASE)
_QUOTED = re.compile(rb'"((?:[^"\\\r\n]|\\[^\r\n])*)"')
_ATOM = re.compile(rb'[^\x00-\x20()"\[]+(?:\[[^\]\r\n]*\][^\x00-\x20()"\[]*)?')
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)


class Atom(bytes):
    """A word that was not quoted: a name, number, flag, or `BODY[...]<0>`."""

    __slots__ = ()


Value: TypeAlias = "Atom | bytes | list[Value] | None"


class Framer:
    """Cuts the stream into responses, each a tuple `(text, literal, text, ..., text)`.

    Raises ImapProtocolError where a line, a literal or a whole response is longer than its bound.
    """

    __slots__ = ("_buffer", "_literal", "_pieces", "_scanned", "_size")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._pieces: list[bytes] = []
        self._literal: int | None = None
        self._scanned = 0
        self._size = 0

    @property
    def empty(self) -> bool:
        """Whether nothing is left over: neither bytes nor a half response."""
        return not self._buffer and not self._pieces

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next(self) -> tuple[bytes, ...] | None:
        """The next whole response, or None until more bytes come."""
        while True:
            if self._literal is not None:
                if len(self._buffer) < self._literal:
                    return None
                self._pieces.append(self._take(self._literal))
                self._literal = None
            line = self._line()
            if line is None:
                return None
            first = self._pieces[0] if self._pieces else line
            literal = _LITERAL.search(line) if _DATA_RESPONSE.match(first) else None
            if literal is None:
                pieces = (*self._pieces, line)
                self._pieces, self._size = [], 0
                return pieces
            self._literal = int(literal[1])
            self._size += self._literal
            if self._literal > MAX_LITERAL or self._size > MAX_RESPONSE:
                raise ImapProtocolError(f"the server announced a literal of {self._literal} bytes, more than we take")
            self._pieces.append(line[: literal.start()])

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\n", self._scanned)
        if end > MAX_LINE or (end < 0 and len(self._buffer) > MAX_LINE):
            raise ImapProtocolError(f"the server sent a line of more than {MAX_LINE} bytes")
        if end < 0:
            self._scanned = len(self._buffer)
            return None
        self._size += end
        if self._size > MAX_RESPONSE:
            raise ImapProtocolError(f"the server sent a response of more than {MAX_RESPONSE} bytes")
        return self._take(end + 1)[:-1].removesuffix(b"\r")

    def _take(self, size: int) -> bytes:
        taken = bytes(memoryview(self._buffer)[:size])
        if size == len(self._buffer):
            self._buffer = bytearray()  # gives the memory back: an idle connection holds an empty buffer
        else:
            del self._buffer[:size]
        self._scanned = 0
        return taken


def parse_values(pieces: tuple[bytes, ...]) -> list[Value]:
    """The values of a framed response: atoms, strings, parenthesised lists, NIL as None.

    Raises:
        ImapProtocolError: unbalanced or too deep parentheses, an open quote, or a control character.
    """
    stack: list[list[Value]] = [[]]
    for index, piece in enumerate(pieces):
        if index % 2:
            stack[-1].append(piece)
        else:
            _parse_text(piece, stack)
    if len(stack) != 1:
        raise ImapProtocolError("the server sent an open parenthesis without its end")
    return stack[0]


def _parse_text(text: bytes, stack: list[list[Value]]) -> None:
    position = 0
    while position < len(text):
        char = text[position : position + 1]
        if char == b" ":
            position += 1
        elif char == b"(":
            if len(stack) >= MAX_DEPTH:
                raise ImapProtocolError(f"the server nested parentheses deeper than {MAX_DEPTH}")
            inner: list[Value] = []
            stack[-1].append(inner)
            stack.append(inner)
            position += 1
        elif char == b")":
            if len(stack) == 1:
                raise ImapProtocolError("the server closed a parenthesis that was not open")
            stack.pop()
            position += 1
        elif match := (_QUOTED if char == b'"' else _ATOM).match(text, position):
            stack[-1].append(_ESCAPE.sub(rb"\1", match[1]) if char == b'"' else _atom(match[0]))
            position = match.end()
        else:
            raise ImapProtocolError("the server sent a character that IMAP does not allow there")


def _atom(word: bytes) -> Atom | None:
    return None if word.upper() == b"NIL" else Atom(word)
