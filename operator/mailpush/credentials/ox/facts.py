"""What OX's version has made of a schema's table `credentials`, read within the transaction that writes there."""

from typing import Any, Final

from sqlalchemy import and_, bindparam, func, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from mailpush.credentials.forms import ArgonRow, Kind, LegacyRow, classify
from mailpush.credentials.ox.columns import MONITOR, ROWS, TASKS
from mailpush.credentials.ox.rules import TASK, TableFacts, Task

LOCKS: Final = ("LOCKED", "BACKGROUND")
"""Names of the rows in `updateTask` by which OX holds a schema while it updates it."""
CANDIDATES: Final = 500

# A server may have tables' names in small letters.
_TABLES: Final = [name for table in (ROWS, TASKS, MONITOR) for name in {table.name, table.name.lower()}]
_WIDTHS: Final = text(
    "SELECT table_name, character_maximum_length FROM information_schema.columns"
    " WHERE table_schema = :schema AND table_name IN :tables AND column_name IN ('password', 'taskName', 'transaction')"
).bindparams(bindparam("tables", expanding=True))
_TASKS: Final = select(TASKS.c.taskName, TASKS.c.successful).where(
    or_(TASKS.c.taskName.like(f"%{TASK}"), TASKS.c.taskName.in_(LOCKS))
)


async def facts_of(connection: AsyncConnection, schema: str) -> TableFacts:
    """Of the table in `schema`, which the connection is `in_schema` of. Having read it keeps OX from altering it until
    the transaction ends.

    Raises:
        DBAPIError
    """
    if (await era_of(connection, schema)).width is None:
        return TableFacts(None)
    argon = await _has(connection, newer=True)
    legacy = await _has(connection, newer=False)
    era = await era_of(connection, schema)  # which was another, perhaps, before OX was kept from altering it
    return TableFacts(era.width, era.task, era.updating, legacy, argon, era.monitored)


async def era_of(connection: AsyncConnection, schema: str) -> TableFacts:
    """As `facts_of`, without a look at the rows. Raises DBAPIError."""
    found = await connection.execute(_WIDTHS, {"schema": schema, "tables": _TABLES})
    widths = {str(row[0]).lower(): int(row[1] or 0) for row in found}
    monitored = MONITOR.name.lower() in widths
    if TASKS.name.lower() not in widths:
        return TableFacts(widths.get(ROWS.name), monitored=monitored)
    rows = [(str(row[0]), bool(row[1])) for row in await connection.execute(_TASKS)]
    outcomes = [successful for name, successful in rows if name.rpartition(".")[2] == TASK]
    return TableFacts(
        widths.get(ROWS.name),
        Task.NOT_RUN if not outcomes else Task.DONE if any(outcomes) else Task.FAILED,
        any(name in LOCKS for name, _ in rows),
        monitored=monitored,
    )


async def _has(connection: AsyncConnection, *, newer: bool) -> bool:
    """Whether a row is of the newer form, or the beginning of one; else of the older. A clear text is of none.

    The server finds those that may be: few in a table without such rows, and in one with them the first.
    """
    dollar = func.instr(ROWS.c.password, "$")
    may_be = (dollar > 0) if newer else (dollar == 0)
    query = select(ROWS.c.cid, ROWS.c.user, ROWS.c.password).where(may_be).order_by(ROWS.c.cid, ROWS.c.user)
    after: tuple[Any, Any] = (0, 0)
    while True:
        beyond = or_(ROWS.c.cid > after[0], and_(ROWS.c.cid == after[0], ROWS.c.user > after[1]))
        rows = (await connection.execute(query.where(beyond).limit(CANDIDATES))).all()
        if any(_is(row[2] or "", newer=newer) for row in rows):
            return True
        if len(rows) < CANDIDATES:
            return False
        after = rows[-1][0], rows[-1][1]


def _is(row: str, *, newer: bool) -> bool:
    form = classify(row)
    if newer:
        return isinstance(form, ArgonRow) or form in {Kind.DAMAGED, Kind.REFUSED_PARAMETERS}
    return isinstance(form, LegacyRow)
