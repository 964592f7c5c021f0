"""Passwords written to OX's table: one column of the rows that are named, all of a schema in one transaction.

A row is changed only where it still stands as it was read, and `login` stays. OX's counter of a context's transactions
is raised in the same transaction: by it OX knows when a replica has the row.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from sqlalchemy import insert, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from mailpush.credentials.ox.columns import MONITOR, ROWS, exactly
from mailpush.credentials.ox.contexts import Schema
from mailpush.credentials.ox.engines import DUPLICATE, Engines
from mailpush.credentials.ox.facts import era_of, facts_of
from mailpush.credentials.ox.rules import Form, Refusal, SchemaRefusedError, TableFacts, refusal_of
from mailpush.credentials.storage import UserKey
from mailpush.store.sql import error_number


@dataclass(frozen=True, slots=True)
class Change:
    """`old`: the row as it was read, None where there was none. `new`: as it is to be. Both are encrypted."""

    old: str | None = field(repr=False)
    new: str = field(repr=False)


class Outcome(Enum):
    """What became of one change."""

    WRITTEN = "written"
    OTHERWISE = "otherwise"
    """Another row stands there now: it was left."""
    TOO_LONG = "tooLong"
    """It does not fit the column: nothing was sent."""
    NO_CONTEXT = "noContext"
    """OX has no such context."""


class Writes:
    """Writes rows of one form, where a schema's table takes it."""

    def __init__(self, engines: Engines, form: Form) -> None:
        self._engines = engines
        self.form = form

    async def look(self, schema: Schema) -> Refusal | None:
        """Why the schema takes no row of the form now. Nothing is written for it.

        Raises:
            StorageUnavailableError
        """
        async with self._engines.reading(schema.address, schema.name) as connection:
            return refusal_of(self.form, await facts_of(connection, schema.name))

    async def write(self, schema: Schema, changes: Mapping[UserKey, Change]) -> dict[UserKey, Outcome]:
        """Those that stand as they were read.

        Raises:
            WriteRefusedError: the schema takes no row of the form, or the server no write. Nothing was written.
            StorageUnavailableError: whether it was written is not known.
        """
        async with self._engines.writing(schema.address, schema.name) as connection:
            facts = await facts_of(connection, schema.name)
            self._allow(schema, facts)
            outcomes: dict[UserKey, Outcome] = {}
            for key, change in sorted(changes.items(), key=lambda one: one[0]):
                fits = len(change.new) <= (facts.width or 0)
                outcomes[key] = await _one(connection, key, change) if fits else Outcome.TOO_LONG
            # OX may have begun its update in between; its ALTER waits for this transaction, and then finds these rows.
            self._allow(schema, await era_of(connection, schema.name))
            await _count(connection, schema, {key[0] for key, one in outcomes.items() if one is Outcome.WRITTEN})
        return outcomes

    def _allow(self, schema: Schema, facts: TableFacts) -> None:
        if (refusal := refusal_of(self.form, facts)) is not None:
            raise SchemaRefusedError(refusal, schema.name, width=facts.width)


async def _one(connection: AsyncConnection, key: UserKey, change: Change) -> Outcome:
    if change.old is None:
        # The login of a session of OX is not known here: OX puts it there when the user registers.
        row = {"cid": key[0], "user": key[1], "password": change.new, "login": ""}
        try:
            await connection.execute(insert(ROWS).values(row))
        except IntegrityError as error:
            if error_number(error) != DUPLICATE:
                raise
            return Outcome.OTHERWISE
        return Outcome.WRITTEN
    query = update(ROWS).values(password=change.new).where(ROWS.c.cid == key[0], ROWS.c.user == key[1])
    done = await connection.execute(query.where(exactly(ROWS.c.password) == exactly(change.old)))
    return Outcome.WRITTEN if done.rowcount == 1 else Outcome.OTHERWISE


async def _count(connection: AsyncConnection, schema: Schema, contexts: Iterable[int]) -> None:
    """Last, since all transactions of a context wait for each other at its row."""
    for context in sorted(contexts):
        query = update(MONITOR).values(transaction=MONITOR.c.transaction + 1).where(MONITOR.c.cid == context)
        if (await connection.execute(query)).rowcount != 1:
            raise SchemaRefusedError(Refusal.NOT_MONITORED, schema.name, context=context)
