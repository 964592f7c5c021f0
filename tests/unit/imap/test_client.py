"""The client against a server that says what the test has written down, good or bad."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from dev.cluster import pki
from mailpush.imap.client import (
    ImapAuthError,
    ImapClient,
    ImapConnectionError,
    ImapError,
    ImapLogin,
    ImapProtocolError,
    ImapRefused,
    ImapServer,
    ImapUnavailable,
    connect,
)

GREETING = "* OK [CAPABILITY IMAP4rev1 IDLE STARTTLS SASL-IR AUTH=PLAIN] ready"
LOGIN = ImapLogin("u", "s3cret")
TIMEOUT = 20.0


class Script:
    """Says `greeting`, then for each line from the client the next of `answers` (`{tag}` is the line's tag)."""

    def __init__(self, *answers: str, greeting: str = GREETING, hang_up: bool = False) -> None:
        self.greeting = greeting
        self.answers = list(answers)
        self.hang_up = hang_up
        self.lines: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            writer.write(f"{self.greeting}\r\n".encode())
            while self.answers:
                line = (await reader.readuntil(b"\r\n")).decode().rstrip()
                self.lines.append(line)
                answer = self.answers.pop(0).format(tag=line.split(" ")[0], last=self._last_tag())
                writer.write(answer.replace("\n", "\r\n").encode() + (b"\r\n" if answer else b""))
            if not self.hang_up:
                await reader.read()
        writer.close()

    def _last_tag(self) -> str:
        return next((line.split(" ")[0] for line in reversed(self.lines) if line.startswith("M")), "")


@asynccontextmanager
async def served(script: Script) -> AsyncIterator[ImapServer]:
    serving: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.ensure_future(script.serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield ImapServer("127.0.0.1", server.sockets[0].getsockname()[1], "none")
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


async def fails(
    script: Script,
    act: Callable[[ImapClient], Awaitable[object]],
    timeout: float = TIMEOUT,  # noqa: ASYNC109 - it is the client's
) -> ImapError:
    async with served(script) as server:
        with pytest.raises(ImapError) as failure:
            async with connect(server, timeout) as client:
                await act(client)
    return failure.value


async def test_a_bye_in_place_of_the_greeting_is_a_connection_error() -> None:
    async with served(Script(greeting="* BYE too busy")) as server:
        with pytest.raises(ImapConnectionError, match="too busy"):
            await ImapClient.open(server, TIMEOUT)


@pytest.mark.parametrize("greeting", ["220 smtp.example.org ESMTP", "* CAPABILITY IMAP4rev1", "M1 OK hello"])
async def test_what_is_no_imap_server_is_said_so(greeting: str) -> None:
    async with served(Script(greeting=greeting)) as server:
        with pytest.raises(ImapProtocolError):
            await ImapClient.open(server, TIMEOUT)


async def test_a_server_that_says_nothing_costs_no_more_than_the_timeout() -> None:
    async with served(Script(greeting="", hang_up=False)) as server:
        with pytest.raises(ImapConnectionError, match=r"within 0\.1 s"):
            await ImapClient.open(ImapServer(server.host, server.port, "tls"), 0.1)


async def test_a_command_without_an_answer_ends_the_connection() -> None:
    failure = await fails(Script(""), lambda client: client.get_metadata("/private/x"), timeout=0.1)
    assert isinstance(failure, ImapConnectionError)


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        ("{tag} NO [AUTHENTICATIONFAILED] no", ImapAuthError, "AUTHENTICATIONFAILED"),
        ("{tag} NO [AUTHORIZATIONFAILED] no", ImapAuthError, "AUTHORIZATIONFAILED"),
        ("{tag} NO [EXPIRED] no", ImapAuthError, "EXPIRED"),
        ("{tag} NO no", ImapAuthError, None),
        ("{tag} NO [UNAVAILABLE] later", ImapUnavailable, "UNAVAILABLE"),
        ("{tag} NO [LIMIT] too many", ImapUnavailable, "LIMIT"),
        ("{tag} NO [CONTACTADMIN] locked", ImapUnavailable, "CONTACTADMIN"),
        ("{tag} BAD what", ImapRefused, None),
    ],
)
async def test_a_refused_login_says_whether_it_is_about_the_credentials(
    answer: str, kind: type[ImapRefused], code: str | None
) -> None:
    failure = await fails(Script(answer), lambda client: client.login(LOGIN))
    assert type(failure) is kind
    assert isinstance(failure, ImapRefused)
    assert failure.code == code


async def test_a_server_that_repeats_the_credentials_does_not_bring_them_into_our_texts() -> None:
    encoded = "AHUAczNjcmV0"
    for kind in ("NO", "BAD"):
        script = Script(f"{{tag}} {kind} what is s3cret or {encoded}")
        failure = await fails(script, lambda client: client.login(LOGIN))
        assert script.lines == [f"M1 AUTHENTICATE PLAIN {encoded}"]
        assert "s3cret" not in str(failure)
        assert encoded not in str(failure)
        assert failure.__context__ is None or "s3cret" not in str(failure.__context__)


async def test_a_bye_to_a_login_is_a_connection_error() -> None:
    failure = await fails(Script("* BYE restarting", hang_up=True), lambda client: client.login(LOGIN))
    assert isinstance(failure, ImapConnectionError)
    assert "restarting" in str(failure)


async def test_no_login_is_tried_where_none_is_offered() -> None:
    script = Script(greeting="* OK [CAPABILITY IMAP4rev1 LOGINDISABLED] ready")
    failure = await fails(script, lambda client: client.login(LOGIN))
    assert isinstance(failure, ImapRefused)
    assert script.lines == []


async def test_login_has_the_master_user_behind_the_separator() -> None:
    script = Script("{tag} OK in", "* BYE\n{tag} OK", greeting="* OK [CAPABILITY IMAP4rev1] ready")
    async with served(script) as server, connect(server, TIMEOUT) as client:
        await client.login(ImapLogin("master1", "s3cret", authzid="u3"))
    assert script.lines == ['M1 LOGIN "u3*master1" "s3cret"', "M2 LOGOUT"]


async def test_credentials_that_cannot_be_sent_are_an_auth_error() -> None:
    failure = await fails(Script(), lambda client: client.login(ImapLogin("u", "a\0b")))
    assert isinstance(failure, ImapAuthError)


async def test_a_bye_in_place_of_idles_go_on_does_not_hang() -> None:
    script = Script("* 0 EXISTS\n{tag} OK", "* BYE shutting down", hang_up=False)

    async def idle(client: ImapClient) -> None:
        await client.select("INBOX")
        await client.idle(3600)

    failure = await fails(script, idle)
    assert isinstance(failure, ImapConnectionError)
    assert "shutting down" in str(failure)


async def test_a_bye_in_an_idle_ends_it_though_the_connection_stays_open() -> None:
    script = Script("* 0 EXISTS\n{tag} OK", "+ idling\n* BYE inactive", hang_up=False)

    async def idle(client: ImapClient) -> None:
        await client.select("INBOX")
        await client.idle(3600)

    assert isinstance(await fails(script, idle), ImapConnectionError)


async def test_a_refused_idle_leaves_the_connection_usable() -> None:
    script = Script("* 0 EXISTS\n{tag} OK", "{tag} NO not here", "* 1 EXISTS\n{tag} OK", "* BYE\n{tag} OK")
    async with served(script) as server, connect(server, TIMEOUT) as client:
        await client.select("INBOX")
        with pytest.raises(ImapRefused):
            await client.idle(3600)
        assert (await client.noop()).grown


async def test_a_mail_told_between_two_idles_is_not_waited_for() -> None:
    script = Script(
        "* 0 EXISTS\n{tag} OK", "+ idling\n* 1 EXISTS", "* 2 EXISTS\n{last} OK idle ended", "* BYE\n{tag} OK"
    )
    async with served(script) as server, connect(server, TIMEOUT) as client:
        mailbox = await client.select("INBOX")
        assert (await client.idle(3600)).grown
        assert mailbox.exists == 2


async def test_a_cancelled_command_drops_the_connection() -> None:
    script = Script("", hang_up=False)
    async with served(script) as server:
        client = await ImapClient.open(server, TIMEOUT)
        command = asyncio.create_task(client.get_metadata("/private/x"))
        async with asyncio.timeout(TIMEOUT):
            while not script.lines:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        command.cancel()
        with pytest.raises(asyncio.CancelledError):
            await command
        with pytest.raises(ImapConnectionError):
            await client.get_metadata("/private/x")


def starttls(server: ImapServer) -> ImapServer:
    return ImapServer(server.host, server.port, "starttls")


@pytest.mark.parametrize(
    ("greeting", "answers", "words"),
    [
        ("* PREAUTH [CAPABILITY IMAP4rev1 STARTTLS] welcome", [], "PREAUTH"),
        ("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] ready", [], "no STARTTLS"),
        (GREETING, ["{tag} NO not now"], "refused STARTTLS"),
        (GREETING, ["{tag} OK begin\n* OK [CAPABILITY AUTH=PLAIN] injected"], "in between"),
    ],
)
async def test_no_credential_is_sent_where_starttls_is_kept_from_us(
    greeting: str, answers: list[str], words: str
) -> None:
    script = Script(*answers, greeting=greeting)
    async with served(script) as server:
        with pytest.raises(ImapError, match=words):
            async with connect(starttls(server), TIMEOUT) as client:
                await client.login(LOGIN)
    assert script.lines in ([], ["M1 STARTTLS"])


async def test_a_server_that_breaks_off_the_handshake_is_a_connection_error() -> None:
    async with served(Script("{tag} OK begin", hang_up=True)) as server:
        with pytest.raises(ImapConnectionError):
            await ImapClient.open(starttls(server), TIMEOUT)


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid", "x" * 70 + ".example", ""])
async def test_a_server_that_cannot_be_reached_is_a_connection_error(host: str) -> None:
    with pytest.raises(ImapConnectionError):
        await ImapClient.open(ImapServer(host, 1, "none"), TIMEOUT)


async def test_a_ca_that_is_no_certificate_is_a_connection_error() -> None:
    with pytest.raises(ImapConnectionError, match=r"TLS|certificate"):
        await ImapClient.open(ImapServer("127.0.0.1", 1, "tls", ca_pem="nonsense"), TIMEOUT)


async def test_a_certificate_is_checked_by_the_name_that_is_configured(tmp_path: Path) -> None:
    authority = pki.Authority.new("test")
    pair = authority.issue("imap.example", names=("imap.example",))
    (tmp_path / "pair.pem").write_bytes(pair.certificate + pair.key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "pair.pem")
    script = Script("* BYE\n{tag} OK", "* BYE\n{tag} OK")
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    ca = authority.pair.certificate.decode()
    good = ImapServer("127.0.0.1", port, "tls", ca_pem=ca, server_name="imap.example")
    try:
        async with connect(good, TIMEOUT):
            pass
        async with connect(ImapServer("127.0.0.1", port, "tls", verify=False), TIMEOUT):
            pass
        with pytest.raises(ImapConnectionError, match="certificate"):
            await ImapClient.open(ImapServer("127.0.0.1", port, "tls", ca_pem=ca), TIMEOUT)
    finally:
        server.close()
    assert "BEGIN" not in repr(good)
