"""Passwords as they come in: strict JSON, and a sentence for what is none. No sentence repeats a word of what came."""

import json
from typing import Any, Final

from mailpush.credentials.passwords import PasswordRefusedError, check_password
from mailpush.credentials.storage import UserKey

LONGEST_LINE: Final = 4096
"""Bytes of an entry in JSON; each byte of a password may be written as six."""
LARGEST_ID: Final = 2_147_483_647


class EntryRefusedError(Exception):
    """Nothing that can be stored. The text says why, without a word of what came."""


def password_of(body: bytes) -> str:
    """The password of `{"password": "..."}`. Raises EntryRefusedError."""
    return _password(_object(body, "password"))


def entry_of(line: bytes) -> tuple[UserKey, str]:
    """User and password of `{"context": 1, "user": 3, "password": "..."}`. Raises EntryRefusedError."""
    found = _object(line, "context", "user", "password")
    return (_number(found, "context"), _number(found, "user")), _password(found)


def _object(text: bytes, *keys: str) -> dict[str, Any]:
    wanted = f"a JSON object with {', '.join(keys[:-1])}{' and ' if keys[1:] else ''}{keys[-1]}"
    try:
        found = json.loads(text.decode(), object_pairs_hook=_once, parse_constant=_no_number)
    except UnicodeDecodeError:
        raise EntryRefusedError("it is not UTF-8") from None
    except (ValueError, RecursionError):  # their texts quote what came
        raise EntryRefusedError(f"it is no JSON: {wanted} is wanted") from None
    if not isinstance(found, dict):
        raise EntryRefusedError(f"it is no object: {wanted} is wanted")
    if set(found) - set(keys):  # not named: a stray key may be the password
        raise EntryRefusedError(f"it has another key: {wanted} is wanted, and nothing else")
    for key in keys:
        if key not in found:
            raise EntryRefusedError(f"{key} is missing")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise EntryRefusedError("a key stands there twice")
    return found


def _no_number(_: str) -> None:
    raise ValueError


def _number(found: dict[str, Any], key: str) -> int:
    value = found[key]
    if type(value) is not int or not 1 <= value <= LARGEST_ID:
        raise EntryRefusedError(f"{key} is no number from 1 to {LARGEST_ID}")
    return value


def _password(found: dict[str, Any]) -> str:
    password = found["password"]
    if not isinstance(password, str):
        raise EntryRefusedError("password is no text: put it in quotes")
    try:
        check_password(password)
    except PasswordRefusedError as error:
        raise EntryRefusedError(str(error)) from None
    return password
