import aiohttp
from prometheus_client import CollectorRegistry, Counter

from mailpush.http.health import HealthServer, Pulse
from mailpush.listener.mechanisms.base import Health, State
from mailpush.listener.users.metrics import LISTENERS, ListenerCount


async def test_alive_as_long_as_the_loops_turn() -> None:
    now = [0.0]
    pulse = Pulse(lambda: now[0])
    pulse.beat("main", within=10)
    server = HealthServer(pulse, CollectorRegistry())
    port = await server.start("127.0.0.1", 0)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        now[0] = 10
        async with session.get("/livez") as answer:
            assert answer.status == 200
        now[0] = 11
        async with session.get("/livez") as answer:
            assert answer.status == 503
            assert "main" in await answer.text()
        pulse.beat("main")
        async with session.get("/livez") as answer:
            assert answer.status == 200
    await server.close()


def test_a_loop_that_has_ended_is_not_waited_for() -> None:
    now = [0.0]
    pulse = Pulse(lambda: now[0])
    pulse.beat("router", within=1)
    pulse.end("router")
    now[0] = 100
    assert pulse.problems() == []


async def test_metrics_are_for_prometheus() -> None:
    registry = CollectorRegistry()
    Counter("tested", "Tested.", registry=registry).inc()
    server = HealthServer(Pulse(), registry)
    port = await server.start("127.0.0.1", 0)
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert "tested_total 1.0" in await answer.text()
    await server.close()


def test_listeners_are_counted_by_their_last_state() -> None:
    def value(state: State) -> float:
        return float(LISTENERS.labels("dovecot", state.value)._value.get())

    before = value(State.LISTENING), value(State.FAILED)
    count = ListenerCount()
    count.observe((1, 3), "dovecot", Health(State.FAILED, "ServerUnreachable", ""))
    count.observe((1, 4), "dovecot", Health(State.FAILED, "ServerUnreachable", ""))
    count.observe((1, 3), "dovecot", Health(State.LISTENING, "Registered", ""))
    assert (value(State.LISTENING), value(State.FAILED)) == (before[0] + 1, before[1] + 1)
    count.forget((1, 3))
    count.forget((1, 4))
    count.forget((1, 4))
    assert (value(State.LISTENING), value(State.FAILED)) == before


def test_a_loop_that_stops_beating_is_found_and_one_that_ended_is_not_missed() -> None:
    now = [0.0]
    pulse = Pulse(lambda: now[0])
    pulse.beat("reconcile", within=10)
    pulse.beat("shards of mail/main", within=10)
    now[0] = 9
    assert pulse.problems() == []
    pulse.end("shards of mail/main")
    now[0] = 11
    assert pulse.problems() == ["reconcile has been silent for 11 s"]
    pulse.beat("reconcile", within=10)
    pulse.fault("kopf's watches", "nothing new")
    assert pulse.problems() == ["kopf's watches: nothing new"]
    pulse.fault("kopf's watches", None)
    assert pulse.problems() == []
