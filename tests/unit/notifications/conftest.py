"""A dispatcher that does not wait long."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from mailpush.notifications import backoff, target_queue
from mailpush.notifications import dispatcher as dispatcher_module
from mailpush.notifications.dispatcher import Dispatcher
from mailpush.work.pace import Backoff
from tests.unit.notifications.site_of_tests import Site


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "RETRY", Backoff(0.01, 60.0))
    monkeypatch.setattr(target_queue, "_PAUSE", 0.01)
    monkeypatch.setattr(dispatcher_module, "HELD_SECONDS", 0.01)


@pytest.fixture
def site(impatient: None) -> Site:
    return Site()


@pytest.fixture
async def dispatcher(site: Site) -> AsyncIterator[Dispatcher]:
    dispatcher = site.open()
    yield dispatcher
    await dispatcher.close()
