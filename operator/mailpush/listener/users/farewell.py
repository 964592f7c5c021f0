"""Taking one registration at a mail server away: the way into the mailbox, and what it means that it did not work."""

from dataclasses import dataclass
from typing import Final

from mailpush.api.pushuser import Registration
from mailpush.credentials.tokens import TokenUnavailableError
from mailpush.decision.places import server_of
from mailpush.imap.errors import ImapAuthError, ImapError
from mailpush.imap.server import ImapLogin
from mailpush.kube.errors import KubeError
from mailpush.listener.mechanisms.base import Listener, Mailbox, Mechanism
from mailpush.listener.mechanisms.budget import AuthFailuresHighError
from mailpush.listener.mechanisms.failures import AUTH_FAILURES_HIGH, SERVER_UNREACHABLE, MechanismError, failure_of
from mailpush.listener.users.credentials import UserCredentials
from mailpush.listener.users.mailbox import doveadm_user, imap_server, login_for
from mailpush.listener.users.siblings import OtherPushUsers
from mailpush.listener.users.user import User
from mailpush.properties.settings import Settings
from mailpush.work.pace import Backoff

ERRORS: Final = (
    ImapError,
    MechanismError,
    AuthFailuresHighError,
    TokenUnavailableError,
    KubeError,
    TimeoutError,
)
SOON: Final = Backoff(5.0, 3600.0)
LATER: Final = Backoff(300.0, 3600.0)


@dataclass(frozen=True, slots=True)
class Left:
    """A registration that could not be taken away: the mail server's reason, a sentence, and how long to wait."""

    reason: str
    message: str
    pause: Backoff
    refused: bool = False
    """The login was."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What taking a registration away takes."""

    user: User
    settings: Settings
    known: UserCredentials
    mechanism: Mechanism | None
    siblings: OtherPushUsers

    def is_as(self, other: "Attempt") -> bool:
        """Whether nothing has changed that could make a difference."""
        mine = (self.user.uid, self.user.generation, self.settings, self.known)
        return mine == (other.user.uid, other.user.generation, other.settings, other.known)


def way_in(attempt: Attempt, one: Registration) -> Listener | Left:
    """A listener that never runs: it only takes a registration away."""
    server = server_of(one, attempt.settings)
    if server is None:
        return left_over(one, "ServerUnknown", f'mailAccess.servers has no "{one.server}" any more', LATER)
    known = attempt.known
    # A Secret with a login of its own has the password of that login.
    password = known.password if known.login in (None, one.login) else None
    login = login_for(one.login, attempt.settings, password)
    doveadm = doveadm_user(one.login, attempt.settings)
    if login is not None and not attempt.settings.dovecot.prefer_doveadm_for_metadata:
        doveadm = None
    if (login is None and doveadm is None) or attempt.mechanism is None:
        return left_over(one, "PasswordUnknown", "no password of that mailbox is known any more", LATER)
    spec = attempt.user.spec
    mailbox = Mailbox(
        spec.context_id,
        spec.user_id,
        imap_server(server),
        login or ImapLogin.without(one.login),
        mark_of(one),
        doveadm=doveadm,
    )
    return attempt.mechanism.listener(mailbox, lambda _key, _health: None, lambda _mail: False)


def failed(one: Registration, error: Exception, seconds: float) -> Left:
    """What an error of `ERRORS` means. `seconds`: how long an answer was waited for."""
    if isinstance(error, ImapAuthError):
        return left_over(one, failure_of(error).reason, str(error), LATER, refused=True)
    if isinstance(error, ImapError | MechanismError):
        return left_over(one, failure_of(error).reason, str(error), SOON)
    if isinstance(error, AuthFailuresHighError):
        return left_over(one, AUTH_FAILURES_HIGH, str(error), SOON)
    if isinstance(error, TokenUnavailableError):
        return left_over(one, error.reason, str(error), SOON)
    if isinstance(error, TimeoutError):
        return left_over(one, SERVER_UNREACHABLE, f"no answer within {seconds:g} s", SOON)
    return left_over(one, "NotNoted", str(error), SOON)


def left_over(one: Registration, reason: str, why: str, pause: Backoff, *, refused: bool = False) -> Left:
    message = f'the mailbox of "{one.login}" at server "{one.server}" still calls for this user: {why}'
    return Left(reason, message, pause, refused)


def mark_of(one: Registration) -> str:
    """What its value has behind context and user; empty where it is the plain one."""
    return one.value.partition("#")[2]
