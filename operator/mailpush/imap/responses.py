"""One framed response to a typed value: the part of IMAP4rev1, METADATA and STATUS that we read."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import mktime_tz, parsedate_tz
from functools import lru_cache
from typing import Final, TypeAlias

from mailpush.imap.errors import ImapProtocolError
from mailpush.imap.mailboxes import decode_mailbox
from mailpush.imap.parser import Atom, Value, parse_values

MAX_NUMBER: Final = 2**63 - 1
MAX_CHALLENGE: Final = 8192
"""Bytes of a `+` whose text is read: what a server says of a refused token takes some hundred."""

_STATUS = re.compile(rb"(\S+) (OK|NO|BAD|BYE|PREAUTH)(?: (.*))?\Z", re.IGNORECASE | re.DOTALL)
_STATUS_WITHOUT_TAG = re.compile(rb"(OK|NO|BAD)(?: (.*))?\Z", re.IGNORECASE | re.DOTALL)
_CODE = re.compile(r"\[([A-Za-z0-9.\-]{1,64})(?: ([^\]]*))?\]", re.DOTALL)
_NUMBERED = re.compile(rb"\* (\d{1,10}) ([A-Za-z]+)")
_TAG = re.compile(rb"[A-Za-z0-9.]{1,64}\Z")


@dataclass(frozen=True, slots=True)
class Status:
    """OK, NO, BAD, BYE or PREAUTH. `code` and `kind` are in capitals.

    `tag` is empty for an untagged one, None where the server has left it out. The text is not kept: a server that
    repeats a command in it repeats the credentials.
    """

    tag: str | None
    kind: str
    code: str | None = None
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class Continuation:
    """`+`, and what stands behind it: prose, or a challenge. A server may repeat a credential there."""

    text: bytes = field(default=b"", repr=False, compare=False)


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
    """A message's data; what did not come is None.

    `header` holds the raw header fields that were asked for; it is empty where the server has none to give (NIL).
    `arrived`: seconds since 1970, by the server's clock (INTERNALDATE).
    """

    uid: int
    flags: frozenset[str] | None
    header: bytes | None
    arrived: float | None = None

    def updated(self, later: Fetch) -> Fetch:
        """A server may tell of one message in several responses."""
        return Fetch(
            self.uid,
            self.flags if later.flags is None else later.flags,
            self.header if later.header is None else later.header,
            self.arrived if later.arrived is None else later.arrived,
        )


@dataclass(frozen=True, slots=True)
class Metadata:
    """Annotations of a mailbox (`""` is the server); entry names in lower case, None is NIL."""

    mailbox: str
    entries: dict[str, bytes | None]


@dataclass(frozen=True, slots=True)
class MailboxStatus:
    """Those items that are numbers; names in capitals."""

    items: dict[str, int]


@dataclass(frozen=True, slots=True)
class Other:
    """Untagged data that was not asked for, that we do not use, or that breaks its own grammar."""


Response: TypeAlias = Status | Continuation | Capability | Exists | Expunge | Fetch | Metadata | MailboxStatus | Other


def parse_response(pieces: tuple[bytes, ...], asked: str | None = None) -> Response:
    """The typed value of one framed response.

    `asked` is the command that runs: data that it does not ask for is not even read.

    Raises:
        ImapProtocolError: neither tagged, untagged nor a continuation.
    """
    line = pieces[0]
    if line[:1] == b"+":
        return Continuation(line[1:].strip() if len(line) <= MAX_CHALLENGE else b"")
    if match := _STATUS.match(line):
        return _status(match[1], match[2], match[3] or b"")
    if match := _STATUS_WITHOUT_TAG.match(line):
        return _status(None, match[1], match[2] or b"")
    if not line.startswith(b"* "):
        raise ImapProtocolError("the server sent a line that is no IMAP response")
    try:
        return _untagged(line, pieces, asked)
    except ImapProtocolError:
        return Other()


@lru_cache(maxsize=64)
def capability_names(text: str) -> frozenset[str]:
    """Shared by all connections to servers that say the same: the names of one alone are 4.5 KiB."""
    return frozenset(text.upper().split())


def parse_number(value: Value | str) -> int:
    """A number of IMAP. Raises ImapProtocolError for anything else."""
    text = value if isinstance(value, str) else value.decode("latin-1") if isinstance(value, Atom) else ""
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= MAX_NUMBER):
        raise ImapProtocolError("the server sent something else where IMAP wants a number")
    return int(text)


def _untagged(line: bytes, pieces: tuple[bytes, ...], asked: str | None) -> Response:
    numbered = _NUMBERED.match(line)
    name = numbered[2].upper() if numbered else line[2:].split(b" ", 1)[0].upper()
    match name:
        case b"EXISTS" if numbered:
            return Exists(int(numbered[1]))
        case b"EXPUNGE" if numbered:
            return Expunge(int(numbered[1]))
        case b"CAPABILITY":
            return Capability(capability_names(_text(line[2 + len(name) :])))
    if (name, asked) in _READ:
        return _READ[name, asked](parse_values(pieces))
    return Other()


def _status(tag: bytes | None, kind: bytes, rest: bytes) -> Status:
    if tag is not None and tag != b"*" and not _TAG.match(tag):
        raise ImapProtocolError("the server sent a tag that is none")
    code = _CODE.match(_text(rest))
    return Status(
        tag=None if tag is None else "" if tag == b"*" else tag.decode("ascii").upper(),
        kind=kind.decode("ascii").upper(),
        code=code[1].upper() if code else None,
        arguments=(code[2] or "") if code else "",
    )


def _fetch(values: list[Value]) -> Response:
    if len(values) != 4 or not isinstance(values[3], list):
        raise ImapProtocolError("the server sent a FETCH without its list")
    uid: int | None = None
    flags: frozenset[str] | None = None
    header: bytes | None = None
    arrived: float | None = None
    for name, value in _pairs(values[3]):
        if name == "UID":
            uid = parse_number(value)
        elif name == "FLAGS" and isinstance(value, list):
            flags = frozenset(flag.decode("utf-8", "replace") for flag in value if isinstance(flag, bytes))
        elif name.startswith("BODY[HEADER") and not isinstance(value, list):
            header = bytes(value or b"")
        elif name == "INTERNALDATE" and isinstance(value, bytes):
            arrived = _seconds(value)
    return Other() if uid is None else Fetch(uid, flags, header, arrived)


def _seconds(date: bytes) -> float | None:
    """Of ` 1-Nov-2026 18:42:25 +0100`; None for what is no date."""
    parts = parsedate_tz(date[:64].decode("latin-1"))
    try:
        return None if parts is None else float(mktime_tz(parts))
    except (ValueError, OverflowError):
        return None


def _metadata(values: list[Value]) -> Response:
    if len(values) != 4 or not isinstance(values[3], list):
        return Other()  # RFC 5464: an unsolicited one lists names only
    entries: dict[str, bytes | None] = {}
    for name, value in _pairs(values[3]):
        if not isinstance(value, list):
            entries[name.lower()] = None if value is None else bytes(value)
    return Metadata(_mailbox(values[2]), entries)


def _mailbox_status(values: list[Value]) -> MailboxStatus:
    if len(values) != 4 or not isinstance(values[3], list):
        raise ImapProtocolError("the server sent a STATUS without its list")
    # Extensions have other items: a list (RFC 8474), or NIL (RFC 7889).
    numbers = [(name, value) for name, value in _pairs(values[3]) if isinstance(value, Atom)]
    return MailboxStatus({name: parse_number(value) for name, value in numbers})


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


_READ: Final[dict[tuple[bytes, str | None], Callable[[list[Value]], Response]]] = {
    (b"FETCH", "FETCH"): _fetch,
    (b"METADATA", "GETMETADATA"): _metadata,
    (b"STATUS", "STATUS"): _mailbox_status,
}
"""How data is read, by its name and the command that asks for it."""
