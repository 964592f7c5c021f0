"""Header fields of a mail to the text that a person reads: RFC 2047 decoded, unfolded, of bounded length."""

from __future__ import annotations

import re
from binascii import a2b_base64, a2b_qp
from email.utils import getaddresses
from typing import Final

MAX_SUBJECT: Final = 998  # characters, the longest line of RFC 5322
MAX_NAME: Final = 256
MAX_ADDRESS: Final = 320  # 64 + @ + 255 (RFC 3696 errata 1690)
MAX_TEASER: Final = 1000  # Dovecot 2.3 cuts its snippet at 200

_MAX_RAW: Final = 16 * 1024
_SPACE = re.compile(r"\s+")
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")
_WORD = re.compile(r"=\?([^?\s]{1,64})\?([BbQq])\?([^?]*)\?=")
_ANY_WORD = r"=\?[^?\s]{1,64}\?[BbQq]\?[^?]*\?="
_RUN = re.compile(rf"{_ANY_WORD}(?: ?{_ANY_WORD})*")
_FIELD = re.compile(rb"^([!-9;-~]+)[ \t]*:[ \t]*((?:[^\n]|\n[ \t])*)", re.MULTILINE)


def decode_subject(raw: str) -> str:
    """Never raises: what is not valid is shown as it came."""
    return clean(_decode_words(raw[:_MAX_RAW]), MAX_SUBJECT)


def decode_sender(raw: str) -> tuple[str | None, str | None]:
    """The first address of a From field and its display name; None for what is not there. Never raises.

    The field is taken apart before its words are decoded: an encoded name may hold a comma or an angle bracket.
    """
    unfolded = _SPACE.sub(" ", raw[:_MAX_RAW]).strip()
    try:
        name, address = next((pair for pair in getaddresses([unfolded]) if pair[1]), ("", ""))
    except (ValueError, IndexError, RecursionError):  # the standard library's parser on hostile fields
        name, address = "", ""
    if "@" not in address:
        return None, clean(_decode_words(unfolded), MAX_NAME) or None
    return clean(address, MAX_ADDRESS) or None, clean(_decode_words(name), MAX_NAME) or None


def header_fields(block: bytes) -> dict[str, str]:
    """The first of each field of a raw header block, names in lower case; values still folded and encoded."""
    fields: dict[str, str] = {}
    for name, value in _FIELD.findall(block.replace(b"\r\n", b"\n")):
        fields.setdefault(name.decode("ascii").lower(), value.decode("utf-8", "replace"))
    return fields


def clean(text: str, limit: int) -> str:
    """One line of at most `limit` characters without controls, direction overrides or lone surrogates."""
    return _UNSEEN.sub("", _SPACE.sub(" ", without_surrogates(text))).strip()[:limit]


def without_surrogates(text: str) -> str:
    """JSON may hold half a surrogate pair, UTF-8 may not."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _decode_words(text: str) -> str:
    """RFC 2047 of our own, since the standard library raises on broken words and confuses what stands between them."""
    return _RUN.sub(_decode_run, _SPACE.sub(" ", text))


def _decode_run(run: re.Match[str]) -> str:
    """A run of adjacent encoded words: the space between them is none, and a character may be cut in two by it."""
    decoded: list[tuple[str, bytes]] = []
    for charset, encoding, text in _WORD.findall(run[0]):
        try:
            raw = _unquote(text) if encoding in "qQ" else _unbase64(text)
        except ValueError:
            return run[0]
        if decoded and decoded[-1][0] == charset.lower():
            decoded[-1] = (charset.lower(), decoded[-1][1] + raw)
        else:
            decoded.append((charset.lower(), raw))
    return "".join(_to_text(raw, charset) for charset, raw in decoded)


def _unquote(text: str) -> bytes:
    return a2b_qp(text.encode("ascii"), header=True)


def _unbase64(text: str) -> bytes:
    bare = text.rstrip("=")
    decoded = a2b_base64(bare + "=" * (-len(bare) % 4))
    if bare and not decoded:
        raise ValueError("nothing of it is base64")
    return decoded


def _to_text(raw: bytes, charset: str) -> str:
    try:
        return raw.decode(charset.partition("*")[0], "replace")  # RFC 2231 allows `charset*language`
    except (LookupError, ValueError):
        return raw.decode("utf-8", "replace")
