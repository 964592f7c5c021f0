"""How to log in, and what a refusal says about the credentials."""

from __future__ import annotations

from enum import Enum
from typing import Final

from mailpush.imap import commands
from mailpush.imap.commands import Command
from mailpush.imap.errors import (
    ImapAuthError,
    ImapConnectionError,
    ImapNoMechanism,
    ImapRefused,
    ImapTokenError,
    ImapUnavailable,
)
from mailpush.imap.pending import Reply
from mailpush.imap.responses import Status
from mailpush.imap.server import ImapLogin, ImapServer
from mailpush.imap.token_errors import TokenProblem, problem_of
from mailpush.imap.words import known_code, said


class Way(Enum):
    """A way to log in."""

    PLAIN = "AUTHENTICATE PLAIN"
    LOGIN = "LOGIN"
    OAUTHBEARER = "AUTHENTICATE OAUTHBEARER"
    XOAUTH2 = "AUTHENTICATE XOAUTH2"

    def offered(self, capabilities: frozenset[str]) -> bool:
        if self is Way.LOGIN:
            return "LOGINDISABLED" not in capabilities  # RFC 3501: it is there unless this says otherwise
        return f"AUTH={self.name}" in capabilities

    def command(self, login: ImapLogin, server: ImapServer, capabilities: frozenset[str]) -> Command:
        """Raises ImapAuthError where the credentials cannot be sent this way."""
        initial = "SASL-IR" in capabilities
        try:
            match self:
                case Way.LOGIN:
                    return commands.login(login.combined, login.password)
                case Way.PLAIN:
                    return commands.authenticate_plain(
                        login.user, login.password, login.authzid, initial_response=initial
                    )
                case Way.XOAUTH2:
                    return commands.authenticate_xoauth2(login.user, login.password, initial_response=initial)
                case Way.OAUTHBEARER:
                    return commands.authenticate_oauthbearer(
                        login.user, login.password, server.host, server.port, initial_response=initial
                    )
        except ValueError:  # its text may show a part of the password
            if login.kind == "token":
                raise ImapTokenError("the token or the user name holds what no bearer token has (RFC 6750)") from None
            raise ImapAuthError("the credentials hold a character that IMAP cannot carry") from None


WAYS: Final = (Way.PLAIN, Way.LOGIN)
"""For passwords."""
TOKEN_WAYS: Final = (Way.OAUTHBEARER, Way.XOAUTH2)
"""For tokens; none of them is ever sent as a password."""
LONG_TOKEN: Final = 5900
"""Characters. Dovecot 2.3.19 and 2.4.1 take 8192 octets of base64: a token of 6005 passed, one of 6405 did not."""


def ways_to_try(capabilities: frozenset[str], login: ImapLogin, first: Way, refused_before: int) -> list[Way]:
    """Those that the server offers, `first` before the others; of a login that was refused before one, in turn.

    For a token those that its mechanism allows, in their own order.
    """
    if login.kind == "token":
        allowed = [way for way in TOKEN_WAYS if login.mechanism in {"auto", way.name}]
        return [way for way in allowed if way.offered(capabilities)]
    offered = [way for way in sorted(WAYS, key=lambda way: way is not first) if way.offered(capabilities)]
    return [offered[refused_before % len(offered)]] if offered and refused_before else offered


def nothing_offered(server: ImapServer, login: ImapLogin, capabilities: frozenset[str]) -> ImapRefused:
    """What to say where `ways_to_try` finds none."""
    # RFC 3501: LOGINDISABLED stands for a connection without TLS, most often.
    code = "PRIVACYREQUIRED" if server.security == "none" else None
    if login.kind == "password":
        return ImapNoMechanism(f"{server} offers neither AUTH=PLAIN nor LOGIN on this connection", code)
    wanted = "neither OAUTHBEARER nor XOAUTH2" if login.mechanism == "auto" else f"no {login.mechanism}"
    there = [name for name in _MECHANISMS if f"AUTH={name}" in capabilities]
    text = f"{server} offers {wanted} on this connection, but {', '.join(there) or 'no SASL mechanism that is known'}"
    return ImapNoMechanism(f"{text}; a token is sent by nothing else: switch the mechanism on at the server", code)


def too_long(login: ImapLogin, error: ImapConnectionError) -> ImapConnectionError:
    """`error`, which ended the login, with what may be the reason: Dovecot closes the connection, without a word."""
    if login.kind == "password" or len(login.password) < LONG_TOKEN:
        return error
    return ImapConnectionError(
        f"{error}; the token has {len(login.password)} characters, and Dovecot takes some 6000: leave claims out of it"
    )


# The names that may stand in a text of ours: a server's own words do not.
_MECHANISMS: Final = (
    "OAUTHBEARER",
    "XOAUTH2",
    "PLAIN",
    "LOGIN",
    "SCRAM-SHA-256-PLUS",
    "SCRAM-SHA-256",
    "SCRAM-SHA-1",
    "CRAM-MD5",
    "DIGEST-MD5",
    "GSSAPI",
    "NTLM",
    "EXTERNAL",
)

# RFC 5530. Nothing else blames the credentials, but for a NO without a code, as older servers say it.
_ABOUT_CREDENTIALS: Final = frozenset({"AUTHENTICATIONFAILED", "AUTHORIZATIONFAILED", "EXPIRED"})
_PASSING: Final = frozenset(
    {"UNAVAILABLE", "LIMIT", "INUSE", "SERVERBUG", "PRIVACYREQUIRED", "CONTACTADMIN", "OVERQUOTA", "THROTTLED"}
)
# These say something of the way, or nothing, so that another way may be let in.
_ABOUT_THE_WAY: Final = frozenset({None, "CANNOT", "CAPABILITY", "CLIENTBUG", "NOPERM", "PARSE"})


def refusal(server: ImapServer, login: ImapLogin, reply: Reply) -> ImapRefused:
    """What a NO or BAD to a login is: about the credentials, a passing matter, or something else."""
    status = reply.status
    if login.kind == "token":
        problem = problem_of(reply.challenge)
        if problem is not None:
            return _token_refusal(server, status, problem)
    code = known_code(status)
    if status.kind == "BAD":
        return ImapRefused(f"{server} does not take this way to log in ({said(status)})", code)
    if code in _PASSING:
        return ImapUnavailable(f"{server} takes no login at the moment ({said(status)})", code)
    if code in _ABOUT_CREDENTIALS or code in {None, "CAPABILITY"}:
        if login.kind == "token":
            return _token_refusal(server, status, TokenProblem.INVALID)
        return ImapAuthError(f"{server} refused the login ({said(status)})", code)
    return ImapRefused(
        f"{server} refused the login, and does not say that the {login.kind} is wrong ({said(status)})", code
    )


def _token_refusal(server: ImapServer, status: Status, problem: TokenProblem) -> ImapRefused:
    code = known_code(status)
    answer = status.kind if code is None else f"{status.kind} [{code}]"  # words.said speaks of passwords
    if problem is TokenProblem.UNAVAILABLE:
        return ImapUnavailable(f"{server} could not check the token ({answer}): {problem.value}", code)
    if problem is TokenProblem.REQUEST:
        return ImapRefused(f"{server} did not read our request ({answer}): {problem.value}", code)
    scope = problem is TokenProblem.SCOPE
    return ImapTokenError(f"{server} refused the token ({answer}): {problem.value}", code, scope_missing=scope)


def another_way_may_help(login: ImapLogin, refused: ImapRefused) -> bool:
    """A refused token is not sent once more: the other mechanism is tried where this one does not work at all."""
    if login.kind == "token":
        return type(refused) is ImapRefused and refused.code in _ABOUT_THE_WAY
    return refused.code in _ABOUT_THE_WAY


def gravest(refused: list[ImapRefused]) -> ImapRefused:
    """The one to report of several: where one blames the credentials, that one."""
    return next((each for each in refused if isinstance(each, ImapAuthError)), refused[-1])
