import asyncio

import pytest
from structlog.testing import capture_logs

from mailpush.listener.mails.journal import Journal
from mailpush.listener.mails.lanes import SENDS_TO_ONE
from mailpush.listener.mails.offer import TakeResult
from mailpush.listener.mails.peers import PeerAnswer, PeerVerdict
from mailpush.listener.mails.router import IN_ONE_GO
from mailpush.notifications.dispatcher import Undelivered
from tests.sites.waiting import until
from tests.unit.listener.mails.world import OpenRouter, Run, World, done, mail


async def test_a_mail_of_our_own_user_goes_to_our_listeners(world: World, run: Run) -> None:
    world.local = TakeResult.TAKEN
    router = run(world.router())
    assert router.inbox.offer(mail())
    await done(router)
    assert world.taken == [mail()]
    assert world.posts == []


async def test_a_mail_of_another_s_user_is_handed_over_once(world: World, run: Run) -> None:
    router = run(world.router())
    router.inbox.offer(mail())
    await done(router)
    assert world.posts == [("pod-1", 1)]


@pytest.mark.parametrize("result", [TakeResult.DENIED, TakeResult.UNKNOWN])
async def test_a_mail_that_nobody_is_to_be_told_of_ends_here(world: World, run: Run, result: TakeResult) -> None:
    world.local = result
    router = run(world.router())
    router.inbox.offer(mail())
    await done(router)
    assert world.posts == []
    assert Journal(world.folder).replay() == []


async def test_a_user_that_the_owner_does_not_know_ends_it(world: World, run: Run) -> None:
    world.answers["pod-1"] = PeerAnswer(PeerVerdict.UNKNOWN_USER)
    router = run(world.router())
    router.inbox.offer(mail())
    await done(router)
    assert len(world.posts) == 1


async def test_it_follows_a_user_that_moves(world: World, run: Run) -> None:
    world.answers["pod-1"] = PeerAnswer(PeerVerdict.NOT_MINE)
    router = run(world.router())
    router.inbox.offer(mail())
    await until(lambda: len(world.posts) >= 2)
    world.owner = "pod-2"
    await done(router)
    assert world.posts[-1] == ("pod-2", 1)


async def test_it_follows_what_the_former_owner_says(world: World, run: Run) -> None:
    world.answers["pod-1"] = PeerAnswer(PeerVerdict.NOT_MINE, "pod-2")
    router = run(world.router())
    router.inbox.offer(mail())
    await done(router)
    assert world.posts == [("pod-1", 1), ("pod-2", 1)]


async def test_it_does_not_send_to_itself(world: World, run: Run) -> None:
    world.answers["pod-1"] = PeerAnswer(PeerVerdict.NOT_MINE, "pod-0")
    router = run(world.router())
    router.inbox.offer(mail())
    await until(lambda: len(world.posts) >= 2)
    world.owner = "pod-0"
    world.local = TakeResult.TAKEN
    router.inbox.ownership_changed()
    await done(router)
    assert {pod for pod, _ in world.posts} == {"pod-1"}
    assert world.taken == [mail()]


async def test_without_an_owner_it_waits_for_one(world: World, run: Run) -> None:
    world.owner = None
    router = run(world.router())
    router.inbox.offer(mail())
    await until(lambda: router.inbox._due and router.inbox._due[0][2].tries >= 2)
    assert world.posts == []
    world.owner = "pod-1"
    router.inbox.ownership_changed()
    await done(router)


async def test_a_pod_that_is_not_reached_is_tried_again_with_a_new_look_at_the_owner(world: World, run: Run) -> None:
    world.answers["pod-1"] = PeerAnswer(PeerVerdict.UNREACHABLE)
    router = run(world.router())
    router.inbox.offer(mail())
    await until(lambda: len(world.posts) >= 2)
    world.owner = "pod-2"
    await done(router)
    assert world.posts[-1] == ("pod-2", 1)


async def test_a_pod_that_hangs_delays_no_other(world: World, run: Run) -> None:
    world.hang.add("pod-1")
    router = run(world.router())
    for uid in range(1, 21):
        router.inbox.offer(mail(uid))
    await until(lambda: world.under_way == 4)
    world.owner = "pod-2"
    for uid in range(101, 121):
        router.inbox.offer(mail(uid))
    await until(lambda: router.inbox.pending == 20)
    assert {pod for pod, uid in world.posts if uid > 100} == {"pod-2"}
    assert sum(pod == "pod-1" for pod, _ in world.posts) == 4


async def test_a_pod_that_is_not_reached_is_not_hammered(world: World, run: Run) -> None:
    world.answers["pod-1"] = PeerAnswer(PeerVerdict.UNREACHABLE)
    router = run(world.router())
    for uid in range(1, 101):
        router.inbox.offer(mail(uid))
    await until(lambda: len(world.posts) >= 4 + 3)
    world.answers.clear()
    await done(router)
    assert sorted({uid for _, uid in world.posts}) == list(range(1, 101))
    assert len(world.posts) < 150, "while it rests, one try at a time"


async def passes(world: World, router: OpenRouter, seconds: float) -> None:
    """All that waits is looked at again after so long, and the router works it off."""
    world.passed += seconds
    router.inbox.ownership_changed()
    for _ in range(2 * MANY // IN_ONE_GO):
        await asyncio.sleep(0)


MANY = 1500


@pytest.mark.parametrize("verdict", [PeerVerdict.REFUSED, PeerVerdict.UNREACHABLE])
async def test_a_pod_that_refuses_rests_however_many_mails_wait(world: World, run: Run, verdict: PeerVerdict) -> None:
    """Of 5,000 mails each was posted again and again, 2,900 in a second, with a log line each."""
    world.answers["pod-1"] = PeerAnswer(verdict, why="status 503")
    with capture_logs() as logs:
        router = run(world.router(capacity=MANY))
        for uid in range(1, MANY + 1):
            router.inbox.offer(mail(uid))
        for _ in range(10):
            await passes(world, router, 5.0)
        assert SENDS_TO_ONE < len(world.posts) <= SENDS_TO_ONE + 2 * 10
        world.answers.clear()
        world.passed += 5.0
        await done(router)
    assert {uid for _, uid in world.posts} == set(range(1, MANY + 1))
    assert [each["event"] for each in logs] == ["handover_rests", "handover_goes_on"]


async def test_users_for_whom_a_pod_has_no_room_hold_up_nobody_else(world: World, run: Run) -> None:
    world.busy = {3}
    with capture_logs() as logs:
        router = run(world.router(capacity=MANY + 100))
        for uid in range(1, MANY + 1):
            router.inbox.offer(mail(uid))
        await until(lambda: len(world.posts) >= MANY)
        world.posts.clear()
        for uid in range(1, 101):
            router.inbox.offer(mail(uid, user=4))
        for _ in range(10):
            await passes(world, router, 5.0)
        assert router.inbox.pending == MANY
        assert len(world.posts) <= 100 + SENDS_TO_ONE + 2 * 10
        world.busy.clear()
        world.passed += 5.0
        await done(router)
    assert [each["event"] for each in logs] == ["handover_rests", "handover_goes_on"]


async def test_after_its_time_to_live_a_mail_is_given_up(world: World, run: Run) -> None:
    world.owner = None
    router = world.router(time_to_live=900)
    router.inbox.offer(mail())
    world.passed += 800
    run(router)
    await until(lambda: router.inbox._due and router.inbox._due[0][2].tries >= 1)
    assert router.inbox.pending == 1
    world.passed += 100
    router.inbox.ownership_changed()
    await done(router)
    assert Journal(world.folder).replay() == []


async def test_there_is_no_room_beyond_the_capacity(world: World) -> None:
    router = world.router(capacity=3)
    assert [router.inbox.offer(mail(uid)) for uid in range(1, 6)] == [True, True, True, False, False]


async def test_a_mail_that_was_given_back_keeps_its_age(world: World, run: Run) -> None:
    world.owner = None
    router = run(world.router(time_to_live=900))
    router.inbox.give_back(Undelivered(mail(), (), 901))
    await done(router)
    assert world.posts == []


async def test_flush_says_what_is_left(world: World, run: Run) -> None:
    world.owner = None
    router = run(world.router())
    router.inbox.offer(mail())
    assert await router.inbox.flush(0.01) == 1


async def test_a_step_of_the_wall_clock_makes_no_mail_old(world: World, run: Run) -> None:
    world.owner = None
    router = run(world.router())
    router.inbox.offer(mail())
    world.unix += 10_000
    router.inbox.ownership_changed()
    await asyncio.sleep(0)
    world.owner = "pod-1"
    router.inbox.ownership_changed()
    await done(router)
    assert world.posts == [("pod-1", 1)]


async def test_a_mail_that_has_no_room_in_its_own_pod_waits_and_is_taken_later(world: World, run: Run) -> None:
    """A clean stop gave mails back to a dispatcher that took nothing any more, and the journal marked them done."""
    world.local = TakeResult.BUSY
    router = run(world.router())
    router.inbox.offer(mail())
    await until(lambda: router.inbox._due and router.inbox._due[0][2].tries >= 2)
    assert world.posts == []
    assert [entry.mail.uid for entry in Journal(world.folder).replay()] == [1]
    world.local = TakeResult.TAKEN
    router.inbox.ownership_changed()
    await done(router)
    assert world.taken == [mail()]
