"""What the journal keeps while a mail is on its way, and what becomes of it where it cannot."""

import errno
from collections.abc import Callable

import pytest

from mailpush.listener.mails import open_entries as open_entries_module
from mailpush.listener.mails import router as router_module
from mailpush.listener.mails.inbox import Item
from mailpush.listener.mails.journal import Journal
from mailpush.listener.mails.offer import TakeResult
from mailpush.notifications.dispatcher import Undelivered
from mailpush.sharding.slots import slot_of
from tests.unit.listener.mails.world import OpenRouter, Run, World, done, mail


async def test_a_new_process_goes_on_where_the_killed_one_was(world: World, run: Run) -> None:
    world.owner = None
    first = world.router()
    first.inbox.offer(mail(1))
    first.inbox.offer(mail(2))
    world.owner = "pod-1"
    second = run(world.router())
    assert second.inbox.pending == 2
    await done(second)
    assert sorted(world.posts) == [("pod-1", 1), ("pod-1", 2)]
    assert world.router().inbox.pending == 0


async def test_the_journal_keeps_a_mail_until_it_has_been_told(world: World, run: Run) -> None:
    world.local = TakeResult.TAKEN
    world.open = {(1, 3)}
    router = run(world.router())
    router.inbox.offer(mail(1, user=3))
    router.inbox.offer(mail(2, user=4))
    assert await router.take_over(mail(3, user=3)) is TakeResult.TAKEN
    await done(router)
    router._open_entries.sweep()
    assert [entry.mail.uid for entry in Journal(world.folder).replay()] == [1, 3]
    world.open = set()
    router._open_entries.sweep()
    assert Journal(world.folder).replay() == []


async def test_mails_that_are_being_told_give_way_to_new_ones(world: World, run: Run) -> None:
    world.local = TakeResult.TAKEN
    world.open = {(1, user) for user in range(1, 10_000)}
    router = run(world.router())
    router.inbox._journal._most_pending_bytes = 2000
    for user in range(1, 101):
        assert router.inbox.offer(mail(user, user=user))
        await done(router)
    assert router.inbox._journal._pending_bytes <= 2000
    assert len(world.taken) == 100


def fill(router: OpenRouter, monkeypatch: pytest.MonkeyPatch) -> None:
    router.journal._most_pending_bytes = 0


def break_disk(router: OpenRouter, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(router.journal._files, "write", full)


@pytest.mark.parametrize("hinder", [fill, break_disk])
async def test_a_mail_that_is_handed_over_is_answered_for_only_once_the_journal_has_it_or_it_is_sent(
    world: World, monkeypatch: pytest.MonkeyPatch, hinder: Callable[[OpenRouter, pytest.MonkeyPatch], None]
) -> None:
    """The answer was 'taken' although the journal had not taken it: the other pod forgot it, and a kill lost it."""
    monkeypatch.setattr(router_module, "OVER_SECONDS", 0.01)
    world.local = TakeResult.TAKEN
    world.open = {(1, 3)}
    router = world.router()
    hinder(router, monkeypatch)
    assert await router.take_over(mail()) is TakeResult.BUSY
    assert world.taken == [mail()], "it is sent all the same"
    assert await router.take_over(mail()) is TakeResult.BUSY
    world.open = set()
    assert await router.take_over(mail()) is TakeResult.TAKEN


async def test_a_mail_that_is_handed_over_while_the_disk_fails_is_taken_once_it_works(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(router_module, "OVER_SECONDS", 0.01)
    world.local, world.open = TakeResult.TAKEN, {(1, 3)}
    router = world.router()
    with monkeypatch.context() as broken:
        break_disk(router, broken)
        assert await router.take_over(mail()) is TakeResult.BUSY
        assert await router.take_over(mail()) is TakeResult.BUSY
    assert router.journal.pending == 1
    router.journal.tend()
    assert await router.take_over(mail()) is TakeResult.TAKEN
    assert [entry.mail.uid for entry in Journal(world.folder).replay()] == [1]


async def test_a_callback_is_taken_although_the_disk_fails(
    world: World, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dovecot never repeats it, so memory is better than nothing."""
    world.local = TakeResult.TAKEN
    router = run(world.router())
    break_disk(router, monkeypatch)
    assert router.inbox.offer(mail())
    await done(router)
    assert world.taken == [mail()]


async def test_a_mail_that_is_given_back_stays_in_the_journal_all_the_time(world: World, run: Run) -> None:
    """It was recorded anew, so that a full journal lost it, and its first entry was closed as if it had been sent."""
    world.local, world.open = TakeResult.TAKEN, {(1, 3)}
    router = run(world.router(capacity=1))
    router.inbox.offer(mail())
    await done(router)
    router.journal._most_pending_bytes = 0
    world.local, world.owner = TakeResult.NOT_MINE, None
    router.inbox.give_back(Undelivered(mail(), (), 1.0))
    router.inbox.give_back(Undelivered(mail(2), (), 1.0))
    world.open = set()
    router._open_entries.sweep()
    assert [entry.mail.uid for entry in Journal(world.folder).replay()] == [1]
    world.owner = "pod-1"
    router.inbox.ownership_changed()
    await done(router)
    assert sorted(world.posts) == [("pod-1", 1), ("pod-1", 2)], "also the one that only memory had"
    assert Journal(world.folder).replay() == []


async def test_a_mail_that_comes_twice_has_one_entry(world: World, run: Run) -> None:
    world.local, world.open = TakeResult.TAKEN, {(1, 3)}
    router = run(world.router())
    for _ in range(3):
        router.inbox.offer(mail())
    assert await router.take_over(mail()) is TakeResult.TAKEN
    await done(router)
    assert router.journal.pending == 1


def taken_out(router: OpenRouter) -> list[Item]:
    """All that is due."""
    return list(iter(router.inbox.next_due, None))


async def test_a_slot_that_moves_wakes_what_waits_for_an_owner_and_its_own_mails_only(world: World) -> None:
    """Each of 20,000 mails that waited for a target was tried again for each slot that moved anywhere."""
    router = world.router()
    for user in range(1, 301):
        router.inbox.offer(mail(user=user))
    for item in taken_out(router):
        user = item.mail.user_id
        router.inbox.later(item, 60.0, owned=None if user <= 20 else slot_of(1, user))
    assert taken_out(router) == []
    router.inbox.ownership_changed()
    woken = taken_out(router)
    assert sorted(item.mail.user_id for item in woken) == list(range(1, 21))
    router.inbox.ownership_changed([slot_of(1, 200)])
    assert [item.mail.user_id for item in taken_out(router)] == [200]
    world.passed += 60.0
    assert len(taken_out(router)) == 279, "the others when their time has come, each once"


@pytest.mark.parametrize(("local", "owned"), [(TakeResult.BUSY, True), (TakeResult.NOT_MINE, False)])
async def test_a_mail_that_its_own_pod_has_no_room_for_waits_for_no_owner(
    world: World, local: TakeResult, owned: bool
) -> None:
    world.local, world.owner = local, None
    router = world.router()
    router.inbox.offer(mail())
    router._route_due()
    ((_, _, item),) = router.inbox._due
    assert item.owned == (slot_of(1, 3) if owned else None)


async def test_closing_many_entries_lets_others_have_their_turn(world: World, run: Run) -> None:
    """A target that came back let a thousand mails end at once, with one write each before anybody else had a turn."""
    world.local, world.open = TakeResult.TAKEN, {(1, 3)}
    router = run(world.router(capacity=5000))
    for uid in range(1, 3001):
        assert await router.take_over(mail(uid)) is TakeResult.TAKEN
    world.open = set()
    router._open_entries._collect()
    before = router.journal.pending
    router._open_entries._close_some()
    assert 0 < before - router.journal.pending <= open_entries_module.SWEEP_SLICE


@pytest.mark.parametrize("result", [TakeResult.BUSY, TakeResult.NOT_MINE, TakeResult.UNKNOWN, TakeResult.DENIED])
async def test_a_mail_that_is_handed_over_and_not_taken_leaves_nothing(world: World, result: TakeResult) -> None:
    world.local = result
    assert await world.router().take_over(mail()) is result
    assert Journal(world.folder).replay() == []
