"""The IMAP conversation without I/O: bytes in, bytes out, and what they mean. One command at a time."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from mailpush.imap.commands import Command
from mailpush.imap.errors import ImapProtocolError
from mailpush.imap.parser import Framer
from mailpush.imap.responses import (
    Capability,
    Continuation,
    Exists,
    Expunge,
    Fetch,
    MailboxStatus,
    Metadata,
    Response,
    Status,
    capability_names,
    parse_number,
    parse_response,
)

MAX_UNTAGGED: Final = 20_000  # responses to one command


class State(Enum):
    GREETING = "greeting"
    NOT_AUTHENTICATED = "not authenticated"
    AUTHENTICATED = "authenticated"
    SELECTED = "selected"


@dataclass(slots=True)
class Mailbox:
    """The selected mailbox as the server last reported it."""

    exists: int = 0
    uidvalidity: int | None = None
    uidnext: int | None = None


@dataclass(slots=True)
class Changes:
    """What the server reported unasked about the selected mailbox since the last look."""

    grown: bool = False
    expunged: int = 0
    flags: bool = False

    def __bool__(self) -> bool:
        return self.grown or self.expunged > 0 or self.flags


@dataclass(frozen=True, slots=True)
class Reply:
    """The tagged answer to a command, and the untagged data before it."""

    status: Status
    data: tuple[Response, ...]


@dataclass(slots=True)
class _Pending:
    tag: str
    name: str
    rest: deque[bytes] = field(repr=False)
    data: list[Response] = field(default_factory=list)
    mailbox: Mailbox = field(default_factory=Mailbox)  # being selected
    continued: bool = False


class ImapProtocol:
    """Feed `receive`, send what `outgoing` gives, and look at `greeting`, `reply`, `idling`, `bye` and `changes`.

    Capabilities are empty while unknown: after STARTTLS and a login the old ones no longer hold.
    """

    __slots__ = (
        "_framer",
        "_out",
        "_pending",
        "_serial",
        "_tls_next",
        "bye",
        "capabilities",
        "changes",
        "greeting",
        "mailbox",
        "reply",
        "state",
    )

    def __init__(self) -> None:
        self._framer = Framer()
        self._out = bytearray()
        self._pending: _Pending | None = None
        self._serial = 0
        self._tls_next = False
        self.state = State.GREETING
        self.greeting: Status | None = None
        self.bye: Status | None = None
        self.reply: Reply | None = None
        self.capabilities: frozenset[str] = frozenset()
        self.mailbox: Mailbox | None = None
        self.changes = Changes()

    @property
    def busy(self) -> bool:
        return self._pending is not None

    @property
    def idling(self) -> bool:
        """The server has said `+` to IDLE."""
        return self._pending is not None and self._pending.name == "IDLE" and self._pending.continued

    @property
    def leaving(self) -> bool:
        """LOGOUT was sent, so BYE is expected."""
        return self._pending is not None and self._pending.name == "LOGOUT"

    def start(self, command: Command) -> None:
        """Begin a command. Raises RuntimeError while another one runs or before the greeting."""
        if self._pending is not None or self.greeting is None:
            raise RuntimeError(f"{command.name} cannot start now")
        self._serial += 1
        tag = f"M{self._serial}"
        first, *rest = command.parts
        if command.name in {"LOGIN", "AUTHENTICATE"}:
            self.capabilities = frozenset()  # METADATA, for one, shows only after a login
        self._pending = _Pending(tag, command.name, deque(rest))
        self.reply = None
        self._send(f"{tag} ".encode("ascii") + first)

    def done(self) -> None:
        """End an IDLE."""
        if not self.idling:
            raise RuntimeError("there is no IDLE to end")
        self._send(b"DONE")

    def outgoing(self) -> bytes:
        """What is to be sent now; each byte is given once."""
        out = bytes(self._out)
        self._out.clear()
        return out

    def take_changes(self) -> Changes:
        taken, self.changes = self.changes, Changes()
        return taken

    def receive(self, data: bytes) -> None:
        """Take bytes from the server.

        Raises:
            ImapProtocolError: no IMAP, more than our bounds, or an answer to nothing. The connection is then of no use.
        """
        self._framer.feed(data)
        while True:
            if self._tls_next and not self._framer.empty:
                # Somebody in between may have put it there, to be taken for what the server says inside TLS.
                raise ImapProtocolError("clear text came behind the answer to STARTTLS; somebody may be in between")
            pieces = self._framer.next()
            if pieces is None:
                return
            self._handle(parse_response(pieces))

    def starting_tls(self) -> None:
        """Call after OK to STARTTLS: from here on the bytes come through TLS, and what was said before is forgotten."""
        self._tls_next = False
        self.capabilities = frozenset()

    def _send(self, line: bytes) -> None:
        self._out += line + b"\r\n"

    def _handle(self, response: Response) -> None:
        if self.greeting is None:
            self._greet(response)
        elif isinstance(response, Continuation):
            self._continue()
        elif isinstance(response, Status) and response.tag:
            self._finish(response)
        else:
            self._untagged(response)

    def _greet(self, response: Response) -> None:
        if not isinstance(response, Status) or response.tag or response.kind not in {"OK", "PREAUTH", "BYE"}:
            raise ImapProtocolError("the server's first line is no IMAP greeting")
        self.greeting = response
        self.state = State.AUTHENTICATED if response.kind == "PREAUTH" else State.NOT_AUTHENTICATED
        self._untagged(response)

    def _continue(self) -> None:
        pending = self._pending
        if pending is None:
            raise ImapProtocolError("the server asked to go on with nothing")
        if pending.rest:
            self._send(pending.rest.popleft())
        elif pending.name == "IDLE" and not pending.continued:
            pending.continued = True
        elif pending.name == "AUTHENTICATE" and not pending.continued:
            pending.continued = True
            self._send(b"*")  # RFC 3501: cancels; SASL PLAIN has nothing more to say
        else:
            raise ImapProtocolError(f"the server asked to go on with a {pending.name} that was complete")

    def _untagged(self, response: Response) -> None:
        match response:
            case Status(kind="BYE"):
                self.bye = response
            case Status():
                self._code(response)
            case Capability(names):
                self.capabilities = names
            case Exists(count):
                self._exists(count)
            case Expunge():
                if self.mailbox is not None:
                    self.mailbox.exists = max(0, self.mailbox.exists - 1)
                self.changes.expunged += 1
            case Fetch() if self._pending is None or self._pending.name != "FETCH" or response.header is None:
                self.changes.flags = True
            case Fetch() | Metadata() | MailboxStatus():
                self._collect(response)
            case _:
                pass

    def _collect(self, response: Response) -> None:
        if self._pending is None:
            return
        if len(self._pending.data) >= MAX_UNTAGGED:
            raise ImapProtocolError(f"the server sent more than {MAX_UNTAGGED} responses to one command")
        self._pending.data.append(response)

    def _selecting(self) -> bool:
        return self._pending is not None and self._pending.name in {"SELECT", "EXAMINE"}

    def _exists(self, count: int) -> None:
        if self._pending is not None and self._selecting():
            self._pending.mailbox.exists = count
        elif self.mailbox is not None:
            self.changes.grown |= count > self.mailbox.exists
            self.mailbox.exists = count

    def _code(self, status: Status) -> None:
        mailbox = self._pending.mailbox if self._pending is not None and self._selecting() else self.mailbox
        if status.code == "CAPABILITY":
            self.capabilities = capability_names(status.arguments)
        elif status.code == "UIDVALIDITY" and mailbox is not None:
            mailbox.uidvalidity = parse_number(status.arguments)
        elif status.code == "UIDNEXT" and mailbox is not None:
            mailbox.uidnext = parse_number(status.arguments)

    def _finish(self, status: Status) -> None:
        pending = self._pending
        if pending is None or status.tag != pending.tag or status.kind not in {"OK", "NO", "BAD"}:
            raise ImapProtocolError("the server answered a command that was not sent")
        if status.kind == "OK" and pending.rest:
            raise ImapProtocolError(f"the server said OK to half a {pending.name}")
        if status.kind == "OK":
            self._succeeded(pending)
        elif self._selecting():
            self._unselect()
        self._code(status)
        self._pending = None
        self.reply = Reply(status, tuple(pending.data))

    def _succeeded(self, pending: _Pending) -> None:
        if pending.name in {"LOGIN", "AUTHENTICATE"}:
            self.state = State.AUTHENTICATED
        elif pending.name in {"SELECT", "EXAMINE"}:
            self.state, self.mailbox, self.changes = State.SELECTED, pending.mailbox, Changes()
        elif pending.name == "STARTTLS":
            self._tls_next = True

    def _unselect(self) -> None:
        self.mailbox, self.changes = None, Changes()
        if self.state is State.SELECTED:
            self.state = State.AUTHENTICATED
