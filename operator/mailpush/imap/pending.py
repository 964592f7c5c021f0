"""A command under way, and what the server has said to it so far."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field
from typing import Final

from mailpush.imap.responses import Fetch, MailboxStatus, Metadata, Status

MAX_KEPT: Final = 1000
"""Messages of one answer that are kept."""


@dataclass(slots=True)
class Mailbox:
    """The selected mailbox as the server last reported it."""

    exists: int = 0
    uidvalidity: int | None = None
    uidnext: int | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """The tagged answer to a command, and what came before it of that for which the command asked."""

    status: Status
    messages: dict[int, Fetch]
    """By UID."""
    entries: dict[str, bytes | None]
    """Annotations by name in lower case."""
    items: dict[str, int]
    """Of a STATUS, by name in capitals."""
    challenge: bytes = field(default=b"", repr=False)
    """The last one to an AUTHENTICATE that had said all."""


@dataclass(slots=True)
class Pending:
    """Keeps nothing but what was `asked` for (see Command)."""

    tag: str
    name: str
    rest: list[bytes] = field(repr=False)
    asked: Container[int | str] | None = field(repr=False)
    last_word: bytes = field(default=b"", repr=False)
    messages: dict[int, Fetch] = field(default_factory=dict, repr=False)
    entries: dict[str, bytes | None] = field(default_factory=dict, repr=False)
    items: dict[str, int] = field(default_factory=dict, repr=False)
    mailbox: Mailbox | None = None  # being selected
    counted: bool = False
    grown: bool = False
    continued: bool = False
    challenge: bytes = field(default=b"", repr=False)
    untagged: str | None = None
    """The last OK, NO or BAD without a tag: perhaps the answer of a server that leaves tags out."""

    @property
    def held(self) -> int:
        """Bytes of what is kept."""
        headers = sum(len(message.header or b"") for message in self.messages.values())
        return headers + sum(len(value or b"") for value in self.entries.values())

    def collect(self, response: Fetch | Metadata | MailboxStatus) -> None:
        asked = self.asked
        match response:
            case Fetch(uid):
                before = self.messages.get(uid)
                if (asked is None or uid in asked) and (before is not None or len(self.messages) < MAX_KEPT):
                    self.messages[uid] = response if before is None else before.updated(response)
            case Metadata("", entries) if asked is not None:
                self.entries.update((name, value) for name, value in entries.items() if name in asked)
            case MailboxStatus(items) if asked is not None:
                self.items.update((name, number) for name, number in items.items() if name in asked)

    def select(self) -> None:
        """From here on the server speaks of the mailbox that is being selected: at the beginning, or after CLOSED
        (RFC 7162)."""
        self.mailbox, self.counted, self.grown = Mailbox(), False, False

    def exists(self, count: int) -> None:
        if self.mailbox is not None:
            # A second one is of a mail that came meanwhile: UIDNEXT may have been said before it.
            self.grown |= self.counted and count > self.mailbox.exists
            self.mailbox.exists, self.counted = count, True

    def reply(self, status: Status) -> Reply:
        return Reply(status, self.messages, self.entries, self.items, self.challenge)
