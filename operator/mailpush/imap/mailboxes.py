"""Mailbox names on the wire: modified UTF-7 (RFC 3501 section 5.1.3)."""

from __future__ import annotations

import re
from base64 import b64encode
from binascii import Error as Base64Error
from binascii import a2b_base64

_ENCODE = re.compile(r"&|[^\x20-\x7e]+")
_DECODE = re.compile(rb"&([A-Za-z0-9+,]*)-")


def encode_mailbox(name: str) -> bytes:
    """The name as IMAP sends it. INBOX is one mailbox in any case (RFC 3501), so it is always sent in capitals."""
    if name.upper() == "INBOX":
        return b"INBOX"
    return _ENCODE.sub(_shift, name).encode("ascii")


def decode_mailbox(raw: bytes) -> str:
    """The name in Unicode; what is not valid is kept as it came, since some servers send UTF-8."""
    name = _DECODE.sub(_unshift, raw).decode("utf-8", "replace")
    return "INBOX" if name.upper() == "INBOX" else name


def _shift(match: re.Match[str]) -> str:
    if match[0] == "&":
        return "&-"
    packed = b64encode(match[0].encode("utf-16-be", "surrogatepass")).rstrip(b"=").replace(b"/", b",")
    return f"&{packed.decode('ascii')}-"


def _unshift(match: re.Match[bytes]) -> bytes:
    if not match[1]:
        return b"&"
    packed = match[1].replace(b",", b"/")
    try:
        return a2b_base64(packed + b"=" * (-len(packed) % 4)).decode("utf-16-be").encode("utf-8")
    except (Base64Error, UnicodeError):
        return match[0]
