"""Credentials in a database: MariaDB, MySQL, or a file of SQLite for one pod. Each MailPushConfig has its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from sqlalchemy import ColumnElement, Insert, Table, and_, delete, func, insert, or_, select, tuple_, update
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from mailpush.credentials.limits import check_entry, check_note, in_reach
from mailpush.credentials.storage import Entry, StorageUnavailableError, UserKey
from mailpush.credentials.tables import CREDENTIALS, NOTES, TablesBusyError, TablesDifferError, prepare
from mailpush.store.sql import error_number
from mailpush.work.pace import set_within

AT_ONCE: Final = 500
CLOSE_SECONDS: Final = 5.0
"""For what is asked when it closes; longer than an answer takes by default."""
PREPARE_TRIES: Final = 5
"""For the lock of the tables, each a second; whoever watches the store asks again later."""
TABLES_DIFFER: Final = "DatabaseTablesDiffer"
TABLES_BUSY: Final = "DatabaseTablesBusy"
OF_ANOTHER: Final = "DatabaseOfAnother"
OWNER: Final = "owner"
"""The note that says which MailPushConfig uses the database."""
VALUES: Final = ("password", "changed", "worked", "refused")
_KEY: Final = tuple_(CREDENTIALS.c.context_id, CREDENTIALS.c.user_id)
_COLUMNS: Final = select(CREDENTIALS.c.context_id, CREDENTIALS.c.user_id, *(CREDENTIALS.c[name] for name in VALUES))
A_RULE: Final = "a rule of the database's tables refuses the row"
_TROUBLES: Final = {
    **dict.fromkeys((1044, 1142, 1143, 1370), ("DatabaseNotAllowed", "the database does not let this login do it")),
    1045: ("DatabaseLoginRefused", "the database refuses the login"),
    1049: ("DatabaseMissing", "the server has no such database"),
    **dict.fromkeys((1290, 1836, 8), ("DatabaseReadOnly", "the database takes no writes")),
    **dict.fromkeys((1021, 1114), ("DatabaseFull", "the database is full")),
    **dict.fromkeys((1406, 1366, 1265), (TABLES_DIFFER, "a value does not fit its column")),
    **dict.fromkeys((4025, 3819), (TABLES_DIFFER, A_RULE)),
}


class DatabaseCredentials:
    """Credentials in the tables of `credentials.tables`, which are made when they are first needed.

    Args:
        engine: closed with this.
        owner: `<namespace>/<name>` of the MailPushConfig, whose database it becomes if it is nobody's. With another's
            nothing is done: the one would delete the entries of users that it does not know any more, and the other has
            them still. By name and not by UID: one that is made anew finds its passwords.
    """

    def __init__(self, engine: AsyncEngine, owner: str = "") -> None:
        self._engine = engine
        self._owner = owner
        self._prepared = False
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False

    async def get(self, key: UserKey) -> Entry | None:
        return (await self.get_many([key])).get(key)

    async def get_many(self, keys: list[UserKey]) -> dict[UserKey, Entry]:
        wanted = [key for key in keys if in_reach(key)]
        entries: list[Entry] = []
        async with self._connected() as connection:
            for start in range(0, len(wanted), AT_ONCE):
                query = _COLUMNS.where(_KEY.in_(wanted[start : start + AT_ONCE]))
                entries += [Entry(*row) for row in await connection.execute(query)]
        return {entry.key: entry for entry in entries}

    async def page(self, after: UserKey | None, limit: int) -> list[Entry]:
        query = _COLUMNS.order_by(CREDENTIALS.c.context_id, CREDENTIALS.c.user_id).limit(limit)
        if after is not None:
            context, user = after
            same = and_(CREDENTIALS.c.context_id == context, CREDENTIALS.c.user_id > user)
            query = query.where(or_(CREDENTIALS.c.context_id > context, same))
        async with self._connected() as connection:
            return [Entry(*row) for row in await connection.execute(query)]

    async def count(self) -> int:
        async with self._connected() as connection:
            return int((await connection.execute(select(func.count()).select_from(CREDENTIALS))).scalar_one())

    async def put(self, entry: Entry) -> None:
        await self.put_many([entry])

    async def put_many(self, entries: list[Entry]) -> None:
        rows = [_row(check_entry(entry)) for entry in entries]
        for start in range(0, len(rows), AT_ONCE):
            async with self._connected() as connection:
                await connection.execute(_upsert(connection.dialect.name), rows[start : start + AT_ONCE])

    async def put_newer(self, entries: list[Entry]) -> None:
        """Writes each where there is none of its user, or an older one; in one statement, so that nobody's put in
        between is lost."""
        rows = [_row(check_entry(entry)) for entry in entries]
        for start in range(0, len(rows), AT_ONCE):
            async with self._connected() as connection:
                await connection.execute(_upsert_newer(connection.dialect.name), rows[start : start + AT_ONCE])

    async def replace(self, old: Entry, new: Entry) -> bool:
        check_entry(new)
        statement = (
            update(CREDENTIALS)
            .where(_is(old.key), _same_bytes(CREDENTIALS.c.password, old.password))
            .values({name: getattr(new, name) for name in VALUES})
        )
        async with self._connected() as connection:
            return (await connection.execute(statement)).rowcount == 1

    async def delete(self, key: UserKey) -> bool:
        if not in_reach(key):
            return False
        async with self._connected() as connection:
            return (await connection.execute(delete(CREDENTIALS).where(_is(key)))).rowcount == 1

    async def note(self, name: str) -> str | None:
        async with self._connected() as connection:
            found: str | None = (await connection.execute(select(NOTES.c.note).where(NOTES.c.name == name))).scalar()
        return found

    async def set_note(self, name: str, old: str | None, new: str | None) -> bool:
        check_note(name, new)
        if old is None:
            return await self._add_note(name, new)
        stands = and_(NOTES.c.name == name, _same_bytes(NOTES.c.note, old))
        change = delete(NOTES).where(stands) if new is None else update(NOTES).where(stands).values(note=new)
        async with self._connected() as connection:
            return (await connection.execute(change)).rowcount == 1

    async def _add_note(self, name: str, new: str | None) -> bool:
        if new is None:
            return await self.note(name) is None
        try:
            async with self._connected() as connection:
                await connection.execute(insert(NOTES).values(name=name, note=new))
        except _TakenError:
            return False
        return True

    async def close(self) -> None:
        """Ends after what was asked for: a connection that is closed under somebody leaves him waiting for ever."""
        self._closed = True
        await set_within(self._idle, CLOSE_SECONDS)
        await self._engine.dispose()

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[AsyncConnection]:
        """A transaction. What goes wrong in it is a StorageUnavailableError without a word of the database's."""
        if self._closed:
            raise StorageUnavailableError("the database's connections are closed")
        self._running += 1
        self._idle.clear()
        try:
            if not self._prepared:
                await self._prepare()
            async with self._engine.begin() as connection:
                yield connection
        except IntegrityError:
            raise _TakenError from None
        except TablesBusyError:
            raise StorageUnavailableError(
                "another process makes or migrates the database's tables", TABLES_BUSY
            ) from None
        except TablesDifferError as error:
            raise StorageUnavailableError(f"the database is not as it should be: {error}", TABLES_DIFFER) from None
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            raise _trouble_of(error) from None
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()

    async def _prepare(self) -> None:
        for left in reversed(range(PREPARE_TRIES)):
            try:
                async with self._engine.connect() as connection:
                    await connection.run_sync(prepare)
                break
            except TablesBusyError:
                if not left:
                    raise
        if self._owner:
            await self._take(self._owner)
        self._prepared = True

    async def _take(self, owner: str) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(_if_new(connection, NOTES, {"name": OWNER, "note": owner}))
        async with self._engine.begin() as connection:
            stands = (await connection.execute(select(NOTES.c.note).where(NOTES.c.name == OWNER))).scalar()
        if stands != owner:
            raise StorageUnavailableError(
                f"the database is that of the MailPushConfig {stands}, and this is {owner}: each needs a database of "
                f"its own; to hand it over, change the note {OWNER} in the table {NOTES.name}",
                OF_ANOTHER,
            )


class _TakenError(StorageUnavailableError):
    """There is a row of that key, or a rule of somebody's refuses the row."""

    def __init__(self) -> None:
        super().__init__(A_RULE, TABLES_DIFFER)


def _upsert(dialect: str) -> Insert:
    """For rows that are given with it, all in one statement."""
    if dialect == "sqlite":
        added = sqlite.insert(CREDENTIALS)
        return added.on_conflict_do_update(
            index_elements=["context_id", "user_id"], set_={name: added.excluded[name] for name in VALUES}
        )
    added_there = mysql.insert(CREDENTIALS)
    return added_there.on_duplicate_key_update({name: added_there.inserted[name] for name in VALUES})


def _upsert_newer(dialect: str) -> Insert:
    if dialect == "sqlite":
        added = sqlite.insert(CREDENTIALS)
        return added.on_conflict_do_update(
            index_elements=["context_id", "user_id"],
            set_={name: added.excluded[name] for name in VALUES},
            where=added.excluded.changed > CREDENTIALS.c.changed,
        )
    added_there = mysql.insert(CREDENTIALS)
    newer = added_there.inserted.changed > CREDENTIALS.c.changed
    # One after the other, each by what those before it have left: so the time comes last, by which they are chosen.
    names = sorted(VALUES, key=lambda name: name == "changed")
    return added_there.on_duplicate_key_update(
        [(name, func.if_(newer, added_there.inserted[name], CREDENTIALS.c[name])) for name in names]
    )


def _if_new(connection: AsyncConnection, table: Table, row: dict[str, Any]) -> Insert:
    """Writes the row where there is none of its key, and changes nothing else."""
    key = next(iter(table.primary_key)).name
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table).values(row).on_conflict_do_nothing()
    return mysql.insert(table).values(row).on_duplicate_key_update({key: table.c[key]})


def _is(key: UserKey) -> ColumnElement[bool]:
    return and_(CREDENTIALS.c.context_id == key[0], CREDENTIALS.c.user_id == key[1])


def _row(entry: Entry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in ("context_id", "user_id", *VALUES)}


def _same_bytes(column: ColumnElement[str], text: str) -> ColumnElement[bool]:
    """MariaDB leaves blanks at the end out when it compares, also with a binary collation."""
    return func.hex(column) == text.encode("ascii", "replace").hex().upper()


def _trouble_of(error: BaseException) -> StorageUnavailableError:
    number = error_number(error)
    word = f"error {number}" if number else type(error).__name__
    reason, said = _TROUBLES.get(number or 0, ("DatabaseUnreachable", "the database does not answer"))
    return StorageUnavailableError(f"{said} ({word})", reason)
