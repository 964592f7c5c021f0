"""The client against a server that says what the test has written down, good or bad."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path
from typing import Literal

import pytest

from dev.cluster import pki
from mailpush.imap.client import (
    Idled,
    ImapClient,
    ImapConnectionError,
    ImapError,
    ImapProtocolError,
    ImapRefused,
    ImapServer,
    connect,
)
from tests.unit.imap.script import GREETING, LOGIN, TIMEOUT, Script, fails, served


async def test_a_bye_in_place_of_the_greeting_is_a_connection_error() -> None:
    async with served(Script(greeting="* BYE [UNAVAILABLE] too busy")) as server:
        with pytest.raises(ImapConnectionError, match=r"BYE \[UNAVAILABLE\]"):
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


async def test_a_login_is_waited_for_longer_than_another_command() -> None:
    """Dovecot delays those of an address that it has refused."""
    failure = await fails(Script(""), lambda client: client.login(LOGIN), timeout=0.1)
    assert "did not answer within 0.3 s" in str(failure)


async def test_a_bye_in_place_of_idles_go_on_does_not_hang() -> None:
    script = Script("* 0 EXISTS\n{tag} OK", "* BYE [UNAVAILABLE] shutting down", hang_up=False)

    async def idle(client: ImapClient) -> None:
        await client.select("INBOX")
        await client.idle(3600)

    failure = await fails(script, idle)
    assert isinstance(failure, ImapConnectionError)
    assert "a part of the server is down" in str(failure)


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
        assert await client.noop()


async def test_a_mail_told_between_two_idles_is_not_waited_for() -> None:
    script = Script(
        "* 0 EXISTS\n{tag} OK", "+ idling\n* 1 EXISTS", "* 2 EXISTS\n{last} OK idle ended", "* BYE\n{tag} OK"
    )
    async with served(script) as server, connect(server, TIMEOUT) as client:
        mailbox = await client.select("INBOX")
        assert await client.idle(3600) is Idled.GROWN
        assert mailbox.exists == 2


async def test_flags_and_expunged_messages_do_not_end_an_idle() -> None:
    script = Script(
        "* 2 EXISTS\n{tag} OK",
        "+ idling\n* 1 FETCH (FLAGS (\\Seen [todo))\n* 1 EXPUNGE\n* 2 EXISTS",
        "{last} OK idle ended",
        "* BYE\n{tag} OK",
    )
    async with served(script) as server, connect(server, TIMEOUT) as client:
        await client.select("INBOX")
        assert await client.idle(3600) is Idled.GROWN
    assert [line.split(" ")[-1] for line in script.lines] == ['"INBOX"', "IDLE", "DONE", "LOGOUT"]


async def test_a_server_that_ends_an_idle_is_told_from_one_that_held_it() -> None:
    script = Script("* 0 EXISTS\n{tag} OK", "+ idling\n{tag} OK", "+ idling", "{last} OK", "* BYE\n{tag} OK")
    async with served(script) as server, connect(server, TIMEOUT) as client:
        await client.select("INBOX")
        assert await client.idle(3600) is Idled.ENDED
        assert await client.idle(0.01) is Idled.QUIET


@pytest.mark.parametrize("answers", [["* STATUS x (UIDNEXT 9)\n{tag} OK"], ["{tag} NO", "* 1 FETCH (UID 8)\n{tag} OK"]])
async def test_uidnext_that_select_leaves_out_is_asked_for(answers: list[str]) -> None:
    script = Script("* 3 EXISTS\n* OK [UIDVALIDITY 7] v\n{tag} OK", *answers, "* BYE\n{tag} OK")
    async with served(script) as server, connect(server, TIMEOUT) as client:
        assert (await client.select("INBOX", readonly=True)).uidnext is None
        assert await client.uidnext("INBOX") == 9


async def test_an_empty_mailbox_without_uidnext_begins_at_1() -> None:
    script = Script("* 0 EXISTS\n* OK [UIDVALIDITY 7] v\n{tag} OK", "{tag} BAD", "* BYE\n{tag} OK")
    async with served(script) as server, connect(server, TIMEOUT) as client:
        await client.select("INBOX", readonly=True)
        assert await client.uidnext("INBOX") == 1


async def test_a_server_that_wants_id_before_a_mailbox_gets_it_once() -> None:
    script = Script(
        "* ID NIL\n{tag} OK",
        "* 0 EXISTS\n{tag} OK",
        "{tag} OK",
        "* BYE\n{tag} OK",
        greeting="* OK [CAPABILITY IMAP4rev1 ID] ready",
    )
    async with served(script) as server, connect(server, TIMEOUT) as client:
        await client.select("INBOX")
        await client.select("INBOX")
    assert [line.split(" ")[1] for line in script.lines] == ["ID", "SELECT", "SELECT", "LOGOUT"]
    assert script.lines[0].startswith('M1 ID ("name" "Mail Push" "version" ')


async def test_a_refused_id_is_no_hindrance() -> None:
    script = Script("{tag} BAD", "{tag} OK", "* BYE\n{tag} OK", greeting="* OK [CAPABILITY IMAP4rev1 ID] ready")
    async with served(script) as server, connect(server, TIMEOUT) as client:
        await client.select("INBOX")


@pytest.mark.parametrize("answer", ["* BAD what", "* OK done"])
async def test_an_answer_that_says_not_to_which_command_is_named(answer: str) -> None:
    failure = await fails(Script(answer), lambda client: client.get_metadata("/private/x"), timeout=0.1)
    assert isinstance(failure, ImapConnectionError)
    assert f"it said {answer.split()[1]}, but not to which command" in str(failure)


@pytest.mark.parametrize("security", ["none", "starttls", "tls"])
async def test_a_connection_whose_other_end_is_gone_ends_within_minutes(
    security: Literal["none", "starttls", "tls"], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = pki.Authority.new("test")
    pair = authority.issue("imap.example", names=("imap.example",))
    (tmp_path / "pair.pem").write_bytes(pair.certificate + pair.key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "pair.pem")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{GREETING}\r\n".encode())
        while line := await reader.readline():
            writer.write(line.split(b" ")[0] + b" OK\r\n")
            if b"STARTTLS" in line:
                await writer.start_tls(context)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context if security == "tls" else None)
    address = ImapServer("127.0.0.1", server.sockets[0].getsockname()[1], security, verify=False)
    async with server, connect(address, TIMEOUT) as client:
        used = client._transport.require_open().connection
        assert used is not None
        duplicate = socket.fromfd(used.fileno(), socket.AF_INET, socket.SOCK_STREAM)
        with duplicate:
            assert duplicate.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            idle, every, probes, unanswered = (
                duplicate.getsockopt(socket.IPPROTO_TCP, option)
                for option in (
                    socket.TCP_KEEPIDLE,
                    socket.TCP_KEEPINTVL,
                    socket.TCP_KEEPCNT,
                    socket.TCP_USER_TIMEOUT,
                )
            )
        assert idle == 60
        assert idle + every * probes <= 120
        assert unanswered == 60_000


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
