"""Header fields of a mail as the text that a person reads: decoded, unfolded, of bounded length.

A sender writes what he likes, and this runs before Dovecot has its answer. So each field is cut before it is decoded,
and no step looks at a character more than a fixed number of times.
"""

from __future__ import annotations

import re
from typing import Final

from mailpush.notifications.encoded_words import decode_words
from mailpush.notifications.sender import split_sender

MAX_SUBJECT: Final = 998
"""Characters: the longest line of RFC 5322."""
MAX_NAME: Final = 256
MAX_ADDRESS: Final = 320
"""Characters: 64 + @ + 255 (RFC 3696 errata 1690)."""
MAX_TEASER: Final = 1000
"""Characters; Dovecot 2.3 cuts its snippet at 200."""
MAX_RAW_SUBJECT: Final = 16 * 1024
"""Characters that are decoded: 998 emoji as quoted words have 14,000."""

_SPACE = re.compile(r"\s+")
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")
_FIELD = re.compile(rb"^([!-9;-~]+)[ \t]*:[ \t]*((?:[^\n]|\n[ \t])*)", re.MULTILINE)


def decode_subject(raw: str) -> str:
    """The subject in one line of at most MAX_SUBJECT characters. Never raises: what is not valid stays as it is."""
    unfolded = _SPACE.sub(" ", raw[:MAX_RAW_SUBJECT])
    return clean(decode_words(unfolded), MAX_SUBJECT)


def decode_sender(raw: str) -> tuple[str | None, str | None]:
    """Address and display name of a From field; None for what is not there. Never raises.

    The field is split before its words are decoded: an encoded name may hold a comma or an angle bracket. An address
    of more than MAX_ADDRESS characters counts as none, since a cut one is another address.
    """
    address, name = split_sender(raw)
    if address is not None:
        address = clean(address, MAX_ADDRESS + 1)
        if "@" not in address or len(address) > MAX_ADDRESS:
            address = None
    return address, clean(decode_words(name), MAX_NAME) or None


def header_fields(block: bytes) -> dict[str, str]:
    """The first of each field of a raw header block, names in lower case; values still folded and encoded."""
    fields: dict[str, str] = {}
    for name, value in _FIELD.findall(block.replace(b"\r\n", b"\n")):
        fields.setdefault(name.decode("ascii").lower(), value.decode("utf-8", "replace"))
    return fields


def clean(text: str, limit: int) -> str:
    """One line of at most `limit` characters without controls, direction marks or lone surrogates."""
    bounded = without_surrogates(text[: 16 * limit])
    return _UNSEEN.sub("", _SPACE.sub(" ", bounded)).strip()[:limit].rstrip()


def without_surrogates(text: str) -> str:
    """JSON may hold half a surrogate pair, UTF-8 may not."""
    return text.encode("utf-8", "replace").decode("utf-8")
