"""The commands that we send. A command is its parts: after each part but the last the server must say `+`."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Collection, Container, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from mailpush.imap.mailboxes import encode_mailbox

HEADER_BYTES: Final = 16 * 1024  # of From and Subject together: a giant subject must not end the listener
MAX_TOKEN: Final = 16 * 1024
"""Characters of an access token. Servers take less (login.LONG_TOKEN)."""
INITIAL_LINE_MAX: Final = 8000
"""RFC 9051 section 4: a server takes command lines of 8192 octets; what is longer waits for its `+`."""
_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*\Z")  # RFC 6750: b64token
_QUOTED_MAX: Final = 1000
_NOTHING: Final[frozenset[int | str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Command:
    """`parts` may hold credentials, so they are not in the repr.

    `asked` is what it asks for, and all that is kept of the answer: UIDs (None: any), the entry, or the items.
    `last_word` answers a challenge to an AUTHENTICATE that has said all; `*` cancels it (RFC 3501).
    """

    name: str
    parts: tuple[bytes, ...] = field(repr=False)
    asked: Container[int | str] | None = _NOTHING
    last_word: bytes = b"*"


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

    def build(self, asked: Collection[str] = ()) -> Command:
        return Command(self._name, (*self._parts, self._text), frozenset(asked))


def simple(name: str) -> Command:
    """CAPABILITY, NOOP, STARTTLS, IDLE, LOGOUT."""
    return Command(name, (name.encode("ascii"),))


def identify(name: str, version: str) -> Command:
    """ID (RFC 2971)."""
    builder = _Builder("ID").raw(b' ("name" ').string(name.encode())
    return builder.raw(b' "version" ').string(version.encode()).raw(b")").build()


def login(user: str, password: str) -> Command:
    """Raises ValueError for a NUL in either."""
    return _Builder("LOGIN").raw(b" ").string(user.encode()).raw(b" ").string(password.encode()).build()


def authenticate_plain(user: str, password: str, authzid: str | None, *, initial_response: bool) -> Command:
    """RFC 4616, in one line where the server has SASL-IR (RFC 4959). Raises ValueError for a NUL in any of them."""
    fields = (authzid or "", user, password)
    if any("\0" in text for text in fields):
        raise ValueError("SASL PLAIN cannot carry a NUL character")
    return _authenticate(b"PLAIN", "\0".join(fields), initial_response=initial_response, last_word=b"*")


def authenticate_xoauth2(user: str, token: str, *, initial_response: bool) -> Command:
    """Google's XOAUTH2. The server says what is wrong with a token in a challenge, which an empty line answers.

    Raises:
        ValueError: more than such a message carries, or too long.
    """
    _require_token(user, token)
    message = f"user={user}\1auth=Bearer {token}\1\1"
    return _authenticate(b"XOAUTH2", message, initial_response=initial_response, last_word=b"")


def authenticate_oauthbearer(user: str, token: str, host: str, port: int, *, initial_response: bool) -> Command:
    """RFC 7628, for mailbox `user`. The answer to the server's error is a single 0x01 (section 3.2.3).

    Raises:
        ValueError: as for XOAUTH2.
    """
    _require_token(user, token)
    name = user.replace("=", "=3D").replace(",", "=2C")  # RFC 5801: saslname
    message = f"n,a={name},\1host={host}\1port={port}\1auth=Bearer {token}\1\1"
    return _authenticate(b"OAUTHBEARER", message, initial_response=initial_response, last_word=b64encode(b"\1"))


def _require_token(user: str, token: str) -> None:
    """A 0x01 ends a field of such a message, so one in a name or a token would add fields."""
    if not _TOKEN.match(token) or len(token) > MAX_TOKEN or any(sign in user for sign in "\0\1\r\n"):
        raise ValueError("this is no bearer token (RFC 6750), or no user name")


def _authenticate(mechanism: bytes, message: str, *, initial_response: bool, last_word: bytes) -> Command:
    """In one line where the server has SASL-IR (RFC 4959) and the line is not too long for it."""
    command, encoded = b"AUTHENTICATE " + mechanism, b64encode(message.encode())
    if initial_response and len(command) + len(encoded) < INITIAL_LINE_MAX:
        return Command("AUTHENTICATE", (command + b" " + encoded,), last_word=last_word)
    return Command("AUTHENTICATE", (command, encoded), last_word=last_word)


def select(mailbox: str) -> Command:
    return _Builder("SELECT").raw(b" ").string(encode_mailbox(mailbox)).build()


def examine(mailbox: str) -> Command:
    return _Builder("EXAMINE").raw(b" ").string(encode_mailbox(mailbox)).build()


def status(mailbox: str, items: tuple[str, ...]) -> Command:
    wanted = " ".join(items).encode("ascii")
    builder = _Builder("STATUS").raw(b" ").string(encode_mailbox(mailbox)).raw(b" (" + wanted + b")")
    return builder.build(asked=items)


def get_metadata(entry: str) -> Command:
    """A server annotation (RFC 5464). Dovecot wants the mailbox `""`; DEPTH does not list this kind of entry."""
    builder = _Builder("GETMETADATA").raw(b' "" (').string(entry.encode()).raw(b")")
    return builder.build(asked=(entry.lower(),))


def set_metadata(entry: str, value: bytes | None) -> Command:
    """None removes the entry (NIL)."""
    builder = _Builder("SETMETADATA").raw(b' "" (').string(entry.encode()).raw(b" ")
    return (builder.raw(b"NIL") if value is None else builder.string(value)).raw(b")").build()


def fetch_headers(uids: Collection[int]) -> Command:
    """Flags, date of arrival, From and Subject of these UIDs, without marking them seen."""
    items = b"(UID FLAGS INTERNALDATE BODY.PEEK[HEADER.FIELDS (FROM SUBJECT)]<0.%d>)" % HEADER_BYTES
    return _fetch(_uid_set(uids), items, frozenset(uids))


def fetch_flags(uids: Collection[int]) -> Command:
    return _fetch(_uid_set(uids), b"(UID FLAGS INTERNALDATE)", frozenset(uids))


def fetch_last_uid() -> Command:
    return _fetch(b"*", b"(UID)", None)


def _fetch(uids: bytes, items: bytes, asked: frozenset[int] | None) -> Command:
    return Command("FETCH", (b"UID FETCH " + uids + b" " + items,), asked)


def _uid_set(uids: Iterable[int]) -> bytes:
    """As in `1:3,7`."""
    ordered = sorted(set(uids))
    starts = [ordered[0], *(after for before, after in pairwise(ordered) if after != before + 1)]
    ends = [*(before for before, after in pairwise(ordered) if after != before + 1), ordered[-1]]
    return b",".join(
        (b"%d" % start if start == end else b"%d:%d" % (start, end)) for start, end in zip(starts, ends, strict=True)
    )
