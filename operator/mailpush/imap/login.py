"""How to log in, and what a refusal says about the credentials."""

from __future__ import annotations

from enum import Enum
from typing import Final

from mailpush.imap import commands
from mailpush.imap.commands import Command
from mailpush.imap.errors import ImapAuthError, ImapRefused, ImapUnavailable
from mailpush.imap.responses import Status
from mailpush.imap.server import ImapLogin, ImapServer
from mailpush.imap.words import known_code, said


class Way(Enum):
    """A way to log in."""

    PLAIN = "AUTHENTICATE PLAIN"
    LOGIN = "LOGIN"

    def offered(self, capabilities: frozenset[str]) -> bool:
        if self is Way.PLAIN:
            return "AUTH=PLAIN" in capabilities
        return "LOGINDISABLED" not in capabilities  # RFC 3501: it is there unless this says otherwise

    def command(self, login: ImapLogin, capabilities: frozenset[str]) -> Command:
        """Raises ImapAuthError where the credentials cannot be sent this way."""
        try:
            if self is Way.LOGIN:
                return commands.login(login.combined, login.password)
            return commands.authenticate_plain(
                login.user, login.password, login.authzid, initial_response="SASL-IR" in capabilities
            )
        except ValueError:  # its text may show a part of the password
            raise ImapAuthError("the credentials hold a character that IMAP cannot carry") from None


WAYS: Final = (Way.PLAIN, Way.LOGIN)


def ways_to_try(capabilities: frozenset[str], first: Way, refused_before: int) -> list[Way]:
    """Those that the server offers, `first` before the others; of a login that was refused before one, in turn."""
    offered = [way for way in sorted(WAYS, key=lambda way: way is not first) if way.offered(capabilities)]
    return [offered[refused_before % len(offered)]] if offered and refused_before else offered


# RFC 5530. Nothing else blames the credentials, but for a NO without a code, as older servers say it.
_ABOUT_CREDENTIALS: Final = frozenset({"AUTHENTICATIONFAILED", "AUTHORIZATIONFAILED", "EXPIRED"})
_PASSING: Final = frozenset(
    {"UNAVAILABLE", "LIMIT", "INUSE", "SERVERBUG", "PRIVACYREQUIRED", "CONTACTADMIN", "OVERQUOTA", "THROTTLED"}
)
# These say something of the way, or nothing, so that another way may be let in.
_ABOUT_THE_WAY: Final = frozenset({None, "CANNOT", "CAPABILITY", "CLIENTBUG", "NOPERM", "PARSE"})


def refusal(server: ImapServer, status: Status) -> ImapRefused:
    """What a NO or BAD to a login is: about the credentials, a passing matter, or something else."""
    code = known_code(status)
    if status.kind == "BAD":
        return ImapRefused(f"{server} does not take this way to log in ({said(status)})", code)
    if code in _PASSING:
        return ImapUnavailable(f"{server} takes no login at the moment ({said(status)})", code)
    if code in _ABOUT_CREDENTIALS or code in {None, "CAPABILITY"}:
        return ImapAuthError(f"{server} refused the login ({said(status)})", code)
    return ImapRefused(
        f"{server} refused the login, and does not say that the password is wrong ({said(status)})", code
    )


def another_way_may_help(refused: ImapRefused) -> bool:
    return refused.code in _ABOUT_THE_WAY


def gravest(refused: list[ImapRefused]) -> ImapRefused:
    """The one to report of several: where one blames the credentials, that one."""
    return next((each for each in refused if isinstance(each, ImapAuthError)), refused[-1])
