"""The credential storage as this pod uses it: what the settings name, under their passcrypt, and how it does."""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from mailpush.credentials.cipher import Cipher, Passcrypt
from mailpush.credentials.ox.table import OxTable
from mailpush.credentials.rotation import Progress, Rotation
from mailpush.credentials.storage import CredentialStorage, StorageUnavailableError
from mailpush.credentials.stored import PASSCRYPT_MISMATCH, StoredCredentials, StoreState
from mailpush.listener.users.credentials import uses_storage
from mailpush.listener.users.ox_writes import OxWrites
from mailpush.listener.users.passcrypts import Passcrypts, PasscryptsUnknownError
from mailpush.listener.users.stored_entries import StoredEntries
from mailpush.properties.settings import Settings
from mailpush.sharding.leases import RotationReport, WritesReport
from mailpush.work.clock import boottime
from mailpush.work.pace import Backoff

StorageOf = Callable[[Settings, str], CredentialStorage | None]
"""The storage that settings name, of the MailPushConfig with this UID; None where they name none."""

ROTATING_SLOT: Final = 0
"""The pod that owns this slot encrypts anew and cleans up: one at a time, and a second does no harm."""
LOOK_SECONDS: Final = 10.0
NAMED_PODS: Final = 5
PODS_DIFFER: Final = "PodsDiffer"
UNKNOWN: Final = "PasscryptsUnknown"
RETRY: Final = Backoff(5.0, 300.0)

log = structlog.get_logger(__name__)


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
        self._agreed = float("-inf")
        self._named: tuple[object, ...] | None = None
        self._storage: CredentialStorage | None = None
        self._cipher: Cipher | None = None
        self._seen: tuple[object, ...] | None = None
        self._other = asyncio.Event()
        self._ox_writes: OxWrites | None = None
        self.stored: StoredCredentials | None = None
        """The one that counts; None where no passwords are stored, or nobody uses them."""
        self.rotation: RotationReport | None = None
        """How far this pod has encrypted it anew; None where there is no previous passcrypt."""
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

    def rotation_under(self, settings: Settings) -> RotationReport | None:
        """How far it is with these settings: the end of a former rotation says nothing of the one that they begin."""
        return self.rotation if _named(settings) == self._named else None

    @property
    def writes(self) -> WritesReport | None:
        """Whether OX's table takes passwords; None where none are put there, or another pod looks."""
        return self._ox_writes.report if self._ox_writes is not None else None

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
        self._cipher, self.stored, self.rotation, self._ox_writes = None, None, None, None
        if self._storage is not None and settings.passcrypt:
            previous = Passcrypt(settings.passcrypt_previous) if settings.passcrypt_previous else None
            self._cipher = Cipher(Passcrypt(settings.passcrypt), previous)
            foreign = settings.ox is not None
            self.stored = StoredCredentials(
                self._storage, self._cipher, foreign=foreign, changed=self._changed, may_begin=self._may_begin
            )
            if isinstance(self._storage, OxTable) and self._storage.form is not None:
                self._ox_writes = OxWrites(self._storage, self.stored, lambda: self._owns(ROTATING_SLOT))
        self._entries.use(self.stored)

    # -- its life

    async def run(self) -> None:
        """Watches the storage that counts, and rotates its passcrypt where this pod is to, until cancelled."""
        while True:
            self._other.clear()
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._rotate())]
                if self.stored is not None:
                    tasks.append(group.create_task(self.stored.watch()))
                if self._ox_writes is not None:
                    tasks.append(group.create_task(self._ox_writes.run()))
                await self._other.wait()
                for task in tasks:
                    task.cancel()

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

    async def _rotate(self) -> None:
        storage, cipher, stored = self._storage, self._cipher, self.stored
        if storage is None or cipher is None or cipher.previous is None or stored is None or stored.foreign:
            return
        self.rotation, self._agreed = RotationReport(0), float("-inf")
        rotation = Rotation(storage, cipher, gate=self._pods_agree, report=self._report)
        failures = 0
        while not rotation.progress.finished:
            if not self._owns(ROTATING_SLOT):
                self._waits("")
                await asyncio.sleep(LOOK_SECONDS)
                continue
            if stored.state is not StoreState.READY:
                self._waits(str(stored.trouble or ""))
                await asyncio.sleep(LOOK_SECONDS)
                continue
            seen = rotation.progress.seen
            try:
                await rotation.run()
            except StorageUnavailableError as error:
                failures = 1 if rotation.progress.seen != seen else failures + 1
                self._waits(str(error))
                await asyncio.sleep(LOOK_SECONDS if error.reason == PODS_DIFFER else RETRY.after(failures))
        log.info("rotation_finished", renewed=rotation.progress.renewed, unreadable=rotation.progress.unreadable)

    async def _pods_agree(self) -> None:
        """Goes on while no live pod has another passcrypt: it could read nothing of what is encrypted anew.

        Raises:
            StorageUnavailableError: one has, or may have. The text names it.
        """
        if boottime() - self._agreed < LOOK_SECONDS:
            return
        try:
            others = await self._passcrypts.differing(self._shown())
        except PasscryptsUnknownError as error:
            raise StorageUnavailableError(str(error), PODS_DIFFER) from None
        if others:
            more = f" and {len(others) - NAMED_PODS} more" if len(others) > NAMED_PODS else ""
            have = "have" if len(others) > 1 else "has"
            raise StorageUnavailableError(
                f"{', '.join(others[:NAMED_PODS])}{more} {have} not taken the new passcrypt yet", PODS_DIFFER
            )
        self._agreed = boottime()

    def _shown(self) -> str:
        if not (fingerprint := self.fingerprint):
            raise PasscryptsUnknownError("the key by which passcrypts are compared is not mounted")
        return fingerprint

    def _waits(self, why: str) -> None:
        if self.rotation is None or self.rotation.waits == why:
            return
        self.rotation = self.rotation._replace(waits=why)
        if why:
            log.warning("rotation_waits", why=why)

    def _report(self, progress: Progress) -> None:
        self.rotation = RotationReport(
            progress.entries,
            progress.entries if progress.finished else progress.seen,
            progress.unreadable,
            progress.finished,
        )


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
