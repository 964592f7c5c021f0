"""Connections to OX's databases that cannot write."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from mailpush.credentials.ox.address import Address
from mailpush.credentials.storage import StorageUnavailableError
from mailpush.store.sql import error_number

NO_SUCH_TABLE: Final = 1146
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
        self._engines: dict[Address, AsyncEngine] = {}

    @asynccontextmanager
    async def reading(self, address: Address) -> AsyncIterator[AsyncConnection]:
        """A connection whose transactions cannot write.

        Raises:
            NoSuchTableError: of a statement in the block.
            StorageUnavailableError: the server is not reached, or refuses. Its text repeats nothing of the server's.
        """
        try:
            async with self._engine(address).connect() as connection:
                yield connection
        except DBAPIError as error:
            number = error_number(error)
            if number == NO_SUCH_TABLE:
                raise NoSuchTableError from None
            raise StorageUnavailableError(f"OX's database {address.host} does not answer ({_word(number)})") from None
        except (SQLAlchemyError, OSError, TimeoutError, ValueError) as error:
            word = type(error).__name__
            raise StorageUnavailableError(f"OX's database {address.host} does not answer ({word})") from None

    async def keep(self, addresses: set[Address]) -> None:
        """Closes the connections to all others: a pool of OX's has another server or password now."""
        for address in self._engines.keys() - addresses:
            await self._engines.pop(address).dispose()

    async def close(self) -> None:
        await self.keep(set())

    def _engine(self, address: Address) -> AsyncEngine:
        if address not in self._engines:
            self._engines[address] = self._make(address)
        return self._engines[address]

    def _make(self, address: Address) -> AsyncEngine:
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
        event.listen(engine.sync_engine, "connect", self._only_read)
        return engine

    def _only_read(self, connection: Any, _record: object) -> None:
        """For the whole session, so that no fault of ours can write. A statement that was cancelled ends by itself;
        MySQL takes the setting of MariaDB for a comment."""
        cursor = connection.cursor()
        try:
            cursor.execute("SET SESSION TRANSACTION READ ONLY")
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
            seconds = max(1, round(self._reach.timeout))
            cursor.execute(f"SET SESSION net_read_timeout = 30 /*M!100101 , max_statement_time = {seconds} */")
        finally:
            cursor.close()


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
