"""The passcrypt: the passphrase under which passwords are stored, as OX would have read it."""

import hashlib
import hmac
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from mailpush.credentials.forms import java_trim


class Reading(Enum):
    """How OX may have read a passcrypt that is not ASCII. One of ASCII has one reading only."""

    UTF_8 = "UTF-8"
    """As it is: newer releases read their files so, and the containers' charset is C.UTF-8."""
    LATIN_1 = "Latin-1"
    """Older releases take each byte of a file for a character."""
    QUESTION_MARKS = "?"
    """Under LC_ALL=C each character that is not ASCII becomes a question mark."""


@dataclass(frozen=True, slots=True)
class Passcrypt:
    """Trimmed as OX trims the values of its property files.

    Raises:
        ValueError: nothing is left of it, or it is not Unicode. The text does not name it.
    """

    text: str = field(repr=False)

    def __post_init__(self) -> None:
        text = java_trim(self.text)
        if not text:
            raise ValueError("the passcrypt is empty: put one into the Secret that passcryptSecretRef names")
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise ValueError("the passcrypt is not Unicode: put it into the Secret as UTF-8")
        object.__setattr__(self, "text", text)

    @property
    def is_ascii(self) -> bool:
        return self.text.isascii()

    @property
    def readings(self) -> dict[Reading, str]:
        """In the order in which they are tried."""
        if self.is_ascii:
            return {Reading.UTF_8: self.text}
        return {
            Reading.UTF_8: self.text,
            Reading.LATIN_1: self.text.encode().decode("latin-1"),
            Reading.QUESTION_MARKS: self.text.encode("ascii", "replace").decode("ascii"),
        }

    def fingerprint(self, key: bytes) -> str:
        """32 hexadecimal digits by which pods compare passcrypts; `key` makes guessing from them useless.

        Raises:
            ValueError: `key` is empty.
        """
        if not key:
            raise ValueError("the fingerprint of a passcrypt needs a key")
        return hmac.new(key, PURPOSE + self.text.encode(), hashlib.sha256).hexdigest()[:32]


PURPOSE: Final = b"passcrypt\0"
"""The installation's key hashes other things as well."""
