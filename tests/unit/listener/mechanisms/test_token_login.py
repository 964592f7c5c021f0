"""Listeners that log in by an access token, before a mail server that refuses some of them."""

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from mailpush.credentials.current_tokens import CurrentTokens
from mailpush.credentials.tokens import Issued, RenewedTokens, Tokens, TokenUnavailableError
from mailpush.imap.client import ImapLogin, ImapServer
from mailpush.listener.mechanisms.base import Health, Mailbox, State
from mailpush.listener.mechanisms.budget import ConnectBudget
from mailpush.listener.mechanisms.repeating import RepeatingListener, Surroundings
from mailpush.properties.settings import OAuthSettings
from tests.sites.imapserver import Waits
from tests.sites.waiting import until

CAPABILITY = "IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=XOAUTH2"


class LogsIn(RepeatingListener):
    async def _attempt(self) -> float:
        async with self._logged_in():
            self._listening("In", "logged in")
        return 3600.0


@dataclass
class Server:
    """Takes the tokens in `good`. `tried` are those that came."""

    good: set[str] = field(default_factory=set)
    tried: list[str] = field(default_factory=list)
    address: ImapServer = ImapServer("127.0.0.1", 0, "none")  # noqa: RUF009

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"* OK [CAPABILITY {CAPABILITY}] ready\r\n".encode())
        while line := await reader.readline():
            tag, name, *rest = line.decode().split()
            if name == "AUTHENTICATE":
                assert rest[0] == "XOAUTH2"
                token = b64decode(rest[1]).decode().split("Bearer ")[1].rstrip("\1")
                self.tried.append(token)
                writer.write(f"{tag} {'OK in' if token in self.good else 'NO [AUTHENTICATIONFAILED] no'}\r\n".encode())
            else:
                data = f"* CAPABILITY {CAPABILITY}\r\n" if name == "CAPABILITY" else ""
                writer.write(f"{data}{tag} OK\r\n".encode())
        writer.close()


class Issuer:
    origin = 7

    def __init__(self) -> None:
        self.failure: TokenUnavailableError | None = None
        self.asked = 0

    async def issue(self) -> Issued:
        self.asked += 1
        if self.failure is not None:
            raise self.failure
        return Issued(f"t{self.asked}", 300.0)

    async def close(self) -> None:
        pass


@dataclass
class Site:
    server: Server
    waits: Waits
    budget: ConnectBudget
    said: list[Health]
    tokens: Tokens
    issuer: Issuer

    def listener(self) -> LogsIn:
        around = Surroundings(self.budget, timeout=60, sleep=self.waits.sleep, tokens=self.tokens)
        login = ImapLogin.with_token("u1", "", "auto", 7)
        return LogsIn(
            Mailbox(1, 3, self.server.address, login), lambda _key, health: self.said.append(health), around, 0.0
        )


@asynccontextmanager
async def a_site(*good: str) -> AsyncIterator[Site]:
    server, issuer = Server(set(good)), Issuer()
    tokens = RenewedTokens(issuer, sleep=Waits().sleep)
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
        server.address = ImapServer("127.0.0.1", listening.sockets[0].getsockname()[1], "none")
        try:
            yield Site(server, Waits(), ConnectBudget(), [], tokens, issuer)
        finally:
            await tokens.close()


async def test_the_token_is_asked_for_at_each_login() -> None:
    async with a_site("t1") as site:
        listener = site.listener()
        await listener.start()
        await until(lambda: listener.health.state is State.LISTENING)
        await listener.stop()
        assert site.server.tried == ["t1"]


async def test_a_refused_token_is_renewed_at_once_and_no_refusal_is_counted() -> None:
    async with a_site("t2") as site:
        listener = site.listener()
        await listener.start()
        await until(lambda: listener.health.state is State.LISTENING)
        await listener.stop()
        assert site.server.tried == ["t1", "t2"]
        assert site.budget.auth_wait(site.server.address, (1, 3), ImapLogin.with_token("u1", "", "auto", 7)) == 0


async def test_a_second_refusal_counts_and_holds_for_the_tokens_to_come() -> None:
    async with a_site() as site:
        listener = site.listener()
        await listener.start()
        await until(lambda: listener.health.state is State.FAILED)
        assert listener.health.reason == "AuthenticationFailed"
        assert "the client at the authorization server" in listener.health.message
        await listener.stop()
        assert site.server.tried == ["t1", "t2"]
        again = site.listener()
        await again.start()
        await until(lambda: again.health.state is State.FAILED)
        await again.stop()
        assert site.server.tried == ["t1", "t2"], "a restart does not try again at once"
        assert "t1" not in str(site.said)


async def test_without_a_token_nothing_is_sent_and_it_is_tried_when_there_may_be_one() -> None:
    async with a_site("t2") as site:
        site.issuer.failure = TokenUnavailableError("TokenEndpointUnavailable", "the endpoint is down", 25.0)
        listener = site.listener()
        await listener.start()
        await until(lambda: listener.health.state is State.FAILED)
        assert (listener.health.reason, listener.health.message) == ("TokenEndpointUnavailable", "the endpoint is down")
        await until(lambda: site.waits.asked)
        assert site.waits.asked[0] == pytest.approx(25.0, abs=10)
        assert not site.server.tried
        await listener.stop()


async def test_the_source_is_replaced_with_the_settings() -> None:
    tokens = CurrentTokens()
    async with a_site("given") as site:
        site.tokens = tokens
        listener = site.listener()
        await listener.start()
        await until(lambda: listener.health.reason == "TokenMissing")
        tokens.use(OAuthSettings("auto", token="given"))
        site.waits.end()
        await until(lambda: listener.health.state is State.LISTENING)
        await listener.stop()
        assert "given" not in repr(OAuthSettings("auto", token="given"))
    await tokens.close()
