"""Entries on their way from a real Redis to a real MariaDB."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace

import pytest

from mailpush.credentials.cipher import Cipher, Passcrypt
from mailpush.credentials.database import DatabaseCredentials
from mailpush.credentials.memory import RedisCredentials
from mailpush.credentials.migration import COPIED, Migration
from mailpush.credentials.moving import MovingCredentials
from mailpush.credentials.storage import Entry, StorageUnavailableError
from mailpush.credentials.stored import StoredCredentials, StoreState
from tests.services.storages import Servers, of_database, of_redis

COUNT = 1234
PASSCRYPT = Passcrypt("of both stores")


@dataclass
class Site:
    memory: RedisCredentials
    database: DatabaseCredentials


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with Servers(tmp_path_factory.mktemp("migration")) as servers:
        yield servers


@pytest.fixture
async def site(servers: Servers) -> AsyncIterator[Site]:
    """A Redis with entries, and an empty database."""
    uid = str(uuid.uuid4())
    site = Site(of_redis(servers.redis(), uid), of_database(replace(servers.database(uid), timeout_ms=20_000)))
    former = StoredCredentials(site.memory, Cipher(PASSCRYPT), clock=lambda: 1000.0)
    assert await former.open() is StoreState.READY
    await former.put_many({(number % 3 + 1, number): f"password {number}" for number in range(1, COUNT + 1)})
    yield site
    await site.memory.close()
    await site.database.close()


async def passed() -> None:
    return


async def test_all_come_over_while_listeners_are_answered_and_the_memory_keeps_its_own(site: Site) -> None:
    cipher = Cipher(PASSCRYPT)
    stored = StoredCredentials(MovingCredentials(site.memory, site.database), cipher, clock=lambda: 2000.0)
    assert await stored.open() is StoreState.READY
    assert (await stored.get((1, 3))).password == "password 3", "it is not copied yet"
    await stored.put((1, 3), "changed meanwhile")
    assert await stored.delete((2, 4))
    copying = asyncio.create_task(Migration(site.memory, site.database, cipher, gate=passed).run())
    while not copying.done():
        assert (await stored.get((1, 3))).password == "changed meanwhile"
        assert (await stored.get((2, COUNT - COUNT % 3 + 1))).password is not None
    progress = await copying
    assert (progress.entries, progress.seen, progress.unreadable) == (COUNT - 1, COUNT - 1, 0)
    assert (await site.memory.count(), await site.database.count()) == (COUNT - 1, COUNT - 1)
    for page in (await site.database.page(None, 1000), await site.database.page((2, 600), 1000)):
        for entry in page:
            wanted = "changed meanwhile" if entry.key == (1, 3) else f"password {entry.user_id}"
            assert (await stored.read(entry)).password == wanted
    assert cipher.derivations == 2, "the memory's salt and the database's"
    assert await site.memory.note(COPIED) is not None


async def test_a_database_that_goes_away_in_the_middle_is_gone_on_with(site: Site, servers: Servers) -> None:
    cipher, pages = Cipher(PASSCRYPT), 0
    await StoredCredentials(site.database, cipher).open()

    async def shut_once() -> None:
        nonlocal pages
        pages += 1
        if pages == 3:
            raise StorageUnavailableError("a pod puts passwords into the memory")

    migration = Migration(site.memory, site.database, cipher, gate=shut_once)
    with pytest.raises(StorageUnavailableError):
        await migration.run()
    there = await site.database.count()
    assert 0 < there < COUNT
    assert await site.memory.note(COPIED) is None
    again = await Migration(site.memory, site.database, cipher, gate=passed).run()
    assert (again.copied, await site.database.count()) == (COUNT - there, COUNT)


async def test_an_entry_that_is_newer_in_the_database_is_not_overwritten_by_whoever_is_late(site: Site) -> None:
    """Also not by one statement with older ones: that chooses by the time of each row."""
    await site.database.put_many([Entry(1, number, f"n{number}", 10 + number, 1, 2) for number in range(5)])
    await site.database.put_newer([Entry(1, number, f"m{number}", 12, 3, 4) for number in range(7)])
    found = await site.database.get_many([(1, number) for number in range(7)])
    assert [found[1, number] for number in range(7)] == [
        Entry(1, 0, "m0", 12, 3, 4),
        Entry(1, 1, "m1", 12, 3, 4),
        *(Entry(1, number, f"n{number}", 10 + number, 1, 2) for number in (2, 3, 4)),
        Entry(1, 5, "m5", 12, 3, 4),
        Entry(1, 6, "m6", 12, 3, 4),
    ]
