"""The IMAP conversation without I/O: bytes in, bytes out, and what they mean. One command at a time."""

from __future__ import annotations

from enum import Enum
from typing import Final

from mailpush.imap.commands import Command
from mailpush.imap.errors import ImapProtocolError
from mailpush.imap.parser import Framer
from mailpush.imap.pending import Mailbox, Pending, Reply
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

MAX_REPLY: Final = 8 * 1024 * 1024
"""Bytes from the beginning of a command to that of the next. Our largest answer, 200 headers of 16 KiB, is 3.2 MiB."""
MAX_RESPONSES: Final = 200_000
"""To one command; somebody who empties a large mailbox makes as many in one IDLE."""


class State(Enum):
    GREETING = "greeting"
    NOT_AUTHENTICATED = "not authenticated"
    AUTHENTICATED = "authenticated"
    SELECTED = "selected"


class ImapProtocol:
    """Feed `receive`, send what `outgoing` gives, and look at `greeting`, `reply`, `idling`, `bye` and `grown`.

    Capabilities are empty while unknown: after STARTTLS and a login the old ones no longer hold.
    """

    __slots__ = (
        "_framer",
        "_out",
        "_pending",
        "_received",
        "_responses",
        "_serial",
        "_tls_next",
        "bye",
        "capabilities",
        "greeting",
        "grown",
        "mailbox",
        "reply",
        "state",
    )

    def __init__(self) -> None:
        self._framer = Framer()
        self._out = bytearray()
        self._pending: Pending | None = None
        self._received = 0
        self._responses = 0
        self._serial = 0
        self._tls_next = False
        self.state = State.GREETING
        self.greeting: Status | None = None
        self.bye: Status | None = None
        self.reply: Reply | None = None
        self.capabilities: frozenset[str] = frozenset()
        self.mailbox: Mailbox | None = None
        self.grown = False
        """The selected mailbox has got messages since the last look."""

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

    @property
    def held(self) -> int:
        """Bytes of the server's that are kept just now."""
        return self._framer.held + (self._pending.held if self._pending is not None else 0)

    @property
    def untagged(self) -> str | None:
        """OK, NO or BAD, where the server has said that without a tag since the command began."""
        return self._pending.untagged if self._pending is not None else None

    def start(self, command: Command) -> None:
        """Begin a command. Raises RuntimeError while another one runs or before the greeting."""
        if self._pending is not None or self.greeting is None:
            raise RuntimeError(f"{command.name} cannot start now")
        self._serial += 1
        tag = f"M{self._serial}"
        first, *rest = command.parts
        if command.name in {"LOGIN", "AUTHENTICATE"}:
            self.capabilities = frozenset()  # METADATA, for one, shows only after a login
        self._pending = Pending(tag, command.name, rest, command.asked, command.last_word)
        if command.name in {"SELECT", "EXAMINE"}:
            self._pending.select()
        self._received = self._responses = 0
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

    def take_grown(self) -> bool:
        taken, self.grown = self.grown, False
        return taken

    def receive(self, data: bytes) -> None:
        """Take bytes from the server.

        Raises:
            ImapProtocolError: no IMAP, more than our bounds, or an answer to nothing. The connection is then of no use.
        """
        self._received += len(data)
        if self._received > MAX_REPLY:
            raise ImapProtocolError(f"the server sent more than {MAX_REPLY} bytes to one command")
        self._framer.feed(data)
        while True:
            if self._tls_next and not self._framer.empty:
                # Somebody in between may have put it there, to be taken for what the server says inside TLS.
                raise ImapProtocolError("clear text came behind the answer to STARTTLS; somebody may be in between")
            pieces = self._framer.next()
            if pieces is None:
                return
            self._responses += 1
            if self._responses > MAX_RESPONSES:
                raise ImapProtocolError(f"the server sent more than {MAX_RESPONSES} responses to one command")
            self._handle(parse_response(pieces, self._pending.name if self._pending is not None else None))

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
            self._continue(response)
        elif isinstance(response, Status) and response.tag != "":
            self._finish(response)
        else:
            self._untagged(response)

    def _greet(self, response: Response) -> None:
        if not isinstance(response, Status) or response.tag != "" or response.kind not in {"OK", "PREAUTH", "BYE"}:
            raise ImapProtocolError("the server's first line is no IMAP greeting")
        self.greeting = response
        self.state = State.AUTHENTICATED if response.kind == "PREAUTH" else State.NOT_AUTHENTICATED
        self._untagged(response)

    def _continue(self, challenge: Continuation) -> None:
        pending = self._pending
        if pending is None:
            raise ImapProtocolError("the server asked to go on with nothing")
        if pending.rest:
            self._send(pending.rest.pop(0))
        elif pending.name == "IDLE":
            pending.continued = True  # some say it again
        elif pending.name == "AUTHENTICATE" and not pending.continued:
            pending.continued, pending.challenge = True, challenge.text
            self._send(pending.last_word)
        else:
            raise ImapProtocolError(f"the server asked to go on with a {pending.name} that was complete")

    def _untagged(self, response: Response) -> None:
        match response:
            case Status(kind="BYE"):
                self.bye = response
            case Status():
                self._code(response)
                if self._pending is not None and response.kind != "PREAUTH" and response.code is None:
                    self._pending.untagged = response.kind
            case Capability(names):
                self.capabilities = names
            case Exists(count):
                self._exists(count)
            case Expunge():
                if self.mailbox is not None:
                    self.mailbox.exists = max(0, self.mailbox.exists - 1)
            case Fetch() | Metadata() | MailboxStatus():
                if self._pending is not None:
                    self._pending.collect(response)
            case _:
                pass

    def _exists(self, count: int) -> None:
        if self._pending is not None and self._pending.mailbox is not None:
            self._pending.exists(count)
        elif self.mailbox is not None:
            self.grown |= count > self.mailbox.exists
            self.mailbox.exists = count

    def _code(self, status: Status) -> None:
        selecting = self._pending.mailbox if self._pending is not None else None
        mailbox = selecting or self.mailbox
        match status.code:
            case "CAPABILITY":
                self.capabilities = capability_names(status.arguments)
            case "UIDVALIDITY" if mailbox is not None:
                mailbox.uidvalidity = _number(status.arguments)
            case "UIDNEXT" if mailbox is not None:
                mailbox.uidnext = _number(status.arguments)
            case "CLOSED" if self._pending is not None and selecting is not None:
                self._pending.select()

    def _finish(self, status: Status) -> None:
        pending = self._pending
        if self._was_answered(status.tag):
            return
        ours = pending is not None and status.tag in {None, pending.tag}
        if pending is None or not ours or status.kind not in {"OK", "NO", "BAD"}:
            raise ImapProtocolError("the server answered a command that was not sent")
        if status.kind == "OK" and pending.rest:
            raise ImapProtocolError(f"the server said OK to half a {pending.name}")
        self._code(status)
        if status.kind == "OK":
            self._succeeded(pending)
        elif pending.mailbox is not None:
            self._unselect()
        self._pending = None
        self.reply = pending.reply(status)

    def _was_answered(self, tag: str | None) -> bool:
        """Some servers answer a command twice."""
        answered = self._serial if self._pending is None else self._serial - 1
        number = tag[1:] if tag is not None and tag[:1] == "M" else ""
        return number.isdecimal() and len(number) < 20 and 0 < int(number) <= answered

    def _succeeded(self, pending: Pending) -> None:
        if pending.name in {"LOGIN", "AUTHENTICATE"}:
            self.state = State.AUTHENTICATED
        elif pending.mailbox is not None:
            self.state, self.mailbox, self.grown = State.SELECTED, pending.mailbox, pending.grown
        elif pending.name == "STARTTLS":
            self._tls_next = True

    def _unselect(self) -> None:
        self.mailbox, self.grown = None, False
        if self.state is State.SELECTED:
            self.state = State.AUTHENTICATED


def _number(text: str) -> int | None:
    """UIDVALIDITY and UIDNEXT are numbers of 32 bits above 0; what is none was not said."""
    try:
        number = parse_number(text)
    except ImapProtocolError:
        return None
    return number if 0 < number < 2**32 else None
