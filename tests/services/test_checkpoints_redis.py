"""Checkpoints in a real Redis: the later epoch wins, and nothing goes backwards."""

import uuid
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis as Client

from dev.services import Redis
from mailpush.listener.catchup.store import Checkpoint, CheckpointsUnavailable, Folder, RedisCheckpoints
from tests.sites.checkpoints import stored

INBOX = Folder(1, 3, "INBOX")
OTHER = Folder(1, 3, "Entwürfe")


@pytest.fixture
def config_uid() -> str:
    return str(uuid.uuid4())


@pytest.fixture
async def client(redis: Redis) -> AsyncIterator[Client]:
    client = Client.from_url(redis.url)
    yield client
    await client.aclose()


@pytest.fixture
def store(client: Client, config_uid: str) -> RedisCheckpoints:
    return RedisCheckpoints(client, config_uid)


async def test_a_folder_has_its_own(store: RedisCheckpoints) -> None:
    assert await stored(store, INBOX) is None
    await store.save(3, {INBOX: Checkpoint(4294967295, 4294967295), OTHER: Checkpoint(1, 1)})
    assert await stored(store, INBOX) == Checkpoint(4294967295, 4294967295)
    assert await stored(store, OTHER) == Checkpoint(1, 1)
    assert await stored(store, Folder(1, 4, "INBOX")) is None


async def test_one_installation_does_not_see_anothers(store: RedisCheckpoints, client: Client) -> None:
    await store.save(3, {INBOX: Checkpoint(1, 7)})
    assert await stored(RedisCheckpoints(client, str(uuid.uuid4())), INBOX) is None


@pytest.mark.parametrize(("late", "later"), [(9, 10), (1, 2**62), (2**53, 2**53 + 1)])
async def test_a_former_owner_that_wakes_up_changes_nothing(store: RedisCheckpoints, late: int, later: int) -> None:
    await store.save(later, {INBOX: Checkpoint(1, 7)})
    await store.save(late, {INBOX: Checkpoint(1, 900), OTHER: Checkpoint(1, 2)})
    assert await stored(store, INBOX) == Checkpoint(1, 7)
    assert await stored(store, OTHER) == Checkpoint(1, 2), "which nobody else has written"


async def test_it_never_goes_back_but_for_a_new_mailbox(store: RedisCheckpoints) -> None:
    await store.save(3, {INBOX: Checkpoint(1, 70)})
    await store.save(4, {INBOX: Checkpoint(1, 9)})
    assert await stored(store, INBOX) == Checkpoint(1, 70)
    await store.save(4, {INBOX: Checkpoint(2, 5)})
    assert await stored(store, INBOX) == Checkpoint(2, 5)


async def test_what_is_no_checkpoint_is_written_anew(store: RedisCheckpoints, client: Client, config_uid: str) -> None:
    await client.hset(f"{config_uid}:checkpoint:1:3", "INBOX", "nonsense")
    assert await stored(store, INBOX) is None
    await store.save(3, {INBOX: Checkpoint(1, 70)})
    assert await stored(store, INBOX) == Checkpoint(1, 70)


async def test_they_end_with_users_who_have_left(store: RedisCheckpoints, client: Client, config_uid: str) -> None:
    await store.save(3, {INBOX: Checkpoint(1, 70)})
    assert 0 < await client.ttl(f"{config_uid}:checkpoint:1:3") <= 14 * 24 * 3600


async def test_a_redis_that_is_gone_is_not_one_without_checkpoints(config_uid: str) -> None:
    with Redis.launch(password="planted-password") as redis:
        client = Client.from_url(redis.url, socket_timeout=1)
        store = RedisCheckpoints(client, config_uid)
        await store.save(3, {INBOX: Checkpoint(1, 70)})
        redis.stop()
        with pytest.raises(CheckpointsUnavailable) as load:
            await stored(store, INBOX)
        with pytest.raises(CheckpointsUnavailable) as save:
            await store.save(3, {INBOX: Checkpoint(1, 71)})
        assert "planted-password" not in f"{load.value}{save.value}"
        await store.close()
