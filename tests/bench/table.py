"""A table of credentials in MariaDB, read and written through SQLAlchemy and asyncmy."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Self

from sqlalchemy import URL, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from dev.services.mariadb import MariaDB
from mailpush.credentials.storage import Entry, UserKey

NAME: Final = "credentials"
COLUMNS: Final = "context_id, user_id, password, changed, worked, refused"
DATABASE: Final = "mailpush"
PASSWORD: Final = "of the benchmark"

_PAGE: Final = text(
    f"SELECT {COLUMNS} FROM {NAME} WHERE context_id > :context OR (context_id = :context AND user_id > :user) "
    "ORDER BY context_id, user_id LIMIT :limit"
)
_REPLACE: Final = text(
    f"UPDATE {NAME} SET password = :new WHERE context_id = :context AND user_id = :user AND password = :old"
)


class Table:
    """The part of a CredentialStorage that the benchmark uses."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._notes: dict[str, str | None] = {}

    @classmethod
    @asynccontextmanager
    async def opened(cls, server: MariaDB) -> AsyncIterator[Self]:
        """An empty one, made in the database DATABASE."""
        server.sql(
            f"CREATE TABLE {NAME} (context_id INT UNSIGNED, user_id INT UNSIGNED, "
            "password VARCHAR(512) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, changed BIGINT NOT NULL, "
            "worked BIGINT NOT NULL, refused BIGINT NOT NULL, PRIMARY KEY (context_id, user_id))",
            DATABASE,
        )
        address = URL.create("mysql+asyncmy", DATABASE, PASSWORD, server.host, server.port, DATABASE)
        engine = create_async_engine(address, isolation_level="READ COMMITTED", hide_parameters=True, pool_size=4)
        try:
            yield cls(engine)
        finally:
            await engine.dispose()

    async def page(self, after: UserKey | None, limit: int) -> list[Entry]:
        context, user = after or (0, 0)
        async with self._engine.connect() as connection:
            found = await connection.execute(_PAGE, {"context": context, "user": user, "limit": limit})
            return [Entry(*row) for row in found]

    async def get(self, key: UserKey) -> Entry | None:
        found = await self.page((key[0], key[1] - 1), 1)
        return found[0] if found and found[0].key == key else None

    async def count(self) -> int:
        async with self._engine.connect() as connection:
            return int((await connection.execute(text(f"SELECT COUNT(*) FROM {NAME}"))).scalar_one())

    async def note(self, name: str) -> str | None:
        return self._notes.get(name)

    async def set_note(self, name: str, old: str | None, new: str | None) -> bool:
        if self._notes.get(name) != old:
            return False
        self._notes[name] = new
        return True

    async def replace(self, old: Entry, new: Entry) -> bool:
        values = {"context": old.context_id, "user": old.user_id, "old": old.password, "new": new.password}
        async with self._engine.begin() as connection:
            return (await connection.execute(_REPLACE, values)).rowcount == 1
