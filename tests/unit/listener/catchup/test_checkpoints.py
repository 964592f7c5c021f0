"""The checkpoint of a folder lies below every mail that is not over, whatever happens in whatever order."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from mailpush.listener.catchup import checkpoints as module
from mailpush.listener.catchup.checkpoints import Checkpoints
from mailpush.listener.catchup.store import (
    Checkpoint,
    CheckpointsUnavailable,
    Folder,
    MemoryCheckpoints,
)
from mailpush.notifications.notification import NewMail
from mailpush.sharding.slots import slot_of
from tests.sites.waiting import until

INBOX = Folder(1, 3, "INBOX")
SLOT = slot_of(1, 3)


def mail(uid: int, uidvalidity: int = 1) -> NewMail:
    return NewMail(1, 3, "INBOX", uid, uidvalidity)


@dataclass
class Store(MemoryCheckpoints):
    """As in memory, with what was written so far; `away` is a store that does not answer, `hangs` one that is slow."""

    written: list[tuple[int, dict[Folder, Checkpoint]]] = field(default_factory=list)
    away: bool = False
    hangs: bool = False
    asked: int = 0

    def __post_init__(self) -> None:
        super().__init__()

    async def of_user(self, context_id: int, user_id: int) -> dict[str, Checkpoint]:
        self.asked += 1
        await self._trouble()
        return await super().of_user(context_id, user_id)

    async def save(self, epoch: int, checkpoints: Mapping[Folder, Checkpoint]) -> None:
        await self._trouble()
        self.written.append((epoch, dict(checkpoints)))
        await super().save(epoch, checkpoints)

    async def _trouble(self) -> None:
        if self.hangs:
            await asyncio.sleep(3600)
        if self.away:
            raise CheckpointsUnavailable("away")


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def checkpoints(store: Store) -> Checkpoints:
    made = Checkpoints(store)
    made.own([SLOT], 7)
    return made


async def kept(checkpoints: Checkpoints, store: Store) -> Checkpoint | None:
    """What the next owner finds."""
    await checkpoints.release([SLOT])
    return (await MemoryCheckpoints.of_user(store, 1, 3)).get("INBOX")


async def test_a_mail_that_is_on_its_way_is_the_next_owners_too(checkpoints: Checkpoints, store: Store) -> None:
    checkpoints.at(INBOX, 1, 12, [])
    checkpoints.under_way(mail(9))
    checkpoints.under_way(mail(11))
    checkpoints.over(mail(11))
    assert await kept(checkpoints, store) == Checkpoint(1, 9)
    assert store.written[0][0] == 7, "with the epoch under which the slot came"


async def test_what_the_server_owes_is_so_too(checkpoints: Checkpoints, store: Store) -> None:
    checkpoints.at(INBOX, 1, 12, [10, 5])
    assert await kept(checkpoints, store) == Checkpoint(1, 5)


async def test_once_all_is_over_it_is_the_next_uid(checkpoints: Checkpoints, store: Store) -> None:
    checkpoints.at(INBOX, 1, 12, [])
    checkpoints.under_way(mail(11))
    checkpoints.over(mail(11))
    checkpoints.over(mail(11))
    checkpoints.over(mail(999))
    assert await kept(checkpoints, store) == Checkpoint(1, 12)


async def test_mails_of_a_former_uidvalidity_do_not_count(checkpoints: Checkpoints, store: Store) -> None:
    checkpoints.at(INBOX, 1, 12, [])
    checkpoints.under_way(mail(11))
    checkpoints.at(INBOX, 2, 4, [])
    checkpoints.under_way(mail(3, uidvalidity=2))
    checkpoints.over(mail(3, uidvalidity=1))
    assert await kept(checkpoints, store) == Checkpoint(2, 3)


async def test_nothing_is_written_of_slots_that_are_not_ours(checkpoints: Checkpoints, store: Store) -> None:
    stranger = Folder(2, 3, "INBOX")
    checkpoints.at(stranger, 1, 12, [])
    await checkpoints.release([slot_of(2, 3), SLOT])
    checkpoints.at(INBOX, 1, 50, [])
    checkpoints.over(mail(3))
    await checkpoints.release([SLOT])
    assert store.written == []


async def test_a_release_waits_a_moment_only_for_a_store_that_hangs(
    checkpoints: Checkpoints, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RELEASE_SECONDS", 0.01)
    checkpoints.at(INBOX, 1, 12, [])
    store.hangs = True
    await checkpoints.release([SLOT])
    store.hangs = False
    await checkpoints.release([SLOT])
    assert store.written == [], "and nothing of it is written later, when another pod has the slot"


async def test_what_stays_the_same_is_written_once(
    checkpoints: Checkpoints, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FLUSH_SECONDS", 0.001)
    monkeypatch.setattr(module, "BATCH", 2)
    for user in range(5):
        checkpoints.own([slot_of(1, user)], 7)
        checkpoints.at(Folder(1, user, "INBOX"), 1, 12, [])
    task = asyncio.create_task(checkpoints.run())
    await until(lambda: len(store.written) == 3)
    for _ in range(3):
        checkpoints.at(INBOX, 1, 12, [])
        await asyncio.sleep(0.005)
    task.cancel()
    assert [len(batch) for _, batch in store.written] == [2, 2, 1]


async def test_a_store_that_is_away_is_tried_again_and_said_once(
    checkpoints: Checkpoints, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FLUSH_SECONDS", 0.001)
    store.away = True
    checkpoints.at(INBOX, 1, 12, [])
    with capture_logs() as logs:
        task = asyncio.create_task(checkpoints.run())
        await asyncio.sleep(0.02)
        store.away = False
        await until(lambda: store.written)
    task.cancel()
    assert [line["event"] for line in logs] == ["checkpoints_not_written"]


async def test_ten_thousand_listeners_do_not_wait_for_a_store_one_after_the_other(store: Store) -> None:
    time = [0.0]
    checkpoints = Checkpoints(store, clock=lambda: time[0])
    store.away = True
    for user in range(1000):
        with pytest.raises(CheckpointsUnavailable):
            await checkpoints.load(Folder(1, user, "INBOX"))
    assert store.asked == 1
    store.away, time[0] = False, module.PAUSE_SECONDS
    assert await checkpoints.load(INBOX) is None


async def test_another_store_gets_all_of_it(checkpoints: Checkpoints, store: Store) -> None:
    checkpoints.at(INBOX, 1, 12, [])
    await checkpoints.release([])
    other = Store()
    await checkpoints.use(other)
    assert await kept(checkpoints, other) == Checkpoint(1, 12)


@given(
    st.lists(
        st.tuples(st.integers(1, 30), st.sampled_from(["seen", "under_way", "over", "settled"])),
        min_size=1,
        max_size=60,
    )
)
def test_it_is_never_above_a_mail_that_is_not_over(steps: list[tuple[int, str]]) -> None:
    store = Store()
    checkpoints = Checkpoints(store)
    checkpoints.own([SLOT], 1)
    next_uid, owed, under_way = 1, set[int](), set[int]()
    for uid, step in steps:
        match step:
            case "seen" if uid >= next_uid:
                owed |= set(range(next_uid, uid + 1))
                next_uid = uid + 1
            case "under_way" if uid in owed:
                checkpoints.at(INBOX, 1, next_uid, owed)
                checkpoints.under_way(mail(uid))
                owed.discard(uid)
                under_way.add(uid)
            case "settled":
                owed.discard(uid)
            case "over":
                under_way.discard(uid)
                checkpoints.over(mail(uid))
        checkpoints.at(INBOX, 1, next_uid, owed)
    found = asyncio.run(kept(checkpoints, store))
    assert found == Checkpoint(1, min(owed | under_way | {next_uid}))
