"""Where checkpoints are kept: in Redis, shared by all pods of a MailPushConfig, or in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, Protocol

from redis.asyncio import RedisCluster

from mailpush.properties.settings import Settings
from mailpush.store.redis import ERRORS, RedisClient, client_of

KEPT_SECONDS: Final = 14 * 24 * 3600
"""How long one is kept that nobody writes again: it is of use for `catchUp.maxAge`, an hour."""

CONNECTIONS: Final = 16


class Folder(NamedTuple):
    """A folder of a push user, by its name on the mail server."""

    context_id: int
    user_id: int
    name: str


class Checkpoint(NamedTuple):
    """Of the folder with this UIDVALIDITY every mail below `low` is told, or never will be."""

    uidvalidity: int
    low: int


class CheckpointsUnavailable(Exception):  # noqa: N818 - a state of the store, not of the caller
    """The store does not answer. That is not 'no checkpoint' (P15)."""


class CheckpointStore(Protocol):
    """Each method raises CheckpointsUnavailable."""

    async def load(self, folder: Folder) -> Checkpoint | None: ...

    async def save(self, epoch: int, checkpoints: Mapping[Folder, Checkpoint]) -> None:
        """Writes them all, but for those that the owner of a later epoch has written, and none backwards.

        `epoch`: of the shard map under which the writer got the slots.
        """
        ...

    async def close(self) -> None: ...


class MemoryCheckpoints:
    """For one replica without Redis: a restart of the process forgets them, and begins with what comes then."""

    def __init__(self) -> None:
        self._kept: dict[Folder, Checkpoint] = {}

    async def load(self, folder: Folder) -> Checkpoint | None:
        return self._kept.get(folder)

    async def save(self, epoch: int, checkpoints: Mapping[Folder, Checkpoint]) -> None:
        self._kept.update(checkpoints)

    async def close(self) -> None:
        return


# A value is `<epoch> <uidvalidity> <low>`. Epochs have 19 digits, to be compared as texts: a number of Lua has 53 bits.
_SAVE: Final = """
local old = redis.call('HGET', KEYS[1], ARGV[1])
local low = ARGV[4]
if old then
  local epoch, uidvalidity, before = string.match(old, '^(%d+) (%d+) (%d+)$')
  if epoch and epoch > ARGV[2] then return 0 end
  if uidvalidity == ARGV[3] and tonumber(before) > tonumber(low) then low = before end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. ARGV[3] .. ' ' .. low)
redis.call('EXPIRE', KEYS[1], ARGV[5])
return 1
"""


class RedisCheckpoints:
    """Under the key `<MailPushConfig UID>:checkpoint:<context>:<user>`, a hash with a field a folder."""

    def __init__(self, redis: RedisClient, config_uid: str) -> None:
        self._redis = redis
        self._prefix = f"{config_uid}:checkpoint:"
        self._save = redis.register_script(_SAVE)

    async def load(self, folder: Folder) -> Checkpoint | None:
        try:
            value = await self._redis.hget(self._key(folder), _field(folder))
        except ERRORS as error:
            raise CheckpointsUnavailable(f"Redis does not give the checkpoint: {type(error).__name__}") from None
        return None if value is None else _parsed(value)

    async def save(self, epoch: int, checkpoints: Mapping[Folder, Checkpoint]) -> None:
        try:
            await self._saved(epoch, checkpoints)
        except ERRORS as error:
            raise CheckpointsUnavailable(f"Redis does not take checkpoints: {type(error).__name__}") from None

    async def close(self) -> None:
        await self._redis.aclose()

    async def _saved(self, epoch: int, checkpoints: Mapping[Folder, Checkpoint]) -> None:
        if isinstance(self._redis, RedisCluster):  # whose pipelines run no scripts
            await asyncio.gather(
                *(self._save(keys=[self._key(folder)], args=args) for folder, args in _arguments(epoch, checkpoints))
            )
            return
        async with self._redis.pipeline(transaction=False) as pipeline:
            for folder, args in _arguments(epoch, checkpoints):
                await self._save(keys=[self._key(folder)], args=args, client=pipeline)
            await pipeline.execute()

    def _key(self, folder: Folder) -> str:
        return f"{self._prefix}{folder.context_id}:{folder.user_id}"


def checkpoint_store(settings: Settings, config_uid: str) -> CheckpointStore:
    """Redis where it is configured, else this process's memory."""
    if settings.redis is None:
        return MemoryCheckpoints()
    return RedisCheckpoints(client_of(settings.redis, connections=CONNECTIONS), config_uid)


def _arguments(epoch: int, checkpoints: Mapping[Folder, Checkpoint]) -> Iterator[tuple[Folder, list[Any]]]:
    for folder, checkpoint in checkpoints.items():
        yield folder, [_field(folder), f"{epoch:019}", checkpoint.uidvalidity, checkpoint.low, KEPT_SECONDS]


def _field(folder: Folder) -> bytes:
    return folder.name.encode("utf-8", "surrogatepass")


def _parsed(value: Any) -> Checkpoint | None:
    """None for what is no checkpoint: it is written anew."""
    words = value.split() if isinstance(value, bytes) else []
    if len(words) != 3 or not all(word.isdigit() for word in words):
        return None
    return Checkpoint(int(words[1]), int(words[2]))
