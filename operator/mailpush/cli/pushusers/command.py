"""What `pushusers` does: options in, one request, a table out. Texts, streams and exit codes are OX's.

Facts: OX's documentation of the tool and the behaviour of its 7.10 and 8 releases. What differs: docs/pushusers.md.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO
from urllib.parse import quote

from mailpush.admin.routes import LISTENERS, REGISTRATIONS
from mailpush.cli.pushusers.options import CommandLine, ParseError, help_text, parse
from mailpush.cli.streams import answering, printable

if TYPE_CHECKING:
    from mailpush.cli.pushusers.client import Target

DEFAULT_PORT: Final = 1099
LONGEST_TIMEOUT: Final = 2_147_483
"""In seconds: what the operating system takes at most, in milliseconds."""
EXIT_DONE: Final = 0
EXIT_FAILED: Final = 1
EXIT_INTERRUPTED: Final = 130
EXIT_NO_CREDENTIALS: Final = 255  # OX's -1
HOST_VARIABLE: Final = "RMI_HOSTNAME"
USER_VARIABLE: Final = "PUSHUSERS_ADMIN_USER"
PASSWORD_VARIABLE: Final = "PUSHUSERS_ADMIN_PASSWORD"  # noqa: S105 - the name of a variable


class UsageProblem(Exception):  # noqa: N818 - it reads as what it is
    """Options that were read but do not fit; the help follows the text."""


def main() -> None:
    """The script's start; exits."""
    raise SystemExit(answering(_run, "pushusers", EXIT_FAILED))


def _run() -> int:
    try:
        return run(sys.argv[1:], os.environ, sys.stdout, sys.stderr)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def run(arguments: Sequence[str], environment: Mapping[str, str], out: TextIO, err: TextIO) -> int:
    """The exit code. The help goes to standard output also where it follows an error, as in OX."""
    try:
        line = parse(arguments)
        if line.has("h"):
            out.write(help_text())
            return EXIT_DONE
        target = _target(line, environment)
        if target is None:
            out.write("You must provide administrative credentials to proceed.\n")
            out.write(help_text())
            return EXIT_NO_CREDENTIALS
        return _ask(line, target, out, err)
    except ParseError as error:
        return _usage(f"Unable to parse command line: {error}", out, err)
    except UsageProblem as problem:
        return _usage(str(problem), out, err)
    except Exception as error:
        # Of the class only: a text may hold what was sent.
        err.write(f"A runtime error occurred: {type(error).__name__}: {_where(error)}\n")
        return EXIT_FAILED


def _usage(text: str, out: TextIO, err: TextIO) -> int:
    err.write(f"{text}\n")
    err.flush()
    out.write(help_text())
    return EXIT_FAILED


def _target(line: CommandLine, environment: Mapping[str, str]) -> "Target | None":
    """None where the administrator's login or password is missing."""
    if line.has("r") and (line.has("l") or line.has("list")):
        raise UsageProblem("The options -l and -r are mutually exclusive.")
    port = _number(line, "p", DEFAULT_PORT)
    if not 1 <= port <= 65535:
        raise UsageProblem(f"The port is out of range: {port} (1 to 65535)")
    timeout = _number(line, "responsetimeout", 0)
    if not 0 <= timeout <= LONGEST_TIMEOUT:
        raise UsageProblem(f"The response timeout is out of range: {timeout} (0 to {LONGEST_TIMEOUT}; 0: none)")
    login = line.get("A") or environment.get(USER_VARIABLE)
    password = line.get("P") or _password_file(line.get("adminpass-file")) or environment.get(PASSWORD_VARIABLE)
    if not login or not password:
        return None
    from mailpush.cli.pushusers.client import Target

    return Target(
        # OX takes -s only together with -p; that is a fault, and scripts that run into it lose nothing here.
        host=line.get("s") or environment.get(HOST_VARIABLE) or "localhost",
        port=port,
        login=login,
        password=password,
        timeout=timeout,
        tls=line.has("tls") or line.has("ca-file"),
        ca_file=line.get("ca-file"),
    )


def _password_file(name: str | None) -> str | None:
    if name is None:
        return None
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise UsageProblem(f"The password cannot be read from {name}: {error.strerror}") from None
    return text.rstrip("\r\n")


def _number(line: CommandLine, key: str, default: int) -> int:
    text = line.get(key)
    if text is None:
        return default
    option = f"-{key}" if len(key) == 1 else f"--{key}"
    digits = text.strip().removeprefix("-")
    if not (digits.isascii() and digits.isdigit()):
        raise UsageProblem(f"The value of {option} is not a number: {text}")
    if len(digits) > 10:
        raise UsageProblem(f"The value of {option} is too big: {text}")
    return int(text)


def _ask(line: CommandLine, target: "Target", out: TextIO, err: TextIO) -> int:
    from mailpush.cli.pushusers.client import ServerError

    try:
        if line.has("r"):
            return _unregister(line, target, out)
        if line.has("l"):
            _list_registrations(target, out)
        else:
            _list_listeners(target, out)
    except ServerError as error:
        err.write(f"{printable(str(error))}\n")
        return EXIT_FAILED
    return EXIT_DONE


def _list_listeners(target: "Target", out: TextIO) -> None:
    rows = sorted(
        {(context, user, bool(permanent)) for context, user, permanent in target.rows(LISTENERS, "listeners")}
    )
    if not rows:
        out.write("No running push users on this node.\n")
        return
    _table(
        ("Context", "User", "Permanent"), [(c, u, "true" if permanent else "false") for c, u, permanent in rows], out
    )


def _list_registrations(target: "Target", out: TextIO) -> None:
    found = target.rows(REGISTRATIONS, "registrations")
    rows = sorted({(context, user, printable(str(client))) for context, user, client in found})
    if not rows:
        out.write("No registered push users.\n")
        return
    _table(("Context", "User", "Client"), rows, out)


def _unregister(line: CommandLine, target: "Target", out: TextIO) -> int:
    context, user, client = _number(line, "c", -1), _number(line, "u", -1), line.get("i")
    path = f"{REGISTRATIONS}/{context}/{user}"
    if client is not None:
        path += f"/{quote(client, safe='', errors='surrogateescape')}"
    deleted = target.request("DELETE", path).get("deleted")
    if not isinstance(deleted, bool):
        raise target.no_stub()
    whose = f"for user {user} in context {context} for client '{'null' if client is None else client}'"
    if deleted:
        out.write(f"Push registration successfully deleted {whose}\n")
        return EXIT_DONE
    out.write(f"No such push registration {whose}\n")
    return EXIT_FAILED if line.has("strict-exit") else EXIT_DONE


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]], out: TextIO) -> None:
    """The first column to the right, the others to the left, each as wide as its longest cell, a blank between."""
    cells = [list(head), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    for first, *others in cells:
        padded = [first.rjust(widths[0]), *(cell.ljust(width) for cell, width in zip(others, widths[1:], strict=True))]
        out.write(" ".join(padded) + "\n")


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"line {trace.tb_lineno} of {Path(trace.tb_frame.f_code.co_filename).name}" if trace else ""
