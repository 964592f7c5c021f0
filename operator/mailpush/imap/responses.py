"""One framed response to a typed value: the part of IMAP4rev1, METADATA and STATUS that we read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, TypeAlias

from mailpush.imap.errors import ImapProtocolError
from mailpush.imap.mailboxes import decode_mailbox
from mailpush.imap.parser import Atom, Value, parse_values

MAX_NUMBER: Final = 2**63 - 1

_STATUS = re.compile(rb"(\S+) (OK|NO|BAD|BYE|PREAUTH)(?: (.*))?\Z", re.IGNORECASE | re.DOTALL)
_CODE = re.compile(r"\[([A-Za-z0-9.\-]{1,64})(?: ([^\]]*))?\] ?(.*)\Z", re.DOTALL)
_NUMBERED = re.compile(rb"\* (\d{1,10}) ([A-Za-z]+)")
_TAG = re.compile(rb"[A-Za-z0-9.]{1,64}\Z")


@dataclass(frozen=True, slots=True)
class Status:
    """OK, NO, BAD, BYE or PREAUTH; `tag` is empty for an untagged one. `code` and `kind` are in capitals."""

    tag: str
    kind: str
    code: str | None
    arguments: str
    text: str


@dataclass(frozen=True, slots=True)
class Continuation:
    text: str


@dataclass(frozen=True, slots=True)
class Capability:
    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class Exists:
    count: int


@dataclass(frozen=True, slots=True)
class Expunge:
    sequence: int


@dataclass(frozen=True, slots=True)
class Fetch:
    """A message's data. `header` holds the raw header fields that were asked for; what did not come is None."""

    sequence: int
    uid: int | None
    flags: frozenset[str] | None
    header: bytes | None


@dataclass(frozen=True, slots=True)
class Metadata:
    """Annotations of a mailbox (`""` is the server); entry names in lower case, None is NIL."""

    mailbox: str
    entries: dict[str, bytes | None]


@dataclass(frozen=True, slots=True)
class MailboxStatus:
    mailbox: str
    items: dict[str, int]


@dataclass(frozen=True, slots=True)
class Other:
    """Untagged data that we do not use."""

    name: str


Response: TypeAlias = Status | Continuation | Capability | Exists | Expunge | Fetch | Metadata | MailboxStatus | Other


def parse_response(pieces: tuple[bytes, ...]) -> Response:
    """The typed value of one framed response.

    Raises:
        ImapProtocolError: neither tagged, untagged nor a continuation, or data that breaks its own grammar.
    """
    line = pieces[0]
    if line[:1] == b"+":
        return Continuation(_text(line[1:].removeprefix(b" ")))
    if match := _STATUS.match(line):
        return _status(match[1], match[2], match[3] or b"")
    if not line.startswith(b"* "):
        raise ImapProtocolError("the server sent a line that is no IMAP response")
    return _untagged(line, pieces)


def capability_names(text: str) -> frozenset[str]:
    return frozenset(text.upper().split())


def parse_number(value: Value | str) -> int:
    """A number of IMAP. Raises ImapProtocolError for anything else."""
    text = value if isinstance(value, str) else value.decode("latin-1") if isinstance(value, Atom) else ""
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= MAX_NUMBER):
        raise ImapProtocolError("the server sent something else where IMAP wants a number")
    return int(text)


def _untagged(line: bytes, pieces: tuple[bytes, ...]) -> Response:
    if numbered := _NUMBERED.match(line):
        return _numbered(int(numbered[1]), numbered[2].upper(), pieces)
    name = line[2:].split(b" ", 1)[0].upper()
    if name == b"CAPABILITY":
        return Capability(capability_names(_text(line[2 + len(name) :])))
    if name == b"METADATA":
        return _metadata(parse_values(pieces))
    if name == b"STATUS":
        return _mailbox_status(parse_values(pieces))
    return Other(_text(name[:64]))


def _status(tag: bytes, kind: bytes, rest: bytes) -> Status:
    if tag != b"*" and not _TAG.match(tag):
        raise ImapProtocolError("the server sent a tag that is none")
    text = _text(rest)
    code = _CODE.match(text)
    return Status(
        tag="" if tag == b"*" else tag.decode("ascii"),
        kind=kind.decode("ascii").upper(),
        code=code[1].upper() if code else None,
        arguments=(code[2] or "") if code else "",
        text=code[3] if code else text,
    )


def _numbered(number: int, name: bytes, pieces: tuple[bytes, ...]) -> Response:
    if name == b"EXISTS":
        return Exists(number)
    if name == b"EXPUNGE":
        return Expunge(number)
    if name == b"FETCH":
        return _fetch(number, parse_values(pieces)[3:])
    return Other(_text(name[:64]))


def _fetch(sequence: int, values: list[Value]) -> Fetch:
    if len(values) != 1 or not isinstance(values[0], list):
        raise ImapProtocolError("the server sent a FETCH without its list")
    uid: int | None = None
    flags: frozenset[str] | None = None
    header: bytes | None = None
    for name, value in _pairs(values[0]):
        if name == "UID":
            uid = parse_number(value)
        elif name == "FLAGS" and isinstance(value, list):
            flags = frozenset(flag.decode("utf-8", "replace") for flag in value if isinstance(flag, bytes))
        elif name.startswith("BODY[HEADER") and isinstance(value, bytes):
            header = bytes(value)
    return Fetch(sequence, uid, flags, header)


def _metadata(values: list[Value]) -> Response:
    if len(values) != 4 or not isinstance(values[3], list):
        return Other("METADATA")  # RFC 5464: an unsolicited one lists names only
    entries: dict[str, bytes | None] = {}
    for name, value in _pairs(values[3]):
        if isinstance(value, list):
            raise ImapProtocolError("the server sent a list as the value of a METADATA entry")
        entries[name.lower()] = None if value is None else bytes(value)
    return Metadata(_mailbox(values[2]), entries)


def _mailbox_status(values: list[Value]) -> MailboxStatus:
    if len(values) != 4 or not isinstance(values[3], list):
        raise ImapProtocolError("the server sent a STATUS without its list")
    return MailboxStatus(_mailbox(values[2]), {name: parse_number(value) for name, value in _pairs(values[3])})


def _pairs(values: list[Value]) -> list[tuple[str, Value]]:
    names, rest = values[::2], values[1::2]
    if len(names) != len(rest):
        raise ImapProtocolError("the server sent a name without its value")
    pairs: list[tuple[str, Value]] = []
    for name, value in zip(names, rest, strict=True):
        if not isinstance(name, bytes):
            raise ImapProtocolError("the server sent a list where IMAP wants a name")
        pairs.append((name.decode("utf-8", "replace").upper(), value))
    return pairs


def _mailbox(value: Value) -> str:
    if value is None or isinstance(value, list):
        raise ImapProtocolError("the server sent no mailbox name where IMAP wants one")
    return decode_mailbox(bytes(value))


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
