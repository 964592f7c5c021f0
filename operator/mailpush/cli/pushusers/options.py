"""The command line of `pushusers`, read as Apache Commons CLI reads it, which OX's tool uses.

That is: an option's long name may be shortened as long as it stays unambiguous, one dash is as good as two, a value may
follow after `=` or, behind a short option, at once; and of an option that is given twice the first value counts.
Written after Commons CLI's documentation and behaviour (`DefaultParser`, `HelpFormatter`).
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple


class Option(NamedTuple):
    """One option; `argument` is the name of its value in the help, empty for a flag."""

    short: str
    long: str
    argument: str
    description: str
    ours: bool = False
    """Not of OX: it counts only when spelled in full, so that OX's short forms stay unambiguous."""

    @property
    def key(self) -> str:
        return self.short or self.long


LIST: Final = Option("", "list", "", "List running listeners, which is also the default", ours=True)
STRICT_EXIT: Final = Option("", "strict-exit", "", "Exit with 1 when -r has found nothing to delete", ours=True)
PASSWORD_FILE: Final = Option(
    "", "adminpass-file", "file", "A file with the admin password (-: standard input), instead of -P", ours=True
)
TLS: Final = Option("", "tls", "", "Talk TLS to the server", ours=True)
CA_FILE: Final = Option("", "ca-file", "file", "Certificates to trust, in PEM; implies --tls", ours=True)

OPTIONS: Final = (
    Option("A", "adminuser", "adminUser", "Admin username"),
    Option("c", "context", "contextId", "A valid context identifier"),
    Option("h", "help", "", "Prints this help text"),
    Option("i", "client", "clientId", "The client identifier"),
    Option("l", "list-client-registrations", "", "Flag to list client registrations"),
    Option("p", "port", "rmiPort", "The optional RMI port (default:1099)"),
    Option("P", "adminpass", "adminPassword", "Admin password"),
    Option("r", "unregister", "", "Flag to unregister a push user"),
    Option(
        "",
        "responsetimeout",
        "timeout",
        "The optional response timeout in seconds when reading data from server (default: 0s; infinite)",
    ),
    Option("s", "server", "rmiHost", "The optional RMI server (default: localhost)"),
    Option("u", "user", "userId", "A valid user identifier"),
    LIST,
    STRICT_EXIT,
    PASSWORD_FILE,
    TLS,
    CA_FILE,
)

USAGE: Final = (
    "pushusers [-l | [ -r -c <contextId> -u <userId> -i <client>] ] -A <masterAdmin> -P <masterAdminPassword> "
    "[-p <RMI-Port>] [-s <RMI-Server>] [--responsetimeout <responseTimeout>] | [-h]"
)
FOOTER: Final = "Command-line tool for unregistering and listing push users and client registrations"
MORE: Final = "Not in OX's tool, and to be spelled in full:"
WIDTH: Final = 120

_SHORT: Final = {option.short: option for option in OPTIONS if option.short}
_LONG: Final = {option.long: option for option in OPTIONS}


class ParseError(Exception):
    """A command line that cannot be read; the text is as Commons CLI words it, without any value."""


@dataclass(slots=True)
class CommandLine:
    """What was given: the first value of each option by `Option.key`, an empty one for flags."""

    values: dict[str, str] = field(default_factory=dict, repr=False)

    def has(self, key: str) -> bool:
        return key in self.values

    def get(self, key: str) -> str | None:
        return self.values.get(key)


def parse(arguments: Sequence[str]) -> CommandLine:
    """
    Raises:
        ParseError: an unknown or ambiguous option, or one that lacks its value.
    """
    parser = _Parser()
    for token in arguments:
        parser.take(token)
    parser.end()
    return parser.line


class _Parser:
    def __init__(self) -> None:
        self.line = CommandLine()
        self._waiting: Option | None = None
        """It still needs its value."""
        self._only_arguments = False

    def take(self, token: str) -> None:
        if self._only_arguments:
            return  # the tool has no use for arguments, and passes them over as OX's does
        if self._waiting is not None and token != "--" and not _is_option(token):  # noqa: S105 - no password
            self._value(self._waiting, token)
        elif token == "--":  # noqa: S105 - no password
            self._only_arguments = True
        elif token.startswith("--"):
            self._long(token)
        elif token.startswith("-") and token != "-":  # noqa: S105 - no password
            self._short_or_long(token)

    def end(self) -> None:
        if self._waiting is not None:
            raise ParseError(f"Missing argument for option: {self._waiting.key}")

    def _long(self, token: str) -> None:
        name, equals, value = token.lstrip("-").partition("=")
        option = _long_option(name)
        if option is None or (equals and not option.argument):
            raise _unrecognized(token)
        self._begin(option)
        if equals:
            self._value(option, value)

    def _short_or_long(self, token: str) -> None:
        name, equals, value = token[1:].partition("=")
        if equals and name in _SHORT and _SHORT[name].argument:
            self._begin(_SHORT[name])
            self._value(_SHORT[name], value)
        elif not equals and name in _SHORT:
            self._begin(_SHORT[name])
        elif _matching(name):
            self._long(token)
        elif (option := _long_prefix(token[1:])) is not None:
            self._begin(option)
            self._value(option, token[1 + len(option.long) :])
        else:
            self._concatenated(token)

    def _concatenated(self, token: str) -> None:
        """`-rA oxadmin`, `-Psecret`."""
        for position in range(1, len(token)):
            option = _SHORT.get(token[position])
            if option is None:
                raise _unrecognized(token, position)
            self._begin(option)
            if option.argument and position + 1 < len(token):
                self._value(option, token[position + 1 :])
                return

    def _begin(self, option: Option) -> None:
        self.end()
        if option.argument:
            self._waiting = option
        else:
            self.line.values.setdefault(option.key, "")

    def _value(self, option: Option, value: str) -> None:
        self.line.values.setdefault(option.key, value)
        self._waiting = None


def _matching(name: str) -> list[Option]:
    """The options that a long name may mean."""
    if name in _LONG:
        return [_LONG[name]]
    return [option for option in OPTIONS if not option.ours and name and option.long.startswith(name)]


def _long_option(name: str) -> Option | None:
    found = _matching(name)
    if len(found) > 1:
        choices = ", ".join(f"'{option.long}'" for option in found)
        raise ParseError(f"Ambiguous option: '--{name}'  (could be: {choices})")
    return found[0] if found else None


def _long_prefix(text: str) -> Option | None:
    """`-port1099`: a long name with its value behind it."""
    names = (text[:length] for length in range(len(text) - 1, 1, -1))
    return next((_LONG[name] for name in names if name in _LONG and _LONG[name].argument), None)


def _is_option(token: str) -> bool:
    """Whether it begins an option; another word that begins with a dash may be a value."""
    if not token.startswith("-") or len(token) == 1:
        return False
    name = token.lstrip("-").partition("=")[0]
    if _matching(name):
        return True
    return not token.startswith("--") and (name[:1] in _SHORT or _long_prefix(token[1:]) is not None)


def _unrecognized(token: str, position: int = 1) -> ParseError:
    """`position`: where the letter stands that is unknown. Nothing behind it is printed: that may be a password."""
    return ParseError(
        f"Unrecognized option: {token.partition('=')[0] if token.startswith('--') else token[: position + 1]}"
    )


def help_text() -> str:
    """OX's help, laid out as Commons CLI lays it out at 120 columns, and below it what only this tool has."""
    theirs = [option for option in OPTIONS if not option.ours]
    ours = [option for option in OPTIONS if option.ours]
    lines = textwrap.wrap(
        f"usage: {USAGE}",
        WIDTH,
        subsequent_indent=" " * len("usage: pushusers "),
        break_long_words=False,
        break_on_hyphens=False,
    )
    lines += [*_described(theirs), FOOTER, MORE, *_described(ours)]
    return "\n".join(lines) + "\n"


def _described(options: Sequence[Option]) -> list[str]:
    heads = [
        (f" -{one.short},--{one.long}" if one.short else f"    --{one.long}")
        + (f" <{one.argument}>" if one.argument else "")
        for one in options
    ]
    column = max(map(len, heads)) + 3
    lines: list[str] = []
    for head, option in zip(heads, options, strict=True):
        first, *more = textwrap.wrap(option.description, WIDTH - column, break_on_hyphens=False)
        lines += [f"{head:{column}}{first}", *(" " * column + line for line in more)]
    return lines
