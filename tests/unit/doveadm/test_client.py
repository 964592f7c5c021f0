"""The client of doveadm's HTTP API against a server that does as the test says."""

from __future__ import annotations

import asyncio
import json
import ssl
from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import trustme
from aiohttp import web
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from dev.processes.group import free_port
from mailpush.doveadm.access import PARALLEL, DoveadmAccess, access_of
from mailpush.doveadm.client import BATCH, MAX_ANSWER, UNAUTHORIZED_SECONDS, DoveadmClient
from mailpush.doveadm.current import CurrentDoveadm
from mailpush.doveadm.endpoints import PROBE_SECONDS
from mailpush.doveadm.errors import (
    CommandFailedError,
    DoveadmError,
    DoveadmRefusedError,
    DoveadmUnauthorizedError,
    DoveadmUnreachableError,
    LoginUnusableError,
    NoSuchUserError,
)
from mailpush.doveadm.metadata import get_metadata, set_metadata
from tests.sites.waiting import until
from tests.unit.listener.people import FILES, settings

KEY = "pl4nted-kéy"
ENTRY = "/private/vendor/vendor.dovecot/http-notify"
Answer = Callable[[web.Request, list[Any]], Awaitable[web.StreamResponse]]


@dataclass
class Server:
    """Keeps entries as Dovecot does, unless `answer` does otherwise. `requests` are the commands of each request."""

    url: str = ""
    entries: dict[str, str] = field(default_factory=dict)
    nobody: frozenset[str] = frozenset()
    codes: dict[str, int] = field(default_factory=dict)
    requests: list[list[Any]] = field(default_factory=list)
    authorizations: set[str] = field(default_factory=set)
    answer: Answer | None = None
    under_way: int = 0
    most: int = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        commands = json.loads(await request.read())
        self.requests.append(commands)
        self.authorizations.add(request.headers["authorization"])
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            if self.answer is not None:
                return await self.answer(request, commands)
            return web.Response(text=json.dumps([self.done(*command) for command in commands]))
        finally:
            self.under_way -= 1

    def done(self, name: str, parameters: dict[str, Any], tag: str) -> list[Any]:
        user = parameters["user"]
        code = 67 if user in self.nobody else self.codes.get(user)
        if code is not None:
            return ["error", {"type": "exitCode", "exitCode": code}, tag]
        assert parameters["key"] == ENTRY
        assert (parameters["mailbox"], parameters["allowEmptyMailboxName"]) == ("", True)
        if name == "mailboxMetadataSet":
            self.entries[user] = parameters["value"]
        elif name == "mailboxMetadataUnset":
            self.entries.pop(user, None)
        elif name == "mailboxMetadataGet":
            return ["doveadmResponse", [{"value": self.entries.get(user, "")}], tag]
        else:
            return ["error", {"type": "unknownMethod", "exitCode": 0}, tag]
        return ["doveadmResponse", [], tag]


@asynccontextmanager
async def served(tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_post("/doveadm/v1", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        server.url = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}/doveadm/v1"
        yield server
    finally:
        await runner.cleanup()


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def asking(*urls: str, clock: Clock | None = None, **changes: Any) -> AsyncIterator[DoveadmClient]:
    client = DoveadmClient(DoveadmAccess(urls, KEY, **changes), clock or Clock())
    try:
        yield client
    finally:
        await client.close()


async def refused(client: DoveadmClient, kind: type[DoveadmError], user: str = "u1") -> str:
    """The text of the error that a look at `user` ends with."""
    with pytest.raises(kind) as error:
        await get_metadata(client, user, ENTRY)
    assert KEY not in str(error.value) + repr(error.value)
    return str(error.value)


def says(status: int = 200, body: bytes | str = b"", **headers: str) -> Answer:
    async def answer(_request: web.Request, _commands: list[Any]) -> web.StreamResponse:
        return web.Response(status=status, body=body, headers=headers)

    return answer


async def cut_off(request: web.Request, _commands: list[Any]) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def test_an_entry_is_set_read_and_taken_away() -> None:
    async with served() as server, asking(server.url) as client:
        assert await get_metadata(client, "u1", ENTRY) is None
        await set_metadata(client, "u1", ENTRY, "user=1@1")
        assert await get_metadata(client, "u1", ENTRY) == "user=1@1"
        await set_metadata(client, "u1", ENTRY, None)
        assert server.entries == {}
        (authorization,) = server.authorizations
        assert b64decode(authorization.removeprefix("X-Dovecot-API ")).decode() == KEY


async def test_the_key_may_be_doveadms_password() -> None:
    async with served() as server, asking(server.url, authentication="password") as client:
        await get_metadata(client, "u1", ENTRY)
        (authorization,) = server.authorizations
        assert b64decode(authorization.removeprefix("Basic ")).decode() == f"doveadm:{KEY}"


async def test_what_is_asked_together_goes_in_few_requests_and_not_too_many_at_a_time() -> None:
    async with served() as server, asking(server.url) as client:
        users = [f"u{number}" for number in range(1000)]
        await asyncio.gather(*(set_metadata(client, user, ENTRY, f"user={user}") for user in users))
        assert server.entries == {user: f"user={user}" for user in users}
        assert len(server.requests) <= PARALLEL + -(-1000 // BATCH)
        assert max(len(commands) for commands in server.requests) == BATCH
        assert server.most <= PARALLEL


async def test_the_bound_on_connections_holds() -> None:
    async with served() as server, asking(server.url, connections=1) as client:
        await asyncio.gather(*(get_metadata(client, f"u{number}", ENTRY) for number in range(200)))
        assert server.most == 1


async def test_one_command_after_another_goes_its_way_also_by_one_connection() -> None:
    async with served() as server, asking(server.url, connections=1) as client:

        async def registers(user: str) -> None:
            for _ in range(3):
                await get_metadata(client, user, ENTRY)
                await set_metadata(client, user, ENTRY, user)

        async with asyncio.timeout(60):
            await asyncio.gather(*(registers(f"u{number}") for number in range(10)))
        assert len(server.entries) == 10


async def test_who_fails_fast_says_the_same_as_who_has_tried() -> None:
    """Another text is a write of each user's status."""
    async with served() as server, asking(server.url) as client:
        for answer, kind in ((says(503), DoveadmUnreachableError), (says(401), DoveadmUnauthorizedError)):
            server.answer = answer
            client._endpoints.worked(server.url)
            assert await refused(client, kind) == await refused(client, kind, "u2")


async def test_one_users_failure_is_nobody_elses() -> None:
    async with served() as server, asking(server.url) as client:
        server.nobody, server.codes = frozenset({"u2"}), {"u3": 75}
        server.entries["u1"] = "x"
        found = await asyncio.gather(
            *(get_metadata(client, user, ENTRY) for user in ("u1", "u2", "u3", "u4")), return_exceptions=True
        )
        assert found[0] == "x"
        assert isinstance(found[1], NoSuchUserError)
        assert '"u2"' in str(found[1])
        assert isinstance(found[2], CommandFailedError)
        assert found[2].exit_code == 75
        assert found[3] is None
        assert client.trouble == "", "none of it is the server's"


@pytest.mark.parametrize("user", ["*", "u*", "?", "a?b", ""])
async def test_a_login_that_is_a_pattern_is_never_sent(user: str) -> None:
    """doveadm does a command to every user that fits one: an unset for `*` would take everybody's entry away."""
    async with served() as server, asking(server.url) as client:
        with pytest.raises(LoginUnusableError, match="another login"):
            await set_metadata(client, user, ENTRY, None)
        assert server.requests == []


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_is_the_servers_and_is_not_tried_by_each_user(status: int) -> None:
    async with served() as server:
        clock = Clock()
        async with asking(server.url, clock=clock) as client:
            server.answer = says(status)
            assert "apiSecretRef" in await refused(client, DoveadmUnauthorizedError)
            assert client.trouble == "DoveadmUnauthorized"
            await refused(client, DoveadmUnauthorizedError, "u2")
            assert len(server.requests) == 1
            server.answer = None
            clock.now += UNAUTHORIZED_SECONDS
            assert await get_metadata(client, "u2", ENTRY) is None
            assert client.trouble == ""


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (says(404, b"Path Not Found"), "mailAccess.doveadm.endpoints"),
        (says(400, b"planted"), "no doveadm HTTP API"),
        (says(302, location="http://127.0.0.1:1/planted"), "no doveadm HTTP API"),
        (says(200, b"<html>planted</html>"), "cannot be read"),
        (says(200, b"[" + b" " * MAX_ANSWER + b"]"), "longer than"),
        (says(200, b"[]"), "mailboxMetadataGet"),
        (says(200, b'[["error",{"type":"unknownMethod","exitCode":0},"0"]]'), "does not know doveadm's command"),
    ],
)
async def test_what_is_no_doveadm_says_so(answer: Answer, words: str) -> None:
    async with served() as server, asking(server.url) as client:
        server.answer = answer
        said = await refused(client, DoveadmRefusedError)
        assert words in said
        assert "planted" not in said


async def test_compressed_answers_are_not_unpacked() -> None:
    async with served() as server, asking(server.url) as client:
        server.answer = says(200, b"[]", **{"content-encoding": "gzip"})
        await refused(client, DoveadmRefusedError)


@pytest.mark.parametrize("answer", [says(503), says(500), cut_off])
async def test_the_next_endpoint_is_asked_where_one_fails(answer: Answer) -> None:
    async with served() as bad, served() as good, asking(bad.url, good.url) as client:
        bad.answer = answer
        await asyncio.gather(*(set_metadata(client, f"u{number}", ENTRY, "x") for number in range(100)))
        assert len(good.entries) == 100
        before = len(bad.requests)
        await get_metadata(client, "u1", ENTRY)
        await get_metadata(client, "u1", ENTRY)
        assert len(bad.requests) == before, "it rests"
        assert client.trouble == ""


async def test_where_none_takes_a_connection_that_is_said_and_it_is_found_again() -> None:
    clock = Clock()
    async with served() as server:
        nowhere = f"http://127.0.0.1:{free_port()}/doveadm/v1"
        async with asking(nowhere, clock=clock) as client:
            with capture_logs() as logs:
                assert "takes no connection" in await refused(client, DoveadmUnreachableError)
                await refused(client, DoveadmUnreachableError, "u2")
            assert client.trouble == "DoveadmUnreachable"
            assert [line["event"] for line in logs] == ["doveadm_degraded"], "once, and not for each user"
            assert KEY not in str(logs)
        async with asking(server.url, clock=clock) as client:
            server.answer = says(503)
            assert "answers 503" in await refused(client, DoveadmUnreachableError)
            server.answer = None
            await refused(client, DoveadmUnreachableError)
            clock.now += PROBE_SECONDS
            assert await get_metadata(client, "u1", ENTRY) is None
            assert client.trouble == ""


async def test_a_mailbox_that_hangs_holds_up_only_itself_in_the_end() -> None:
    async with served() as server, asking(server.url, connections=1, read_seconds=0.2) as client:

        async def hangs(_request: web.Request, commands: list[Any]) -> web.StreamResponse:
            if any(parameters["user"] == "u7" for _, parameters, _ in commands):
                await asyncio.sleep(3600)
            return web.Response(text=json.dumps([server.done(*command) for command in commands]))

        server.answer = hangs
        waiting = {f"u{number}" for number in range(20)}
        while waiting - {"u7"}:  # as their listeners do, each tries again
            found = {user: asyncio.create_task(get_metadata(client, user, ENTRY)) for user in sorted(waiting)}
            outcomes = await asyncio.gather(*found.values(), return_exceptions=True)
            waiting -= {user for user, outcome in zip(found, outcomes, strict=True) if outcome is None}
            assert all(outcome is None or isinstance(outcome, DoveadmUnreachableError) for outcome in outcomes)
        assert waiting == {"u7"}


async def test_tls_is_checked() -> None:
    authority = trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    trusted = authority.cert_pem.bytes().decode()
    async with served(tls) as server:
        async with asking(server.url) as client:
            assert "caSecretRef" in await refused(client, DoveadmUnreachableError)
        assert server.requests == []
        async with asking(server.url, ca_pem=trusted) as client:
            assert await get_metadata(client, "u1", ENTRY) is None
        async with asking(server.url.replace("https", "http")) as client:
            await refused(client, DoveadmError)


async def test_who_gives_up_waiting_takes_nobody_along() -> None:
    async with served() as server, asking(server.url, connections=1) as client:
        free = asyncio.Event()

        async def waits(_request: web.Request, commands: list[Any]) -> web.StreamResponse:
            await free.wait()
            return web.Response(text=json.dumps([server.done(*command) for command in commands]))

        server.answer = waits
        first = asyncio.create_task(get_metadata(client, "u1", ENTRY))
        await until(lambda: server.requests)
        rest = [asyncio.create_task(get_metadata(client, f"u{number}", ENTRY)) for number in (2, 3)]
        await asyncio.sleep(0)
        first.cancel()
        rest[0].cancel()
        free.set()
        assert await rest[1] is None
        assert [parameters["user"] for _, parameters, _ in server.requests[1]] == ["u3"]


async def test_other_settings_end_the_former_client_and_who_waits_comes_again() -> None:
    async with served() as server:
        server.answer = cut_off
        doveadm = CurrentDoveadm()
        with pytest.raises(DoveadmUnreachableError, match="off"):
            await doveadm.ask("mailboxMetadataGet", "u1")
        free = asyncio.Event()

        async def waits(_request: web.Request, _commands: list[Any]) -> web.StreamResponse:
            await free.wait()
            return web.Response(text="[]")

        server.answer = waits
        doveadm.use(DoveadmAccess((server.url,), KEY, connections=1))
        asked = [asyncio.create_task(get_metadata(doveadm, f"u{number}", ENTRY)) for number in (1, 2)]
        await until(lambda: server.requests)
        doveadm.use(DoveadmAccess((server.url,), "another"))
        for one in asked:
            with pytest.raises(DoveadmUnreachableError, match="have changed"):
                await one
        free.set()
        server.answer = None
        assert await get_metadata(doveadm, "u1", ENTRY) is None
        await doveadm.close()


async def test_what_became_of_commands_is_counted() -> None:
    def counted(outcome: str) -> float:
        return REGISTRY.get_sample_value("mailpush_doveadm_commands_total", {"outcome": outcome}) or 0.0

    async with served() as server, asking(server.url) as client:
        server.nobody = frozenset({"u2"})
        before = counted("done"), counted("NoSuchUser"), counted("DoveadmRefused")
        await get_metadata(client, "u1", ENTRY)
        await refused(client, NoSuchUserError, "u2")
        server.answer = says(404)
        await refused(client, DoveadmRefusedError)
        after = counted("done"), counted("NoSuchUser"), counted("DoveadmRefused")
        assert [now - then for now, then in zip(after, before, strict=True)] == [1, 1, 1]


def test_the_settings_say_where_and_how() -> None:
    assert access_of(settings()) is None
    on = {
        **FILES,
        "doveadm.properties": "com.openexchange.dovecot.doveadm.enabled=true\n"
        "com.openexchange.dovecot.doveadm.endpoints=http://one:8080/doveadm/v1, https://two:8443/doveadm/v1\n"
        "com.openexchange.dovecot.doveadm.endpoints.totalConnections=5\n"
        "com.openexchange.dovecot.doveadm.endpoints.readTimeout=0\n",
    }
    assert access_of(settings(on)) is None, "without a key"
    secret = {
        **on,
        "mail-push-secrets.properties": FILES["mail-push-secrets.properties"]
        + "com.openexchange.dovecot.doveadm.apiSecret=planted\n",
        "more.properties": "mailpush.doveadm.authentication=password\n",
    }
    access = access_of(settings(secret))
    assert access is not None
    assert access.endpoints == ("http://one:8080/doveadm/v1", "https://two:8443/doveadm/v1")
    assert (access.connections, access.read_seconds, access.connect_seconds) == (3, 60.0, 3.0)
    assert access.authorization.startswith("Basic ")
    assert "planted" not in repr(access)
