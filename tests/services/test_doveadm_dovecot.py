"""doveadm's HTTP API of a real Dovecot: registrations by it, what it says of faults, and what it does to patterns."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Final

import pytest

from dev.services import Dovecot, WebhookReceiver
from dev.services.releases import Version
from mailpush.doveadm.access import DoveadmAccess
from mailpush.doveadm.answers import Command, Failed, parse, request
from mailpush.doveadm.client import DoveadmClient
from mailpush.doveadm.errors import (
    CommandFailedError,
    DoveadmRefusedError,
    DoveadmUnauthorizedError,
    DoveadmUnreachableError,
    LoginUnusableError,
    NoSuchUserError,
)
from mailpush.doveadm.metadata import get_metadata, set_metadata
from mailpush.imap.client import ImapLogin, ImapServer
from mailpush.listener.mechanisms.base import DoveadmUser, Health, Listener, Mailbox, State
from mailpush.listener.mechanisms.budget import ConnectBudget
from mailpush.listener.mechanisms.by_doveadm import EX_DATAERR
from mailpush.listener.mechanisms.dovecot import DovecotMechanism
from mailpush.listener.mechanisms.entry import ENTRY
from mailpush.listener.mechanisms.repeating import Surroundings
from mailpush.notifications.callback import parse_callback
from mailpush.notifications.notification import NewMail
from tests.sites.waiting import until


def new_user() -> str:
    return f"u{uuid.uuid4().hex[:12]}"


@asynccontextmanager
async def asking(dovecot: Dovecot, secret: str | None = None) -> AsyncIterator[DoveadmClient]:
    client = DoveadmClient(DoveadmAccess((dovecot.doveadm_url,), secret or dovecot.api_key, read_seconds=60.0))
    try:
        yield client
    finally:
        await client.close()


@pytest.fixture(scope="module")
def bare(version: Version) -> Iterator[Dovecot]:
    """One that keeps no METADATA."""
    with Dovecot.launch(push="# nothing", version=version) as dovecot:
        yield dovecot


def listener(dovecot: Dovecot, client: DoveadmClient, user: str) -> Listener:
    server = ImapServer(dovecot.host, dovecot.imap_port, "none")
    mailbox = Mailbox(1, 3, server, ImapLogin.without(user), doveadm=DoveadmUser(user))

    def ignore_health(_user: tuple[int, int], _health: Health) -> None: ...

    mechanism = DovecotMechanism(Surroundings(ConnectBudget(), doveadm=client))
    return mechanism.listener(mailbox, ignore_health, lambda _: False)


async def test_a_user_is_registered_called_for_and_unregistered_without_a_login(
    dovecot: Dovecot, callbacks: WebhookReceiver
) -> None:
    user = new_user()
    async with asking(dovecot) as client:
        one = listener(dovecot, client, user)
        await one.start()
        await until(lambda: one.health.state is State.LISTENING)
        assert await asyncio.to_thread(dovecot.metadata, user) == "user=3@1"
        subject = f"by doveadm {user}"
        await asyncio.to_thread(dovecot.deliver, user, subject=subject)
        called = [parse_callback(one.body, 0.0) for one in callbacks.received if subject.encode() in one.body]
        (mail,) = [one for one in called if isinstance(one, NewMail)]
        assert (mail.context_id, mail.user_id) == (1, 3)
        await one.unregister()
        assert await asyncio.to_thread(dovecot.metadata, user) is None
        later = f"later {user}"
        await asyncio.to_thread(dovecot.deliver, user, subject=later)
        assert not any(later.encode() in one.body for one in callbacks.received)
    assert f"Login: user=<{user}>" not in dovecot.log()


async def test_what_another_one_has_written_is_left_alone(dovecot: Dovecot) -> None:
    user = new_user()
    async with asking(dovecot) as client:
        await set_metadata(client, user, ENTRY, "user=someone else's")
        await listener(dovecot, client, user).unregister()
        assert await get_metadata(client, user, ENTRY) == "user=someone else's"


async def test_many_go_together_and_each_has_its_own_answer(dovecot: Dovecot) -> None:
    users = [new_user() for _ in range(120)]
    async with asking(dovecot) as client:
        await asyncio.gather(*(set_metadata(client, user, ENTRY, f"user={user}") for user in users))
        wanted = [*users[:60], "no/such user", *users[60:]]
        found = await asyncio.gather(*(get_metadata(client, user, ENTRY) for user in wanted), return_exceptions=True)
        assert isinstance(found.pop(60), NoSuchUserError)
        assert found == [f"user={user}" for user in users]
        await asyncio.gather(*(set_metadata(client, user, ENTRY, None) for user in users))
        assert set(await asyncio.gather(*(get_metadata(client, user, ENTRY) for user in users))) == {None}


async def test_odd_values_come_back_as_they_are(dovecot: Dovecot) -> None:
    user = new_user()
    async with asking(dovecot) as client:
        for value in ('user=a"b\\c', "user=ü📬", "][,", "user=3@1\ttail"):
            await set_metadata(client, user, ENTRY, value)
            assert await get_metadata(client, user, ENTRY) == value


async def test_a_wrong_key_is_told_and_shown_nowhere(dovecot: Dovecot) -> None:
    async with asking(dovecot, "planted-key") as client:
        with pytest.raises(DoveadmUnauthorizedError) as error:
            await get_metadata(client, new_user(), ENTRY)
        assert "planted" not in str(error.value)
        assert client.trouble == "DoveadmUnauthorized"
    assert "planted" not in dovecot.log()


async def test_another_path_is_no_doveadm(dovecot: Dovecot) -> None:
    client = DoveadmClient(DoveadmAccess((dovecot.doveadm_url.replace("v1", "v7"),), dovecot.api_key))
    with pytest.raises(DoveadmRefusedError, match="no doveadm HTTP API"):
        await get_metadata(client, new_user(), ENTRY)
    await client.close()


async def test_a_command_that_does_not_exist_costs_no_other_its_answer(dovecot: Dovecot) -> None:
    user = new_user()
    async with asking(dovecot) as client:
        await set_metadata(client, user, ENTRY, "user=3@1")
        outcomes = await asyncio.gather(
            client.ask("mailboxMetadataGet", user, mailbox="", allowEmptyMailboxName=True, key=ENTRY),
            client.ask("mailboxMetadataNope", user),
            client.ask("mailboxMetadataGet", user, mailbox="", allowEmptyMailboxName=True, key=ENTRY),
            return_exceptions=True,
        )
        assert outcomes[0] == outcomes[2] == [{"value": "user=3@1"}]
        assert isinstance(outcomes[1], DoveadmRefusedError)
        assert client.trouble == ""


async def test_where_no_metadata_is_kept_the_user_is_told_so(bare: Dovecot) -> None:
    async with asking(bare) as client:
        with pytest.raises(CommandFailedError) as error:
            await get_metadata(client, "u1", ENTRY)
        assert error.value.exit_code == EX_DATAERR
        one = listener(bare, client, "u1")
        await one.start()
        await until(lambda: one.health.state is State.FAILED)
        assert one.health.reason == "NoMetadata"
        await one.stop()


STORED: Final[dict[Version, str]] = {
    "2.3": "mail_attribute_dict = file:%h/dovecot-attributes",
    "2.4": "mail_attribute {\n  dict file {\n    path = %{home}/dovecot-attributes\n  }\n}",
}


async def test_nobody_needs_metadata_at_imap(version: Version) -> None:
    with Dovecot.launch(push=STORED[version], version=version) as dovecot:
        async with asking(dovecot) as client:
            await set_metadata(client, "u1", ENTRY, "user=3@1")
            assert await get_metadata(client, "u1", ENTRY) == "user=3@1"
        session = dovecot.imap("u1")
        assert "METADATA" not in session.capability()[1][0].decode()
        session.logout()


async def test_dovecot_takes_a_pattern_for_many_users_so_it_is_never_sent(dovecot: Dovecot) -> None:
    """Why: this Dovecot cannot list its users and says so; one that can would do the command to each of them."""
    async with asking(dovecot) as client:
        with pytest.raises(LoginUnusableError):
            await set_metadata(client, "*", ENTRY, None)
        body = request(
            [Command("mailboxMetadataGet", "x*", {"mailbox": "", "allowEmptyMailboxName": True, "key": ENTRY})]
        )
        status, answer = await client._post(dovecot.doveadm_url, body)
        assert (status, parse(answer, 1)) == (200, [Failed("exitCode", 75)])
        assert "Trying to iterate users" in dovecot.log()


async def test_dovecot_that_is_away_is_told_and_found_again(version: Version) -> None:
    with Dovecot.launch(version=version) as dovecot:
        clock_now = 1000.0
        client = DoveadmClient(DoveadmAccess((dovecot.doveadm_url,), dovecot.api_key), lambda: clock_now)
        user = new_user()
        await set_metadata(client, user, ENTRY, "user=3@1")
        await asyncio.to_thread(dovecot.stop)
        with pytest.raises(DoveadmUnreachableError):
            await get_metadata(client, user, ENTRY)
        assert client.trouble == "DoveadmUnreachable"
        await asyncio.to_thread(dovecot.start)
        clock_now += 5.0
        assert await get_metadata(client, user, ENTRY) == "user=3@1", "it survives Dovecot's restart"
        assert client.trouble == ""
        await client.close()
