"""The IMAP client against a real Dovecot."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from dev.services import Dovecot, Received, WebhookReceiver
from dev.services.dovecot import ENTRY
from dev.services.releases import Version
from mailpush.imap.client import (
    Fetched,
    Idled,
    ImapAuthError,
    ImapClient,
    ImapConnectionError,
    ImapLogin,
    ImapRefused,
    ImapServer,
    connect,
)
from mailpush.imap.server import Security
from mailpush.notifications.callback import parse_callback
from mailpush.notifications.notification import NewMail, new_mail_from_header

TIMEOUT = 60.0
SECURITIES: list[Security] = ["tls", "starttls", "none"]


@pytest.fixture
def user() -> str:
    """Nobody has used this mailbox before."""
    return f"u{uuid.uuid4().hex[:12]}"


def server(dovecot: Dovecot, security: Security = "tls", **changed: Any) -> ImapServer:
    port = dovecot.imaps_port if security == "tls" else dovecot.imap_port
    return ImapServer(dovecot.host, port, security, **({"ca_pem": dovecot.ca_file.read_text()} | changed))


def login(dovecot: Dovecot, user: str, *, master: bool = False) -> ImapLogin:
    if master:
        return ImapLogin(dovecot.master_user, dovecot.master_password, authzid=user)
    return ImapLogin(user, dovecot.password)


@pytest.mark.parametrize("master", [False, True], ids=["as the user", "as the master user"])
@pytest.mark.parametrize("security", SECURITIES)
async def test_metadata_is_set_read_and_removed(dovecot: Dovecot, user: str, security: Security, master: bool) -> None:
    async with connect(server(dovecot, security), TIMEOUT) as client:
        await client.login(login(dovecot, user, master=master))
        assert "METADATA" in await client.capabilities()
        assert await client.get_metadata(ENTRY) is None
        await client.set_metadata(ENTRY, b"user=3@1")
        assert await client.get_metadata(ENTRY) == b"user=3@1"
        assert dovecot.metadata(user) == "user=3@1"
        await client.set_metadata(ENTRY, None)
        assert await client.get_metadata(ENTRY) is None
    assert dovecot.metadata(user) is None


async def test_a_value_that_needs_a_literal_comes_back(dovecot: Dovecot, user: str) -> None:
    value = 'user=3@1 "ü"\\ {3}'.encode()
    async with connect(server(dovecot), TIMEOUT) as client:
        await client.login(login(dovecot, user))
        await client.set_metadata(ENTRY, value)
        assert await client.get_metadata(ENTRY) == value


@pytest.mark.parametrize("master", [False, True], ids=["as the user", "as the master user"])
async def test_login_is_the_way_where_plain_is_not_offered(
    dovecot: Dovecot, user: str, master: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def without_plain(client: ImapClient) -> frozenset[str]:
        return frozenset({"IMAP4REV1"})

    monkeypatch.setattr(ImapClient, "capabilities", without_plain)
    async with connect(server(dovecot), TIMEOUT) as client:
        await client.login(login(dovecot, user, master=master))
        await client.set_metadata(ENTRY, b"user=4@1")
    assert dovecot.metadata(user) == "user=4@1"


@pytest.fixture
def own_dovecot(version: Version) -> Iterator[Dovecot]:
    """One for failing logins: Dovecot makes all logins from an address wait for the failures of any of them."""
    with Dovecot.launch(version=version) as dovecot:
        yield dovecot


async def test_a_wrong_password_is_an_auth_error_that_does_not_show_it(own_dovecot: Dovecot, user: str) -> None:
    for wrong in (ImapLogin(user, "wr0ng-password"), ImapLogin("master1", "wr0ng-password", authzid=user)):
        async with connect(server(own_dovecot), TIMEOUT) as client:
            with pytest.raises(ImapAuthError) as failure:
                await client.login(wrong)
        assert failure.value.code == "AUTHENTICATIONFAILED"
        assert "wr0ng-password" not in str(failure.value) + repr(wrong)


async def test_an_untrusted_certificate_is_named_and_nothing_is_sent(dovecot: Dovecot) -> None:
    for security in ("tls", "starttls"):
        with pytest.raises(ImapConnectionError, match="certificate"):
            await ImapClient.open(server(dovecot, security, ca_pem=None), TIMEOUT)
        with pytest.raises(ImapConnectionError, match="certificate"):
            await ImapClient.open(server(dovecot, security, server_name="elsewhere.example"), TIMEOUT)


async def test_tls_to_a_port_without_it_fails(dovecot: Dovecot) -> None:
    with pytest.raises(ImapConnectionError):
        await ImapClient.open(ImapServer(dovecot.host, dovecot.imap_port, "tls"), 5)


async def test_idle_sees_a_delivery_and_its_header_becomes_a_new_mail(dovecot: Dovecot, user: str) -> None:
    async with connect(server(dovecot), TIMEOUT) as client:
        await client.login(login(dovecot, user))
        assert "IDLE" in await client.capabilities()
        inbox = await client.select("INBOX", readonly=True)
        before = inbox.uidnext
        assert before is not None
        idle = asyncio.create_task(client.idle(TIMEOUT))
        await asyncio.to_thread(dovecot.deliver, user, subject="Grüße 台", sender="Jörg <j@example.org>")
        assert await idle is Idled.GROWN
        fetched = await client.fetch_headers(range(before, before + 10))
        (message,) = fetched.messages
        assert not fetched.refused
        assert message.header is not None
        status = await client.status("INBOX", "UNSEEN", "UIDNEXT", "UIDVALIDITY")
        assert status == {"UNSEEN": 1, "UIDNEXT": message.uid + 1, "UIDVALIDITY": inbox.uidvalidity}
    mail = new_mail_from_header(
        message.header, context_id=1, user_id=3, folder="INBOX", uid=message.uid, uidvalidity=status["UIDVALIDITY"]
    )
    assert (mail.subject, mail.email, mail.displayname) == ("Grüße 台", "j@example.org", "Jörg")


async def test_an_idle_in_which_nothing_happens_ends_empty_and_can_be_repeated(dovecot: Dovecot, user: str) -> None:
    async with connect(server(dovecot), TIMEOUT) as client:
        await client.login(login(dovecot, user))
        await client.select("INBOX")
        assert await client.idle(0.05) is Idled.QUIET
        assert await client.idle(0.05) is Idled.QUIET
        await asyncio.to_thread(dovecot.deliver, user)
        assert await client.idle(TIMEOUT) is Idled.GROWN
        assert await client.fetch_headers([2]) == Fetched([], refused=False)
        assert await client.uidnext("INBOX") == 2
        assert await client._last_uid() == 1


async def test_a_refused_command_leaves_the_connection_usable(dovecot: Dovecot, user: str) -> None:
    async with connect(server(dovecot), TIMEOUT) as client:
        await client.login(login(dovecot, user))
        with pytest.raises(ImapRefused, match="refused SELECT of Entwürfe & mehr"):
            await client.select("Entwürfe & mehr")
        await asyncio.to_thread(dovecot.doveadm, "mailbox", "create", "-u", user, "Entwürfe & mehr")
        assert (await client.select("Entwürfe & mehr")).exists == 0
        assert (await client.select("INBOX")).exists == 0


async def test_a_keyword_with_a_bracket_hides_no_mail(dovecot: Dovecot, user: str) -> None:
    async with connect(server(dovecot), TIMEOUT) as client:
        await client.login(login(dovecot, user))
        before = await client.select("INBOX", readonly=True)
        assert before.uidnext == 1
        await asyncio.to_thread(append, dovecot, user, ("[todo", "a[b", "BODY[x", "$Label1"))
        await asyncio.to_thread(append, dovecot, user, ())
        await client.noop()
        fetched = await client.fetch_headers([1, 2])
        assert [message.uid for message in fetched.messages] == [1, 2]
        assert fetched.messages[0].flags is not None
        assert {"[todo", "a[b", "BODY[x", "$Label1"} <= fetched.messages[0].flags
        assert all(message.header for message in fetched.messages)


async def test_an_expunge_between_the_look_and_the_fetch_is_no_hindrance(dovecot: Dovecot, user: str) -> None:
    for _ in range(2):
        await asyncio.to_thread(dovecot.deliver, user)
    async with connect(server(dovecot), TIMEOUT) as client:
        await client.login(login(dovecot, user))
        await client.select("INBOX", readonly=True)
        await asyncio.to_thread(dovecot.doveadm, "expunge", "-u", user, "mailbox", "INBOX", "uid", "1")
        fetched = await client.fetch_headers([1, 2])
        assert 2 in [message.uid for message in fetched.messages if message.header]


def append(dovecot: Dovecot, user: str, flags: tuple[str, ...]) -> None:
    """Puts a mail into INBOX by IMAP, as another client does."""
    session = dovecot.imap(user)
    assert session.append("INBOX", f"({' '.join(flags)})", "", b"From: a@example.org\r\nSubject: s\r\n\r\n")[0] == "OK"
    session.logout()


async def test_a_server_that_goes_away_ends_an_idle(dovecot: Dovecot, user: str) -> None:
    async with connect(server(dovecot), TIMEOUT) as client:
        await client.login(login(dovecot, user))
        await client.select("INBOX")
        idle = asyncio.create_task(client.idle(TIMEOUT))
        while not idle.done():  # Dovecot may learn a moment after the login whose session it is
            await asyncio.to_thread(dovecot.doveadm, "kick", user, check=False)
            await asyncio.wait([idle], timeout=0.2)
        with pytest.raises(ImapConnectionError):
            await idle


async def test_the_ox_drivers_callback_is_understood(dovecot: Dovecot, callbacks: WebhookReceiver, user: str) -> None:
    def mine(callback: Received) -> bool:
        return bool(json.loads(callback.body)["user"] == f"2147483647@{context}")

    context = uuid.uuid4().int % 10**6 + 1
    async with connect(server(dovecot), TIMEOUT) as client:
        await client.login(login(dovecot, user, master=True))
        await client.set_metadata(ENTRY, f"user=2147483647@{context}".encode())
        await asyncio.to_thread(
            dovecot.deliver, user, subject="Überschrift", sender="Jörg <j@example.org>", body="Erste Zeile."
        )
        uidvalidity = (await client.status("INBOX", "UIDVALIDITY"))["UIDVALIDITY"]
    # One that is answered late is made a second time.
    received = await asyncio.to_thread(callbacks.wait, lambda all_of_them: any(map(mine, all_of_them)))
    request = next(filter(mine, received))
    assert parse_callback(request.body, 0.0) == NewMail(
        context_id=context,
        user_id=2147483647,
        folder="INBOX",
        uid=1,
        uidvalidity=uidvalidity,
        email="j@example.org",
        displayname="Jörg",
        subject="Überschrift",
        unread=1,
        teaser="Erste Zeile.",
    )


@pytest.mark.parametrize("size", [70_000, 400_000])
@pytest.mark.parametrize("long", ["From", "Subject"])
async def test_a_long_field_of_a_real_mail_is_cut_and_keeps_its_identity(
    dovecot: Dovecot, callbacks: WebhookReceiver, user: str, long: str, size: int
) -> None:
    context = uuid.uuid4().int % 10**6 + 1

    def mine(callback: Received) -> bool:
        return f"2147483647@{context}".encode() in callback.body

    name, subject = ("x" * size if long == each else "short" for each in ("From", "Subject"))
    async with connect(server(dovecot), TIMEOUT) as client:
        await client.login(login(dovecot, user, master=True))
        await client.set_metadata(ENTRY, f"user=2147483647@{context}".encode())
        content = f"From: {name} <j@example.org>\r\nSubject: {subject}\r\n\r\nErste Zeile.\r\n".encode()
        await asyncio.to_thread(dovecot.deliver_raw, user, content=content)
    received = await asyncio.to_thread(callbacks.wait, lambda all_of_them: any(map(mine, all_of_them)))
    request = next(filter(mine, received))
    assert len(request.body) > size, "Dovecot sends it whole"
    mail = parse_callback(request.body, 0.0)
    assert isinstance(mail, NewMail)
    assert (mail.context_id, mail.user_id, mail.folder, mail.uid) == (context, 2147483647, "INBOX", 1)
    assert mail.displayname == name[:256]
    if long == "Subject" or size == 70_000:
        assert mail.email == "j@example.org"
        assert mail.subject == subject[:998]
