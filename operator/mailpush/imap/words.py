"""What is said about a server's answer.

A server's own words are never repeated, in no error, log or status: one that repeats our command, or anything else that
it has been told, repeats a credential. What is left is the kind of the answer and its code, if that is a known one.
"""

from __future__ import annotations

from typing import Final

from mailpush.imap.responses import Status

_MEANINGS: Final = {
    "ALERT": "it has something to say to its user",
    "ALREADYEXISTS": "",
    "AUTHENTICATIONFAILED": "wrong user or password",
    "AUTHORIZATIONFAILED": "may not log in for this user",
    "BADCHARSET": "",
    "CANNOT": "it cannot do this",
    "CAPABILITY": "",
    "CLIENTBUG": "it takes this for a fault of the client",
    "CONTACTADMIN": "its administrator has to help",
    "CORRUPTION": "its data is damaged",
    "EXPIRED": "the password or account has expired",
    "EXPUNGEISSUED": "",
    "INUSE": "it is in use",
    "LIMIT": "too many, of connections or attempts for example",
    "METADATA": "",
    "NONEXISTENT": "it does not exist",
    "NOPERM": "not permitted",
    "OVERQUOTA": "over quota",
    "PARSE": "",
    "PRIVACYREQUIRED": "it wants TLS",
    "READ-ONLY": "",
    "SERVERBUG": "a fault of the server",
    "THROTTLED": "too many requests",
    "TRYCREATE": "it does not exist",
    "UNAVAILABLE": "a part of the server is down",
}
"""Codes of RFC 3501, RFC 5464 and RFC 5530, and what servers of renown add."""

OTHER_CODE: Final = "OTHER"


def known_code(status: Status) -> str | None:
    """The code of the answer, `OTHER` for any that is not known, None where there is none."""
    return status.code if status.code is None or status.code in _MEANINGS else OTHER_CODE


def said(status: Status) -> str:
    """Such as `NO [LIMIT]: too many, of connections or attempts for example`."""
    code = known_code(status)
    if code is None:
        return status.kind
    if code == OTHER_CODE:
        return f"{status.kind} with a code that is not known"
    meaning = _MEANINGS[code]
    return f"{status.kind} [{code}]: {meaning}" if meaning else f"{status.kind} [{code}]"
