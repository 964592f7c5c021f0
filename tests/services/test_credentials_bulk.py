"""Many passwords by few requests, with each storage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from mailpush.credentials.storage import Entry
from tests.services.storages import KINDS, Servers, opened


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with Servers(tmp_path_factory.mktemp("bulk")) as servers:
        yield servers


@pytest.mark.parametrize("kind", KINDS)
async def test_many_are_put_at_once_whatever_was_there(servers: Servers, kind: str) -> None:
    async with opened(servers, kind) as storage:
        await storage.put_many([])
        wanted = {(n % 7 + 1, n): Entry(n % 7 + 1, n, f"p{n}$'=\\", n, 1, 2) for n in range(1, 1501)}
        await storage.put_many([replace(entry, password="before", worked=9) for entry in list(wanted.values())[::3]])
        await storage.put_many(list(wanted.values()))
        await storage.put_many([Entry(1, 7, "twice"), wanted[1, 7]])
        found = await storage.get_many(list(wanted))
        assert [key for key in wanted if found.get(key) != wanted[key]][:3] == []
        assert await storage.count() == len(wanted)
        with pytest.raises(ValueError, match="most"):
            await storage.put_many([Entry(1, 7, "x"), Entry(1, 3, "S3cret" * 100)])
