"""The credential storage with its cipher: passwords go in clear and come out clear, and stand encrypted in between.

Whether the passcrypt is the one under which the store is written is found out before any password of it is used: by the
store's note, or by some of its rows where others write it. As long as it is not, nothing is given, written or deleted.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final, TypeVar

import structlog

from mailpush.credentials.cipher import CANDIDATES, Cipher, Decrypted, EncryptionError, Kind, Reading, Verdict, settles
from mailpush.credentials.passwords import PasswordRefusedError, check_password
from mailpush.credentials.shared import OWNED_BY_OX, Became, Shared
from mailpush.credentials.storage import (
    CredentialStorage,
    Entry,
    StorageUnavailableError,
    UserKey,
    WriteRefusedError,
)
from mailpush.work.pace import Backoff, set_within

KEY_CHECK: Final = "key-check"
"""The note by which a pod finds out whether its passcrypt is the store's, and with which salt it is written."""
PASSCRYPT_MISMATCH: Final = "PasscryptMismatch"
MISMATCH_TEXT: Final = (
    "this pod's passcrypt is not the one under which the credential storage is written: put the right one into the "
    "Secret that credentialStorage.passcryptSecretRef names; nothing is deleted"
)
LOOKED_AT: Final = 64
"""Rows among which those are found that say something of the passcrypt."""
WORKED_SECONDS: Final = 86_400
"""A password that works is marked so once in this time."""
ANSWER_SECONDS: Final = 10.0
"""For each operation; the stores have shorter bounds of their own."""
CHECK_SECONDS: Final = 30.0
"""How often the note is looked at while all is well: a memory may have been emptied."""
RETRY: Final = Backoff(1.0, 30.0)

Result = TypeVar("Result")

log = structlog.get_logger(__name__)


class StoreState(Enum):
    """How the store does, as this process sees it."""

    OPENING = "opening"
    READY = "ready"
    MISMATCH = "mismatch"
    """It is written under another passcrypt."""
    UNAVAILABLE = "unavailable"


class StoredState(Enum):
    """What is known of one user's stored password."""

    USABLE = "usable"
    MISSING = "missing"
    CLEAR_TEXT = "clearText"
    DAMAGED = "damaged"
    TOO_LONG = "tooLong"
    UNDECRYPTABLE = "undecryptable"
    MISMATCH = "mismatch"
    UNAVAILABLE = "unavailable"


_STATE_OF: Final = {
    Kind.USABLE: StoredState.USABLE,
    Kind.BLANK: StoredState.MISSING,
    Kind.CLEAR_TEXT: StoredState.CLEAR_TEXT,
    Kind.DAMAGED: StoredState.DAMAGED,
    Kind.REFUSED_PARAMETERS: StoredState.DAMAGED,
    Kind.TOO_LONG: StoredState.TOO_LONG,
    Kind.UNDECRYPTABLE: StoredState.UNDECRYPTABLE,
}


@dataclass(frozen=True, slots=True)
class Stored:
    """One user's stored password. `message`: a sentence, where the store itself keeps it from being known."""

    state: StoredState
    password: str | None = field(default=None, repr=False)
    """Decrypted; only of a usable one."""
    entry: Entry | None = None
    message: str = ""

    @property
    def proven(self) -> bool:
        """Whether a mail server has taken this very password, and none has refused it since."""
        return self.state is StoredState.USABLE and self.entry is not None and is_proven(self.entry)


class PasscryptMismatchError(StorageUnavailableError):
    """The store is written under another passcrypt, so nothing of it is read, changed or deleted."""

    def __init__(self) -> None:
        super().__init__(MISMATCH_TEXT, PASSCRYPT_MISMATCH)


def is_proven(entry: Entry) -> bool:
    """Whether the password of this entry has worked, and was not refused since: `put` clears both marks."""
    return bool(entry.worked) and not entry.refused


class StoredCredentials:
    """Credentials of one storage under one passcrypt.

    Args:
        foreign: others write the storage as well (OX's table). No note stands in it, no marks, and nothing is deleted;
            what may be put there says `Shared`.
        changed: called when `state` has become another.
        may_begin: asked before the note is written where there is none. False: this passcrypt is not to be the store's.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        storage: CredentialStorage,
        cipher: Cipher,
        *,
        foreign: bool = False,
        changed: Callable[[], None] = lambda: None,
        may_begin: Callable[[], Awaitable[bool]] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._storage = storage
        self._cipher = cipher
        self._shared = Shared(storage, cipher, self._asked) if foreign else None
        self._changed = changed
        self._may_begin = may_begin
        self._clock = clock
        self._opening = asyncio.Lock()
        self._wake = asyncio.Event()
        self._failures = 0
        self.state = StoreState.OPENING
        self.trouble: StorageUnavailableError | None = None
        """What keeps the store from being used; None where nothing does."""

    # -- the store

    async def open(self) -> StoreState:
        """Looks whether the store answers, and whether the passcrypt is its own. Never raises."""
        async with self._opening:
            try:
                fits = await self._bounded(self._fits())
            except StorageUnavailableError as error:
                self._became(StoreState.UNAVAILABLE, error)
            else:
                self._became(*((StoreState.READY, None) if fits else (StoreState.MISMATCH, PasscryptMismatchError())))
            return self.state

    async def watch(self) -> None:
        """Opens it, and looks again and again until cancelled: more often, with a growing delay, while it does not do.

        Others ask a store that does not answer only when this finds that it does again.
        """
        while True:
            self._wake.clear()
            state = await self.open()
            self._failures = 0 if state is StoreState.READY else self._failures + 1
            await set_within(self._wake, RETRY.after(self._failures) if self._failures else CHECK_SECONDS)

    # -- one user's

    async def get(self, key: UserKey) -> Stored:
        """What is stored of the user. Never raises: what is wrong is the `state`."""
        try:
            entry = (await self.entries([key])).get(key)
        except StorageUnavailableError as error:
            return not_known(error)
        return await self.read(entry)

    async def entries(self, keys: Sequence[UserKey]) -> dict[UserKey, Entry]:
        """Those that are there, still encrypted.

        Raises:
            StorageUnavailableError: also PasscryptMismatchError.
        """
        await self._usable()
        found = await self._asked(self._storage.get_many(list(keys)))
        return {key: self._shared.marks.on(entry) for key, entry in found.items()} if self._shared else found

    async def read(self, entry: Entry | None) -> Stored:
        """The entry with its password, which is kept nowhere here."""
        if self.state is StoreState.MISMATCH:
            return Stored(StoredState.MISMATCH, message=MISMATCH_TEXT)
        if entry is None:
            return Stored(StoredState.MISSING)
        decrypted = await self._cipher.decrypt(entry.password)
        return Stored(_STATE_OF[decrypted.kind], decrypted.clear, entry)

    async def put(self, key: UserKey, password: str) -> bool:
        """Stores it, encrypted, without the marks of a former one; whether another or none stood there.

        Raises:
            PasswordRefusedError: it is blank or too long, or no mail server could take it.
            WriteRefusedError: the storage takes no password now.
            StorageUnavailableError: also PasscryptMismatchError.
        """
        became = (await self.put_many({key: password}))[key]
        if isinstance(became, Exception):
            raise became
        return became

    async def put_many(self, passwords: Mapping[UserKey, str]) -> dict[UserKey, Became]:
        """As `put`, of each: some hundred at a time. Where it raises, some may be stored; all may be put again.

        Raises:
            WriteRefusedError: the storage takes none at all.
            StorageUnavailableError: also PasscryptMismatchError.
        """
        if self.write_refusal is not None:
            raise self.write_refusal
        before = await self.entries(list(passwords))
        if self._shared is not None:
            return await self._shared.put_many(passwords, before)
        became: dict[UserKey, Became] = {}
        entries: list[Entry] = []
        for key, password in passwords.items():
            try:
                entry = await self._entry(key, password, before.get(key))
            except PasswordRefusedError as error:
                became[key] = error
            else:
                became[key] = entry is not None
                entries += [entry] if entry is not None else []
        if entries:
            await self._asked(self._storage.put_many(entries))
        return became

    async def _entry(self, key: UserKey, password: str, before: Entry | None) -> Entry | None:
        """What is to be written; None where the same password stands there already. Raises PasswordRefusedError."""
        check_password(password)
        known = await self.read(before)
        if known.password == password and before is not None and not before.refused:
            return None
        try:
            encrypted = await self._cipher.encrypt(password)
        except EncryptionError as error:
            raise PasswordRefusedError(str(error)) from None
        return Entry(*key, encrypted, changed=self._now())

    async def delete(self, key: UserKey) -> bool:
        """Whether there was one.

        Raises:
            WriteRefusedError: others own the entries.
            StorageUnavailableError: also PasscryptMismatchError.
        """
        if self._shared is not None:
            raise WriteRefusedError(OWNED_BY_OX, "OwnedByOx")
        await self._usable()
        return await self._asked(self._storage.delete(key))

    async def page(self, after: UserKey | None, limit: int) -> list[Entry]:
        """The next entries behind `after`, encrypted. Raises StorageUnavailableError."""
        await self._usable()
        page = await self._asked(self._storage.page(after, limit))
        return [self._shared.marks.on(entry) for entry in page] if self._shared else page

    # -- what mail servers say

    async def mark_worked(self, entry: Entry) -> Entry:
        """A mail server has taken the password. Gives the entry as it stands then.

        Raises:
            StorageUnavailableError
        """
        if not entry.refused and self._now() - entry.worked < WORKED_SECONDS:
            return entry
        return await self._mark(entry, replace(entry, worked=self._now(), refused=0))

    async def mark_refused(self, entry: Entry) -> Entry:
        """A mail server has refused the password, which stays. Gives the entry as it stands then.

        Raises:
            StorageUnavailableError
        """
        return entry if entry.refused else await self._mark(entry, replace(entry, refused=self._now()))

    async def _mark(self, old: Entry, new: Entry) -> Entry:
        if self._shared is not None:
            return self._shared.marks.keep(new)
        await self._usable()
        if await self._asked(self._storage.replace(old, new)):
            return new
        # Encrypted anew meanwhile, or another password, of which this is not said.
        now = await self._asked(self._storage.get(old.key))
        if now is None or (await self.read(now)).password != (await self.read(old)).password:
            return now or old
        marked = replace(new, password=now.password)
        return marked if await self._asked(self._storage.replace(now, marked)) else old

    # -- inside

    @property
    def foreign(self) -> bool:
        return self._shared is not None

    @property
    def write_refusal(self) -> WriteRefusedError | None:
        """Why no password at all can be put; None where nothing is known that speaks against it."""
        return self._shared.refusal if self._shared is not None else None

    async def _fits(self) -> bool:
        if self._shared is not None:
            return await self._verdict() is not Verdict.MISMATCH
        note = await self._storage.note(KEY_CHECK)
        if note is None:
            if await self._verdict() is Verdict.MISMATCH:  # a store without its note: its rows tell as much
                return False
            if self._may_begin is not None and not await self._may_begin():
                return False
            own = await self._cipher.key_check()
            written = await self._storage.set_note(KEY_CHECK, None, own)
            note = own if written else await self._storage.note(KEY_CHECK)
            if note is None:
                raise StorageUnavailableError("the credential storage does not keep what is written to it")
        if not (await self._cipher.agrees(note) or await self._cipher.agreed_before(note)):
            return False
        self._cipher.use_salt_of(note)
        return True

    async def _verdict(self) -> Verdict:
        """What the first rows say of the passcrypt that can say anything."""
        rows: list[Decrypted] = []
        kinds: list[Kind] = []
        for entry in await self._storage.page(None, LOOKED_AT):
            rows.append(row := await self._cipher.decrypt(entry.password))
            kinds.append(row.kind)
            if row.kind is Kind.USABLE and row.reading is Reading.UTF_8 and not row.previous:
                break
            if max(kinds.count(Kind.USABLE), kinds.count(Kind.UNDECRYPTABLE)) >= CANDIDATES:
                break
        if self._shared is not None:
            self._shared.judge(rows)
        return settles(kinds)

    async def _usable(self) -> None:
        if self.state is StoreState.OPENING:
            await self.open()
        if self.trouble is not None:
            raise self.trouble.with_traceback(None)

    async def _asked(self, operation: Awaitable[Result]) -> Result:
        try:
            return await self._bounded(operation)
        except StorageUnavailableError as error:
            self._became(StoreState.UNAVAILABLE, error)
            self._wake.set()
            raise

    @staticmethod
    async def _bounded(operation: Awaitable[Result]) -> Result:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await operation
        except TimeoutError:
            raise StorageUnavailableError(
                f"the credential storage gives no answer within {ANSWER_SECONDS:.0f} s"
            ) from None

    def _became(self, state: StoreState, trouble: StorageUnavailableError | None) -> None:
        before, self.state, self.trouble = self.state, state, trouble
        if before is state:
            return
        if trouble is not None:
            log.warning("credential_storage", state=state.value, reason=trouble.reason, why=str(trouble))
        elif before is not StoreState.OPENING:
            log.info("credential_storage", state=state.value)
        self._changed()

    def _now(self) -> int:
        return int(self._clock())


def not_known(error: StorageUnavailableError) -> Stored:
    """What is known of a user while the store does not give it."""
    mismatch = error.reason == PASSCRYPT_MISMATCH
    return Stored(StoredState.MISMATCH if mismatch else StoredState.UNAVAILABLE, message=str(error))
