"""RFC 2047's encoded words as mailers write them, by a scanner of our own.

The standard library raises on broken words, differs between versions and confuses what stands between words. Each step
goes forward in the text, so the work grows with its length alone.
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from dataclasses import dataclass
from typing import Final

from mailpush.notifications.charsets import decode_bytes

MAX_WORDS: Final = 256
"""Encoded words that are decoded in one field; the text ends with the last. A full subject of emoji has about 200."""

_OPENING = re.compile(r"=\?([^?\s]{1,64})\?([BbQq])\?")
_HEX = re.compile(r"[0-9A-F]{2}")
_QUOTED = re.compile(rb"=([0-9A-Fa-f]{2})")
_NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/=]+")
_PADDING = re.compile("=+")
_SIXES: Final = {sign: at for at, sign in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")}


@dataclass(slots=True)
class _Word:
    start: int
    end: int
    charset: str
    base64: bool
    text: str


def decode_words(text: str) -> str:
    """`text`, unfolded, with its encoded words decoded. Never raises; what is no word stays as it is.

    The result has at most as many characters as `text`.
    """
    if "=?" not in text:
        return text
    decoded: list[str] = []
    run: list[_Word] = []
    end = 0
    words = _words(text)
    for word in words:
        between = text[end : word.start]
        if not run or between.strip():
            decoded += (_decode_run(run), between)
            run = []
        run.append(word)  # blanks between two words are none (RFC 2047, section 6.2)
        end = word.end
    decoded.append(_decode_run(run))
    if len(words) < MAX_WORDS:
        decoded.append(text[end:])
    return "".join(decoded)


def _words(text: str) -> list[_Word]:
    """The first MAX_WORDS encoded words. One ends before the next opens, so no stretch is searched twice."""
    words: list[_Word] = []
    opening = _OPENING.search(text)
    while opening is not None and len(words) < MAX_WORDS:
        following = _OPENING.search(text, opening.end())
        limit = len(text) if following is None else following.start()
        base64 = opening[2] in "Bb"
        end = text.find("?=", opening.end(), limit) if base64 else _end_of_quoted(text, opening.end(), limit)
        if end >= 0:
            content = text[opening.end() : end]
            if not base64 or not content or _NOT_BASE64.sub("", _web_alphabet(content)):
                words.append(_Word(opening.start(), end + 2, opening[1].lower(), base64, content))
        opening = following
    return words


def _end_of_quoted(text: str, start: int, limit: int) -> int:
    """Where a Q word ends. In `what?=3F?=` the first `?=` is text: two hexadecimal digits follow, and another `?=`."""
    first = end = text.find("?=", start, limit)
    while end >= 0:
        if not _HEX.match(text, end + 2, limit):
            return first if _has_blank(text, first, end) else end
        end = text.find("?=", end + 2, limit)
    return first


def _has_blank(text: str, start: int, end: int) -> bool:
    return text.find(" ", start, end) >= 0


def _decode_run(run: list[_Word]) -> str:
    """Adjacent words: bytes of one charset are joined before they are decoded, since a character may be cut in two."""
    decoded: list[str] = []
    raw, charset, rest = bytearray(), "", ""
    for word in run:
        named, text = word.charset, word.text
        if named != charset:
            raw += _unbase64(rest)
            decoded.append(decode_bytes(bytes(raw), charset))
            raw, charset, rest = bytearray(), named, ""
        if not word.base64:
            raw += _unbase64(rest) + _unquote(text, charset)
            rest = ""
            continue
        rest += _NOT_BASE64.sub("", _web_alphabet(text))
        if not _goes_on(rest):
            raw += _unbase64(rest)
            rest = ""
    raw += _unbase64(rest)
    decoded.append(decode_bytes(bytes(raw), charset))
    return "".join(decoded)


def _unquote(text: str, charset: str) -> bytes:
    raw = text.replace("_", " ").encode("ascii" if text.isascii() else "utf-8", "replace")
    return _QUOTED.sub(lambda quoted: bytes((int(quoted[1], 16),)), raw)


def _web_alphabet(text: str) -> str:
    return text.replace("-", "+").replace("_", "/")


def _goes_on(text: str) -> bool:
    """Whether base64 is cut in the middle of a byte, so that the next word holds the rest.

    Bits that are left over are zero where only the padding is missing.
    """
    over = len(text) % 4
    if not over or "=" in text:
        return False
    return over == 1 or bool(_SIXES[text[-1]] & (0x0F if over == 2 else 0x03))


def _unbase64(text: str) -> bytes:
    """Also of several texts with padding between them; a last sign that makes no byte is left out."""
    raw = b""
    for part in _PADDING.split(text):
        whole = part[:-1] if len(part) % 4 == 1 else part
        raw += a2b_base64(whole + "=" * (-len(whole) % 4))
    return raw
