"""What is between us and the API server may answer in its place."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from mailpush.kube.client import Kube
from mailpush.kube.errors import UnreachableError
from mailpush.kube.resources import LEASE, PUSH_USER

PAGE = "<html>the gateway is being maintained</html>\n"


@asynccontextmanager
async def client_of(answer: Callable[[web.Request], Awaitable[web.Response]], folder: Path) -> AsyncIterator[Kube]:
    """A client of a server that answers everything so."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "it",
        "clusters": [{"name": "it", "cluster": {"server": f"http://127.0.0.1:{runner.addresses[0][1]}"}}],
        "users": [{"name": "it", "user": {}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
    }
    (folder / "config").write_text(yaml.safe_dump(config))
    async with await Kube.connect(folder / "config") as kube:
        yield kube
    await runner.cleanup()


@pytest.fixture
async def kube(tmp_path: Path) -> AsyncIterator[Kube]:
    """A client of a proxy that answers everything with a page."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    async with client_of(page, tmp_path) as kube:
        yield kube


async def test_a_page_of_a_proxy_is_no_answer_and_ends_nobody(kube: Kube) -> None:
    with pytest.raises(UnreachableError, match="not the API server's"):
        await kube.get(LEASE, "ns", "one")
    with pytest.raises(UnreachableError, match="not the API server's"):
        async for _ in kube.watch(LEASE, "ns", "1"):
            pass


WITHIN = 0.05
LEASE_BODY = {"metadata": {"name": "one"}}
REQUESTS: dict[str, Callable[[Kube], Awaitable[Any]]] = {
    "get": lambda kube: kube.get(LEASE, "ns", "one", answer_seconds=WITHIN),
    "find": lambda kube: kube.find(LEASE, "ns", "one", answer_seconds=WITHIN),
    "create": lambda kube: kube.create(LEASE, "ns", LEASE_BODY, answer_seconds=WITHIN),
    "replace": lambda kube: kube.replace(LEASE, "ns", LEASE_BODY, answer_seconds=WITHIN),
    "apply": lambda kube: kube.apply(LEASE, "ns", LEASE_BODY, manager="m", answer_seconds=WITHIN),
    "merge_patch": lambda kube: kube.merge_patch(LEASE, "ns", "one", {}, answer_seconds=WITHIN),
    "delete": lambda kube: kube.delete(LEASE, "ns", "one", answer_seconds=WITHIN),
    "probe": lambda kube: kube.probe(LEASE, "ns", answer_seconds=WITHIN),
    "list": lambda kube: kube.list(LEASE, "ns", answer_seconds=WITHIN),
    "watch": lambda kube: anext(aiter(kube.watch(LEASE, "ns", "1", answer_seconds=WITHIN))),
}


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
async def test_a_server_that_takes_a_request_and_never_answers_is_given_up(
    request_: Callable[[Kube], Awaitable[Any]], tmp_path: Path
) -> None:
    """A watch had a minute and a half until the first byte, which a server sends at once."""
    ended = asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        await ended.wait()
        return web.Response()

    async with client_of(hang, tmp_path) as kube:
        with pytest.raises(UnreachableError):
            await request_(kube)
        ended.set()


USERS = 20_000


async def test_what_a_start_asks_is_one_request_however_many_users_there_are(tmp_path: Path) -> None:
    """A new leader asked for one user and followed `continue`: 20,040 lists at 20,000 users before it did anything."""
    requests = 0

    async def page(request: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        first, limit = int(request.query.get("continue", 0)), int(request.query["limit"])
        last = min(first + limit, USERS)
        metadata = {"resourceVersion": "9", "continue": str(last) if last < USERS else ""}
        return web.json_response({"metadata": metadata, "items": [{"number": n} for n in range(first, last)]})

    async with client_of(page, tmp_path) as kube:
        await kube.probe(PUSH_USER, "ns")
        assert requests == 1
        items, version = await kube.list(PUSH_USER, "ns")
        assert ([item["number"] for item in items], version) == (list(range(USERS)), "9")
        assert requests == 1 + USERS / 500


async def test_a_page_is_asked_for_when_the_former_one_has_been_dealt_with(tmp_path: Path) -> None:
    """A list of 100,000 users was collected before any of them was stripped: 1.6 GiB."""
    asked: list[str] = []

    async def page(request: web.Request) -> web.Response:
        asked.append(request.query.get("continue", ""))
        metadata = {"resourceVersion": "9", "continue": "more" if len(asked) < 3 else ""}
        return web.json_response({"metadata": metadata, "items": [{"number": len(asked)}]})

    async with client_of(page, tmp_path) as kube:
        taken = 0
        async for items, version in kube.pages(PUSH_USER, "ns"):
            taken += 1
            assert (items, version, len(asked)) == ([{"number": taken}], "9", taken)
    assert asked == ["", "more", "more"]


async def test_a_connection_whose_other_end_is_gone_without_a_word_is_noticed_within_the_time_of_a_takeover(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A half-open watch was noticed after 100 s; each of its options is one that the kernel has taken."""
    made: list[socket.socket] = []

    class Kept(socket.socket):
        def connect(self, address: Any) -> None:
            made.append(self)
            super().connect(address)

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"metadata": {}})

    monkeypatch.setattr("mailpush.kube.connections.socket.socket", Kept)
    async with client_of(answer, tmp_path) as kube:
        await kube.get(LEASE, "mail", "it")
        (used,) = made
        assert used.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        idle, every, probes, unanswered = (
            used.getsockopt(socket.IPPROTO_TCP, option)
            for option in (
                socket.TCP_KEEPIDLE,
                socket.TCP_KEEPINTVL,
                socket.TCP_KEEPCNT,
                socket.TCP_USER_TIMEOUT,
            )
        )
        assert idle + every * probes <= 10
        assert unanswered <= 10_000
