"""Claim, send, done with a target that does as it is told and claims in memory."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from mailpush.notifications.backoff import Circuit
from mailpush.notifications.claims.store import Claim, ClaimResult, ClaimsUnavailable, MemoryClaims, boottime
from mailpush.notifications.degraded import degraded
from mailpush.notifications.dispatcher import Dispatcher
from mailpush.notifications.notification import notification_id
from mailpush.notifications.transports.base import Outcome, Refused, TryLater
from tests.sites.waiting import until
from tests.unit.notifications.site_of_tests import CLIENTS, Recorder, Site, idle, mail, target


async def test_a_mail_is_told_once_with_its_id(site: Site, dispatcher: Dispatcher) -> None:
    assert dispatcher.dispatch(mail(7), CLIENTS).taken == 1
    await idle(dispatcher)
    assert site.recorder.ids == [notification_id("config-uid", mail(7), "t")]
    assert json.loads(site.recorder.bodies[0])["clients"] == list(CLIENTS)
    assert site.count("mailpush_notifications_total", outcome="accepted") == 1
    assert site.count("mailpush_notification_seconds_count") == 1


async def test_a_repeat_while_open_and_after_is_not_told_again(site: Site, dispatcher: Dispatcher) -> None:
    site.recorder.gate.clear()
    dispatcher.dispatch(mail(7), CLIENTS)
    dispatcher.dispatch(mail(7), CLIENTS)
    site.recorder.gate.set()
    await idle(dispatcher)
    dispatcher.dispatch(mail(7), CLIENTS)
    await idle(dispatcher)
    assert len(site.recorder.ids) == 1
    assert site.count("mailpush_notifications_total", outcome="repeated") == 2


async def test_what_another_pod_has_told_is_not_told_again(site: Site) -> None:
    first, second = site.open(), site.open()
    first.dispatch(mail(7), CLIENTS)
    await idle(first)
    second.dispatch(mail(7), CLIENTS)
    await idle(second)
    assert len(site.recorder.ids) == 1
    assert await first.stop(0) == await second.stop(0) == []


async def test_a_target_is_told_only_of_the_clients_that_it_wants(site: Site) -> None:
    apps, none = Recorder(), Recorder()
    dispatcher = site.open(
        target("apps", lambda client: client.startswith("app")),
        target("none", lambda _: False),
        transports={"apps": apps, "none": none},
    )
    assert dispatcher.dispatch(mail(7), ("app-1", "web", "app-2")).taken == 1
    await idle(dispatcher)
    assert json.loads(apps.bodies[0])["clients"] == ["app-1", "app-2"]
    assert none.ids == []
    await dispatcher.close()


async def test_a_failed_try_is_repeated_with_the_same_id(site: Site, dispatcher: Dispatcher) -> None:
    site.recorder.outcomes = [TryLater("http_5xx"), TryLater("timeout"), TryLater("connection")]
    dispatcher.dispatch(mail(7), CLIENTS)
    await idle(dispatcher)
    assert len(site.recorder.ids) == 4
    assert len(set(site.recorder.ids)) == 1
    assert site.count("mailpush_notification_tries_total", result="timeout") == 1
    assert site.count("mailpush_notifications_total", outcome="accepted") == 1


async def test_a_refused_mail_is_dropped_counted_and_never_tried_again(site: Site, dispatcher: Dispatcher) -> None:
    site.recorder.outcomes = [Refused("http_422")]
    dispatcher.dispatch(mail(7), CLIENTS)
    await idle(dispatcher)
    other = site.open()
    other.dispatch(mail(7), CLIENTS)
    await idle(other)
    assert len(site.recorder.ids) == 1
    assert site.count("mailpush_notification_drops_total", reason="refused") == 1
    assert (dispatcher.health()["t"].trouble, dispatcher.health()["t"].losing) == ("http_422", None)
    await other.close()


async def test_a_target_that_refuses_everything_is_in_trouble_until_it_takes_again(
    site: Site, dispatcher: Dispatcher
) -> None:
    site.recorder.outcomes = [Refused("http_400")] * 30
    with capture_logs() as logs:
        for uid in range(1, 31):
            dispatcher.dispatch(mail(uid), CLIENTS)
        await idle(dispatcher)
    assert dispatcher.health()["t"].losing == "http_400"
    dropped = [line for line in logs if line["event"] == "notifications_dropped"]
    assert [(line["log_level"], line["target"]) for line in dropped] == [("warning", "t")], "one line a minute"
    for uid in range(31, 36):
        dispatcher.dispatch(mail(uid), CLIENTS)
    await idle(dispatcher)
    assert dispatcher.health()["t"].losing is None


@pytest.mark.parametrize("reason", ["http_401", "http_403", "http_404", "gone", "certificate"])
async def test_what_an_administrator_can_mend_waits_and_is_told_once_when_the_settings_are_mended(
    site: Site, dispatcher: Dispatcher, reason: str
) -> None:
    site.recorder.outcomes = [TryLater(reason)] * 10_000
    for uid in range(1, 91):
        dispatcher.dispatch(mail(uid), CLIENTS)
    await until(lambda: dispatcher.health()["t"].circuit is not Circuit.CLOSED)
    assert len(dispatcher.open_users()) == 1
    assert dispatcher.pending() == 90
    assert degraded(["t"], dispatcher.health()) == {"t": reason}
    tried = len(site.recorder.ids)
    site.recorder.outcomes.clear()
    await dispatcher.replace_targets([target(secret=b"the right one")], lambda _: None)
    assert dispatcher.health()["t"].circuit is Circuit.CLOSED, "all are tried at once"
    await idle(dispatcher)
    told = site.recorder.ids[tried:]
    assert sorted(told) == sorted({notification_id("config-uid", mail(uid), "t") for uid in range(1, 91)})
    assert degraded(["t"], dispatcher.health()) == {}


async def test_a_dead_target_opens_its_circuit_and_delays_no_other(site: Site) -> None:
    dead = Recorder(*[TryLater("connection")] * 10_000)
    dispatcher = site.open(target("dead"), target("t"), transports={"dead": dead})
    for uid in range(1, 201):
        assert dispatcher.dispatch(mail(uid), CLIENTS).taken == 2
    await until(lambda: len(site.recorder.ids) == 200)
    await until(lambda: dispatcher.health()["dead"].circuit is not Circuit.CLOSED)
    assert len(dead.ids) < 200
    left = await dispatcher.stop(0)
    assert {each.mail.uid for each in left} == set(range(1, 201))


async def test_offering_never_waits_and_a_full_queue_says_that_the_mail_is_not_taken(site: Site) -> None:
    site.recorder.gate.clear()
    dispatcher = site.open(target(queue_bound=10))
    dispatched = [dispatcher.dispatch(mail(uid), CLIENTS) for uid in range(1, 31)]
    assert dispatched == [(1, 0)] * 10 + [(0, 1)] * 20
    assert site.count("mailpush_notification_queue_full_total") == 20
    site.recorder.gate.set()
    await idle(dispatcher)
    assert len(site.recorder.ids) == 10
    await dispatcher.close()


async def test_no_more_tries_than_workers_are_under_way(site: Site) -> None:
    site.recorder.gate.clear()
    dispatcher = site.open(target(workers=3))
    for uid in range(1, 21):
        dispatcher.dispatch(mail(uid), CLIENTS)
    await until(lambda: site.recorder.under_way == 3)
    site.recorder.gate.set()
    await idle(dispatcher)
    assert site.recorder.most_under_way == 3
    assert len(set(site.recorder.ids)) == 20
    await dispatcher.close()


async def test_what_is_too_old_is_dropped(site: Site) -> None:
    site.recorder.outcomes = [TryLater("http_5xx")] * 10_000
    dispatcher = site.open(target(ttl=0.05))
    dispatcher.dispatch(mail(7), CLIENTS)
    dispatcher.dispatch(mail(8), CLIENTS, age=100)
    await idle(dispatcher)
    assert site.count("mailpush_notification_drops_total", reason="expired") == 2
    await dispatcher.close()


async def test_nothing_is_sent_without_the_right_and_all_of_it_after(site: Site, dispatcher: Dispatcher) -> None:
    site.permitted = False
    dispatcher.dispatch(mail(7), CLIENTS)
    await until(lambda: site.count("mailpush_notification_tries_total", result="not_permitted") >= 2)
    assert site.recorder.ids == []
    site.permitted = True
    await idle(dispatcher)
    assert len(site.recorder.ids) == 1


class Slow(MemoryClaims):
    """A store whose answers the test lets through; loses the right on the way."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        self._site = site

    async def claim(self, id: str, holder: str, ttl: float) -> ClaimResult:
        result = await super().claim(id, holder, ttl)
        self._site.permitted = False
        return result


async def test_the_right_is_asked_again_after_the_claim_and_the_claim_is_withdrawn(site: Site) -> None:
    site.claims = Slow(site)
    dispatcher = site.open()
    dispatcher.dispatch(mail(7), CLIENTS)
    await until(lambda: not site.permitted and site.count("mailpush_notification_tries_total", result="not_permitted"))
    assert site.recorder.ids == []
    assert isinstance(await site.claims.claim(notification_id("config-uid", mail(7), "t"), "x", 9), Claim)
    await dispatcher.close()


class Stale(MemoryClaims):
    async def claim(self, id: str, holder: str, ttl: float) -> ClaimResult:
        result = await super().claim(id, holder, ttl)
        return replace(result, expires_at=result.expires_at - ttl) if isinstance(result, Claim) else result


async def test_nothing_is_sent_on_a_claim_that_has_run_out(site: Site) -> None:
    site.claims = Stale()
    dispatcher = site.open()
    dispatcher.dispatch(mail(7), CLIENTS)
    await until(lambda: site.count("mailpush_notification_tries_total", result="claim_too_short") >= 2)
    assert site.recorder.ids == []
    await dispatcher.close()


class Shaky(MemoryClaims):
    """A store that is away while `away`."""

    away = True

    async def claim(self, id: str, holder: str, ttl: float) -> ClaimResult:
        if self.away:
            raise ClaimsUnavailable
        return await super().claim(id, holder, ttl)


async def test_nothing_is_sent_while_the_store_is_away(site: Site) -> None:
    site.claims = store = Shaky()
    dispatcher = site.open()
    dispatcher.dispatch(mail(7), CLIENTS)
    await until(lambda: site.count("mailpush_notification_tries_total", result="claims_unavailable") >= 2)
    assert site.recorder.ids == []
    assert dispatcher.health()["t"].circuit is Circuit.CLOSED
    store.away = False
    await idle(dispatcher)
    assert len(site.recorder.ids) == 1
    await dispatcher.close()


async def test_anothers_open_claim_is_waited_for(site: Site) -> None:
    later = 0.0
    site.claims = MemoryClaims(clock=lambda: boottime() + later)
    dispatcher = site.open()
    other = await site.claims.claim(notification_id("config-uid", mail(7), "t"), "pod-1", 1000)
    assert isinstance(other, Claim)
    dispatcher.dispatch(mail(7), CLIENTS)
    await until(lambda: site.count("mailpush_notification_tries_total", result="held"))
    assert site.recorder.ids == []
    later = 1000.0
    await idle(dispatcher)
    assert len(site.recorder.ids) == 1
    await dispatcher.close()


async def test_an_acceptance_that_the_store_does_not_record_is_counted(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(claim: Claim) -> bool:
        raise ClaimsUnavailable

    monkeypatch.setattr(site.claims, "done", away)
    dispatcher = site.open()
    dispatcher.dispatch(mail(7), CLIENTS)
    await idle(dispatcher)
    dispatcher.dispatch(mail(7), CLIENTS)
    assert site.count("mailpush_notification_claims_total", event="unrecorded") == 1
    assert len(site.recorder.ids) == 1
    await dispatcher.close()


async def test_a_fault_of_ours_does_not_end_the_queue(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    faults: list[int] = [1, 2]
    send = site.recorder.send

    async def faulty(id: str, body: bytes) -> Outcome:
        if faults:
            faults.pop()
            raise RuntimeError("a fault")
        return await send(id, body)

    monkeypatch.setattr(site.recorder, "send", faulty)
    dispatcher = site.open()
    dispatcher.dispatch(mail(7), CLIENTS)
    await idle(dispatcher)
    assert len(site.recorder.ids) == 1
    await dispatcher.close()


async def test_two_pods_with_one_store_tell_each_mail_once(site: Site) -> None:
    pods = [site.open() for _ in range(3)]
    for uid in range(1, 101):
        for pod in pods:
            pod.dispatch(mail(uid), CLIENTS)
    for pod in pods:
        await idle(pod)
        assert await pod.stop(0) == []
    assert sorted(site.recorder.ids) == sorted({notification_id("config-uid", mail(u), "t") for u in range(1, 101)})
