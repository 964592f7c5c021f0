import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.listener.mails.world import OpenRouter, Run, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
async def run() -> AsyncIterator[Run]:
    tasks: list[asyncio.Task[None]] = []

    def begin(router: OpenRouter) -> OpenRouter:
        tasks.append(asyncio.create_task(router.run()))
        return router

    yield begin
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
