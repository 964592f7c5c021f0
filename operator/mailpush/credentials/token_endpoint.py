"""A token endpoint, asked by client credentials (RFC 6749 section 4.4)."""

import asyncio
import json
import logging
import re
import ssl
import urllib.request
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from math import isfinite
from time import time
from typing import Any, Final, Literal, NoReturn
from urllib.parse import quote_plus, urlsplit

import httpx

from mailpush.credentials.tokens import Issued, TokenUnavailableError
from mailpush.kube.proxies import direct

UNAVAILABLE: Final = "TokenEndpointUnavailable"
REFUSED: Final = "TokenRefused"
INVALID: Final = "TokenResponseInvalid"

MAX_ANSWER: Final = 64 * 1024
"""Bytes of an answer that are read."""
MAX_TOKEN: Final = 16 * 1024
MAX_RETRY_AFTER: Final = 3600.0
SECONDS: Final = 10.0
"""For one request, from the look-up of the name to the last byte."""
RETRY_SECONDS: Final = 0.2

_TOKEN: Final = re.compile(r"[A-Za-z0-9\-._~+/]+=*\Z")  # RFC 6750: b64token

# RFC 6749 section 5.2. An endpoint's own words are not repeated: it may repeat what it was sent.
_ERRORS: Final = {
    "invalid_client": "does not know the client, or takes its secret for wrong: see clientId and clientSecretRef",
    "unauthorized_client": "does not allow this client to have tokens by client credentials; switch that on there "
    "(Keycloak: 'Service accounts roles')",
    "unsupported_grant_type": "gives no tokens by client credentials: see url",
    "invalid_scope": "does not give the scope that is asked for: see scope",
    "invalid_target": "does not give tokens for the audience that is asked for: see audience",
    "invalid_request": "does not understand the request: see url, scope and audience",
    "access_denied": "refuses this client a token",
}

for _name in ("httpx", "httpcore"):  # they log whole URLs
    logging.getLogger(_name).setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class TokenEndpoint:
    """Where tokens come from. `ca_pem`: certificates to trust in place of the system's. `scope` may hold several, with
    blanks between. `authentication`: the secret goes in the header (`basic`, which RFC 6749 wants of every endpoint) or
    in the form (`post`)."""

    url: str
    client_id: str
    client_secret: str = field(repr=False)
    scope: str | None = None
    audience: str | None = None
    ca_pem: str | None = field(default=None, repr=False)
    authentication: Literal["basic", "post"] = "basic"


class EndpointIssuer:
    """Asks a token endpoint, by one client. It follows no redirect and reads little.

    An endpoint with https is asked through the proxy of the environment (HTTPS_PROXY, NO_PROXY), as the API server is:
    it is often outside of the cluster, and a proxy sees nothing of what is inside TLS. One with http never is.
    """

    def __init__(self, endpoint: TokenEndpoint, now: Callable[[], float] = time, seconds: float = SECONDS) -> None:
        self._endpoint = endpoint
        self._now = now
        self._seconds = seconds
        self._client: httpx.AsyncClient | None = None

    @property
    def origin(self) -> int:
        return hash(self._endpoint)

    async def issue(self) -> Issued:
        """One request, and a second one where the connection broke: an endpoint closes those that were idle."""
        for last in (False, True):
            try:
                async with asyncio.timeout(self._seconds):
                    status, retry_after, body = await self._post()
                break
            except TimeoutError:
                self._fail(UNAVAILABLE, f"does not answer within {self._seconds:g} s")
            except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError, ValueError) as error:
                words, again = _failure(error)
                if last or not again:
                    self._fail(UNAVAILABLE, words)
            await asyncio.sleep(RETRY_SECONDS)
        if status == 200:
            return self._issued(body)
        return self._refusal(status, retry_after, body)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def _post(self) -> tuple[int, str | None, bytes]:
        if self._client is None:
            self._client = _client(self._endpoint)
        form, headers = self._request()
        async with self._client.stream("POST", self._endpoint.url, data=form, headers=headers) as answer:
            read = bytearray()
            if "content-encoding" not in answer.headers:  # we asked for none: a few bytes can become gigabytes
                async for chunk in answer.aiter_raw():
                    read += chunk
                    if len(read) > MAX_ANSWER:
                        read.clear()
                        break
            return answer.status_code, answer.headers.get("retry-after"), bytes(read)

    def _request(self) -> tuple[dict[str, str], dict[str, str]]:
        one = self._endpoint
        form = {"grant_type": "client_credentials"}
        headers = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "mail-push"}
        if one.scope:
            form["scope"] = one.scope
        if one.audience:
            form["audience"] = one.audience
        if one.authentication == "post":
            form |= {"client_id": one.client_id, "client_secret": one.client_secret}
        else:  # RFC 6749 section 2.3.1: encoded as in a form before base64
            pair = f"{quote_plus(one.client_id)}:{quote_plus(one.client_secret)}"
            headers["authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        return form, headers

    def _issued(self, body: bytes) -> Issued:
        answer = _object(body)
        if answer is None:
            self._fail(INVALID, "answers with what is no token (no JSON object, or too long): see url")
        kind = answer.get("token_type", "bearer")  # RFC 6749 demands it, and some leave it out
        if not isinstance(kind, str) or kind.lower() != "bearer":
            self._fail(INVALID, "gives tokens of another type than Bearer, which a mail server does not take")
        value = answer.get("access_token")
        if not isinstance(value, str) or len(value) > MAX_TOKEN or not _TOKEN.match(value):
            self._fail(INVALID, f"gives no access_token that can be sent (RFC 6750, at most {MAX_TOKEN} characters)")
        return Issued(value, _life(answer.get("expires_in")))

    def _refusal(self, status: int, retry_after: str | None, body: bytes) -> NoReturn:
        if 300 <= status < 400:
            self._fail(INVALID, "redirects, which is not followed, since the secret would go with it: see url")
        if status == 429 or status >= 500:
            self._fail(UNAVAILABLE, f"answers {status}", _seconds(retry_after, self._now()))
        answer = _object(body) or {}
        code = answer.get("error")
        words = _ERRORS.get(code) if isinstance(code, str) else None
        self._fail(REFUSED, words or f"answers {status} and gives no known reason: see url and its own log")

    def _fail(self, reason: str, words: str, retry_in: float = 0.0) -> NoReturn:
        place = urlsplit(self._endpoint.url)
        raise TokenUnavailableError(reason, f"the token endpoint {place.hostname} {words}", retry_in) from None


def _client(endpoint: TokenEndpoint) -> httpx.AsyncClient:
    secure = endpoint.url.startswith("https://")
    return httpx.AsyncClient(
        transport=httpx.AsyncHTTPTransport(
            verify=ssl.create_default_context(cadata=endpoint.ca_pem) if secure else False,
            trust_env=False,
            proxy=proxy_of(endpoint.url),
            limits=httpx.Limits(max_connections=2, max_keepalive_connections=1),
        ),
        trust_env=False,
        follow_redirects=False,
        timeout=None,  # noqa: S113 - issue() has one deadline for all of it
    )


def proxy_of(url: str) -> str | None:
    """The proxy of the environment for `url`; None for one that is asked directly."""
    host = urlsplit(url).hostname or ""
    if not url.startswith("https://") or direct(url) or urllib.request.proxy_bypass(host):
        return None
    return urllib.request.getproxies().get("https")


def _failure(error: BaseException) -> tuple[str, bool]:
    """What kept a request from its answer, and whether a second one may help at once."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return "has a certificate that is not trusted: see caSecretRef", False
        if isinstance(cause, ssl.SSLError):
            return "speaks no TLS that we do, or caSecretRef holds no certificate", False
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.ConnectError):
        return "takes no connection, or its name is not known", False
    return "breaks off the connection", isinstance(error, httpx.TransportError)


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


def _life(value: object) -> float | None:
    """`expires_in`: a number, or a string of one, as some endpoints send it. None for what is no time to live."""
    try:
        life = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else 0.0
    except (ValueError, OverflowError):
        return None
    return life if isfinite(life) and life > 0 else None


def _seconds(retry_after: str | None, now: float) -> float:
    """`Retry-After` in either of its forms (RFC 9110), bounded; 0 for what is neither."""
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), MAX_RETRY_AFTER)
    try:
        return min(max(parsedate_to_datetime(text).timestamp() - now, 0.0), MAX_RETRY_AFTER)
    except (ValueError, OverflowError, TypeError):
        return 0.0
