"""Access tokens at a real Dovecot: as docs/credentials.md configures it, and what it says of a token that is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from dev.services import Dovecot, WebhookReceiver
from dev.services.authorization import CLIENT, AuthorizationServer
from dev.services.dovecot import ENTRY
from dev.services.oauth import OAuth
from dev.services.releases import Version
from mailpush.api.mechanisms import ImapIdleSettings
from mailpush.credentials.current_tokens import CurrentTokens
from mailpush.imap.client import (
    ImapAuthError,
    ImapError,
    ImapLogin,
    ImapServer,
    ImapTokenError,
    ImapUnavailable,
    connect,
)
from mailpush.imap.errors import ImapConnectionError, ImapNoMechanism
from mailpush.imap.server import TokenMechanism
from mailpush.listener.mechanisms.base import Mailbox, State
from mailpush.listener.mechanisms.budget import ConnectBudget
from mailpush.listener.mechanisms.dovecot import DovecotMechanism
from mailpush.listener.mechanisms.imapidle import ImapIdleMechanism
from mailpush.listener.mechanisms.repeating import Surroundings
from mailpush.notifications.notification import NewMail
from mailpush.properties.settings import OAuthSettings, TokenEndpointSettings
from tests.sites.waiting import until

TIMEOUT = 60.0
Launch = Callable[[OAuth], Dovecot]


@pytest.fixture(scope="module")
def authorization() -> Iterator[AuthorizationServer]:
    with AuthorizationServer.start() as server:
        yield server


@pytest.fixture(scope="module")
def launch(version: Version) -> Iterator[Launch]:
    """One for each way to check tokens; Dovecot makes all logins wait for the failures of any, so it is its own."""
    running: dict[OAuth, Dovecot] = {}
    with ExitStack() as stack:

        def launched(oauth: OAuth) -> Dovecot:
            if oauth not in running:
                running[oauth] = stack.enter_context(Dovecot.launch(version=version, oauth=oauth))
            return running[oauth]

        yield launched


def server(dovecot: Dovecot) -> ImapServer:
    return ImapServer(dovecot.host, dovecot.imaps_port, "tls", ca_pem=dovecot.ca_file.read_text())


async def logs_in(dovecot: Dovecot, login: ImapLogin, value: bytes = b"user=3@1") -> None:
    async with connect(server(dovecot), TIMEOUT) as client:
        await client.login(login)
        await client.set_metadata(ENTRY, value)
    assert dovecot.metadata(login.user) == value.decode(), "it is this user's mailbox"


async def refused(dovecot: Dovecot, login: ImapLogin) -> ImapError:
    with pytest.raises(ImapError) as failure:
        async with connect(server(dovecot), TIMEOUT) as client:
            await client.login(login)
    assert login.password not in str(failure.value)
    return failure.value


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER", "auto"])
async def test_a_good_token_opens_its_mailbox(
    launch: Launch, authorization: AuthorizationServer, mechanism: TokenMechanism
) -> None:
    for oauth in (OAuth(key=authorization.key), OAuth(introspection_url=authorization.introspection_url)):
        dovecot = launch(oauth)
        await logs_in(dovecot, ImapLogin.with_token("u1", authorization.token("u1"), mechanism))


async def test_wrong_tokens_are_told_by_what_is_wrong(
    launch: Launch, authorization: AuthorizationServer, version: Version
) -> None:
    dovecot = launch(OAuth(key=authorization.key))
    for token in (authorization.token("u1", -60), authorization.token("u2"), "opaque"):
        failure = await refused(dovecot, ImapLogin.with_token("u1", token, "XOAUTH2"))
        assert isinstance(failure, ImapTokenError)
        assert not failure.scope_missing
    wrong_scope = authorization.token("u1", scope="openid")
    failure = await refused(dovecot, ImapLogin.with_token("u1", wrong_scope, "OAUTHBEARER"))
    assert isinstance(failure, ImapTokenError)


async def test_a_token_that_has_been_revoked_is_refused(launch: Launch, authorization: AuthorizationServer) -> None:
    dovecot = launch(OAuth(introspection_url=authorization.introspection_url))
    token = authorization.token("u1")
    await logs_in(dovecot, ImapLogin.with_token("u1", token))
    authorization.revoked.add(token)
    assert isinstance(await refused(dovecot, ImapLogin.with_token("u1", token)), ImapTokenError)


async def test_an_authorization_server_that_is_down_says_nothing_of_the_token(
    version: Version, authorization: AuthorizationServer
) -> None:
    with AuthorizationServer.start() as gone:
        url = gone.introspection_url
    with Dovecot.launch(version=version, oauth=OAuth(introspection_url=url)) as dovecot:
        failure = await refused(dovecot, ImapLogin.with_token("u1", authorization.token("u1")))
    assert isinstance(failure, ImapUnavailable)
    assert not isinstance(failure, ImapAuthError)


async def test_a_dovecot_without_the_mechanism_is_told_with_what_it_offers(dovecot: Dovecot) -> None:
    failure = await refused(dovecot, ImapLogin.with_token("u1", "t0ken-t0ken"))
    assert isinstance(failure, ImapNoMechanism)
    assert "neither OAUTHBEARER nor XOAUTH2 on this connection, but PLAIN, LOGIN;" in str(failure)


async def test_a_token_of_the_client_opens_every_mailbox_where_dovecot_lets_it(
    authorization: AuthorizationServer, version: Version
) -> None:
    token = authorization.token("service-account-mail-push")
    if version == "2.3":
        for oauth, foreign in (
            (OAuth(key=authorization.key, client_for_all=True), {"azp": "webmail"}),
            (OAuth(introspection_url=authorization.introspection_url, client_for_all=True), {"scope": "openid"}),
        ):
            with Dovecot.launch(version=version, oauth=oauth) as dovecot:
                await logs_in(dovecot, ImapLogin.with_token("u1", token))
                await logs_in(dovecot, ImapLogin.with_token("u2", token))
                ended = authorization.token("u1", -60)
                of_another = authorization.token("u1", 300, **foreign)
                for wrong in (ended, of_another):
                    assert isinstance(await refused(dovecot, ImapLogin.with_token("u1", wrong)), ImapTokenError)
    else:  # docs/credentials.md says so
        with Dovecot.launch(version=version, oauth=OAuth(key=authorization.key)) as dovecot:
            assert isinstance(await refused(dovecot, ImapLogin.with_token("u1", token)), ImapTokenError)


def arrived_at(mails: list[NewMail]) -> Callable[[NewMail], bool]:
    def take(mail: NewMail) -> bool:
        mails.append(mail)
        return True

    return take


@pytest.mark.parametrize("name", ["dovecot", "imapidle"])
async def test_listeners_live_by_tokens_of_an_endpoint(authorization: AuthorizationServer, name: str) -> None:
    """As openDesk has it: XOAUTH2, and Dovecot 2.3 lets the client in for every user."""
    oauth = OAuthSettings(
        "XOAUTH2",
        endpoint=TokenEndpointSettings(authorization.token_url, CLIENT, authorization.client_secret, scope="mail"),
    )
    tokens = CurrentTokens(oauth)
    around = Surroundings(ConnectBudget(), timeout=30, tokens=tokens)
    mechanism = DovecotMechanism(around) if name == "dovecot" else ImapIdleMechanism(around, ImapIdleSettings())
    arrived: list[NewMail] = []
    asked = len(authorization.given)
    with (
        WebhookReceiver.start() as callbacks,
        Dovecot.launch(
            [callbacks.url], version="2.3", oauth=OAuth(key=authorization.key, client_for_all=True)
        ) as dovecot,
    ):
        listeners = [
            mechanism.listener(
                Mailbox(1, user, server(dovecot), ImapLogin.with_token(f"u{user}", "", "XOAUTH2", hash(oauth))),
                lambda _key, _health: None,
                arrived_at(arrived),
            )
            for user in (3, 4)
        ]
        for listener in listeners:
            await listener.start()
        await until(lambda: all(listener.health.state is State.LISTENING for listener in listeners))
        for user in ("u3", "u4"):
            await asyncio.to_thread(dovecot.deliver, user)
        await until(lambda: len(callbacks.received if name == "dovecot" else arrived) == 2)
        for listener in listeners:
            await listener.stop()
        log = dovecot.log()
    await tokens.close()
    assert "method=XOAUTH2" in log
    assert len(authorization.given) == asked + 1, "one token for all"
    assert authorization.given[-1] not in log


@pytest.mark.parametrize(("length", "taken"), [(4000, True), (5900, True), (12_000, False)])
async def test_the_length_of_tokens_that_dovecot_takes(
    launch: Launch, authorization: AuthorizationServer, length: int, taken: bool
) -> None:
    dovecot = launch(OAuth(key=authorization.key))
    token = authorization.token("u1", filler="x" * (length * 3 // 4 - 300))
    assert abs(len(token) - length) < 200
    if taken:
        await logs_in(dovecot, ImapLogin.with_token("u1", token))
    else:
        failure = await refused(dovecot, ImapLogin.with_token("u1", token))
        assert isinstance(failure, ImapConnectionError)
        assert "characters, and Dovecot takes some 6000" in str(failure)
