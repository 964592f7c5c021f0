"""The rows of OX's table `credentials`: encrypted passwords by context and user."""

from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, NoReturn

from sqlalchemy import Column, ColumnElement, Integer, MetaData, Table, Text, and_, func, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from mailpush.credentials.ox.address import Address, from_url
from mailpush.credentials.ox.contexts import BATCH, Contexts, Schema
from mailpush.credentials.ox.engines import Engines, NoSuchTableError, Reach
from mailpush.credentials.storage import Entry, StorageUnavailableError, UserKey
from mailpush.properties.settings import OxCredentialSettings
from mailpush.work.clock import Clock, boottime

CONTEXTS_AT_A_TIME: Final = 2000
READ_ONLY: Final = "ReadOnly"

# Its `login` is not looked at: it is the login of the session, and OX takes it only with an authProxyDelimiter.
_ROWS: Final = Table(
    "credentials",
    MetaData(),
    Column("cid", Integer),
    Column("user", Integer),
    Column("password", Text),
    schema="user_schema",  # stands for each of them
)


class OxTable:
    """The reading half of CredentialStorage. Entries have no marks, and there are no notes.

    A row that is there though nobody is registered is given as any other: only registered users are asked for. A row
    that OX deleted is not there: CredentialsMissing.
    """

    def __init__(self, configdb: Address, reach: Reach, clock: Clock = boottime) -> None:
        self._engines = Engines(reach)
        self._contexts = Contexts(self._engines, configdb, clock)

    async def get(self, key: UserKey) -> Entry | None:
        return (await self.get_many([key])).get(key)

    async def get_many(self, keys: list[UserKey]) -> dict[UserKey, Entry]:
        wanted = set(keys)
        schemas = await self._contexts.schemas({context for context, _ in wanted})
        found = await self._of(wanted, schemas)
        if missing := wanted - found.keys():  # OX moves a context to another schema, and deletes it here
            before = {context: schemas.get(context) for context, _ in missing}
            now = await self._contexts.schemas(before, anew=True)
            moved = {context: schema for context, schema in now.items() if schema != before[context]}
            found |= await self._of({key for key in missing if key[0] in moved}, moved)
        return found

    async def page(self, after: UserKey | None, limit: int) -> list[Entry]:
        entries: list[Entry] = []
        context, user = after or (0, 0)
        while len(entries) < limit:
            last, schemas = await self._contexts.after(context, CONTEXTS_AT_A_TIME)
            if last is None:
                break
            beyond = or_(_ROWS.c.cid > context, and_(_ROWS.c.cid == context, _ROWS.c.user > user))
            for schema, contexts in _by_schema(schemas).items():
                # The rows of other contexts of the schema belong to another part, or to nobody any more.
                entries += await self._rows(schema, and_(_ROWS.c.cid.in_(sorted(contexts)), beyond), limit)
            entries.sort(key=lambda entry: entry.key)
            context, user = last + 1, 0
        return entries[:limit]

    async def count(self) -> int:
        total = 0
        for schema in await self._contexts.all():
            try:
                async with self._reading(schema) as connection:
                    total += (await connection.execute(select(func.count()).select_from(_ROWS))).scalar_one()
            except NoSuchTableError:
                continue
        return total

    async def put(self, entry: Entry) -> None:
        _refuse()

    async def replace(self, old: Entry, new: Entry) -> bool:
        _refuse()

    async def delete(self, key: UserKey) -> bool:
        _refuse()

    async def note(self, name: str) -> str | None:
        return None

    async def set_note(self, name: str, old: str | None, new: str | None) -> bool:
        _refuse()

    async def close(self) -> None:
        await self._engines.close()

    async def _of(self, keys: set[UserKey], schemas: dict[int, Schema]) -> dict[UserKey, Entry]:
        by_schema: dict[Schema, list[UserKey]] = defaultdict(list)
        for key in sorted(keys):
            if key[0] in schemas:
                by_schema[schemas[key[0]]].append(key)
        found: dict[UserKey, Entry] = {}
        for schema, of_it in by_schema.items():
            for start in range(0, len(of_it), BATCH):
                part = of_it[start : start + BATCH]
                rows = await self._rows(schema, tuple_(_ROWS.c.cid, _ROWS.c.user).in_(part), len(part))
                found |= {entry.key: entry for entry in rows}
        return found

    async def _rows(self, schema: Schema, which: ColumnElement[bool], limit: int) -> list[Entry]:
        query = select(_ROWS.c.cid, _ROWS.c.user, _ROWS.c.password).where(which)
        query = query.order_by(_ROWS.c.cid, _ROWS.c.user).limit(limit)
        try:
            async with self._reading(schema) as connection:
                rows = (await connection.execute(query)).all()
        except NoSuchTableError:  # a schema of before the table, in which nothing was ever stored
            return []
        return [Entry(int(row[0]), int(row[1]), row[2] or "") for row in rows]

    @asynccontextmanager
    async def _reading(self, schema: Schema) -> AsyncIterator[AsyncConnection]:
        async with self._engines.reading(schema.address) as connection:
            yield await connection.execution_options(schema_translate_map={"user_schema": schema.name})


def _by_schema(schemas: dict[int, Schema]) -> dict[Schema, list[int]]:
    contexts: dict[Schema, list[int]] = defaultdict(list)
    for context, schema in schemas.items():
        contexts[schema].append(context)
    return contexts


def _refuse() -> NoReturn:
    raise StorageUnavailableError(
        "this is OX's own table of credentials, which is only read: change the password in OX", READ_ONLY
    )


def ox_table(settings: OxCredentialSettings, clock: Clock = boottime) -> OxTable:
    """The table behind the configdb of the settings.

    Raises:
        ValueError: the address of the configdb is none.
    """
    database = settings.configdb
    configdb = from_url(database.url, database.username, database.password)
    tls = database.tls == "verify"
    return OxTable(configdb, Reach(tls, database.ca_pem, database.pool_size, database.timeout_ms / 1000), clock)
