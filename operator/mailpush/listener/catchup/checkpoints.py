"""What this pod has told of its folders, written down soon, and before it releases a slot (protocol P16).

A checkpoint is the lowest UID that is not over: that the server still owes, or that is on its way to a target. Of the
mails above it those that are told are known by their claims, for 24 hours, and so nobody is told twice.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog

from mailpush.listener.catchup.store import Checkpoint, CheckpointStore, CheckpointsUnavailable, Folder
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


@dataclass(slots=True)
class _Track:
    """A folder that is being listened to."""

    slot: int
    uidvalidity: int
    next: int
    owed: int | None
    """The lowest UID that the server still owes."""
    under_way: set[int] = field(default_factory=set)
    saved: Checkpoint | None = None
    saved_at: float = 0.0

    @property
    def checkpoint(self) -> Checkpoint:
        lowest = min(self.under_way, default=self.next)
        return Checkpoint(self.uidvalidity, min(lowest, self.next if self.owed is None else self.owed))

    def due(self, now: float) -> bool:
        """Whether it is to be written."""
        return self.saved != self.checkpoint or now - self.saved_at >= AGAIN_SECONDS


class Checkpoints:
    """One per process. `use` replaces the store."""

    def __init__(self, store: CheckpointStore, clock: Clock = boottime) -> None:
        self._store = store
        self._clock = clock
        self._epochs: dict[int, int] = {}
        self._tracks: dict[Folder, _Track] = {}
        self._of_slot: defaultdict[int, set[Folder]] = defaultdict(set)
        self._changed: set[Folder] = set()
        self._failing = False
        self._asked_again_at = 0.0

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
        if self._clock() < self._asked_again_at:
            raise CheckpointsUnavailable("the store of checkpoints did not answer a moment ago")
        try:
            async with asyncio.timeout(LOAD_SECONDS):
                return await self._store.load(folder)
        except (CheckpointsUnavailable, TimeoutError):
            self._asked_again_at = self._clock() + PAUSE_SECONDS
            raise CheckpointsUnavailable("the store of checkpoints does not answer") from None

    def at(self, folder: Folder, uidvalidity: int, next: int, owed: Collection[int]) -> None:
        slot = slot_of(folder.context_id, folder.user_id)
        if slot not in self._epochs:
            return
        lowest = min(owed, default=None)
        track = self._tracks.get(folder)
        if track is None or track.uidvalidity != uidvalidity:
            self._tracks[folder] = _Track(slot, uidvalidity, next, lowest)
            self._of_slot[slot].add(folder)
        else:
            track.next, track.owed = next, lowest
        self._changed.add(folder)

    def under_way(self, mail: NewMail) -> None:
        track = self._track(mail)
        if track is not None:
            track.under_way.add(mail.uid)

    def over(self, mail: NewMail) -> None:
        track = self._track(mail)
        if track is not None and mail.uid in track.under_way:
            track.under_way.remove(mail.uid)
            self._changed.add(_folder(mail))

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
        by_epoch: defaultdict[int, dict[Folder, Checkpoint]] = defaultdict(dict)
        now = self._clock()
        for folder in folders:
            track = self._tracks.get(folder)
            if track is None or track.slot not in self._epochs or not track.due(now):
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

    def _track(self, mail: NewMail) -> _Track | None:
        track = self._tracks.get(_folder(mail))
        return track if track is not None and track.uidvalidity == mail.uidvalidity else None


def _folder(mail: NewMail) -> Folder:
    return Folder(mail.context_id, mail.user_id, mail.folder)
