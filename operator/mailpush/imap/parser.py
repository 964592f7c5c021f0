"""Bytes from an IMAP server to values: framing with literals, then tokens. No I/O and no IMAP state here."""

from __future__ import annotations

import re
from typing import Final, TypeAlias

from mailpush.imap.errors import ImapProtocolError

MAX_LINE: Final = 64 * 1024  # bytes of one line; Dovecot's own limit for a client's line is 64 KiB as well
MAX_LITERAL: Final = 256 * 1024  # bytes; we fetch at most 16 KiB of a header
MAX_RESPONSE: Final = 512 * 1024  # bytes of one response with all its literals
MAX_DEPTH: Final = 32  # what is nested deeper is left out
_HEAD: Final = 4 * 1024  # bytes kept of a line that is too long: they say what it is
_TAIL: Final = 32  # and of its end, which may announce a literal

_BLANK_LINES = re.compile(rb"[\r\n]+")
_LITERAL = re.compile(rb"~?\{(\d{1,19})\+?\}\Z")
# Human text of a status or continuation may end in anything, also in `{5}`. Only data responses hold literals, and one
# code of a status does (RFC 3501: the charsets of BADCHARSET are astrings).
_DATA_RESPONSE = re.compile(rb"\* (?!(?:OK|NO|BAD|BYE|PREAUTH)\b)", re.IGNORECASE)
_CODE_WITH_STRINGS = re.compile(rb"\S+ (?:OK|NO|BAD) \[BADCHARSET \(", re.IGNORECASE)

_TOKEN = re.compile(
    rb"""
      (?P<blank>\ +)
    | (?P<open>\()
    | (?P<close>\))
    | "(?P<quoted>(?:[^"\\\r\n]|\\[^\r\n])*)"
    | (?P<atom>[^\x00-\x20\x7f()"]+)
    """,
    re.VERBOSE,
)
_SECTION = re.compile(rb"((?:BODY|BINARY)(?:\.PEEK|\.SIZE)?\[[^\] ]*)", re.IGNORECASE)
_SECTION_REST = re.compile(rb'(?:[^\]"]|"(?:[^"\\]|\\.)*")*', re.DOTALL)
_SECTION_END = re.compile(rb"\](?:<\d+>)?")
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)


class Atom(bytes):
    """A word that was not quoted: a name, number, flag, or `BODY[...]`."""

    __slots__ = ()


Value: TypeAlias = "Atom | bytes | list[Value] | None"


class Framer:
    """Cuts the stream into responses, each a tuple `(text, literal, text, ..., text)`. Blank lines are left out.

    Of a response that is longer than the bounds only the beginning is kept. The rest is read and dropped, so that
    whatever a server adds to its answers costs one response and not the connection.
    """

    __slots__ = ("_buffer", "_cut", "_head", "_literal", "_pieces", "_scanned", "_size")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._pieces: list[bytes] = []
        self._head = b""
        """The beginning of a line that is too long, whose end has not come yet."""
        self._literal = 0
        """Bytes of a literal that are still to come."""
        self._cut = False
        """The response is longer than we keep."""
        self._scanned = 0
        self._size = 0

    @property
    def empty(self) -> bool:
        """Whether nothing is left over: neither bytes nor a half response."""
        return not self._buffer and not self._pieces and not self._head

    @property
    def held(self) -> int:
        """Bytes that are kept until a response is whole."""
        return len(self._buffer) + len(self._head) + sum(map(len, self._pieces))

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next(self) -> tuple[bytes, ...] | None:
        """The next whole response, or None until more bytes come."""
        if not self._pieces and not self._head and (blank := _BLANK_LINES.match(self._buffer)):
            self._take(blank.end())
        while True:
            if self._literal and not self._take_literal():
                return None
            line = self._line()
            if line is None:
                return None
            if not line and not self._pieces:
                continue
            first = self._pieces[0] if self._pieces else line
            literal = _LITERAL.search(line) if _holds_literals(first, line) else None
            self._keep(line if literal is None else line[: literal.start()])
            if literal is None:
                whole = tuple(self._pieces[:1] if self._cut else self._pieces)
                self._pieces, self._size, self._cut = [], 0, False
                return whole
            self._literal = int(literal[1])
            self._cut |= self._literal > MAX_LITERAL or self._size + self._literal > MAX_RESPONSE
            if not self._literal:
                self._keep(b"")

    def _take_literal(self) -> bool:
        if self._cut:
            dropped = len(self._take(min(self._literal, len(self._buffer))))
            self._literal -= dropped
            return not self._literal
        if len(self._buffer) < self._literal:
            return False
        self._keep(self._take(self._literal))
        self._literal = 0
        return True

    def _keep(self, piece: bytes) -> None:
        self._size += len(piece)
        self._cut |= self._size > MAX_RESPONSE
        if not self._pieces or not self._cut:
            self._pieces.append(piece)

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\n", self._scanned)
        if end < 0:
            if len(self._buffer) > MAX_LINE:
                self._head = self._head or bytes(self._buffer[:_HEAD])
                del self._buffer[:-_TAIL]
            self._scanned = len(self._buffer)
            return None
        line = self._take(end + 1)[:-1].removesuffix(b"\r")
        if self._head or len(line) > MAX_LINE:
            self._cut = True
            line = (self._head or line[:_HEAD]) + b" " + line[-_TAIL:]
            self._head = b""
        return line

    def _take(self, size: int) -> bytes:
        taken = bytes(memoryview(self._buffer)[:size])
        if size == len(self._buffer):
            self._buffer = bytearray()  # gives the memory back: an idle connection holds an empty buffer
        else:
            del self._buffer[:size]
        self._scanned = 0
        return taken


def _holds_literals(first: bytes, line: bytes) -> bool:
    if _DATA_RESPONSE.match(first):
        return True
    return _CODE_WITH_STRINGS.match(first) is not None and b"]" not in line


def parse_values(pieces: tuple[bytes, ...]) -> list[Value]:
    """The values of a framed response: atoms, strings, parenthesised lists, NIL as None.

    A section (`BODY[HEADER.FIELDS (FROM)]<0>`) stands only for the name of an item of a FETCH, so only there a bracket
    means something: everywhere else it is a character as any other, and may be one of a keyword (RFC 3501).

    Raises:
        ImapProtocolError: unbalanced parentheses, an open quote, or a control character.
    """
    reader = _Reader()
    for index, piece in enumerate(pieces):
        if index % 2:
            reader.literal(piece)
        else:
            reader.text(piece)
    return reader.end()


class _Reader:
    __slots__ = ("_deep", "_section", "_stack")

    def __init__(self) -> None:
        self._stack: list[list[Value]] = [[]]
        self._deep = 0
        """Open parentheses below what is kept."""
        self._section: bytes | None = None
        """The beginning of a section whose end has not come yet."""

    def literal(self, value: bytes) -> None:
        if self._section is None:
            self._add(value)

    def end(self) -> list[Value]:
        if len(self._stack) != 1 or self._deep or self._section is not None:
            raise ImapProtocolError("the server sent an open parenthesis without its end")
        return self._stack[0]

    def text(self, text: bytes) -> None:
        position = self._rest_of_section(text, 0) if self._section is not None else 0
        while position < len(text):
            if self._names_an_item() and (section := _SECTION.match(text, position)):
                self._section = section[1]
                position = self._rest_of_section(text, section.end())
                continue
            token = _TOKEN.match(text, position)
            if token is None:
                raise ImapProtocolError("the server sent a character that IMAP does not allow there")
            position = token.end()
            match token.lastgroup:
                case "open":
                    self._open()
                case "close":
                    self._close()
                case "quoted":
                    self._add(_ESCAPE.sub(rb"\1", token["quoted"]))
                case "atom":
                    self._add(None if token[0].upper() == b"NIL" else Atom(token[0]))

    def _names_an_item(self) -> bool:
        return len(self._stack) == 2 and not self._deep and len(self._stack[1]) % 2 == 0

    def _rest_of_section(self, text: bytes, position: int) -> int:
        """Where the section ends; the end of the text where a literal goes on with it."""
        rest = _SECTION_REST.match(text, position)
        position = rest.end() if rest else position
        end = _SECTION_END.match(text, position)
        if end is None:
            if position < len(text):
                raise ImapProtocolError("the server sent a section without its end")
            return position
        self._add(Atom((self._section or b"") + b"]"))
        self._section = None
        return end.end()

    def _open(self) -> None:
        if self._deep or len(self._stack) >= MAX_DEPTH:
            self._deep += 1
            return
        inner: list[Value] = []
        self._stack[-1].append(inner)
        self._stack.append(inner)

    def _close(self) -> None:
        if self._deep:
            self._deep -= 1
        elif len(self._stack) == 1:
            raise ImapProtocolError("the server closed a parenthesis that was not open")
        else:
            self._stack.pop()

    def _add(self, value: Value) -> None:
        if not self._deep:
            self._stack[-1].append(value)
