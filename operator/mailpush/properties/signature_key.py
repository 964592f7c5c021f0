"""The key of a webhook's signature, from a secret as an administrator writes it."""

from __future__ import annotations

import re
from base64 import b64decode
from typing import Final

_PREFIX: Final = "whsec_"
_OTHER_PREFIX = re.compile(r"[\"']?(?:v[0-9]+a?,\s*)?wh(?:sec|sk|pk)[_-]", re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{22,}={0,2}\Z")
_HEX = re.compile(r"(?:[0-9a-f]+|[0-9A-F]+)\Z")
_LENGTHS: Final = range(24, 65)
"""Bytes of a key, by the Standard Webhooks specification."""


def signature_key(secret: str) -> bytes:
    """The HMAC key of `secret`: of `whsec_<base64>` the decoded bytes, of any other text its UTF-8.

    A text that looks like a key in another notation is refused. As a key of its own it would sign what no receiver
    can check, and each notification would be answered with 401 and dropped.

    Raises:
        ValueError: the secret is empty, or cannot be told from another notation. The sentence says what to change and
            holds nothing of the secret.
    """
    text = secret.strip()
    if not text:
        raise ValueError("is empty; give whsec_ and a base64 key, or remove the reference to send without a signature")
    if text.startswith(_PREFIX):
        return _decoded(text.removeprefix(_PREFIX))
    if match := _OTHER_PREFIX.match(text):
        raise ValueError(_advice(match[0].lower()))
    if _looks_like_base64(text):
        raise ValueError(
            "looks like base64 without whsec_ in front; write whsec_ before it. If the text itself is the key, "
            "write whsec_ and the base64 of the text"
        )
    return text.encode("utf-8", "replace")


def _advice(prefix: str) -> str:
    if "whsk" in prefix or "whpk" in prefix:
        return (
            "is a key of an asymmetric signature (whsk_, whpk_), but Mail Push signs with HMAC-SHA256; "
            "give a symmetric one, whsec_ and base64"
        )
    return "has something before or within whsec_, such as v1, or a quote; it must begin with whsec_, in lower case"


def _decoded(text: str) -> bytes:
    try:
        key = b64decode(text, validate=True)
    except ValueError:
        raise ValueError("begins with whsec_ but no base64 follows; give whsec_ and a base64 key") from None
    if not key:
        raise ValueError("has nothing behind whsec_; give whsec_ and a base64 key")
    return key


def _looks_like_base64(text: str) -> bool:
    """Whether a text without spaces is base64 of a key's length, and no hexadecimal number and no word."""
    if not _BASE64.match(text) or _HEX.match(text):
        return False
    bare = text.rstrip("=")
    size = len(bare) * 3 // 4
    if size not in _LENGTHS or len(bare) % 4 == 1 or (len(text) != len(bare) and len(text) % 4):
        return False
    mixed = any(map(str.isupper, bare)) and any(map(str.islower, bare)) and any(map(str.isdigit, bare))
    return mixed or bare != text or "+" in bare or "/" in bare
