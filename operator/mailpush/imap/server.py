"""Where an IMAP server is, how it is reached, and who logs in."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, TypeAlias

Security: TypeAlias = Literal["tls", "starttls", "none"]
LoginKind: TypeAlias = Literal["password", "token", "none"]
TokenMechanism: TypeAlias = Literal["auto", "XOAUTH2", "OAUTHBEARER"]


@dataclass(frozen=True, slots=True)
class ImapServer:
    """An IMAP server.

    `ca_pem`: PEM certificates to trust in place of the system's. `server_name`: the name that the certificate must
    carry, by default `host`. `verify=False` trusts any certificate. `security="none"` sends credentials in clear text.
    """

    host: str
    port: int = 993
    security: Security = "tls"
    ca_pem: str | None = field(default=None, repr=False)
    server_name: str | None = None
    verify: bool = True

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def certified_name(self) -> str:
        """What the certificate must be for."""
        return self.server_name or self.host

    def ssl_context(self) -> ssl.SSLContext:
        """Shared by all servers with the same trust: a context of its own per connection would cost more than the rest.

        Raises:
            ssl.SSLError: `ca_pem` holds no certificate.
        """
        return _context(self.ca_pem, self.verify)


@dataclass(frozen=True, slots=True)
class ImapLogin:
    """Who logs in. A master user logs in for another: `user` and `password` are the master's, `authzid` is the other.

    `master_separator` is for servers without AUTH=PLAIN, where the login is `<authzid><separator><master>`
    (Dovecot's `auth_master_user_separator`).

    Of kind `token`, `password` is an OAuth 2.0 access token: it is sent by `mechanism` and never as a password.
    `origin` stands for what issues it: tokens change by themselves, so refused logins are counted by this.

    Of kind `none` there is nothing to log in with, and nobody does.
    """

    user: str
    password: str = field(repr=False)
    authzid: str | None = None
    master_separator: str = "*"
    kind: LoginKind = "password"
    mechanism: TokenMechanism = "auto"
    origin: int = field(default=0, repr=False)

    @classmethod
    def with_token(cls, user: str, token: str, mechanism: TokenMechanism = "auto", origin: int = 0) -> ImapLogin:
        """For mailbox `user`. `auto` is OAUTHBEARER where the server offers it, else XOAUTH2."""
        return cls(user, token, kind="token", mechanism=mechanism, origin=origin)

    @classmethod
    def without(cls, user: str) -> ImapLogin:
        """For a mailbox that nobody logs in to."""
        return cls(user, "", kind="none")

    @property
    def combined(self) -> str:
        return self.user if self.authzid is None else f"{self.authzid}{self.master_separator}{self.user}"


@lru_cache(maxsize=64)
def _context(ca_pem: str | None, verify: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=ca_pem)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
