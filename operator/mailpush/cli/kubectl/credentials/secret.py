"""A password from whoever runs the command."""

import getpass
import sys
from typing import Final

from mailpush.cli.kubectl.manifests import Trouble
from mailpush.credentials.passwords import PasswordRefusedError, check_password

MOST_BYTES: Final = 4096


def read_password(whose: str) -> str:
    """From standard input, without the line break at its end; where that is a terminal, from a prompt, twice.

    Raises:
        Trouble: it cannot be stored, or the two differ.
    """
    password = _prompted(whose) if sys.stdin.isatty() else _piped()
    try:
        check_password(password)
    except PasswordRefusedError as error:
        raise Trouble(f"not stored: {error}") from None
    return password


def _prompted(whose: str) -> str:
    try:
        password = getpass.getpass(f"Password of {whose}: ")
        again = getpass.getpass("The same again: ")
    except EOFError:
        raise Trouble("not stored: no password was given") from None
    if password != again:
        raise Trouble("not stored: the two passwords differ")
    return password


def _piped() -> str:
    data = sys.stdin.buffer.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise Trouble(f"not stored: standard input has more than {MOST_BYTES} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise Trouble("not stored: standard input is no text in UTF-8") from None
    return text.removesuffix("\n").removesuffix("\r")
