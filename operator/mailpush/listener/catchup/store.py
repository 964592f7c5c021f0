"""Where checkpoints are kept: in Redis, shared by all pods of a MailPushConfig, or in this process."""

from __future__ import annotations

import asyncio
from collections import defaultdict
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

    async def of_user(self, context_id: int, user_id: int) -> dict[str, Checkpoint]:
        """A user's checkpoints by folder."""
        ...

    async def forget(self, context_id: int, user_id: int) -> None:
        """Deletes a user's checkpoints."""
        ...

    async def ask_to_sweep(self) -> None:
        """Tells all pods that callbacks may have been lost."""
        ...

    async def sweeps_asked(self) -> int:
        """How often that was told."""
        ...

    async def save(self, epoch: int, checkpoints: Mapping[Folder, Checkpoint]) -> None:
        """Writes them all, but for those that the owner of a later epoch has written, and none backwards.

        `epoch`: of the shard map under which the writer got the slots.
        """
        ...

    async def close(self) -> None: ...


class MemoryCheckpoints:
    """For one replica without Redis: a restart of the process forgets them, and begins with what comes then."""

    def __init__(self) -> None:
        self._kept: defaultdict[tuple[int, int], dict[str, Checkpoint]] = defaultdict(dict)
        self._sweeps = 0

    async def of_user(self, context_id: int, user_id: int) -> dict[str, Checkpoint]:
        return dict(self._kept.get((context_id, user_id), {}))

    async def forget(self, context_id: int, user_id: int) -> None:
        self._kept.pop((context_id, user_id), None)

    async def ask_to_sweep(self) -> None:
        self._sweeps += 1

    async def sweeps_asked(self) -> int:
        return self._sweeps

    async def save(self, epoch: int, checkpoints: Mapping[Folder, Checkpoint]) -> None:
        for folder, checkpoint in checkpoints.items():
            self._kept[folder[:2]][folder.name] = checkpoint

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
        self._sweeps = f"{config_uid}:sweeps"
        self._save = redis.register_script(_SAVE)

    async def of_user(self, context_id: int, user_id: int) -> dict[str, Checkpoint]:
        try:
            values = await self._redis.hgetall(self._key(context_id, user_id))
        except ERRORS as error:
            raise CheckpointsUnavailable(f"Redis does not give the checkpoint: {type(error).__name__}") from None
        found = {_name(field): _parsed(value) for field, value in values.items()}
        return {name: checkpoint for name, checkpoint in found.items() if checkpoint is not None}

    async def forget(self, context_id: int, user_id: int) -> None:
        try:
            await self._redis.delete(self._key(context_id, user_id))
        except ERRORS as error:
            raise CheckpointsUnavailable(f"Redis does not forget a checkpoint: {type(error).__name__}") from None

    async def ask_to_sweep(self) -> None:
        try:
            await self._redis.incr(self._sweeps)
        except ERRORS as error:
            raise CheckpointsUnavailable(f"Redis does not count a sweep: {type(error).__name__}") from None

    async def sweeps_asked(self) -> int:
        try:
            value = await self._redis.get(self._sweeps)
        except ERRORS as error:
            raise CheckpointsUnavailable(f"Redis does not give the sweeps: {type(error).__name__}") from None
        return int(value) if isinstance(value, bytes) and value.isdigit() else 0

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
                *(
                    self._save(keys=[self._key(*folder[:2])], args=args)
                    for folder, args in _arguments(epoch, checkpoints)
                )
            )
            return
        async with self._redis.pipeline(transaction=False) as pipeline:
            for folder, args in _arguments(epoch, checkpoints):
                await self._save(keys=[self._key(*folder[:2])], args=args, client=pipeline)
            await pipeline.execute()

    def _key(self, context_id: int, user_id: int) -> str:
        return f"{self._prefix}{context_id}:{user_id}"


class AbsentCheckpoints:
    """In place of those in a Redis that the settings name wrongly: `why` is a sentence on it."""

    def __init__(self, why: str) -> None:
        self._why = why

    async def of_user(self, context_id: int, user_id: int) -> dict[str, Checkpoint]:
        raise CheckpointsUnavailable(self._why)

    async def forget(self, context_id: int, user_id: int) -> None:
        raise CheckpointsUnavailable(self._why)

    async def ask_to_sweep(self) -> None:
        raise CheckpointsUnavailable(self._why)

    async def sweeps_asked(self) -> int:
        raise CheckpointsUnavailable(self._why)

    async def save(self, epoch: int, checkpoints: Mapping[Folder, Checkpoint]) -> None:
        raise CheckpointsUnavailable(self._why)

    async def close(self) -> None:
        return


def checkpoint_store(settings: Settings, config_uid: str) -> CheckpointStore:
    """Redis where it is configured, else this process's memory."""
    if settings.redis is None:
        return MemoryCheckpoints()
    try:
        return RedisCheckpoints(client_of(settings.redis, connections=CONNECTIONS), config_uid)
    except ValueError as error:  # a URL or a certificate; the text repeats neither, and who claims has said it
        return AbsentCheckpoints(str(error))


def _arguments(epoch: int, checkpoints: Mapping[Folder, Checkpoint]) -> Iterator[tuple[Folder, list[Any]]]:
    for folder, checkpoint in checkpoints.items():
        yield folder, [_field(folder), f"{epoch:019}", checkpoint.uidvalidity, checkpoint.low, KEPT_SECONDS]


def _field(folder: Folder) -> bytes:
    return folder.name.encode("utf-8", "surrogatepass")


def _name(field: bytes | str) -> str:
    return field.decode("utf-8", "surrogatepass") if isinstance(field, bytes) else field


def _parsed(value: Any) -> Checkpoint | None:
    """None for what is no checkpoint: it is written anew."""
    words = value.split() if isinstance(value, bytes) else []
    if len(words) != 3 or not all(word.isdigit() for word in words):
        return None
    return Checkpoint(int(words[1]), int(words[2]))
