"""Passwords as they stand in a store, encrypted and decrypted under the passcrypt.

Read: both forms of OX, under the passcrypt and the one before it. Written: the newer form, with one salt for the whole
installation so that one key serves all its rows; the older form for tables that an older OX reads. Only what was
decrypted is given out, and only what was encrypted is stored.
"""

import os
from binascii import a2b_base64
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag

from mailpush.credentials import legacy
from mailpush.credentials.argon import Key, Keys, secret_of
from mailpush.credentials.forms import (
    COLUMNS,
    IV,
    IV_TEXT,
    MAX_ROW,
    SALT,
    ArgonRow,
    Kind,
    LegacyRow,
    Limits,
    Parameters,
    base64,
    classify,
    java_trim,
)
from mailpush.credentials.headroom import pod_limits
from mailpush.credentials.passcrypt import Passcrypt, Reading
from mailpush.credentials.verdict import CANDIDATES, Verdict, settles

__all__ = ["CANDIDATES", "Cipher", "Decrypted", "EncryptionError", "Kind", "Passcrypt", "Reading", "Verdict", "settles"]

LEGACY_WIDTH, WIDTH = COLUMNS
MEMORY: Final = 15360
"""KiB; this and the next two are OX's defaults."""
ITERATIONS: Final = 2
LANES: Final = 1
CHECK_TEXT: Final = "mail push: the passcrypt fits"


class EncryptionError(Exception):
    """A password cannot be stored. The text says why, and nothing of the password."""


@dataclass(slots=True)
class Decrypted:
    """What a row is, and the password of a usable one. Not frozen, since 100,000 are made at a cold start."""

    kind: Kind
    clear: str | None = field(default=None, repr=False)
    previous: bool = False
    """Only the passcrypt before this one fits: the row is to be encrypted anew."""
    reading: Reading | None = None
    """How OX had read the passcrypt when it wrote the row."""


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One way to read a passcrypt."""

    legacy_key: bytes = field(repr=False)
    secret: bytes = field(repr=False)
    reading: Reading
    previous: bool


class _Quick:
    """The way for the rows of the installation, which have all but IV and data in common: a third of the time."""

    __slots__ = ("_common", "_data", "_decrypt")

    def __init__(self, row: ArgonRow, key: Key) -> None:
        self._common = row.common
        self._data = IV_TEXT + len(row.common)
        self._decrypt = key.decrypt

    def decrypt(self, stored: str) -> Decrypted | None:
        """None for any row that is not well formed or does not decrypt: that one is then looked at closely."""
        if stored[IV_TEXT : self._data] != self._common or len(stored) > MAX_ROW:
            return None
        try:
            # Whole groups of four characters, so both may be taken at once; a padding between them is an error.
            raw = a2b_base64(stored[:IV_TEXT] + stored[self._data :], strict_mode=True)
            clear = self._decrypt(raw[:IV], raw[IV:], None).decode()
        except (ValueError, InvalidTag):
            return None
        return Decrypted(Kind.USABLE, clear, False, Reading.UTF_8) if clear[:1] > " " else None


class Cipher:
    """Encrypts under `passcrypt`; decrypts under each reading of it, then under those of `previous`.

    Keys stay in memory, passwords do not. Belongs to one event loop. `limits`: what a key may cost, else `pod_limits`.
    """

    def __init__(
        self, passcrypt: Passcrypt, previous: Passcrypt | None = None, *, limits: Limits | None = None
    ) -> None:
        self.passcrypt = passcrypt
        self.previous = previous
        self._limits = limits or pod_limits()
        self._keys = Keys()
        self._parameters = Parameters(os.urandom(SALT), MEMORY, ITERATIONS, LANES)
        self._quick: _Quick | None = None
        self._attempts = tuple(
            _Attempt(legacy.legacy_key(text), secret_of(text), reading, old)
            for source, old in ((passcrypt, False), (previous, True))
            if source is not None
            for reading, text in source.readings.items()
        )

    @property
    def derivations(self) -> int:
        """Keys derived by Argon2i so far; 18 ms of a core each with OX's parameters."""
        return self._keys.derivations

    async def decrypt(self, stored: str) -> Decrypted:
        """Never raises, whatever stands there. A `$` row with a new salt costs a derivation for each attempt."""
        if self._quick is not None and (found := self._quick.decrypt(stored)) is not None:
            return found
        row = classify(stored, self._limits)
        if isinstance(row, LegacyRow):
            return self._decrypt_legacy(row)
        if isinstance(row, ArgonRow):
            return await self._decrypt_argon(row, self._attempts)
        return Decrypted(row)

    async def encrypt(self, clear: str, width: int = WIDTH) -> str:
        """The newer form under the installation's salt, which is random until `use_salt_of` says which.

        Raises:
            EncryptionError: nothing to store, no text, longer than `width` characters when encrypted, or no memory.
        """
        data = _bytes_of(clear)
        parameters, first = self._parameters, self._attempts[0]
        key = await self._keys.get(first.secret, parameters)
        if key is None:
            raise EncryptionError(f"there is no memory to derive the key: it takes {parameters.memory} KiB")
        iv = os.urandom(IV)
        return _fitting(str(ArgonRow(iv, parameters, key.encrypt(iv, data, None), False)), width)

    def encrypt_legacy(self, clear: str, width: int = LEGACY_WIDTH) -> str:
        """OX's form up to 8.15, for a table that such an OX reads. The same password gives the same text.

        Raises:
            EncryptionError: as `encrypt` does.
        """
        return _fitting(base64(legacy.encrypt(self._attempts[0].legacy_key, _bytes_of(clear))), width)

    async def key_check(self) -> str:
        """A note for the store: by it each pod finds out whether its passcrypt fits, and which salt the store has."""
        return await self.encrypt(CHECK_TEXT)

    async def agrees(self, note: str) -> bool:
        """Whether the note of `key_check` was written under this passcrypt."""
        return await self._reads(note, previous=False)

    async def agreed_before(self, note: str) -> bool:
        """Whether it was written under the previous passcrypt: a rotation has not ended."""
        return await self._reads(note, previous=True)

    def use_salt_of(self, note: str) -> None:
        """Encrypt under the salt and the parameters of the store's note from now on.

        Raises:
            ValueError: that is no row of the newer form.
        """
        row = classify(note, self._limits)
        if isinstance(row, LegacyRow | Kind):
            raise ValueError("the store's check value of the passcrypt is no encrypted row: " + _word(row))  # noqa: TRY004
        if row.parameters != self._parameters:
            self._parameters, self._quick = row.parameters, None

    def has_own_salt(self, stored: str) -> bool:
        """Whether a row was written as `encrypt` writes it, so that it costs no derivation of its own."""
        row = classify(stored, self._limits)
        return isinstance(row, ArgonRow) and row.parameters == self._parameters

    def fingerprint(self, key: bytes) -> str:
        """The passcrypt's value for comparing pods, which may be published; `key` is the installation's."""
        return self.passcrypt.fingerprint(key)

    async def _reads(self, note: str, *, previous: bool) -> bool:
        row = classify(note, self._limits)
        if not isinstance(row, ArgonRow):
            return False
        # Other readings are OX's: what they fit was not written by `key_check`.
        own = [each for each in self._attempts if each.previous == previous and each.reading is Reading.UTF_8]
        return (await self._decrypt_argon(row, own)).clear == CHECK_TEXT

    def _decrypt_legacy(self, row: LegacyRow) -> Decrypted:
        for attempt in self._attempts:
            clear = legacy.decrypt(attempt.legacy_key, row.data)
            if clear is not None:
                return _found(clear, attempt)
        if row.at_width and any(legacy.begins_a_text(attempt.legacy_key, row.data) for attempt in self._attempts):
            return Decrypted(Kind.TOO_LONG)
        return Decrypted(Kind.UNDECRYPTABLE)

    async def _decrypt_argon(self, row: ArgonRow, attempts: Iterable[_Attempt]) -> Decrypted:
        cut = False
        for attempt in attempts:
            key = await self._keys.get(attempt.secret, row.parameters)
            if key is None:
                return Decrypted(Kind.REFUSED_PARAMETERS)
            try:
                found = _found(key.decrypt(row.iv, row.data, None).decode(), attempt)
            except InvalidTag:
                cut = cut or (row.at_width and key.begins_a_text(row.iv, row.data))
            except UnicodeDecodeError:
                return Decrypted(Kind.DAMAGED)
            else:
                if row.parameters == self._parameters and attempt is self._attempts[0]:
                    self._quick = _Quick(row, key)
                return found
        return Decrypted(Kind.TOO_LONG if cut else Kind.UNDECRYPTABLE)


def _word(row: LegacyRow | Kind) -> str:
    return row.value if isinstance(row, Kind) else "legacy"


def _found(clear: str, attempt: _Attempt) -> Decrypted:
    if not java_trim(clear):
        return Decrypted(Kind.BLANK)
    return Decrypted(Kind.USABLE, clear, attempt.previous, attempt.reading)


def _bytes_of(clear: str) -> bytes:
    if not java_trim(clear):
        raise EncryptionError("the password is empty, or of blanks only")
    with suppress(UnicodeEncodeError):  # which holds the password, so no other error has it for its context
        return clear.encode()
    raise EncryptionError("the password is not Unicode: send it as UTF-8")


def _fitting(stored: str, width: int) -> str:
    """The whole row or an error: a server without strict mode would cut it in silence."""
    if len(stored) > width:
        raise EncryptionError(f"the password is too long: encrypted it does not fit the column's {width} characters")
    return stored
