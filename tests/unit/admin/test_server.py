"""The admin endpoint: who is let in, over what, and what it answers."""

import asyncio
import base64
import json
import logging
import ssl
import urllib.error
import urllib.request
from asyncio import to_thread
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from dev.cluster.pki import Authority
from mailpush.admin.routes import LISTENERS, REGISTRATIONS
from mailpush.admin.server import AdminAccess, AdminServer, Registration, Running
from mailpush.cli.pushusers.client import ServerError, Target
from mailpush.http.logins import TRIES, LoginGuard

OPEN = AdminAccess("oxadmin", "pä55:word")


class People:
    def __init__(self) -> None:
        self.removed: list[tuple[int, int, str]] = []

    async def listeners(self) -> Iterable[Running]:
        return [Running(1, 3, True)]

    async def registrations(self) -> Iterable[Registration]:
        return [Registration(1, 3, "a")]

    async def unregister(self, context: int, user: int, client: str) -> bool:
        self.removed.append((context, user, client))
        return True


@pytest.fixture
def people() -> People:
    return People()


@pytest.fixture
async def server(people: People) -> AsyncIterator[AdminServer]:
    server = AdminServer(people, OPEN, "set a login")
    yield server
    await server.close()


async def ask(server: AdminServer, path: str = LISTENERS, *, method: str = "GET", **changes: Any) -> Any:
    target = replace(Target("127.0.0.1", server.port, "oxadmin", "pä55:word", timeout=60), **changes)
    return await to_thread(target.request, method, path)


async def status(server: AdminServer, path: str, header: str | None, method: str = "GET") -> int:
    headers = {} if header is None else {"Authorization": header}
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", headers=headers, method=method)

    def send() -> int:
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    return await to_thread(send)


def basic(pair: str) -> str:
    return "Basic " + base64.b64encode(pair.encode()).decode()


async def test_whoever_has_the_login_gets_answers(server: AdminServer, people: People) -> None:
    await server.start("127.0.0.1", 0)
    assert await ask(server) == {"listeners": [{"context": 1, "user": 3, "permanent": True}]}
    assert await ask(server, REGISTRATIONS) == {"registrations": [{"context": 1, "user": 3, "client": "a"}]}
    assert await ask(server, f"{REGISTRATIONS}/1/3/a%2Fb%20%25", method="DELETE") == {"deleted": True}
    assert people.removed == [(1, 3, "a/b %")]
    assert await ask(server, f"{REGISTRATIONS}/-1/-1", method="DELETE") == {"deleted": False}
    assert len(people.removed) == 1


@pytest.mark.parametrize(
    "header",
    [None, "", "Basic", "Basic !", basic(""), basic("oxadmin"), basic("oxadmin:"), basic(":pä55:word"),
     basic("oxadmin:pä55:wor"), basic("oxadmin:pä55:word "), "Bearer " + basic("oxadmin:pä55:word")[6:]],
)  # fmt: skip
async def test_nobody_else_learns_anything_not_even_which_paths_exist(
    server: AdminServer, people: People, header: str | None
) -> None:
    await server.start("127.0.0.1", 0)
    assert await status(server, LISTENERS, header) == 401
    assert await status(server, "/other", header) == 401
    assert await status(server, f"{REGISTRATIONS}/1/3/a", header, "DELETE") == 401
    assert people.removed == []


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [("GET", "/", 404), ("GET", "/admin/v2/listeners", 404), ("POST", LISTENERS, 405), ("GET", LISTENERS + "/x", 404),
     ("DELETE", f"{REGISTRATIONS}/one/3/a", 404), ("DELETE", f"{REGISTRATIONS}/99999999999/3/a", 404)],
)  # fmt: skip
async def test_what_is_no_question_of_ours_is_refused(
    server: AdminServer, people: People, method: str, path: str, code: int
) -> None:
    await server.start("127.0.0.1", 0)
    assert await status(server, path, basic("oxadmin:pä55:word"), method) == code
    assert people.removed == []


async def test_without_a_login_nobody_is_let_in_and_the_log_says_what_to_set(server: AdminServer) -> None:
    await server.use(AdminAccess())
    await server.start("127.0.0.1", 0)
    with capture_logs() as logs:
        assert await status(server, LISTENERS, basic(":")) == 401
        assert await status(server, LISTENERS, basic("oxadmin:pä55:word")) == 401
    assert [line["why"] for line in logs if line["event"] == "admin_refused"] == ["set a login"]
    assert "word" not in json.dumps(logs)


async def test_a_new_password_counts_at_once(server: AdminServer) -> None:
    await server.start("127.0.0.1", 0)
    await server.use(AdminAccess("oxadmin", "new"))
    with pytest.raises(ServerError, match=r"^Authentication failed$"):
        await ask(server)
    assert await ask(server, password="new")


async def test_tls_is_talked_once_a_certificate_is_set_and_the_client_checks_it(
    server: AdminServer, tmp_path: Path
) -> None:
    authority, stranger = Authority.new("ours"), Authority.new("another")
    pair = authority.issue("pushusers", names=("127.0.0.1",))
    for name, one in {"ca": authority, "stranger": stranger}.items():
        (tmp_path / name).write_bytes(one.pair.certificate)
    await server.start("127.0.0.1", 0)
    assert await ask(server), "plain first"
    await server.use(replace(OPEN, certificate=pair.certificate.decode(), key=pair.key.decode()))
    assert await ask(server, tls=True, ca_file=str(tmp_path / "ca"))
    with pytest.raises(ServerError, match=r"^Unable to connect to server: unable to get local issuer certificate"):
        await ask(server, tls=True, ca_file=str(tmp_path / "stranger"))
    with pytest.raises(ServerError, match=r"^Unable to connect to server: Hostname mismatch"):
        await ask(server, tls=True, ca_file=str(tmp_path / "ca"), host="localhost")
    with pytest.raises(ServerError):
        await ask(server)
    renewed = authority.issue("pushusers", names=("127.0.0.1",))
    await server.use(replace(OPEN, certificate=renewed.certificate.decode(), key=renewed.key.decode()))
    assert await ask(server, tls=True, ca_file=str(tmp_path / "ca"))


@pytest.mark.parametrize("half", ["certificate", "key", "neither", "misfit"])
async def test_tls_that_is_broken_never_falls_back_to_plain_http(server: AdminServer, half: str) -> None:
    authority = Authority.new("ours")
    pair, other = authority.issue("a"), authority.issue("b")
    certificate, key = pair.certificate.decode(), pair.key.decode()
    broken = {
        "certificate": replace(OPEN, certificate=certificate, key=""),
        "key": replace(OPEN, certificate=None, key=key),
        "neither": replace(OPEN, certificate="", key=""),
        "misfit": replace(OPEN, certificate=certificate, key=other.key.decode()),
    }[half]
    await server.use(broken)
    with pytest.raises(ssl.SSLError):
        await server.start("127.0.0.1", 0)
    assert not server.serving
    await server.use(replace(OPEN, certificate=certificate, key=key))
    assert server.serving


async def test_a_broken_certificate_leaves_the_one_of_before(server: AdminServer, tmp_path: Path) -> None:
    authority = Authority.new("ours")
    (tmp_path / "ca").write_bytes(authority.pair.certificate)
    pair = authority.issue("pushusers", names=("127.0.0.1",))
    good = replace(OPEN, certificate=pair.certificate.decode(), key=pair.key.decode())
    await server.use(good)
    await server.start("127.0.0.1", 0)
    with pytest.raises(ssl.SSLError):
        await server.use(replace(good, password="new", key="nonsense"))
    assert await ask(server, tls=True, ca_file=str(tmp_path / "ca"), password="new"), "the login counts all the same"


async def raw(server: AdminServer, data: bytes) -> bytes:
    """What comes until the server ends the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(data)
    async with asyncio.timeout(60):
        answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nAuthorization Basic U0VDUkVU\r\n\r\n",
        b"GET / HTTP/1.1\r\nAuthorization: Basic U0VDUkVU\x01\r\n\r\n",
    ],
)
async def test_a_header_that_is_none_is_not_quoted_in_the_log(
    server: AdminServer, head: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    await server.start("127.0.0.1", 0)
    with caplog.at_level(logging.DEBUG):
        assert b" 400 " in (await raw(server, head)).split(b"\r\n")[0]
    assert "U0VDUkVU" not in caplog.text


async def test_passwords_are_not_tried_by_the_thousand(people: People) -> None:
    """One connection took 12,600 tries a second."""
    delays: list[float] = []

    async def sleep(seconds: float) -> None:
        delays.append(seconds)

    server = AdminServer(people, OPEN, "", logins=LoginGuard(clock=lambda: 1000.0, sleep=sleep))
    await server.start("127.0.0.1", 0)
    try:
        wrong = f"GET {LISTENERS} HTTP/1.1\r\nHost: x\r\nAuthorization: {basic('oxadmin:no')}\r\n\r\n".encode()
        answers = [await raw(server, wrong * 3) for _ in range(TRIES + 5)]
        assert [answer.count(b"HTTP/1.1 ") for answer in answers] == [1] * len(answers), "each ends its connection"
        assert [answer.split()[1] for answer in answers] == [b"401"] * TRIES + [b"429"] * 5
        assert len(delays) == TRIES
        assert await status(server, LISTENERS, basic("oxadmin:pä55:word")) == 429, "nor is a right one told apart"
    finally:
        await server.close()
