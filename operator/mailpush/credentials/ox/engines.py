"""Connections to OX's databases: those that cannot write, and apart from them those that may."""

import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from mailpush.credentials.ox.address import Address
from mailpush.credentials.ox.columns import in_schema
from mailpush.credentials.ox.rules import Refusal, SchemaRefusedError
from mailpush.credentials.storage import StorageUnavailableError, WriteRefusedError
from mailpush.store.sql import SQL_MODE, error_number

NO_SUCH_TABLE: Final = 1146
DUPLICATE: Final = 1062
RECYCLE_SECONDS: Final = 300
CONNECT_SECONDS: Final = 5


@dataclass(frozen=True, slots=True)
class Reach:
    """How OX's servers are reached. `ca_pem`: certificates to trust; `tls`: connections are encrypted and verified.

    `pool_size`: connections to each server. `timeout`: seconds for an answer.
    """

    tls: bool = False
    ca_pem: str | None = field(default=None, repr=False)
    pool_size: int = 4
    timeout: float = 2.0


class NoSuchTableError(Exception):
    """The schema has no such table."""


class Engines:
    """One engine for each server and login, made when it is first asked."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._engines: dict[tuple[Address, bool], AsyncEngine] = {}

    @asynccontextmanager
    async def reading(self, address: Address, schema: str = "") -> AsyncIterator[AsyncConnection]:
        """A connection whose transactions cannot write. `schema`: which of the user schemas it is for.

        Raises:
            NoSuchTableError: of a statement in the block.
            StorageUnavailableError: the server is not reached, or refuses. Its text repeats nothing of the server's.
        """
        with _told(address):
            async with self._engine(address, writes=False).connect() as connection:
                yield await in_schema(connection, schema) if schema else connection

    @asynccontextmanager
    async def writing(self, address: Address, schema: str) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction that is committed at the end of the block, and rolled back where it raises.

        Raises:
            WriteRefusedError: the server or the login does not write, or others hold what is to be written.
            NoSuchTableError, StorageUnavailableError: as `reading`.
        """
        with _told(address, schema):
            async with self._engine(address, writes=True).connect() as connection:
                await in_schema(connection, schema)
                async with connection.begin():
                    yield connection

    async def keep(self, addresses: set[Address]) -> None:
        """Closes the connections to all others: a pool of OX's has another server or password now."""
        for key in [key for key in self._engines if key[0] not in addresses]:
            await self._engines.pop(key).dispose()

    async def close(self) -> None:
        await self.keep(set())

    def _engine(self, address: Address, *, writes: bool) -> AsyncEngine:
        if (address, writes) not in self._engines:
            self._engines[address, writes] = self._make(address, writes=writes)
        return self._engines[address, writes]

    def _make(self, address: Address, *, writes: bool) -> AsyncEngine:
        options: dict[str, Any] = {
            "host": address.host,
            "port": address.port,
            "user": address.username or "",
            # As text it would go as Latin-1.
            "password": (address.password or "").encode(),
            "charset": "utf8mb4",
            "connect_timeout": min(CONNECT_SECONDS, max(1, round(self._reach.timeout))),
            "read_timeout": self._reach.timeout,
        }
        if address.database:
            options["db"] = address.database
        if self._reach.tls:
            options["ssl"] = ssl.create_default_context(cadata=self._reach.ca_pem)
        engine = create_async_engine(
            "mysql+asyncmy://",
            connect_args=options,
            pool_size=self._reach.pool_size,
            max_overflow=0,
            pool_timeout=self._reach.timeout,
            pool_pre_ping=True,
            pool_recycle=RECYCLE_SECONDS,
            hide_parameters=True,
        )
        event.listen(engine.sync_engine, "connect", self._may_write if writes else self._only_read)
        return engine

    def _only_read(self, connection: Any, _record: object) -> None:
        """For the whole session, so that no fault of ours can write. A statement that was cancelled ends by itself;
        MySQL takes the setting of MariaDB for a comment."""
        seconds = max(1, round(self._reach.timeout))
        _send(
            connection,
            "SET SESSION TRANSACTION READ ONLY",
            _ISOLATION,
            f"SET SESSION net_read_timeout = 30 /*M!100101 , max_statement_time = {seconds} */",
        )

    def _may_write(self, connection: Any, _record: object) -> None:
        """What does not fit is an error and no shorter value. Who waits for others learns that from the server, before
        the answer counts as overdue."""
        seconds = max(1, round(self._reach.timeout))
        wait = max(1, int(self._reach.timeout / 2))
        _send(
            connection,
            _ISOLATION,
            f"SET SESSION sql_mode = '{SQL_MODE}', innodb_lock_wait_timeout = {wait}, lock_wait_timeout = {wait}"
            f" /*M!100101 , max_statement_time = {seconds} */",
        )


_ISOLATION: Final = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"


def _send(connection: Any, *statements: str) -> None:
    cursor = connection.cursor()
    try:
        for statement in statements:
            cursor.execute(statement)
    finally:
        cursor.close()


@contextmanager
def _told(address: Address, schema: str = "") -> Iterator[None]:
    """Errors of the driver as ours. `schema`: is written to."""
    try:
        yield
    except DBAPIError as error:
        number = error_number(error) or 0
        if number == NO_SUCH_TABLE:
            raise NoSuchTableError from None
        if schema and number in _REFUSED:
            raise SchemaRefusedError(_REFUSED[number], schema) from None
        if schema and number in _BUSY:
            text = f"others hold rows of schema {schema} for too long (error {number}): nothing was written, try again"
            raise WriteRefusedError(text, "Busy", again=True) from None
        raise StorageUnavailableError(f"OX's database {address.host} does not answer ({_word(number)})") from None
    except (SQLAlchemyError, OSError, TimeoutError, ValueError) as error:
        word = type(error).__name__
        raise StorageUnavailableError(f"OX's database {address.host} does not answer ({word})") from None


_REFUSED: Final = {
    1044: Refusal.NO_RIGHT,
    1142: Refusal.NO_RIGHT,
    1143: Refusal.NO_RIGHT,
    1290: Refusal.READ_ONLY_SERVER,
    1792: Refusal.READ_ONLY_SERVER,
    1836: Refusal.READ_ONLY_SERVER,
}
_BUSY: Final = frozenset({1205, 1213, 1020})
"""Waited too long for a lock, or in a circle, or the row has changed meanwhile (innodb_snapshot_isolation)."""


_WORDS: Final = {
    1044: "the login may not read it",
    1045: "login refused",
    1049: "no such database",
    1142: "the login may not read it",
    1969: "it took too long",
    2003: "no connection",
    2006: "the connection ended",
    2013: "the connection ended",
}


def _word(number: int | None) -> str:
    return _WORDS.get(number or 0, f"error {number}" if number else "no answer")
