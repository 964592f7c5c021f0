"""The tables of a user schema that are read or written: only the columns that Mail Push names."""

from typing import Any, Final

from sqlalchemy import Boolean, Column, ColumnElement, Integer, MetaData, String, Table, Text, cast
from sqlalchemy.dialects.mysql import BINARY, CHAR
from sqlalchemy.ext.asyncio import AsyncConnection

_SCHEMA: Final = "user_schema"
"""Stands for each of them."""
_METADATA: Final = MetaData()

# `login` is that of a session of OX, which takes it only with an authProxyDelimiter: it is never read, and stays.
ROWS: Final = Table(
    "credentials",
    _METADATA,
    Column("cid", Integer),
    Column("user", Integer),
    Column("password", Text),
    Column("login", Text),
    schema=_SCHEMA,
)
TASKS: Final = Table("updateTask", _METADATA, Column("taskName", String), Column("successful", Boolean), schema=_SCHEMA)
MONITOR: Final = Table(
    "replicationMonitor", _METADATA, Column("cid", Integer), Column("transaction", Integer), schema=_SCHEMA
)


async def in_schema(connection: AsyncConnection, name: str) -> AsyncConnection:
    """The connection, for which these are the tables of the schema `name`."""
    return await connection.execution_options(schema_translate_map={_SCHEMA: name})


def exactly(value: Any) -> ColumnElement[Any]:
    """Compared byte by byte: the columns' collations take letters for equal that base64 tells apart, and pass over
    blanks at the end."""
    return cast(cast(value, CHAR(charset="utf8mb4")), BINARY)
