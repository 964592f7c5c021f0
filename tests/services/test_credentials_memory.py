"""Credentials in a real Redis, and in the process alone: both do what a dictionary does."""

from __future__ import annotations

import random
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from dev.services import Redis
from mailpush.credentials.memory import ProcessCredentials, RedisCredentials
from mailpush.credentials.storage import CredentialStorage, Entry, StorageUnavailableError, UserKey
from mailpush.store.redis import redis_client


@pytest.fixture(params=["redis", "process"])
async def storage(request: pytest.FixtureRequest, redis: Redis) -> AsyncIterator[CredentialStorage]:
    made: CredentialStorage = ProcessCredentials()
    if request.param == "redis":
        made = RedisCredentials(redis_client(redis.url), str(uuid.uuid4()))
    yield made
    await made.close()


def entry(key: UserKey, dice: random.Random) -> Entry:
    password = "".join(dice.choices("abcXYZ0189+/=$ ", k=dice.randint(0, 40)))
    return Entry(*key, password, dice.randint(0, 9), dice.randint(0, 9), dice.randint(0, 9))


@pytest.mark.parametrize("seed", range(6))
async def test_it_does_what_a_dictionary_does(storage: CredentialStorage, seed: int) -> None:
    dice = random.Random(seed)
    model: dict[UserKey, Entry] = {}
    notes: dict[str, str] = {}
    keys = [(context, user) for context in (1, 2, 10, 2**31 - 1) for user in (1, 3, 20, 100, 2**31 - 1)]
    for _ in range(150):
        key = dice.choice(keys)
        match dice.choice(["put", "put", "get", "replace", "delete", "many", "page", "count", "note", "set_note"]):
            case "put":
                model[key] = entry(key, dice)
                await storage.put(model[key])
            case "get":
                assert await storage.get(key) == model.get(key)
            case "replace":
                old = dice.choice([model.get(key) or entry(key, dice), entry(key, dice)])
                new = entry(key, dice)
                fits = key in model and model[key].password == old.password
                assert await storage.replace(old, new) is fits
                if fits:
                    model[key] = new
            case "delete":
                assert await storage.delete(key) is (model.pop(key, None) is not None)
            case "many":
                some = dice.sample(keys, 7)
                assert await storage.get_many(some) == {one: model[one] for one in some if one in model}
            case "page":
                after = dice.choice([None, key])
                expected = [model[one] for one in sorted(model) if after is None or one > after]
                assert await storage.page(after, 4) == expected[:4]
            case "count":
                assert await storage.count() == len(model)
            case "note":
                assert await storage.note("key-check") == notes.get("key-check")
            case _:
                before = dice.choice([notes.get("key-check"), None, "other"])
                text = dice.choice([None, "one", "other $ text"])
                fits = notes.get("key-check") == before
                assert await storage.set_note("key-check", before, text) is fits
                if fits and text is None:
                    notes.pop("key-check", None)
                elif fits and text is not None:
                    notes["key-check"] = text
    assert await storage.page(None, 1000) == [model[key] for key in sorted(model)]


@pytest.mark.parametrize("odd", [Entry(-1, 3, "x"), Entry(1, 2**31, "x"), Entry(1, 3, "ä"), Entry(1, 3, "x" * 513)])
async def test_what_fits_nowhere_is_refused_without_being_quoted(storage: CredentialStorage, odd: Entry) -> None:
    with pytest.raises(ValueError, match="at most") as refused:
        await storage.put(odd)
    assert odd.password * 2 not in str(refused.value)
    assert await storage.count() == 0
    assert await storage.get((odd.context_id, odd.user_id)) is None


async def test_one_installation_does_not_see_anothers(redis: Redis) -> None:
    one, other = (RedisCredentials(redis_client(redis.url), str(uuid.uuid4())) for _ in range(2))
    await one.put(Entry(1, 3, "x"))
    assert await other.page(None, 10) == []
    assert await other.count() == 0
    await one.close()
    await other.close()


async def test_more_than_one_request_holds(redis: Redis) -> None:
    storage = RedisCredentials(redis_client(redis.url), str(uuid.uuid4()))
    entries = [Entry(1, user, f"p{user}") for user in range(1, 2501)]
    for one in entries:
        await storage.put(one)
    assert await storage.page(None, 2400) == entries[:2400]
    assert await storage.page((1, 2400), 5000) == entries[2400:]
    assert len(await storage.get_many([one.key for one in entries])) == 2500
    changes = [(one, replace(one, password="new")) for one in entries]
    assert all(await storage.replace_many(changes))
    assert not any(await storage.replace_many(changes))
    await storage.close()


@pytest.mark.parametrize("trouble", ["stopped", "password", "full"])
async def test_a_redis_that_does_not_do_it_is_told_in_a_word(trouble: str) -> None:
    with Redis.launch(password="planted-password") as redis:
        url = redis.url if trouble != "password" else redis.url.replace("planted-password", "other-planted-password")
        storage = RedisCredentials(redis_client(url, timeout=1), str(uuid.uuid4()))
        if trouble == "stopped":
            redis.stop()
        if trouble == "full":
            client = redis_client(redis.url)
            await client.config_set("maxmemory", "1")
            await client.aclose()
        with pytest.raises(StorageUnavailableError) as error:
            await storage.put(Entry(1, 3, "planted-entry"))
        found = await storage.trouble()
        await storage.close()
    assert found is not None
    words = {"stopped": "MemoryUnreachable", "password": "MemoryLoginRefused", "full": "MemoryFull"}
    assert (error.value.reason, found.reason) == (words[trouble], words[trouble])
    assert "planted" not in f"{error.value}{found}"
    assert error.value.__cause__ is None
