"""What can go wrong with an IMAP server, sorted by what the caller may do about it."""

from __future__ import annotations


class ImapError(Exception):
    """Anything that ended an IMAP conversation or refused a part of it. Texts never hold a credential."""


class ImapConnectionError(ImapError):
    """No connection, no TLS, no answer in time, or the server said BYE: try again later."""


class ImapCertificateError(ImapConnectionError):
    """The server's certificate is not trusted: it stays so until somebody changes a certificate."""


class ImapTlsError(ImapConnectionError):
    """TLS did not come about: the port speaks something else, or no version in common."""


class ImapProtocolError(ImapError):
    """The server sent what is no IMAP, or more than our bounds allow."""


class ImapRefused(ImapError):  # noqa: N818 - it reads as what the server did
    """A tagged NO or BAD. `code` is the response code in capitals (RFC 5530), if there was one; `OTHER` if unknown."""

    def __init__(self, text: str, code: str | None = None) -> None:
        super().__init__(text)
        self.code = code


class ImapUnavailable(ImapRefused):
    """NO to a login for a reason that says nothing about the credentials: UNAVAILABLE, LIMIT, INUSE and the like."""


class ImapAuthError(ImapRefused):
    """NO to a login: the server holds the credentials for wrong. Do not try them again and again."""


class ImapTokenError(ImapAuthError):
    """NO to an OAuth 2.0 access token: it is wrong, has ended, is another user's, or lacks a scope."""

    def __init__(self, text: str, code: str | None = None, *, scope_missing: bool = False) -> None:
        super().__init__(text, code)
        self.scope_missing = scope_missing


class ImapNoMechanism(ImapRefused):
    """The server offers no way to log in with what we have; nothing was sent."""
