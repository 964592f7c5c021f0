"""The commands that we send. A command is its parts: after each part but the last the server must say `+`."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from typing import Final

from mailpush.imap.mailboxes import encode_mailbox

HEADER_BYTES: Final = 16 * 1024  # of From and Subject together: a giant subject must not end the listener
_QUOTED_MAX: Final = 1000


@dataclass(frozen=True, slots=True)
class Command:
    """`parts` may hold credentials, so they are not in the repr."""

    name: str
    parts: tuple[bytes, ...] = field(repr=False)


class _Builder:
    """Puts arguments together; one that cannot be quoted becomes a synchronising literal and so a part of its own."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._parts: list[bytes] = []
        self._text = name.encode("ascii")

    def raw(self, text: bytes) -> _Builder:
        self._text += text
        return self

    def string(self, value: bytes) -> _Builder:
        if b"\0" in value:
            raise ValueError("IMAP cannot carry a NUL character in a string")
        if value.isascii() and len(value) <= _QUOTED_MAX and b"\r" not in value and b"\n" not in value:
            self._text += b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
        else:
            self._parts.append(self._text + b"{%d}" % len(value))
            self._text = value
        return self

    def build(self) -> Command:
        return Command(self._name, (*self._parts, self._text))


def simple(name: str) -> Command:
    """CAPABILITY, NOOP, STARTTLS, IDLE, LOGOUT."""
    return Command(name, (name.encode("ascii"),))


def login(user: str, password: str) -> Command:
    """Raises ValueError for a NUL in either."""
    return _Builder("LOGIN").raw(b" ").string(user.encode()).raw(b" ").string(password.encode()).build()


def authenticate_plain(user: str, password: str, authzid: str | None, *, initial_response: bool) -> Command:
    """RFC 4616, in one line where the server has SASL-IR (RFC 4959). Raises ValueError for a NUL in any of them."""
    fields = (authzid or "", user, password)
    if any("\0" in text for text in fields):
        raise ValueError("SASL PLAIN cannot carry a NUL character")
    message = b64encode("\0".join(fields).encode())
    if initial_response:
        return Command("AUTHENTICATE", (b"AUTHENTICATE PLAIN " + message,))
    return Command("AUTHENTICATE", (b"AUTHENTICATE PLAIN", message))


def select(mailbox: str) -> Command:
    return _Builder("SELECT").raw(b" ").string(encode_mailbox(mailbox)).build()


def examine(mailbox: str) -> Command:
    return _Builder("EXAMINE").raw(b" ").string(encode_mailbox(mailbox)).build()


def status(mailbox: str, items: tuple[str, ...]) -> Command:
    wanted = " ".join(items).encode("ascii")
    return _Builder("STATUS").raw(b" ").string(encode_mailbox(mailbox)).raw(b" (" + wanted + b")").build()


def get_metadata(entry: str) -> Command:
    """A server annotation (RFC 5464). Dovecot wants the mailbox `""`; DEPTH does not list this kind of entry."""
    return _Builder("GETMETADATA").raw(b' "" (').string(entry.encode()).raw(b")").build()


def set_metadata(entry: str, value: bytes | None) -> Command:
    """None removes the entry (NIL)."""
    builder = _Builder("SETMETADATA").raw(b' "" (').string(entry.encode()).raw(b" ")
    return (builder.raw(b"NIL") if value is None else builder.string(value)).raw(b")").build()


def fetch_headers(first: int, last: int | None) -> Command:
    """UID, flags, From and Subject of the UIDs `first` to `last` (None: to the end), without marking them seen."""
    uids = f"{first}:{last or '*'}".encode("ascii")
    items = b" (UID FLAGS BODY.PEEK[HEADER.FIELDS (FROM SUBJECT)]<0.%d>)" % HEADER_BYTES
    return Command("FETCH", (b"UID FETCH " + uids + items,))
