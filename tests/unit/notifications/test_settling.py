"""What a dispatcher does with open deliveries when users, targets or the pod itself go."""

from __future__ import annotations

import asyncio

from mailpush.notifications.claims.store import AlreadyDone, Claim, MemoryClaims
from mailpush.notifications.dispatcher import Dispatcher
from mailpush.notifications.notification import notification_id
from mailpush.notifications.transports.base import Transport, TryLater
from tests.sites.waiting import until
from tests.unit.notifications.site_of_tests import CLIENTS, Recorder, Site, everybody, idle, mail, target


async def test_settling_finishes_what_is_under_way(site: Site, dispatcher: Dispatcher) -> None:
    site.recorder.gate.clear()
    dispatcher.dispatch(mail(7), CLIENTS)
    await until(lambda: site.recorder.under_way)
    settling = asyncio.create_task(dispatcher.settle(everybody, 30))
    await asyncio.sleep(0)
    site.recorder.gate.set()
    assert await settling == []
    assert site.count("mailpush_notifications_total", outcome="accepted") == 1


async def test_settling_withdraws_what_does_not_end_in_time_and_hands_it_back(
    site: Site, dispatcher: Dispatcher
) -> None:
    site.recorder.gate.clear()
    for uid, user in ((7, 3), (8, 4), (9, 3)):
        dispatcher.dispatch(mail(uid, user), CLIENTS)
    await until(lambda: site.recorder.under_way == 3)
    left = await dispatcher.settle(lambda _, user_id: user_id == 3, 0.01)
    assert [(each.mail.uid, each.clients) for each in left] == [(7, CLIENTS), (9, CLIENTS)]
    assert dispatcher.pending_for(everybody) == 1
    for uid in (7, 9):
        id = notification_id("config-uid", mail(uid), "t")
        assert isinstance(await site.claims.claim(id, "pod-1", 9), Claim)


async def test_settling_does_not_wait_for_a_target_that_is_down(site: Site, dispatcher: Dispatcher) -> None:
    site.recorder.outcomes = [TryLater("connection", after=1000)]
    dispatcher.dispatch(mail(7), CLIENTS)
    await until(lambda: dispatcher.health()["t"].trouble == "connection")
    async with asyncio.timeout(60):
        left = await dispatcher.settle(everybody, 3600)
    assert [each.mail.uid for each in left] == [7]


class Gated(MemoryClaims):
    """A store that takes its time to record."""

    def __init__(self) -> None:
        super().__init__()
        self.recording = asyncio.Event()
        self.gate = asyncio.Event()

    async def done(self, claim: Claim) -> bool:
        self.recording.set()
        await self.gate.wait()
        return await super().done(claim)


async def test_a_release_between_acceptance_and_record_waits_for_the_record(site: Site) -> None:
    site.claims = store = Gated()
    dispatcher = site.open()
    dispatcher.dispatch(mail(7), CLIENTS)
    await store.recording.wait()
    settling = asyncio.create_task(dispatcher.settle(everybody, 0))
    await asyncio.sleep(0.01)
    store.gate.set()
    assert await settling == []
    assert await store.claim(notification_id("config-uid", mail(7), "t"), "x", 9) == AlreadyDone()
    await dispatcher.close(0)


async def test_a_closed_dispatcher_takes_nothing_and_closes_its_transports(site: Site) -> None:
    dispatcher = site.open()
    dispatcher.dispatch(mail(7), CLIENTS)
    assert await dispatcher.close(30) == []
    assert dispatcher.dispatch(mail(8), CLIENTS) == (0, 1)
    assert site.recorder.closed


async def test_new_targets_take_over_what_waits_for_the_old(site: Site) -> None:
    old, new = Recorder(*[TryLater("connection", after=0.05)] * 3), Recorder()
    transports: dict[str, Transport] = {"t": old, "gone": Recorder(*[TryLater("connection", after=99)] * 3)}
    dispatcher = site.open(target("t"), target("gone"), transports=transports)
    dispatcher.dispatch(mail(7), CLIENTS)
    await until(lambda: old.ids)
    transports["t"] = new
    left = await dispatcher.replace_targets([target("t", timeout=3.0)])
    assert [each.mail.uid for each in left] == [7]
    await idle(dispatcher)
    assert len(new.ids) == 1
    assert old.closed
    await dispatcher.close(0)
