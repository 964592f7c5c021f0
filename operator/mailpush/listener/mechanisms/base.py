"""What every mechanism is: one module behind one small protocol."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from mailpush.imap.client import ImapLogin, ImapServer
from mailpush.notifications.notification import NewMail


class State(Enum):
    """What a listener of one user is doing."""

    STARTING = "Starting"
    LISTENING = "Listening"
    # Set up, but its source of new mail gives no answer that would prove it (datagrams without a reply, say).
    UNVERIFIED = "Unverified"
    FAILED = "Failed"  # will be tried again at `retry_at`
    STOPPED = "Stopped"


@dataclass(frozen=True, slots=True)
class Health:
    """State of one user's listener, with the reason as it stands in the PushUser's conditions."""

    state: State
    reason: str
    """A stable CamelCase word: Registered, Idling, AuthenticationFailed, ServerUnreachable, NoMetadata, ..."""
    message: str
    """A sentence that says what is the case and, where it failed, what to do. Never a secret."""
    retry_at: float | None = None
    """Monotonic seconds of the next attempt."""


@dataclass(frozen=True, slots=True)
class DoveadmUser:
    """A mailbox as doveadm names it. `origin` stands for where doveadm is, and its key: another one is noticed."""

    name: str
    origin: int = field(default=0, repr=False)


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One push user as a mechanism sees the user."""

    context_id: int
    user_id: int
    server: ImapServer
    login: ImapLogin = field(repr=False)
    mark: str = ""
    """What tells this mailbox's registration from another of the user's; empty where there is only this one."""
    server_name: str = field(default="", compare=False)
    """As the settings call it; empty where they do not."""
    doveadm: DoveadmUser | None = None
    """By which mechanism `dovecot` registers it; None where it does so by IMAP."""
    proven: bool = field(default=False, compare=False)
    """Whether this very password has worked, in whatever process."""
    refused_for: float = field(default=0.0, compare=False)
    """Seconds since when mail servers have refused it, as far as other processes know; 0 where they have not."""

    @property
    def key(self) -> tuple[int, int]:
        return (self.context_id, self.user_id)


class Listener(Protocol):
    """A running mechanism for one user."""

    @property
    def health(self) -> Health: ...

    @property
    def logged_in_at(self) -> float:
        """When the mail server took the login last, in seconds since 1970; 0 for never."""

    async def start(self) -> None:
        """Begins to listen and returns at once; keeps trying with backoff until stopped."""

    async def stop(self) -> None:
        """Ends listening and returns when it has ended. A registration at the server stays:
        *no longer mine* is not *unregistered*."""

    async def unregister(self) -> None:
        """Ends listening for good: takes the registration at the server away. Raises ImapError where it cannot."""


HealthChanged = Callable[[tuple[int, int], Health], None]
MailArrived = Callable[[NewMail], bool]
"""Takes a new mail; True once it is kept. A mechanism counts no other as announced, and announces it again."""


class Mechanism(Protocol):
    """Makes listeners. One per process and mechanism."""

    name: str

    def listener(
        self, mailbox: Mailbox, on_health: HealthChanged, on_mail: MailArrived, after: Listener | None = None
    ) -> Listener:
        """`after`: the user's listener so far, which has stopped. Where it watched the same, the new one goes on from
        its place, so that no mail falls between them."""
