"""What may be stored as a password."""

from typing import Final

LONGEST_PASSWORD: Final = 329
"""Bytes of UTF-8, as the widest column of OX takes them when they are encrypted."""


class PasswordRefusedError(ValueError):
    """It cannot be stored. The text says why, and nothing of the password."""


def check_password(password: str) -> None:
    """Raises PasswordRefusedError for what no mail server could take, or no store holds."""
    if not password.strip():
        raise PasswordRefusedError("the password is blank")
    if any(character in password for character in "\0\r\n"):
        raise PasswordRefusedError("the password holds a NUL or a line break, which no mail server takes")
    try:
        length = len(password.encode())
    except UnicodeEncodeError:
        raise PasswordRefusedError("the password is no Unicode text") from None
    if length > LONGEST_PASSWORD:
        raise PasswordRefusedError(f"the password has {length} bytes; at most {LONGEST_PASSWORD} can be stored")
