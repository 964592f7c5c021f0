"""What an error of a mail server means to a listener: the reason in the PushUser's conditions, and the next try."""

from dataclasses import dataclass
from typing import Final

from mailpush.doveadm.errors import UNREACHABLE as DOVEADM_UNREACHABLE
from mailpush.imap.errors import (
    ImapAuthError,
    ImapCertificateError,
    ImapError,
    ImapProtocolError,
    ImapRefused,
    ImapTlsError,
    ImapTokenError,
    ImapUnavailable,
)
from mailpush.work.pace import Backoff

AUTHENTICATION_FAILED: Final = "AuthenticationFailed"
AUTH_FAILURES_HIGH: Final = "AuthFailuresHigh"
SERVER_UNREACHABLE: Final = "ServerUnreachable"
NOT_SOON: Final = Backoff(300.0, 3600.0)


@dataclass(frozen=True, slots=True)
class Failure:
    """`first` and `longest` are seconds: the first wait, and what it grows to by doubling."""

    reason: str
    message: str
    first: float
    longest: float

    @property
    def passing(self) -> bool:
        """It may well be over at the next try, so one alone is not yet worth a changed status."""
        return self.reason in (SERVER_UNREACHABLE, DOVEADM_UNREACHABLE)


class MechanismError(Exception):
    """The mail server was reached, and cannot do what a mechanism needs; or its doveadm was asked in vain."""

    def __init__(self, reason: str, message: str, pause: Backoff = NOT_SOON) -> None:
        super().__init__(message)
        self.reason = reason
        self.pause = pause


_RIGHT_LOGIN: Final = "; put the right password into the Secret (PUSH-0010)"
_WRONG_TOKEN: Final = (
    "; see the mail server's log, and the client at the authorization server: docs/credentials.md, OAuth (PUSH-0010)"  # noqa: S105
)
_RIGHT_SCOPE: Final = "; set mailAccess.oauth.tokenEndpoint.scope, or add the scope to the client (PUSH-0010)"
_RIGHT_SECURITY: Final = (
    "; see port and security of the server: tls is for a port that begins with TLS, such as 993, starttls for one that "
    "begins in clear text, such as 143"
)
_ADVICE: Final = {
    "AUTHORIZATIONFAILED": (
        "; the password is right, but the server has no such user, or the master user may not log in as this one: see "
        "spec.login and loginSource (PUSH-0010)"
    ),
    "EXPIRED": "; the password has expired: set a new one at the server, and put it into the Secret (PUSH-0010)",
    "PRIVACYREQUIRED": "; set security of the server to starttls or tls",
}
"""By response code (RFC 5530), in place of the advice of the row."""
_RIGHT_AUTHORITY: Final = "; set caSecretRef of the server to its authority, or serverName to the certificate's name"

# The first row that fits counts: subclasses stand above their classes.
_ROWS: Final[tuple[tuple[type[ImapError], str, str, float, float], ...]] = (
    (ImapAuthError, AUTHENTICATION_FAILED, _RIGHT_LOGIN, 60.0, 3600.0),
    (ImapUnavailable, SERVER_UNREACHABLE, "", 2.0, 60.0),
    (ImapRefused, "ServerRefused", "", 10.0, 600.0),
    (ImapCertificateError, "CertificateInvalid", _RIGHT_AUTHORITY, 10.0, 300.0),
    (ImapTlsError, "ProtocolError", _RIGHT_SECURITY, 10.0, 600.0),
    (ImapProtocolError, "ProtocolError", _RIGHT_SECURITY, 10.0, 600.0),
    (ImapError, SERVER_UNREACHABLE, "", 2.0, 60.0),
)


def failure_of(error: ImapError | MechanismError) -> Failure:
    """Total: each error has a row. Texts of ImapErrors hold no credential, so they may stand in a status."""
    if isinstance(error, MechanismError):
        return Failure(error.reason, str(error), error.pause.first, error.pause.longest)
    for kind, reason, advice, first, longest in _ROWS:
        if isinstance(error, kind):
            return Failure(reason, f"{error}{_advice(error, advice)}", first, longest)
    raise AssertionError("ImapError itself is the last row")


def _advice(error: ImapError, of_the_row: str) -> str:
    if isinstance(error, ImapTokenError):
        return _RIGHT_SCOPE if error.scope_missing else _WRONG_TOKEN
    code = error.code if isinstance(error, ImapRefused) else None
    return _ADVICE.get(code or "", of_the_row)
