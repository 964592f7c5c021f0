"""Bytes of a named charset to text, as browsers read it: the labels of the WHATWG Encoding standard.

Mailers write `iso-8859-1` and mean windows-1252, and write `iso-2022-jp` and use characters that only cp932 has.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import webencodings

_ESCAPE = re.compile(rb"\x1b(\([BJI]|\$[@B]|\$\(D)")
_EUC_PAIR = re.compile(rb"[\xa1-\xfe]{2}")
_EUC_0212 = re.compile(rb"(\x8f[\xa1-\xfe]{2})")
_EUC_OTHER = re.compile(rb"[\xa1-\xfe]{2}|\x8e[\xa1-\xdf]|[\x80-\xff]")

_BEYOND_THE_WEB: Final[Mapping[str, str]] = MappingProxyType(
    {
        "utf-7": "utf-7",
        "unicode-1-1-utf-7": "utf-7",
        "iso-2022-kr": "iso2022_kr",
        "hz-gb-2312": "hz",
        "utf-32": "utf-32",
        "iso-2022-jp-1": "iso2022_jp_1",
        "iso-2022-jp-2": "iso2022_jp_2",
        "iso-2022-jp-3": "iso2022_jp_3",
        "iso-2022-jp-2004": "iso2022_jp_2004",
        **{f"cp{page}": f"cp{page}" for page in (437, 850, 852, 855, 857, 858, 860, 861, 862, 863, 864, 865, 869)},
        **{f"ibm{page}": f"cp{page}" for page in (437, 850, 852, 855, 857, 858, 860, 861, 862, 863, 864, 865, 869)},
    }
)
"""Charsets of mails that the standard leaves out. A fixed list: some of Python's codecs are no charsets, and the time
of one (punycode) grows with the square of its input."""


def decode_bytes(raw: bytes, charset: str) -> str:
    """The text of `raw`. Never raises, and gives at most one character for each byte.

    `charset`: in any case, and with RFC 2231's `*language` where one stands. What the charset does not have becomes
    U+FFFD. For an unknown charset the text is UTF-8 where it can be, else windows-1252.
    """
    label = charset.partition("*")[0].strip().lower()
    if not label.isascii():
        return _decode_unknown(raw)
    try:
        if label in _BEYOND_THE_WEB:
            return raw.decode(_BEYOND_THE_WEB[label], "replace")
        encoding = webencodings.lookup(label)
        if encoding is None or encoding.name in ("replacement", "x-user-defined"):
            return _decode_unknown(raw)
        own = _OWN.get(encoding.name)
        if own is not None:
            return own(raw)
        text, _ = encoding.codec_info.decode(raw, "replace")
        return str(text)
    except ValueError:  # some codecs raise despite "replace"
        return _decode_unknown(raw)


def _decode_unknown(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("windows-1252", "replace")


def _gb18030(raw: bytes) -> str:
    return raw.decode("gb18030", "replace")


def _utf_16(raw: bytes) -> str:
    return raw.decode("utf-16-be" if raw.startswith(b"\xfe\xff") else "utf-16-le", "replace")


def _iso_2022_jp(raw: bytes) -> str:
    """By cp932, which has the rows of NEC and IBM that Python's `iso2022_jp` lacks."""
    pieces = _ESCAPE.split(raw)
    text = [pieces[0].decode("ascii", "replace")]
    for escape, piece in zip(pieces[1::2], pieces[2::2], strict=True):
        if escape in (b"$@", b"$B"):
            text.append(_jis_0208(piece))
        elif escape == b"$(D":
            text.append(_jis_0212(piece))
        elif escape == b"(I":
            text.append(bytes(byte | 0x80 for byte in piece).decode("cp932", "replace"))
        elif escape == b"(J":
            text.append(piece.decode("ascii", "replace").replace("\\", "¥").replace("~", "‾"))
        else:
            text.append(piece.decode("ascii", "replace"))
    return "".join(text)


def _euc_jp(raw: bytes) -> str:
    """By cp932 as well, for the same rows. Signs of JIS X 0212, which cp932 lacks, stand between what it decodes."""
    parts = _EUC_0212.split(raw)
    text = [_EUC_OTHER.sub(_shifted_euc, part).decode("cp932", "replace") for part in parts[::2]]
    text[1:] = [sign.decode("euc_jp", "replace") + rest for sign, rest in zip(parts[1::2], text[1:], strict=True)]
    return "".join(text)


def _shifted_euc(match: re.Match[bytes]) -> bytes:
    found = match[0]
    if len(found) == 1:
        return b"?"  # half a pair, which cp932 would take for a sign of its own
    return found[1:] if found[0] == 0x8E else _SHIFTED.get(bytes((found[0] & 0x7F, found[1] & 0x7F)), b"?")


def _jis_0208(pairs: bytes) -> str:
    """Seven-bit pairs of JIS X 0208: a row and a cell from 0x21 to 0x7e."""
    shifted = b"".join(_SHIFTED.get(pairs[at : at + 2], b"?") for at in range(0, len(pairs) - 1, 2))
    return shifted.decode("cp932", "replace")


def _shift(row: int, cell: int) -> bytes:
    """A pair of JIS X 0208 as Shift_JIS packs it."""
    half = (row - 0x21) // 2
    lead = half + (0x81 if half < 0x1F else 0xC1)
    return bytes((lead, cell + (0x1F if cell < 0x60 else 0x20) if row % 2 else cell + 0x7E))


_SHIFTED: Final[Mapping[bytes, bytes]] = MappingProxyType(
    {bytes((row, cell)): _shift(row, cell) for row in range(0x21, 0x7F) for cell in range(0x21, 0x7F)}
)


def _jis_0212(pairs: bytes) -> str:
    """Seven-bit pairs of JIS X 0212, which EUC-JP marks with 0x8f."""
    eight_bit = bytes(byte | 0x80 for byte in pairs)
    return _EUC_PAIR.sub(b"\x8f\\g<0>", eight_bit).decode("euc_jp", "replace")


_OWN: Final[Mapping[str, Callable[[bytes], str]]] = MappingProxyType(
    {
        "gbk": _gb18030,  # the standard's decoder of GBK is that of gb18030
        "iso-2022-jp": _iso_2022_jp,
        "euc-jp": _euc_jp,
        "utf-16le": _utf_16,
    }
)
