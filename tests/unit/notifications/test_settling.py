"""What a dispatcher does with open deliveries when users, targets or the pod itself go."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mailpush.notifications import dispatcher as dispatcher_module
from mailpush.notifications.claims.store import AlreadyDone, Claim, Held, MemoryClaims
from mailpush.notifications.dispatcher import Dispatcher, Undelivered
from mailpush.notifications.notification import notification_id
from mailpush.notifications.open_deliveries import Delivery
from mailpush.notifications.transports.base import Transport, TryLater
from mailpush.sharding.slots import slot_of
from tests.sites.waiting import until
from tests.unit.notifications.site_of_tests import CLIENTS, EVERYBODY, Recorder, Site, idle, mail, target


async def test_settling_finishes_what_is_under_way(site: Site, dispatcher: Dispatcher) -> None:
    site.recorder.gate.clear()
    dispatcher.dispatch(mail(7), CLIENTS)
    await until(lambda: site.recorder.under_way)
    settling = asyncio.create_task(dispatcher.settle(EVERYBODY, 30))
    await asyncio.sleep(0)
    site.recorder.gate.set()
    assert await settling == []
    assert site.count("mailpush_notifications_total", outcome="accepted") == 1


async def test_a_request_on_its_way_goes_on_after_a_release_and_the_next_owner_does_not_repeat_it(site: Site) -> None:
    site.recorder.gate.clear()
    giver, receiver = site.open(), site.open()
    for uid, user in ((7, 3), (8, 4), (9, 3)):
        giver.dispatch(mail(uid, user), CLIENTS)
    await until(lambda: site.recorder.under_way == 3)
    left = await giver.settle([slot_of(1, 3)], 0.01)
    assert [(each.mail.uid, each.clients) for each in left] == [(7, CLIENTS), (9, CLIENTS)]
    assert giver.pending() == 1
    for each in left:
        receiver.dispatch(each.mail, each.clients, age=each.age)
    held = [await site.claims.claim(notification_id("config-uid", each.mail, "t"), "x", 9) for each in left]
    assert all(isinstance(claim, Held) for claim in held)
    site.recorder.gate.set()
    await idle(receiver)
    await giver.close()
    await receiver.close()
    assert len(site.recorder.ids) == len(set(site.recorder.ids)) == 3
    assert site.count("mailpush_notifications_total", outcome="told") == 2


async def test_what_fails_after_a_release_is_the_next_owners(site: Site) -> None:
    site.recorder.gate.clear()
    site.recorder.outcomes = [TryLater("connection")]
    giver, receiver = site.open(), site.open()
    giver.dispatch(mail(7), CLIENTS)
    await until(lambda: site.recorder.under_way)
    (left,) = await giver.settle(EVERYBODY, 0)
    receiver.dispatch(left.mail, left.clients, age=left.age)
    site.recorder.gate.set()
    await idle(receiver)
    assert len(site.recorder.ids) == 2
    assert giver.pending() == 0
    for dispatcher in (giver, receiver):
        await dispatcher.close()


async def test_no_request_begins_after_a_release(site: Site) -> None:
    class Slow(MemoryClaims):
        gate = asyncio.Event()
        asked = 0

        async def claim(self, id: str, holder: str, ttl: float) -> Claim | AlreadyDone | Held:
            self.asked += 1
            await self.gate.wait()
            return await super().claim(id, holder, ttl)

    site.claims = store = Slow()
    dispatcher = site.open()
    dispatcher.dispatch(mail(7), CLIENTS)
    await until(lambda: store.asked)
    assert [each.mail.uid for each in await dispatcher.settle(EVERYBODY, 0)] == [7]
    store.gate.set()
    await dispatcher.close()
    assert site.recorder.ids == []
    assert isinstance(await store.claim(notification_id("config-uid", mail(7), "t"), "x", 9), Claim)


class CountedSlots(dict[int, dict[str, Delivery]]):
    """The index of a queue, which counts what is looked at."""

    looked_at = 0

    def get(self, slot: int, default: Any = None) -> Any:
        found = super().get(slot, default)
        self.looked_at += len(found)
        return found


async def test_settling_looks_at_what_the_slots_have_open_and_at_nothing_else(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of 10,000 open mails was hashed again for each delivery that ended: 1,404 sends a second became 324."""
    site.recorder.gate.clear()
    dispatcher = site.open()
    for user in range(1, 301):
        dispatcher.dispatch(mail(user, user), CLIENTS)
    await until(lambda: site.recorder.under_way)
    hashed = 0

    def counted(context_id: int, user_id: int) -> int:
        nonlocal hashed
        hashed += 1
        return slot_of(context_id, user_id)

    monkeypatch.setattr(dispatcher_module, "slot_of", counted)
    deliveries = dispatcher._targets["t"].queue.open
    deliveries._by_slot = slots = CountedSlots(deliveries._by_slot)
    settling = asyncio.create_task(dispatcher.settle([slot_of(1, 3)], 30))
    await asyncio.sleep(0)
    site.recorder.gate.set()
    assert await settling == []
    assert slots.looked_at <= 2
    assert hashed == 0
    await dispatcher.close()


async def test_a_mail_is_open_until_its_pod_has_it_back(site: Site) -> None:
    """While another target's queue went on settling, the journal took what was out already for sent."""
    down = Recorder(*[TryLater("connection", after=1000)] * 9)
    site.recorder.gate.clear()
    dispatcher = site.open(target("t"), target("down"), transports={"down": down})
    dispatcher.dispatch(mail(7), CLIENTS)
    await until(lambda: site.recorder.under_way and dispatcher.health()["down"].trouble)
    for settling in (dispatcher.settle(EVERYBODY, 30), dispatcher.stop(30)):
        task = asyncio.create_task(settling)
        await asyncio.sleep(0.01)
        assert dispatcher.is_open(mail(7))
        assert dispatcher.open_users() == {(1, 3)}
        assert not task.done()
        task.cancel()
        await asyncio.wait([task])
    assert dispatcher.is_open(mail(7)), "nobody has it back: whoever was interrupted asks again"
    site.recorder.gate.set()
    assert [each.mail.uid for each in await dispatcher.stop(30)] == [7]
    assert not dispatcher.is_open(mail(7))
    await dispatcher.close()


async def test_settling_does_not_wait_for_a_target_that_is_down(site: Site, dispatcher: Dispatcher) -> None:
    site.recorder.outcomes = [TryLater("connection", after=1000)]
    dispatcher.dispatch(mail(7), CLIENTS)
    await until(lambda: dispatcher.health()["t"].trouble == "connection")
    async with asyncio.timeout(60):
        left = await dispatcher.settle(EVERYBODY, 3600)
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


async def test_the_end_waits_for_the_record_of_what_was_accepted(site: Site) -> None:
    site.claims = store = Gated()
    dispatcher = site.open()
    dispatcher.dispatch(mail(7), CLIENTS)
    await store.recording.wait()
    assert [each.mail.uid for each in await dispatcher.settle(EVERYBODY, 0)] == [7]
    closing = asyncio.create_task(dispatcher.close())
    await asyncio.sleep(0.01)
    assert not closing.done()
    store.gate.set()
    await closing
    assert await store.claim(notification_id("config-uid", mail(7), "t"), "x", 9) == AlreadyDone()


async def test_a_closed_dispatcher_takes_nothing_and_closes_its_transports(site: Site) -> None:
    dispatcher = site.open()
    dispatcher.dispatch(mail(7), CLIENTS)
    assert await dispatcher.stop(30) == []
    await dispatcher.close()
    assert dispatcher.dispatch(mail(8), CLIENTS) == (0, 1)
    assert site.recorder.closed


async def test_new_targets_take_over_what_waits_for_the_old(site: Site) -> None:
    old, new = Recorder(*[TryLater("connection", after=0.05)] * 3), Recorder()
    transports: dict[str, Transport] = {"t": old, "gone": Recorder(*[TryLater("connection", after=99)] * 3)}
    dispatcher = site.open(target("t"), target("gone"), transports=transports)
    dispatcher.dispatch(mail(7), CLIENTS)
    await until(lambda: old.ids)
    transports["t"] = new
    left: list[Undelivered] = []
    await dispatcher.replace_targets([target("t", timeout=3.0)], left.append)
    assert [each.mail.uid for each in left] == [7]
    await idle(dispatcher)
    assert len(new.ids) == 1
    assert old.closed
    await dispatcher.close()


async def test_a_target_that_gets_another_name_gets_what_waited_for_it(site: Site) -> None:
    """The mails were dropped without a count."""
    down, there, renamed = Recorder(*[TryLater("connection", after=99)] * 9), Recorder(), Recorder()
    transports: dict[str, Transport] = {"t": down, "other": there, "renamed": renamed}
    dispatcher = site.open(target("t"), target("other"), transports=transports)
    dispatcher.dispatch(mail(7), CLIENTS)
    await until(lambda: down.ids and there.ids and dispatcher.pending() == 1)

    def again(rest: Undelivered) -> None:
        assert dispatcher.open_users() == set()
        dispatcher.dispatch(rest.mail, rest.clients, age=rest.age)

    await dispatcher.replace_targets([target("renamed"), target("other")], again)
    await idle(dispatcher)
    assert (len(renamed.ids), len(there.ids)) == (1, 1)
    await dispatcher.close()
