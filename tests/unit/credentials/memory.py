"""A credential storage whose faults the test makes: a real one cannot be told to fail at one operation."""

from mailpush.credentials.storage import Entry, StorageUnavailableError, UserKey


class FaultyStorage:
    """Entries in this process.

    `down`: each operation fails; `down_after`: those after so many. `asked`: what was asked of it, in order.
    """

    def __init__(self) -> None:
        self.entries: dict[UserKey, Entry] = {}
        self.notes: dict[str, str] = {}
        self.down = False
        self.down_after: int | None = None
        self.asked: list[str] = []

    async def get(self, key: UserKey) -> Entry | None:
        self._ask("get")
        return self.entries.get(key)

    async def get_many(self, keys: list[UserKey]) -> dict[UserKey, Entry]:
        self._ask(f"get_many {len(keys)}")
        return {key: self.entries[key] for key in keys if key in self.entries}

    async def page(self, after: UserKey | None, limit: int) -> list[Entry]:
        self._ask("page")
        return [self.entries[key] for key in sorted(self.entries) if after is None or key > after][:limit]

    async def count(self) -> int:
        self._ask("count")
        return len(self.entries)

    async def put(self, entry: Entry) -> None:
        self._ask("put")
        self.entries[entry.key] = entry

    async def put_many(self, entries: list[Entry]) -> None:
        """One after the other, so that a test may have it fail in the middle."""
        for entry in entries:
            await self.put(entry)

    async def put_newer(self, entries: list[Entry]) -> None:
        self._ask(f"put_newer {len(entries)}")
        for entry in entries:
            if entry.key not in self.entries or entry.changed > self.entries[entry.key].changed:
                self.entries[entry.key] = entry

    async def replace(self, old: Entry, new: Entry) -> bool:
        self._ask("replace")
        found = self.entries.get(old.key)
        if found is None or found.password != old.password:
            return False
        self.entries[old.key] = new
        return True

    async def delete(self, key: UserKey) -> bool:
        self._ask("delete")
        return self.entries.pop(key, None) is not None

    async def note(self, name: str) -> str | None:
        self._ask("note")
        return self.notes.get(name)

    async def set_note(self, name: str, old: str | None, new: str | None) -> bool:
        self._ask("set_note")
        if self.notes.get(name) != old:
            return False
        if new is None:
            self.notes.pop(name, None)
        else:
            self.notes[name] = new
        return True

    async def close(self) -> None:
        pass

    def asked_for(self, *operations: str) -> int:
        return sum(one.split()[0] in operations for one in self.asked)

    def _ask(self, operation: str) -> None:
        if self.down or (self.down_after is not None and len(self.asked) >= self.down_after):
            raise StorageUnavailableError("the store does not answer")
        self.asked.append(operation)
