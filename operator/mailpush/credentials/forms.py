"""What stands in a row: the forms of an encrypted password, and what is none.

The forms are those of OX's CryptoService: up to 8.15 base64 of AES-128-CBC (`LegacyRow`), since 8.16 six fields with
`$` between them (`ArgonRow`). A row is judged by its form before anything is decrypted or derived.
"""

import binascii
import re
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

MAX_ROW: Final = 4096
"""Characters; OX's widest column has 512."""
COLUMNS: Final = (64, 512)
"""Characters of OX's column before and after its AdjustCredentialsTableTask. Without strict mode MariaDB cuts there."""
BLOCK: Final = 16
IV: Final = 12
IV_TEXT: Final = 16
"""Characters of its base64."""
SALT: Final = 16
TAG: Final = 16

_TRIMMED: Final = "".join(map(chr, range(0x21)))
_NUMBER: Final = re.compile(r"[1-9][0-9]*", re.ASCII)


class Kind(Enum):
    """What a row turned out to be. Only USABLE gives a password; nothing else is ever sent to a mail server."""

    USABLE = "usable"
    BLANK = "blank"
    """Nothing in it, or an encrypted nothing."""
    CLEAR_TEXT = "clearText"
    """Neither form: OX stores a password as it is when its encryption fails."""
    DAMAGED = "damaged"
    """The newer form, incomplete or with values that cannot be."""
    TOO_LONG = "tooLong"
    """The beginning of a password that did not fit the column."""
    UNDECRYPTABLE = "undecryptable"
    """Well formed, and no passcrypt fits."""
    REFUSED_PARAMETERS = "refusedParameters"
    """Well formed, and its key would cost too much memory or time."""


class Parameters(NamedTuple):
    """All that a key is derived from besides the passcrypt."""

    salt: bytes
    memory: int
    """KiB."""
    iterations: int
    lanes: int


@dataclass(frozen=True, slots=True)
class Limits:
    """What the derivation of one key may cost."""

    memory: int = 1024 * 1024
    """KiB."""
    iterations: int = 64
    lanes: int = 64
    work: int = 4 * 1024 * 1024
    """KiB times iterations: some seconds of a core."""

    def allow(self, asked: Parameters) -> bool:
        return (
            8 * asked.lanes <= asked.memory <= self.memory  # RFC 9106, section 3.1: at least 8 KiB a lane
            and asked.iterations <= self.iterations
            and asked.lanes <= self.lanes
            and asked.memory * asked.iterations <= self.work
        )


LIMITS: Final = Limits()


class LegacyRow(NamedTuple):
    """Whole blocks of AES-CBC."""

    data: bytes
    at_width: bool
    """It fills a column of OX, so that it may have been cut."""


class ArgonRow(NamedTuple):
    """AES-GCM, the tag at the end of `data`."""

    iv: bytes
    parameters: Parameters
    data: bytes
    at_width: bool

    @property
    def common(self) -> str:
        """What stands between IV and data."""
        salt, memory, iterations, lanes = self.parameters
        return f"${base64(salt)}${memory}${iterations}${lanes}$"

    def __str__(self) -> str:
        return f"{base64(self.iv)}{self.common}{base64(self.data)}"


def classify(stored: str, limits: Limits = LIMITS) -> LegacyRow | ArgonRow | Kind:
    """The row in its parts, or what it is instead. Never raises."""
    if len(stored) > MAX_ROW:
        return Kind.DAMAGED
    text = java_trim(stored)
    if not text.strip():
        return Kind.BLANK
    if "$" in text:
        return _argon_row(text, limits)
    data = _unbase64(text)
    if not data or len(data) % BLOCK:
        return Kind.CLEAR_TEXT
    return LegacyRow(data, len(text) in COLUMNS)


def _argon_row(text: str, limits: Limits) -> ArgonRow | Kind:
    fields = text.split("$")
    iv, salt = _bytes_of(fields[0], IV), _bytes_of(fields[1], SALT)
    if iv is None and salt is None:
        return Kind.CLEAR_TEXT  # a password may have a dollar
    if iv is None or salt is None or len(fields) != 6:
        return Kind.DAMAGED
    numbers, data = fields[2:5], _unbase64(fields[5])
    if not all(map(_NUMBER.fullmatch, numbers)) or data is None or len(data) < TAG:
        return Kind.DAMAGED
    if max(map(len, numbers)) > 10:
        return Kind.REFUSED_PARAMETERS
    asked = Parameters(salt, *map(int, numbers))
    if not limits.allow(asked):
        return Kind.REFUSED_PARAMETERS
    return ArgonRow(iv, asked, data, len(text) in COLUMNS)


def java_trim(text: str) -> str:
    """Without the characters up to U+0020 at both ends, as Java's String.trim does it."""
    return text.strip(_TRIMMED)


def is_text(data: bytes, *, cut: bool = False) -> bool:
    """Whether it is UTF-8; `cut`: up to a last character that may have lost its end."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return cut and error.reason == "unexpected end of data"
    return True


def base64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def _bytes_of(field: str, size: int) -> bytes | None:
    data = _unbase64(field)
    return data if data is not None and len(data) == size else None


def _unbase64(text: str) -> bytes | None:
    """Of canonical base64 only, as both eras of OX write it."""
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        return None
