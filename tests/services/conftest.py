"""The real services that these tests talk to, started once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest
import uvloop

from dev.services import Dovecot, MariaDB, Redis, WebhookReceiver
from dev.services.releases import VERSIONS, Version


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """As in the listener: uvloop's TLS behaves otherwise than asyncio's own."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def callbacks() -> Iterator[WebhookReceiver]:
    """Where Dovecot's OX driver sends its callbacks."""
    with WebhookReceiver.start() as receiver:
        yield receiver


@pytest.fixture(scope="session", params=VERSIONS)
def version(request: pytest.FixtureRequest) -> Version:
    """Of each Dovecot that the tests know; those of one come together, so that it is started once."""
    version: Version = request.param
    return version


@pytest.fixture(scope="session")
def dovecot(version: Version, callbacks: WebhookReceiver) -> Iterator[Dovecot]:
    url = callbacks.url.replace("http://", "http://ntfuser:ntfpw@")
    with Dovecot.launch([url], version=version) as dovecot:
        yield dovecot


@pytest.fixture(scope="session")
def redis() -> Iterator[Redis]:
    with Redis.launch(password="redis-password") as redis:
        yield redis


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    with MariaDB.launch() as mariadb:
        yield mariadb


@pytest.fixture
def webhook() -> Iterator[WebhookReceiver]:
    with WebhookReceiver.start() as receiver:
        yield receiver
