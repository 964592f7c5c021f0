"""The loop that the listener runs on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import uvloop


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Both: uvloop is what the listener runs on, and its TLS behaves otherwise than asyncio's own."""
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}
