"""What a server says of a refused token: JSON in a challenge, by RFC 7628 or in Google's form."""

from __future__ import annotations

import binascii
from base64 import b64decode
from enum import Enum
from typing import Final

import msgspec


class TokenProblem(Enum):
    """The value is what may be said of it; a server's own words are not repeated."""

    INVALID = "it is not valid, has ended, or is not for this mailbox"
    SCOPE = "it lacks a scope that the server wants"
    REQUEST = "it holds our message for malformed"
    UNAVAILABLE = "its own authorization server may be down"


# RFC 7628 section 3.2.2 takes the words of RFC 6750; Dovecot adds internal_failure, and Google has numbers of HTTP.
_PROBLEMS: Final = {
    "invalid_token": TokenProblem.INVALID,
    "400": TokenProblem.INVALID,
    "401": TokenProblem.INVALID,
    "insufficient_scope": TokenProblem.SCOPE,
    "403": TokenProblem.SCOPE,
    "invalid_request": TokenProblem.REQUEST,
    "internal_failure": TokenProblem.UNAVAILABLE,
    "server_error": TokenProblem.UNAVAILABLE,
    "temporarily_unavailable": TokenProblem.UNAVAILABLE,
    "429": TokenProblem.UNAVAILABLE,
    "500": TokenProblem.UNAVAILABLE,
    "502": TokenProblem.UNAVAILABLE,
    "503": TokenProblem.UNAVAILABLE,
    "504": TokenProblem.UNAVAILABLE,
}


class _Answer(msgspec.Struct):
    status: str | int


def problem_of(challenge: bytes) -> TokenProblem | None:
    """From the challenge in base64; None for what is none, or says nothing that is known."""
    try:
        answer = msgspec.json.decode(b64decode(challenge, validate=True), type=_Answer)
    except (binascii.Error, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return _PROBLEMS.get(str(answer.status).lower())
