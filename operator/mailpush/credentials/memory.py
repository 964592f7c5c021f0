"""Credentials in memory: in Redis, which all pods share, or in this process alone. They are gone when the memory is."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, Final

from redis.exceptions import ReadOnlyError

from mailpush.credentials.limits import check_entry, check_note, in_reach
from mailpush.credentials.storage import Entry, StorageUnavailableError, UserKey
from mailpush.store.redis import ERRORS, RedisClient, drop_idle, trouble_of

# One sorted set holds all entries: `<context>:<user> <changed> <worked> <refused> <password>`, in the order of its
# bytes, which is that of the users. So a page is one request, no index can differ from what it leads to, and a Redis
# that evicts takes everything, which is seen. 100,000 entries are 30 MB.
_SEEK: Final = """
local function seek(user)
  return redis.call('ZRANGE', KEYS[1], '[' .. user .. ' ', '(' .. user .. '!', 'BYLEX')[1]
end
"""
_GET: Final = """
local found = {}
for _, user in ipairs(ARGV) do found[#found + 1] = seek(user) end
return found
"""
_PUT: Final = """
for at = 1, #ARGV, 2 do
  local old = seek(ARGV[at])
  local new = ARGV[at] .. ' ' .. ARGV[at + 1]
  if old ~= new then
    redis.call('ZADD', KEYS[1], 0, new)
    if old then redis.call('ZREM', KEYS[1], old) end
  end
end
return 1
"""
_REPLACE: Final = """
local replaced = {}
for at = 1, #ARGV, 3 do
  local old = seek(ARGV[at])
  local stands = old and string.match(old, '^%S+ %d+ %d+ %d+ (.*)$') == ARGV[at + 1]
  local new = ARGV[at] .. ' ' .. ARGV[at + 2]
  if stands and old ~= new then
    redis.call('ZADD', KEYS[1], 0, new)
    redis.call('ZREM', KEYS[1], old)
  end
  replaced[#replaced + 1] = stands and 1 or 0
end
return replaced
"""
_DELETE: Final = """
local old = seek(ARGV[1])
return old and redis.call('ZREM', KEYS[1], old) or 0
"""
# 0 or 1 before a text: whether there is one.
_SET_NOTE: Final = """
local now = redis.call('HGET', KEYS[1], ARGV[1])
if ARGV[2] == '0' and now or ARGV[2] == '1' and now ~= ARGV[3] then return 0 end
if ARGV[4] == '1' then redis.call('HSET', KEYS[1], ARGV[1], ARGV[5])
else redis.call('HDEL', KEYS[1], ARGV[1]) end
return 1
"""
_TROUBLES: Final = {
    "login": ("MemoryLoginRefused", "Redis refuses the login or the keys"),
    "read_only": ("MemoryReadOnly", "Redis is a read-only replica"),
    "full": ("MemoryFull", "Redis takes no writes, as its memory is full"),
    "away": ("MemoryUnreachable", "Redis does not answer"),
    "refuses": ("MemoryRefuses", "Redis refuses what it is asked"),
}
AT_ONCE: Final = 1000
"""Entries in one request: Redis answers nobody else meanwhile."""


class RedisCredentials:
    """Credentials under the keys `<MailPushConfig UID>:credentials` and `...:credentials-notes`."""

    def __init__(self, redis: RedisClient, config_uid: str) -> None:
        self._redis = redis
        self._entries = f"{config_uid}:credentials"
        self._notes = f"{config_uid}:credentials-notes"
        self._get, self._put, self._replace, self._delete = (
            redis.register_script(_SEEK + script) for script in (_GET, _PUT, _REPLACE, _DELETE)
        )
        self._set_note = redis.register_script(_SET_NOTE)

    async def get(self, key: UserKey) -> Entry | None:
        return (await self.get_many([key])).get(key)

    async def get_many(self, keys: list[UserKey]) -> dict[UserKey, Entry]:
        found: dict[UserKey, Entry] = {}
        wanted = [_user(key) for key in keys if in_reach(key)]
        for start in range(0, len(wanted), AT_ONCE):
            for member in await self._run(self._get, self._entries, wanted[start : start + AT_ONCE]):
                entry = _entry(member)
                found[entry.key] = entry
        return found

    async def page(self, after: UserKey | None, limit: int) -> list[Entry]:
        start = "-" if after is None else f"({_user(after)}!"
        entries: list[Entry] = []
        while len(entries) < limit:
            wanted = min(AT_ONCE, limit - len(entries))
            found = await self._ask(
                "ZRANGE", self._entries, start, "+", "BYLEX", "LIMIT", 0, wanted
            )  # fmt: skip
            entries += map(_entry, found)
            if len(found) < wanted:
                break
            start = f"({_user(entries[-1].key)}!"
        return entries

    async def count(self) -> int:
        return int(await self._ask("ZCARD", self._entries))

    async def put(self, entry: Entry) -> None:
        await self.put_many([entry])

    async def put_many(self, entries: list[Entry]) -> None:
        for entry in entries:
            check_entry(entry)
        for start in range(0, len(entries), AT_ONCE):
            some = entries[start : start + AT_ONCE]
            arguments = [part for entry in some for part in (_user(entry.key), _value(entry))]
            await self._run(self._put, self._entries, arguments)

    async def replace(self, old: Entry, new: Entry) -> bool:
        return (await self.replace_many([(old, new)]))[0]

    async def replace_many(self, changes: Sequence[tuple[Entry, Entry]]) -> list[bool]:
        """`replace` for each; what is asked together is done together."""
        replaced: list[bool] = []
        for start in range(0, len(changes), AT_ONCE):
            arguments: list[str] = []
            for old, new in changes[start : start + AT_ONCE]:
                check_entry(new)
                arguments += _user(old.key), old.password, _value(new)
            replaced += map(bool, await self._run(self._replace, self._entries, arguments))
        return replaced

    async def delete(self, key: UserKey) -> bool:
        return in_reach(key) and bool(await self._run(self._delete, self._entries, [_user(key)]))

    async def note(self, name: str) -> str | None:
        found = await self._ask("HGET", self._notes, name)
        return None if found is None else found.decode("utf-8", "replace")

    async def set_note(self, name: str, old: str | None, new: str | None) -> bool:
        check_note(name, new)
        return bool(await self._run(self._set_note, self._notes, [name, *_optional(old), *_optional(new)]))

    async def trouble(self) -> StorageUnavailableError | None:
        """What keeps it from taking credentials now. It writes a key of a second."""
        try:
            await self._ask("SET", f"{self._entries}-probe", "", "PX", 1000)
        except StorageUnavailableError as error:
            return error
        return None

    async def close(self) -> None:
        await self._redis.aclose()

    async def _ask(self, *command: Any) -> Any:
        try:
            return await self._redis.execute_command(*command)
        except ERRORS as error:
            raise await self._told(error) from None

    async def _run(self, script: Any, key: str, arguments: list[str]) -> Any:
        try:
            return await script(keys=[key], args=arguments)
        except ERRORS as error:
            raise await self._told(error) from None

    async def _told(self, error: BaseException) -> StorageUnavailableError:
        if isinstance(error, ReadOnlyError):
            # A failover: the Service or name leads to another server by now, and these connections still to this one.
            await drop_idle(self._redis)
        reason, text = _TROUBLES[trouble_of(error)]
        return StorageUnavailableError(f"{text} ({error.__class__.__name__})", reason)


class ProcessCredentials:
    """Credentials of a process that shares them with nobody."""

    def __init__(self) -> None:
        self._entries: dict[UserKey, Entry] = {}
        self._order: list[UserKey] | None = None
        self._notes: dict[str, str] = {}

    async def get(self, key: UserKey) -> Entry | None:
        return self._entries.get(key)

    async def get_many(self, keys: list[UserKey]) -> dict[UserKey, Entry]:
        return {key: self._entries[key] for key in keys if key in self._entries}

    async def page(self, after: UserKey | None, limit: int) -> list[Entry]:
        if self._order is None:
            self._order = sorted(self._entries)
        start = 0 if after is None else bisect_right(self._order, after)
        return [self._entries[key] for key in self._order[start : start + max(limit, 0)]]

    async def count(self) -> int:
        return len(self._entries)

    async def put(self, entry: Entry) -> None:
        check_entry(entry)
        if entry.key not in self._entries:
            self._order = None
        self._entries[entry.key] = entry

    async def put_many(self, entries: list[Entry]) -> None:
        for entry in entries:
            await self.put(entry)

    async def replace(self, old: Entry, new: Entry) -> bool:
        check_entry(new)
        now = self._entries.get(old.key)
        if now is None or now.password != old.password:
            return False
        self._entries[old.key] = new
        return True

    async def delete(self, key: UserKey) -> bool:
        found = self._entries.pop(key, None) is not None
        if found:
            self._order = None
        return found

    async def note(self, name: str) -> str | None:
        return self._notes.get(name)

    async def set_note(self, name: str, old: str | None, new: str | None) -> bool:
        check_note(name, new)
        if self._notes.get(name) != old:
            return False
        if new is None:
            self._notes.pop(name, None)
        else:
            self._notes[name] = new
        return True

    async def close(self) -> None:
        return


def _user(key: UserKey) -> str:
    return f"{key[0]:010}:{key[1]:010}"


def _optional(text: str | None) -> tuple[str, str]:
    return ("0", "") if text is None else ("1", text)


def _value(entry: Entry) -> str:
    return f"{entry.changed} {entry.worked} {entry.refused} {entry.password}"


def _entry(member: bytes) -> Entry:
    try:
        user, changed, worked, refused, password = member.decode("ascii").split(" ", 4)
        context_id, _, user_id = user.partition(":")
        return Entry(int(context_id), int(user_id), password, int(changed), int(worked), int(refused))
    except ValueError:
        raise StorageUnavailableError(
            "something else writes where Redis holds the credentials", "MemoryRefuses"
        ) from None
