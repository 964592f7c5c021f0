"""The credential storage as this pod uses it: what the settings name, under their passcrypt, and how it does."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final

from mailpush.credentials.cipher import Cipher, Passcrypt
from mailpush.credentials.migration import Migration
from mailpush.credentials.moving import MovingCredentials
from mailpush.credentials.ox.table import OxTable
from mailpush.credentials.rotation import Rotation
from mailpush.credentials.storage import CredentialStorage, StorageUnavailableError
from mailpush.credentials.stored import PASSCRYPT_MISMATCH, StoredCredentials, StoreState
from mailpush.decision.kept import kept_in
from mailpush.listener.users.chore import Chore
from mailpush.listener.users.credentials import uses_storage
from mailpush.listener.users.ox_writes import OxWrites
from mailpush.listener.users.passcrypts import Passcrypts, PasscryptsUnknownError
from mailpush.listener.users.stored_entries import StoredEntries
from mailpush.properties.settings import Settings
from mailpush.sharding.leases import RotationReport, WritesReport

StorageOf = Callable[[Settings, str], CredentialStorage | None]
"""The storage that settings name, of the MailPushConfig with this UID; None where they name none."""

ROTATING_SLOT: Final = 0
"""The pod that owns this slot encrypts anew and cleans up: one at a time, and a second does no harm."""
UNKNOWN: Final = "PasscryptsUnknown"


class PodStorage:
    """Replaces the storage where the settings name another one, or another passcrypt.

    Args:
        owns: whether this pod owns a slot.
        hash_key: the installation's key, by which passcrypts are compared and not shown.
        passcrypts: those of the other pods, and of the operator.
    """

    def __init__(
        self,
        settings: Settings,
        config_uid: str,
        storage_of: StorageOf,
        *,
        entries: StoredEntries,
        owns: Callable[[int], bool],
        hash_key: Callable[[], bytes],
        passcrypts: Passcrypts,
    ) -> None:
        self._config_uid = config_uid
        self._storage_of = storage_of
        self._entries = entries
        self._observer: Callable[[], None] = lambda: None
        self._owns = owns
        self._hash_key = hash_key
        self._passcrypts = passcrypts
        self._named: tuple[object, ...] | None = None
        self._storage: CredentialStorage | None = None
        self._cipher: Cipher | None = None
        self._seen: tuple[object, ...] | None = None
        self._other = asyncio.Event()
        self._ox_writes: OxWrites | None = None
        self.stored: StoredCredentials | None = None
        """The one that counts; None where no passwords are stored, or nobody uses them."""
        self.kept = ""
        """Where it keeps passwords, in a word; empty where none are stored."""
        self._rotation: Chore | None = None
        self._migration: Chore | None = None
        self._take(settings)

    def notify(self, observer: Callable[[], None]) -> None:
        """`observer` is called when the storage has become another, or does well or badly all of a sudden."""
        self._observer = observer

    def _changed(self) -> None:
        self._observer()

    # -- how it does

    @property
    def trouble(self) -> str:
        """What keeps the pod from it, in a word; empty where nothing does."""
        trouble = self.stored.trouble if self.stored is not None else None
        return trouble.reason if trouble is not None else ""

    @property
    def mismatch(self) -> bool:
        """Whether it is written under another passcrypt."""
        return self.stored is not None and self.stored.state is StoreState.MISMATCH

    @property
    def incapable(self) -> str | None:
        """The reason for which this pod is to get no users; None where the storage is none."""
        return PASSCRYPT_MISMATCH if self.mismatch else None

    def renewed(self) -> bool:
        """Whether what was known of all users counts no more, since this was asked last: another storage, another
        passcrypt."""
        now = (self._named, self.mismatch)
        before, self._seen = self._seen, now
        return before != now

    @property
    def fingerprint(self) -> str:
        """By which the passcrypts of pods are compared; empty without one."""
        try:
            key = self._hash_key()
        except OSError:
            return ""
        return self._cipher.fingerprint(key) if self._cipher is not None and key else ""

    @property
    def rotation(self) -> RotationReport | None:
        """How far this pod has encrypted it anew; None where there is no previous passcrypt."""
        return self._rotation.report if self._rotation is not None else None

    @property
    def migration(self) -> RotationReport | None:
        """How far this pod has copied the cluster memory to the database; None where it does not have both."""
        return self._migration.report if self._migration is not None else None

    def rotation_under(self, settings: Settings) -> RotationReport | None:
        """As `rotation`, with these settings: the end of a former one says nothing of the one that they begin."""
        return self.rotation if _named(settings) == self._named else None

    @property
    def writes(self) -> WritesReport | None:
        """Whether OX's table takes passwords; None where none are put there, or another pod looks."""
        return self._ox_writes.report if self._ox_writes is not None else None

    def migration_under(self, settings: Settings) -> RotationReport | None:
        """As `migration`, with these settings."""
        return self.migration if _named(settings) == self._named else None

    # -- the settings

    async def use(self, settings: Settings) -> None:
        """The settings that count from now on."""
        if _named(settings) == self._named:
            return
        old = self._storage
        self._take(settings)
        self._other.set()
        self._changed()
        if old is not None:
            await old.close()

    def _take(self, settings: Settings) -> None:
        self._named = _named(settings)
        self._storage = self._storage_of(settings, self._config_uid) if uses_storage(settings) else None
        self.kept = kept_in(settings) if self._storage is not None else ""
        self._cipher, self.stored, self._rotation, self._migration = None, None, None, None
        self._ox_writes = None
        if self._storage is not None and settings.passcrypt:
            previous = Passcrypt(settings.passcrypt_previous) if settings.passcrypt_previous else None
            self._cipher = Cipher(Passcrypt(settings.passcrypt), previous)
            foreign = settings.ox is not None
            self.stored = StoredCredentials(
                self._storage, self._cipher, foreign=foreign, changed=self._changed, may_begin=self._may_begin
            )
            if isinstance(self._storage, OxTable) and self._storage.form is not None:
                self._ox_writes = OxWrites(self._storage, self.stored, lambda: self._owns(ROTATING_SLOT))
            if previous is not None and not foreign:
                self._rotation = Chore(
                    "rotation",
                    self.stored,
                    owns=self._does_chores,
                    differing=self._others_by_passcrypt,
                    lack="taken the new passcrypt",
                )
            if isinstance(self._storage, MovingCredentials):
                self._migration = Chore(
                    "migration",
                    self.stored,
                    owns=self._does_chores,
                    differing=self._others_by_place,
                    lack="gone over to the database",
                )
        self._entries.use(self.stored)

    def _does_chores(self) -> bool:
        return self._owns(ROTATING_SLOT)

    # -- its life

    async def run(self) -> None:
        """Watches the storage that counts, and does the chores on it where this pod is to, until cancelled."""
        while True:
            self._other.clear()
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one) for one in self._to_run()]
                await self._other.wait()
                for task in tasks:
                    task.cancel()

    def _to_run(self) -> Iterator[Coroutine[Any, Any, None]]:
        storage, cipher = self._storage, self._cipher
        if self.stored is not None:
            yield self.stored.watch()
        if self._ox_writes is not None:
            yield self._ox_writes.run()
        if self._rotation is not None and storage is not None and cipher is not None:
            yield self._rotate(self._rotation, storage, cipher)
        if self._migration is not None and isinstance(storage, MovingCredentials) and cipher is not None:
            yield self._migrate(self._migration, storage, cipher)

    async def close(self) -> None:
        await self._entries.close()
        if self._storage is not None:
            await self._storage.close()

    async def _may_begin(self) -> bool:
        """Whether a store that is empty may be begun under this pod's passcrypt: only under that of the operator.

        A pod whose passcrypt is wrong would else make all others wrong, when it is the first after Redis has forgotten.
        """
        try:
            return await self._passcrypts.is_given(self._shown())
        except PasscryptsUnknownError as error:
            text = f"the credential storage has no check value yet, and whether it may be written is not known: {error}"
            raise StorageUnavailableError(text, UNKNOWN) from None

    async def _rotate(self, chore: Chore, storage: CredentialStorage, cipher: Cipher) -> None:
        rotation = Rotation(storage, cipher, gate=chore.gate, report=chore.told)
        await chore.run(rotation.run)

    async def _migrate(self, chore: Chore, storage: MovingCredentials, cipher: Cipher) -> None:
        migration = Migration(storage.source, storage.target, cipher, gate=chore.gate, report=chore.told)
        await chore.run(migration.run)

    async def _others_by_passcrypt(self) -> list[str]:
        return await self._passcrypts.differing(self._shown())

    async def _others_by_place(self) -> list[str]:
        return await self._passcrypts.keeping_elsewhere(self.kept)

    def _shown(self) -> str:
        if not (fingerprint := self.fingerprint):
            raise PasscryptsUnknownError("the key by which passcrypts are compared is not mounted")
        return fingerprint


def _named(settings: Settings) -> tuple[object, ...]:
    """What of the settings makes another storage."""
    return (
        uses_storage(settings),
        settings.credential_storage,
        settings.passcrypt,
        settings.passcrypt_previous,
        settings.redis,
        settings.database,
        settings.ox,
    )
