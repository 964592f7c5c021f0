"""What this pod has told of its folders, written down soon, and before it releases a slot (protocol P16).

A checkpoint is the lowest UID that is not over: that the server still owes, or that is on its way to a target. Of the
mails above it those that are told are known by their claims, for 24 hours, and so nobody is told twice.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from typing import Final, Protocol

import structlog

from mailpush.listener.catchup.metrics import BASELINES
from mailpush.listener.catchup.store import Checkpoint, CheckpointStore, CheckpointsUnavailable, Folder
from mailpush.listener.catchup.track import Track
from mailpush.notifications.notification import NewMail
from mailpush.sharding.slots import slot_of
from mailpush.work.clock import Clock, boottime

FLUSH_SECONDS: Final = 1.0
RELEASE_SECONDS: Final = 0.5
"""The longest time that the release of a slot waits for the store: an older checkpoint costs claims, no mail."""
LOAD_SECONDS: Final = 2.5
AGAIN_SECONDS: Final = 24 * 3600.0
"""One that stays the same is written once a day, as the store forgets what nobody writes."""
BATCH: Final = 500
PAUSE_SECONDS: Final = 5.0
"""How long a store that did not answer is not asked: of 10,000 listeners that start each would wait for it."""

log = structlog.get_logger(__name__)


class Progress(Protocol):
    """What a mechanism tells of a folder, and asks when it begins."""

    async def load(self, folder: Folder) -> Checkpoint | None:
        """The last checkpoint written, by whichever pod. Raises CheckpointsUnavailable."""
        ...

    def at(self, folder: Folder, uidvalidity: int, next: int, owed: Collection[int]) -> None:
        """Every mail below `next` has been seen, and of those `owed` are still to come from the server."""

    def under_way(self, mail: NewMail) -> None:
        """The mail is being told: until it is `over` its folder's checkpoint stays below it."""

    def over(self, mail: NewMail) -> None:
        """The mail is told, or never will be. Nothing happens for mails that are not under way."""

    async def stored(self, context_id: int, user_id: int) -> dict[str, Checkpoint]:
        """The last checkpoints written of a user, by folder. Raises CheckpointsUnavailable."""
        ...

    def folders(self, context_id: int, user_id: int) -> set[str]:
        """The folders of a user that this pod has told of."""
        ...

    def missing(self, folder: Folder, uidvalidity: int, uidnext: int, stored: Checkpoint | None) -> list[int]:
        """The UIDs that nobody has told of; none where there is no checkpoint, or one of another UIDVALIDITY."""
        ...


class NoProgress:
    """Nothing is written, so nobody goes on from anywhere."""

    async def load(self, folder: Folder) -> Checkpoint | None:
        return None

    def at(self, folder: Folder, uidvalidity: int, next: int, owed: Collection[int]) -> None:
        return

    def under_way(self, mail: NewMail) -> None:
        return

    def over(self, mail: NewMail) -> None:
        return

    async def stored(self, context_id: int, user_id: int) -> dict[str, Checkpoint]:
        return {}

    def folders(self, context_id: int, user_id: int) -> set[str]:
        return set()

    def missing(self, folder: Folder, uidvalidity: int, uidnext: int, stored: Checkpoint | None) -> list[int]:
        return []


class Checkpoints:
    """One per process. `use` replaces the store."""

    def __init__(self, store: CheckpointStore, clock: Clock = boottime) -> None:
        self._store = store
        self._clock = clock
        self._epochs: dict[int, int] = {}
        self._tracks: dict[Folder, Track] = {}
        self._of_slot: defaultdict[int, set[Folder]] = defaultdict(set)
        self._changed: set[Folder] = set()
        self._forgotten: set[tuple[int, int]] = set()
        """Users whose checkpoints are to be deleted."""
        self._gap: Callable[[tuple[int, int]], None] = lambda _key: None
        self._failing = False
        self._asked_again_at = 0.0

    def notify(self, gap: Callable[[tuple[int, int]], None]) -> None:
        """`gap` hears of each user of whom mails may have come that no callback has told of."""
        self._gap = gap

    @property
    def away(self) -> bool:
        """Whether the store did not answer a moment ago."""
        return self._clock() < self._asked_again_at

    # -- whose slots

    def own(self, slots: Iterable[int], epoch: int) -> None:
        """This pod has got the slots, under the shard map of this epoch."""
        for slot in slots:
            self._epochs.setdefault(slot, epoch)

    async def release(self, slots: Collection[int]) -> None:
        """Writes what is to be written of the slots, if the store takes it soon, and nothing after that."""
        folders = [folder for slot in slots for folder in self._of_slot.get(slot, ())]
        try:
            async with asyncio.timeout(RELEASE_SECONDS):
                await self._write(folders)
        except (CheckpointsUnavailable, TimeoutError):
            pass  # the next owner begins a little earlier
        for slot in slots:
            self._epochs.pop(slot, None)
            for folder in self._of_slot.pop(slot, ()):
                self._tracks.pop(folder, None)
                self._changed.discard(folder)

    # -- the mechanisms' side

    async def load(self, folder: Folder) -> Checkpoint | None:
        return (await self.stored(folder.context_id, folder.user_id)).get(folder.name)

    async def stored(self, context_id: int, user_id: int) -> dict[str, Checkpoint]:
        if (context_id, user_id) in self._forgotten:
            return {}
        if self.away:
            raise CheckpointsUnavailable("the store of checkpoints did not answer a moment ago")
        try:
            async with asyncio.timeout(LOAD_SECONDS):
                return await self._store.of_user(context_id, user_id)
        except (CheckpointsUnavailable, TimeoutError):
            self._asked_again_at = self._clock() + PAUSE_SECONDS
            raise CheckpointsUnavailable("the store of checkpoints does not answer") from None

    def at(self, folder: Folder, uidvalidity: int, next: int, owed: Collection[int]) -> None:
        track = self._opened(folder, uidvalidity)
        if track is not None:
            track.seen(next, owed)
            self._changed.add(folder)

    def under_way(self, mail: NewMail) -> None:
        track = self._track(mail)
        if track is not None:
            track.begins(mail.uid)

    def over(self, mail: NewMail) -> None:
        track = self._track(mail)
        if track is not None and track.ends(mail.uid):
            self._changed.add(_folder(mail))

    def folders(self, context_id: int, user_id: int) -> set[str]:
        return {folder.name for folder in self._of_user((context_id, user_id))}

    def missing(self, folder: Folder, uidvalidity: int, uidnext: int, stored: Checkpoint | None) -> list[int]:
        track = self._opened(folder, uidvalidity)
        if track is None:
            return []
        missing = track.missing(stored, uidnext)
        if missing is None:
            BASELINES.labels("none" if stored is None else "uidvalidity").inc()
        return missing or []

    # -- the callbacks' side

    def came(self, mail: NewMail) -> None:
        """A mail of a user of this pod has come, and is being told until it is `over`."""
        if not mail.uid:
            return
        folder = _folder(mail)
        before = self._tracks.get(folder)
        if before is not None and before.uidvalidity > mail.uidvalidity:
            return  # of a folder that was there before
        track = self._opened(folder, mail.uidvalidity)
        if track is None:
            return
        track.begins(mail.uid)
        track.came(mail.uid, self._clock())
        self._changed.add(folder)
        if track.incomplete:
            self._gap((mail.context_id, mail.user_id))

    def denied(self, mail: NewMail) -> None:
        """Nobody is to be told of the mail."""
        self.came(mail)
        self.over(mail)

    def forget(self, key: tuple[int, int]) -> None:
        """The user's last client is gone: what comes from now on is no news for whoever registers later."""
        for folder in self._of_user(key):
            self._tracks.pop(folder, None)
            self._of_slot[slot_of(*key)].discard(folder)
            self._changed.discard(folder)
        if slot_of(*key) in self._epochs:
            self._forgotten.add(key)

    # -- the sweep's side

    def incomplete(self, key: tuple[int, int]) -> bool:
        """Whether mails of the user may have come that no callback has told of."""
        return any(self._tracks[folder].incomplete for folder in self._of_user(key))

    def active(self, key: tuple[int, int]) -> float:
        """When the user's last mail came, by the clock; 0 where none has."""
        return max((self._tracks[folder].came_at for folder in self._of_user(key)), default=0.0)

    async def ask_all_to_sweep(self) -> None:
        """Each pod is to look into its users' mailboxes. Raises CheckpointsUnavailable."""
        await self._store.ask_to_sweep()

    async def sweeps_asked(self) -> int:
        """How often pods have asked that. Raises CheckpointsUnavailable."""
        return await self._store.sweeps_asked()

    # -- its life

    async def run(self) -> None:
        """Writes what has changed, every second, until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            try:
                await self._write(list(self._changed))
            except CheckpointsUnavailable as error:
                if not self._failing:
                    log.warning("checkpoints_not_written", why=str(error), meaning="a takeover looks further back")
                self._failing = True
            else:
                self._failing = False

    async def use(self, store: CheckpointStore) -> None:
        """Another store from now on: all is written there."""
        old, self._store = self._store, store
        for folder, track in self._tracks.items():
            track.saved = None
            self._changed.add(folder)
        await old.close()

    async def close(self) -> None:
        await self._store.close()

    async def _write(self, folders: Iterable[Folder]) -> None:
        for key in list(self._forgotten):
            await self._store.forget(*key)
            self._forgotten.discard(key)
        by_epoch: defaultdict[int, dict[Folder, Checkpoint]] = defaultdict(dict)
        now = self._clock()
        for folder in folders:
            track = self._tracks.get(folder)
            if track is None or track.slot not in self._epochs or not track.due(now, AGAIN_SECONDS):
                self._changed.discard(folder)
            elif folder in self._changed:
                by_epoch[self._epochs[track.slot]][folder] = track.checkpoint
        for epoch, checkpoints in by_epoch.items():
            names = list(checkpoints)
            for start in range(0, len(names), BATCH):
                batch = {name: checkpoints[name] for name in names[start : start + BATCH]}
                await self._store.save(epoch, batch)
                self._saved(batch, now)

    def _saved(self, batch: dict[Folder, Checkpoint], now: float) -> None:
        for folder, checkpoint in batch.items():
            track = self._tracks.get(folder)
            if track is not None:
                track.saved, track.saved_at = checkpoint, now
                if track.checkpoint == checkpoint:
                    self._changed.discard(folder)

    def _of_user(self, key: tuple[int, int]) -> list[Folder]:
        return [folder for folder in self._of_slot.get(slot_of(*key), ()) if folder[:2] == key]

    def _opened(self, folder: Folder, uidvalidity: int) -> Track | None:
        """The folder's track, made anew for another UIDVALIDITY; None for a user of another pod."""
        slot = slot_of(folder.context_id, folder.user_id)
        if slot not in self._epochs:
            return None
        track = self._tracks.get(folder)
        if track is None or track.uidvalidity != uidvalidity:
            track = self._tracks[folder] = Track(slot, uidvalidity)
            self._of_slot[slot].add(folder)
        return track

    def _track(self, mail: NewMail) -> Track | None:
        track = self._tracks.get(_folder(mail))
        return track if track is not None and track.uidvalidity == mail.uidvalidity else None


def _folder(mail: NewMail) -> Folder:
    return Folder(mail.context_id, mail.user_id, mail.folder)
