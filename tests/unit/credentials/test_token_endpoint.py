"""A token endpoint, good and bad, behind a real HTTP server."""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trustme
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from mailpush.credentials.current_tokens import CurrentTokens
from mailpush.credentials.token_endpoint import (
    INVALID,
    MAX_ANSWER,
    REFUSED,
    UNAVAILABLE,
    EndpointIssuer,
    TokenEndpoint,
    _life,
    proxy_of,
)
from mailpush.credentials.tokens import TokenUnavailableError
from mailpush.properties.settings import OAuthSettings, TokenEndpointSettings

SECRET = "s3cret/ü+%"
GOOD = {"access_token": "t0ken", "token_type": "Bearer", "expires_in": 300}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Site:
    """`answer` is what the endpoint does; `requests` are the form and the Authorization of each request."""

    url: str = ""
    answer: Handler | None = None
    requests: list[tuple[dict[str, str], str]] = field(default_factory=list)

    def endpoint(self, **changed: object) -> TokenEndpoint:
        return TokenEndpoint(**({"url": self.url, "client_id": "mail:push", "client_secret": SECRET} | changed))  # type: ignore[arg-type]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.requests.append((form, request.headers.get("authorization", "")))
        return web.json_response(GOOD) if self.answer is None else await self.answer(request)


@asynccontextmanager
async def served(tls: ssl.SSLContext | None = None) -> AsyncIterator[Site]:
    site = Site()
    app = web.Application()
    app.router.add_post("/token", site.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        site.url = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}/token"
        yield site
    finally:
        await runner.cleanup()


@asynccontextmanager
async def issuing(site: Site, seconds: float = 30.0, **changed: object) -> AsyncIterator[EndpointIssuer]:
    issuer = EndpointIssuer(site.endpoint(**changed), now=lambda: 1000.0, seconds=seconds)
    try:
        yield issuer
    finally:
        await issuer.close()


async def refused(site: Site, seconds: float = 30.0, **changed: object) -> TokenUnavailableError:
    async with issuing(site, seconds, **changed) as issuer:
        with pytest.raises(TokenUnavailableError) as error:
            await issuer.issue()
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__ or error.value.__context__ is None
    for word in (SECRET, "planted"):
        assert word not in str(error.value) + repr(error.value)
    return error.value


def says(status: int, body: object = None, **headers: str) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        if isinstance(body, (bytes, str)):
            return web.Response(status=status, body=body, headers=headers)
        return web.json_response({} if body is None else body, status=status, headers=headers)

    return answer


async def test_the_secret_goes_in_the_header_as_the_standard_has_it() -> None:
    async with served() as site, issuing(site, scope="mail imap", audience="imap.example") as issuer:
        issued = await issuer.issue()
        assert (issued.value, issued.life) == ("t0ken", 300.0)
        assert "t0ken" not in repr(issued)
        assert SECRET not in repr(site.endpoint())
        ((form, authorization),) = site.requests
        assert form == {"grant_type": "client_credentials", "scope": "mail imap", "audience": "imap.example"}
        assert b64decode(authorization.removeprefix("Basic ")) == b"mail%3Apush:s3cret%2F%C3%BC%2B%25"


async def test_the_secret_goes_in_the_form_where_that_is_set() -> None:
    async with served() as site, issuing(site, authentication="post") as issuer:
        await issuer.issue()
        ((form, authorization),) = site.requests
        assert form == {"grant_type": "client_credentials", "client_id": "mail:push", "client_secret": SECRET}
        assert not authorization


async def test_where_the_secret_goes_is_what_the_settings_say() -> None:
    async with served() as site:
        for authentication in ("basic", "post"):
            endpoint = TokenEndpointSettings(site.url, "mail-push", SECRET, authentication=authentication)
            tokens = CurrentTokens(OAuthSettings(endpoint=endpoint))
            assert (await tokens.current("u3")).value == "t0ken"
            await tokens.close()
        in_header, in_form = site.requests
        assert (bool(in_header[1]), "client_secret" in in_header[0]) == (True, False)
        assert (bool(in_form[1]), in_form[0]["client_secret"]) == (False, SECRET)


@pytest.mark.parametrize(
    ("answer", "reason", "words"),
    [
        (says(401, {"error": "invalid_client", "error_description": "planted"}), REFUSED, "does not know the client"),
        (says(400, {"error": "unauthorized_client"}), REFUSED, "Service accounts roles"),
        (says(400, {"error": "invalid_scope"}), REFUSED, "see scope"),
        (says(400, {"error": "unsupported_grant_type"}), REFUSED, "see url"),
        (says(400, {"error": "planted"}), REFUSED, "gives no known reason"),
        (says(400, {"error": {"planted": 1}}), REFUSED, "gives no known reason"),
        (says(404, "<html>planted</html>"), REFUSED, "answers 404"),
        (says(302, location="http://127.0.0.1:1/planted"), INVALID, "redirects"),
        (says(500), UNAVAILABLE, "answers 500"),
        (says(503, {"error": "invalid_client"}), UNAVAILABLE, "answers 503"),
        (says(200, "<html>planted</html>"), INVALID, "no token"),
        (says(200, b"[" * 60_000), INVALID, "no token"),
        (says(200, "[]"), INVALID, "no token"),
        (says(200, GOOD | {"token_type": "mac"}), INVALID, "another type"),
        (says(200, GOOD | {"token_type": 1}), INVALID, "another type"),
        (says(200, {"token_type": "bearer"}), INVALID, "no access_token"),
        (says(200, GOOD | {"access_token": "plan\1ted"}), INVALID, "no access_token"),
        (says(200, GOOD | {"access_token": "t" * 17_000}), INVALID, "no access_token"),
        (says(200, b"\x1f\x8b", **{"content-encoding": "gzip"}), INVALID, "no token"),
    ],
)
async def test_what_is_wrong_with_an_answer_is_said_in_our_own_words(answer: Handler, reason: str, words: str) -> None:
    async with served() as site:
        site.answer = answer
        error = await refused(site)
        assert error.reason == reason
        assert words in str(error)
        assert str(error).startswith("the token endpoint 127.0.0.1 ")
        assert len(site.requests) == 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("Thu, 01 Jan 1970 00:17:00 GMT", 20.0), ("99999999999", 3600.0), ("what", 0.0), ("-1", 0.0)],
)
async def test_it_says_how_long_it_wants_to_be_left_alone(header: str, seconds: float) -> None:
    async with served() as site:
        site.answer = says(429, **{"retry-after": header})
        assert (await refused(site)).retry_in == seconds


async def test_a_huge_answer_is_not_read() -> None:
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while sent < 2**30:
            await response.write(b"x" * 65536)
            sent += 65536
        return response

    async with served() as site:
        site.answer = endless
        assert (await refused(site)).reason == INVALID
    assert sent < 64 * 2**20 + MAX_ANSWER, "what the sockets hold, and no more"


async def test_an_endpoint_that_hangs_is_left_in_time() -> None:
    async def hangs(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(60)
        raise AssertionError

    async with served() as site:
        site.answer = hangs
        error = await refused(site, seconds=0.2)
        assert error.reason == UNAVAILABLE
        assert "does not answer within 0.2 s" in str(error)


async def test_a_connection_that_was_idle_too_long_is_tried_once_more() -> None:
    async def breaks_the_first(request: web.Request) -> web.StreamResponse:
        if len(site.requests) == 1:
            assert request.transport is not None
            request.transport.abort()
        return web.json_response(GOOD)

    async with served() as site, issuing(site) as issuer:
        site.answer = breaks_the_first
        assert (await issuer.issue()).value == "t0ken"
        assert len(site.requests) == 2


async def test_nobody_there() -> None:
    async with served() as site:
        pass
    error = await refused(site)
    assert error.reason == UNAVAILABLE
    assert "takes no connection" in str(error)


async def test_tls_goes_by_the_authority_that_is_set() -> None:
    authority, other = trustme.CA(), trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with served(context) as site:
        async with issuing(site, ca_pem=authority.cert_pem.bytes().decode()) as issuer:
            assert (await issuer.issue()).value == "t0ken"
        for wrong in (None, other.cert_pem.bytes().decode()):
            error = await refused(site, ca_pem=wrong)
            assert error.reason == UNAVAILABLE
            assert "certificate that is not trusted" in str(error)
        assert "caSecretRef holds no certificate" in str(await refused(site, ca_pem="planted"))
        assert len(site.requests) == 1, "the secret went to nobody else"


async def test_clear_text_where_tls_is_expected() -> None:
    async with served() as site:
        error = await refused(site, url=site.url.replace("http://", "https://"))
        assert "speaks no TLS" in str(error)


@pytest.mark.parametrize(
    ("url", "no_proxy", "proxy"),
    [
        ("https://login.example.org/token", "", "http://proxy.example:3128"),
        ("http://login.example.org/token", "", None),
        ("https://login.example.org/token", ".example.org", None),
        ("https://10.1.2.3/token", "10.0.0.0/8", None),
        ("https://127.0.0.1/token", "", None),
    ],
)
def test_a_proxy_is_only_for_what_is_inside_tls(
    url: str, no_proxy: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", no_proxy)
    assert proxy_of(url) == proxy


@pytest.mark.parametrize(
    ("value", "life"),
    [(300, 300.0), (1.5, 1.5), ("3600", 3600.0), (0, None), (-5, None), (None, None), (True, None), ("soon", None)],
)
def test_how_long_a_token_lives(value: object, life: float | None) -> None:
    assert _life(value) == life


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists))
def test_any_expires_in_is_a_time_or_unknown(value: object) -> None:
    life = _life(value)
    assert life is None or 0 < life < float("inf")
