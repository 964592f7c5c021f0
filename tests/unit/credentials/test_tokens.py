"""Tokens that are renewed, kept, refused and told."""

from __future__ import annotations

import asyncio
import json
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpush.credentials.current_tokens import CurrentTokens
from mailpush.credentials.tokens import GivenToken, Issued, RenewedTokens, TokenUnavailableError, jwt_end
from mailpush.properties.settings import OAuthSettings
from tests.sites.imapserver import Waits
from tests.sites.waiting import until


class Issuer:
    """Gives `t1`, `t2`, ..., or fails where `failure` is set; waits while `held`."""

    def __init__(self, life: float | None = 300.0) -> None:
        self.life = life
        self.failure: Exception | None = None
        self.asked = 0
        self.closed = False
        self.free = asyncio.Event()
        self.free.set()

    @property
    def origin(self) -> int:
        return 7

    async def issue(self) -> Issued:
        self.asked += 1
        number = self.asked
        await self.free.wait()
        if self.failure is not None:
            raise self.failure
        return Issued(f"t{number}", self.life)

    async def close(self) -> None:
        self.closed = True


class Site:
    def __init__(self, life: float | None = 300.0) -> None:
        self.now = 1000.0
        self.issuer = Issuer(life)
        self.waits = Waits()
        self.back = 0
        self.tokens = RenewedTokens(self.issuer, lambda: self.now, self.waits.sleep, lambda: 1.0, self.is_back)

    def is_back(self) -> None:
        self.back += 1

    async def value(self) -> str:
        return (await self.tokens.current("u1")).value

    async def reason(self) -> tuple[str, float]:
        with pytest.raises(TokenUnavailableError) as error:
            await self.tokens.current("u1")
        return error.value.reason, error.value.retry_in


@asynccontextmanager
async def a_site(life: float | None = 300.0) -> AsyncIterator[Site]:
    site = Site(life)
    try:
        yield site
    finally:
        await site.tokens.close()


DOWN = TokenUnavailableError("TokenEndpointUnavailable", "down", 0.0)


async def test_one_token_serves_all_users_and_is_asked_for_once() -> None:
    async with a_site() as site:
        site.issuer.free.clear()
        asking = [asyncio.create_task(site.tokens.current(f"u{number}")) for number in range(1000)]
        await until(lambda: site.issuer.asked == 1)
        asking[0].cancel()
        site.issuer.free.set()
        got = await asyncio.gather(*asking[1:])
        assert {token.value for token in got} == {"t1"}
        assert site.issuer.asked == 1
        assert asking[0].cancelled()


async def test_it_is_renewed_before_it_ends_though_nobody_asks() -> None:
    async with a_site() as site:
        assert await site.value() == "t1"
        await until(lambda: site.waits.asked == [pytest.approx(210.0)])  # 0.8 of it, and a tenth sooner
        site.now += 210
        site.waits.end()
        await until(lambda: site.issuer.asked == 2)
        await until(lambda: len(site.waits.asked) == 2)
        assert await site.value() == "t2"


async def test_an_endpoint_that_is_down_leaves_the_old_token_until_it_ends_and_is_told() -> None:
    async with a_site() as site:
        await site.value()
        await until(lambda: len(site.waits.asked) == 1)
        site.issuer.failure = DOWN
        for failures in range(1, 9):
            site.waits.end()
            await until(lambda: len(site.waits.asked) == failures + 1)  # noqa: B023
            assert await site.value() == "t1"
        assert site.waits.asked[1:] == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
        assert site.tokens.trouble is DOWN
        site.now += 290.5
        asked = site.issuer.asked
        assert await site.reason() == ("TokenEndpointUnavailable", 60.0)
        assert (await site.reason())[1] == 60.0
        assert site.issuer.asked == asked + 1, "one of them asked, for the pause was over"
        site.issuer.failure = None
        site.now += 60
        assert await site.value() == f"t{site.issuer.asked}"
        assert site.tokens.trouble is None


async def test_a_token_is_lacking_once_an_endpoint_has_failed_and_the_last_one_has_ended() -> None:
    async with a_site() as site:
        assert site.tokens.lacking is None, "nobody has asked yet"
        await site.value()
        await until(lambda: len(site.waits.asked) == 1)
        site.issuer.failure = DOWN
        site.waits.end()
        await until(lambda: len(site.waits.asked) == 2)
        assert (site.tokens.trouble, site.tokens.lacking) == (DOWN, None), "the last one holds"
        site.now += 290.5
        assert site.tokens.lacking is not None
        assert site.tokens.lacking.reason == "TokenEndpointUnavailable"
        site.issuer.failure = None
        assert site.back == 0
        site.waits.end()
        await until(lambda: site.back == 1)
        assert site.tokens.lacking is None


def test_who_names_no_token_lacks_one_and_who_wants_none_does_not() -> None:
    lacking = CurrentTokens(OAuthSettings()).lacking
    assert lacking is not None
    assert lacking.reason == "TokenMissing"
    assert CurrentTokens().lacking is None


async def test_what_the_endpoint_asks_to_wait_is_waited() -> None:
    async with a_site() as site:
        site.issuer.failure = TokenUnavailableError("TokenEndpointUnavailable", "answers 429", 120.0)
        assert await site.reason() == ("TokenEndpointUnavailable", 120.0)


async def test_a_refused_client_is_not_tried_every_second() -> None:
    async with a_site() as site:
        site.issuer.failure = TokenUnavailableError("TokenRefused", "no", 0.0)
        assert await site.reason() == ("TokenRefused", 30.0)


async def test_a_fault_of_ours_shows_nothing_and_is_tried_again() -> None:
    async with a_site() as site:
        site.issuer.failure = RuntimeError("s3cret")
        with pytest.raises(TokenUnavailableError) as error:
            await site.tokens.current("u1")
        assert error.value.reason == "InternalError"
        assert "s3cret" not in str(error.value)
        site.issuer.failure = None
        site.now += 61
        assert await site.value() == "t2"


async def test_a_refused_token_is_renewed_once_for_all_and_then_the_refusal_counts() -> None:
    async with a_site() as site:
        first = await site.tokens.current("u1")
        assert site.tokens.refused(first)
        second = await site.tokens.current("u1")
        assert (second.value, second.origin) == ("t2", first.origin)
        assert site.tokens.refused(first), "another user had the old one; there is a newer one for it"
        assert not site.tokens.refused(second), "the new one is no better"
        assert await site.value() == "t2", "others may get in with it"
        assert site.issuer.asked == 2


async def test_ten_thousand_refusals_ask_for_a_handful_of_tokens() -> None:
    async with a_site(life=None) as site:
        again = 0
        for _ in range(10_000):
            again += site.tokens.refused(await site.tokens.current("u1"))
            site.now += 0.36  # in an hour
        assert again <= 7
        assert site.issuer.asked <= 8


async def test_a_token_that_works_ends_the_growing_pause() -> None:
    async with a_site(life=None) as site:
        for _ in range(3):
            assert site.tokens.refused(await site.tokens.current("u1"))
            site.now += 300
        site.tokens.worked(await site.tokens.current("u2"))
        assert site.tokens.refused(await site.tokens.current("u1"))
        site.now += 60
        assert site.tokens.refused(await site.tokens.current("u1"))


async def test_a_refused_token_is_kept_for_others_where_no_newer_one_is_to_be_had() -> None:
    async with a_site() as site:
        token = await site.tokens.current("u1")
        site.issuer.failure = DOWN
        assert site.tokens.refused(token)
        assert await site.value() == "t1"
        assert await site.value() == "t1"
        assert site.issuer.asked == 2


async def test_a_token_without_an_end_is_used_until_it_is_refused() -> None:
    async with a_site(life=None) as site:
        await site.value()
        site.issuer.failure = DOWN
        site.now += 1e6
        assert await site.value() == "t1"


async def test_a_long_token_is_renewed_daily() -> None:
    async with a_site(life=1e9) as site:
        await site.value()
        await until(lambda: site.waits.asked == [pytest.approx(0.7 * 86400)])


async def test_tokens_that_live_a_moment_do_not_make_it_ask_in_a_loop() -> None:
    async with a_site(life=0.001) as site:
        await site.value()
        await until(lambda: site.waits.asked == [5.0])


async def test_closing_ends_the_waiting_and_the_issuer() -> None:
    async with a_site() as site:
        site.issuer.free.clear()
        asking = asyncio.create_task(site.tokens.current("u1"))
        await until(lambda: site.issuer.asked == 1)
        await site.tokens.close()
        with pytest.raises(TokenUnavailableError):
            await asking
        assert site.issuer.closed


def jwt(**claims: object) -> str:
    return f"eyJh.{urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.c2ln"


async def test_a_given_token_that_has_ended_is_not_even_sent() -> None:
    given_token = GivenToken(jwt(exp=1000), now=lambda: 1059.0)
    assert (await given_token.current("u1")).value == jwt(exp=1000)
    assert not given_token.refused(await given_token.current("u1"))
    with pytest.raises(TokenUnavailableError, match="put a new one into the Secret") as error:
        await GivenToken(jwt(exp=1000), now=lambda: 1061.0).current("u1")
    assert error.value.reason == "TokenExpired"


async def test_a_changed_given_token_is_another_login() -> None:
    first, second = await GivenToken("one").current("u1"), await GivenToken("two").current("u1")
    assert first.origin != second.origin
    assert "one" not in repr(first)


@given(st.text(max_size=60) | st.recursive(st.integers() | st.none(), st.lists).map(lambda end: jwt(exp=end)))
def test_the_end_of_any_text_is_a_time_or_infinite(text: str) -> None:
    assert 0 < jwt_end(text) <= inf
