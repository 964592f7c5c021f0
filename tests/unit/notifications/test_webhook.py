"""One try of a webhook against a real HTTP server that behaves well or badly."""

from __future__ import annotations

import asyncio
import base64
import logging
import re
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest
import trustme
from standardwebhooks import Webhook, WebhookVerificationError

from dev.services.webhook import WebhookReceiver
from mailpush.notifications.transports.base import Accepted, Outcome, Refused, TryLater
from mailpush.notifications.transports.webhook import WebhookTarget, WebhookTransport, judge, sign
from mailpush.properties.signature_key import signature_key

SECRET = b"a webhook's secret"


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver.start() as receiver:
        yield receiver


def target(url: str, timeout: float = 30) -> WebhookTarget:
    return WebhookTarget("t", url, SECRET, lambda _: True, timeout=timeout)


async def send(url: str, timeout: float = 30) -> Outcome:  # noqa: ASYNC109 - it is the target's
    transport = WebhookTransport(target(url, timeout), now=lambda: 1700000000.5)
    try:
        return await transport.send("ntf_1", b'{"x":1}')
    finally:
        await transport.close()


async def test_a_message_goes_out_with_the_headers_of_standard_webhooks(receiver: WebhookReceiver) -> None:
    assert await send(receiver.url) == Accepted()
    (request,) = receiver.received
    assert (request.path, request.body) == ("/hook", b'{"x":1}')
    assert request.headers["webhook-id"] == "ntf_1"
    assert request.headers["webhook-timestamp"] == "1700000000"
    assert request.headers["webhook-signature"] == sign(SECRET, "ntf_1", 1700000000, b'{"x":1}')
    assert request.headers["content-type"] == "application/json"


async def test_the_signature_is_right_for_an_independent_verifier(receiver: WebhookReceiver) -> None:
    secret = "whsec_" + base64.b64encode(b"k" * 32).decode()
    transport = WebhookTransport(WebhookTarget("t", receiver.url, signature_key(secret), lambda _: True))
    assert await transport.send("ntf_1", b'{"x":1}') == Accepted()
    await transport.close()
    (request,) = receiver.received
    verifier = Webhook(secret)
    assert verifier.verify(request.body, dict(request.headers)) == {"x": 1}
    with pytest.raises(WebhookVerificationError):
        verifier.verify(request.body + b" ", dict(request.headers))


async def test_a_target_without_a_secret_gets_no_signature(receiver: WebhookReceiver) -> None:
    transport = WebhookTransport(WebhookTarget("t", receiver.url, None, lambda _: True))
    assert await transport.send("ntf_1", b"{}") == Accepted()
    await transport.close()
    assert "webhook-signature" not in receiver.received[0].headers


async def test_a_receiver_that_hangs_costs_no_more_than_the_timeout(receiver: WebhookReceiver) -> None:
    receiver.behave(hang=True)
    assert await send(receiver.url, timeout=0.2) == TryLater("timeout")


async def test_a_receiver_that_hangs_up_or_is_away_is_tried_later(
    receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.behave(close=True)
    assert await send(receiver.url) == TryLater("connection")
    assert await send("http://127.0.0.1:1/") == TryLater("connection")

    async def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    # What the machine's own resolver makes of such a name, and how long it takes for it, is its own business.
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    assert await send("http://name.invalid/") == TryLater("dns")


async def test_what_is_wrong_with_tls_is_told_from_what_is_no_connection(receiver: WebhookReceiver) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate = trustme.CA().issue_cert("127.0.0.1")
    certificate.configure_cert(context)
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert await send(f"https://127.0.0.1:{port}/") == TryLater("certificate")
        assert await send(f"http://127.0.0.1:{port}/") == TryLater("connection")
    assert await send(receiver.url.replace("http://", "https://")) == TryLater("tls")


async def test_closing_waits_for_the_try_that_is_under_way(receiver: WebhookReceiver) -> None:
    receiver.behave(delay=0.2)
    transport = WebhookTransport(target(receiver.url))
    sending = asyncio.create_task(transport.send("ntf_1", b"{}"))
    await asyncio.to_thread(receiver.wait_for, 1)
    await transport.close()
    assert sending.done()
    assert await sending == Accepted()


async def test_a_redirect_is_not_followed(receiver: WebhookReceiver) -> None:
    with WebhookReceiver.start() as elsewhere:
        receiver.behave(status=307, location=elsewhere.url)
        assert await send(receiver.url) == TryLater("redirect")
        assert elsewhere.received == []


async def test_what_is_no_http_is_tried_later() -> None:
    async with raw_server(b"SSH-2.0-x\r\n\r\n") as url:
        assert await send(url) == TryLater("connection")


async def test_an_answer_whose_body_never_ends_is_an_answer() -> None:
    async with raw_server(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nx") as url:
        assert await send(url, timeout=3) == Accepted()  # all of which it takes
    async with raw_server(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1_000_000) as url:
        assert await send(url) == Accepted()


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(503, TryLater("http_5xx")), (200, Accepted()), (204, Accepted()), (299, Accepted())]
    + [(status, Refused(f"http_{status}")) for status in (400, 409, 413, 415, 422)]
    + [(status, TryLater(f"http_{status}")) for status in (401, 403, 404, 405, 407)]
    + [(status, TryLater("http_4xx")) for status in (402, 406, 421, 451, 499)]
    + [(410, TryLater("gone")), (429, TryLater("throttled")), (301, TryLater("redirect"))]
    + [
        (408, TryLater("http_4xx")),
        (425, TryLater("http_4xx")),
        (500, TryLater("http_5xx")),
        (503, TryLater("http_5xx")),
    ],
)
def test_a_status_says_whether_to_try_again(status: int, outcome: Outcome) -> None:
    assert judge(status, None, 0) == outcome


DATE = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "after"),
    [
        ("7", 7.0),
        ("99999999999999", 3600.0),
        ("soon", None),
        ("-1", None),
        ("", None),
        (format_datetime(DATE, usegmt=True), 60.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
    ],
)
def test_retry_after_is_honoured_in_both_forms(header: str, after: float | None) -> None:
    assert judge(503, header, DATE.timestamp() - 60) == TryLater("http_5xx", after=after)


def test_a_target_that_cannot_work_is_refused_with_its_reason() -> None:
    for changed in ({"url": "ftp://x"}, {"secret": b""}, {"timeout": 0.0}, {"workers": 0}):
        fields: dict[str, Any] = {"name": "t", "url": "http://x", "secret": b"s", "matches": bool} | changed
        with pytest.raises(ValueError, match='target "t"'):
            WebhookTarget(**fields)


async def test_neither_url_nor_secret_is_logged_or_shown(
    receiver: WebhookReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    url = receiver.url + "/s3cret-path"
    with caplog.at_level(logging.INFO):
        await send(url)
        await send("http://127.0.0.1:1/s3cret-path")
    assert "s3cret-path" not in caplog.text + repr(target(url))
    assert re.search("secret|http:", repr(target(url))) is None


@asynccontextmanager
async def raw_server(answer: bytes) -> AsyncIterator[str]:
    """Says `answer` to whoever comes, and keeps the connection open."""

    serving: list[asyncio.Task[Any] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.append(asyncio.current_task())
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        with suppress(ConnectionError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()
        await asyncio.gather(*(task for task in serving if task is not None))
