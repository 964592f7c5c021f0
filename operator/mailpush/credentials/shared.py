"""Passwords put into a table that OX reads and writes too: as OX would read them, or not at all.

Nothing of ours stands there: marks stay in this process, and whether OX has the same passcrypt is seen by its rows.
"""

from collections.abc import Awaitable, Iterable, Mapping
from typing import Final, Protocol, TypeVar, runtime_checkable

from mailpush.credentials.cipher import Cipher, Decrypted, EncryptionError, Kind, Reading
from mailpush.credentials.kept_marks import KeptMarks
from mailpush.credentials.limits import LONGEST
from mailpush.credentials.ox.rules import Form, Refusal, sentence
from mailpush.credentials.ox.table import READ_ONLY, READ_ONLY_TEXT
from mailpush.credentials.ox.writes import Change, Outcome
from mailpush.credentials.passwords import PasswordRefusedError, check_password
from mailpush.credentials.storage import CredentialStorage, Entry, UserKey, WriteRefusedError

TRIES: Final = 3
"""For a row that OX changes at the same time."""
OWNED_BY_OX: Final = (
    "the credential storage is OX's table, of which Mail Push deletes nothing: OX deletes a row when the user's last "
    "client is unregistered there, or the user is deleted"
)

Result = TypeVar("Result")
Became = bool | PasswordRefusedError | WriteRefusedError
"""What became of a password: stored, there already, or why it is not stored."""


@runtime_checkable
class TakesWrites(Protocol):
    """A shared table that may take writes; see OxTable."""

    @property
    def form(self) -> Form | None: ...

    async def get_many(self, keys: list[UserKey]) -> dict[UserKey, Entry]: ...

    async def write(self, changes: Mapping[UserKey, Change]) -> dict[UserKey, Outcome | WriteRefusedError]: ...


class Asked(Protocol):
    """Waits for the store, within bounds."""

    async def __call__(self, operation: Awaitable[Result]) -> Result: ...


class Shared:
    """The shared table of `storage`. One that does not take writes is only read."""

    def __init__(self, storage: CredentialStorage, cipher: Cipher, asked: Asked) -> None:
        self._table = storage if isinstance(storage, TakesWrites) and storage.form is not None else None
        self._cipher = cipher
        self._asked = asked
        self._unfit: Refusal | None = None
        self.marks = KeptMarks()

    @property
    def refusal(self) -> WriteRefusedError | None:
        """Why no row at all is written; None where it depends on the row's schema."""
        if self._table is None:
            return WriteRefusedError(READ_ONLY_TEXT, READ_ONLY)
        return WriteRefusedError(sentence(self._unfit), self._unfit.value) if self._unfit is not None else None

    def judge(self, rows: Iterable[Decrypted]) -> None:
        """Whether OX would read what is written, by what the first rows turned out to be: one that decrypts must do so
        under the very key that is written with."""
        usable = [row for row in rows if row.kind is Kind.USABLE]
        undecryptable = any(row.kind is Kind.UNDECRYPTABLE for row in rows)
        if any(not row.previous and row.reading is Reading.UTF_8 for row in usable):
            self._unfit = None
        elif any(not row.previous for row in usable) or not (usable or undecryptable or self._is_ascii):
            self._unfit = Refusal.OTHER_READING
        else:
            self._unfit = Refusal.UNPROVEN if usable or undecryptable else None

    async def put_many(
        self, passwords: Mapping[UserKey, str], before: Mapping[UserKey, Entry]
    ) -> dict[UserKey, Became]:
        """What became of each. `before`: the rows as they were just read. The same password again writes nothing.

        Raises:
            WriteRefusedError: nothing at all is written.
            StorageUnavailableError: some may be stored; all may be put again.
        """
        table = self._table
        if (refusal := self.refusal) is not None or table is None:
            raise refusal or WriteRefusedError(READ_ONLY_TEXT, READ_ONLY)
        became: dict[UserKey, Became] = {}
        left, stands = passwords, before
        for _ in range(TRIES):
            changes: dict[UserKey, Change] = {}
            for key, password in left.items():
                found = await self._change(table, password, stands.get(key))
                if isinstance(found, Change):
                    changes[key] = found
                else:
                    became[key] = found
            outcomes = await self._asked(table.write(changes)) if changes else {}
            for key, outcome in outcomes.items():
                if outcome is Outcome.WRITTEN:
                    self.marks.forget(key)
                became[key] = _told(key, outcome)
            left = {key: left[key] for key, outcome in outcomes.items() if outcome is Outcome.OTHERWISE}
            if not left:
                break
            stands = await self._asked(table.get_many(list(left)))
        return became

    async def _change(self, table: TakesWrites, password: str, row: Entry | None) -> Change | Became:
        """What is to be written, or what became of it without."""
        try:
            check_password(password)
            if row is not None and (await self._cipher.decrypt(row.password)).clear == password:
                self.marks.forget(row.key)
                return bool(row.refused)  # to be tried again, though it stands there
            if table.form is Form.LEGACY:
                new = self._cipher.encrypt_legacy(password, LONGEST)
            else:
                new = await self._cipher.encrypt(password, LONGEST)
        except PasswordRefusedError as error:
            return error
        except EncryptionError as error:
            return PasswordRefusedError(str(error))
        return Change(row.password if row is not None else None, new)

    @property
    def _is_ascii(self) -> bool:
        return self._cipher.passcrypt.is_ascii


def _told(key: UserKey, outcome: Outcome | WriteRefusedError) -> Became:
    if isinstance(outcome, WriteRefusedError):
        return outcome
    if outcome is Outcome.TOO_LONG:
        return PasswordRefusedError("the password is too long: encrypted it does not fit the column of OX's table")
    if outcome is Outcome.NO_CONTEXT:
        return PasswordRefusedError(f"OX has no context {key[0]}")
    if outcome is Outcome.OTHERWISE:
        return WriteRefusedError("OX is changing the same row: nothing was written, try again", "Busy", again=True)
    return True
