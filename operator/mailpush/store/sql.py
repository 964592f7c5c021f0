"""Connections to a database: MariaDB, MySQL, or a file of SQLite."""

import logging
import os
import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from sqlalchemy import URL, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from mailpush.properties.settings import DatabaseSettings

# What a server warns of may quote a value.
logging.getLogger("asyncmy").setLevel(logging.CRITICAL)

DEFAULT_PORT: Final = 3306
CONNECT_SECONDS: Final = 5
RECYCLE_SECONDS: Final = 300
FILE_SECONDS: Final = 10.0
"""For a turn with a file: who waits for it waits for this process, and for no server that may have gone."""
# What does not fit is an error and no shorter value.
SQL_MODE: Final = "STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"


def engine_of(database: DatabaseSettings) -> AsyncEngine:
    """Connects when it is first used; each answer is waited for as long as the settings say.

    Raises:
        ValueError: no URL of a database, or no certificates. The text repeats neither.
    """
    parts = urlsplit(database.url)
    if parts.scheme == "sqlite":
        return _of_file(unquote(parts.path[1:]), database)
    if parts.scheme not in {"mysql", "mariadb"} or not parts.hostname or not parts.path.strip("/"):
        raise ValueError("the database's URL is not mysql://host:port/name")
    seconds = database.timeout_ms / 1000
    limit = max(1, round(seconds))
    return server_engine(
        parts.hostname,
        parts.port or DEFAULT_PORT,
        database=unquote(parts.path.strip("/")),
        username=database.username,
        password=database.password,
        tls=database.tls == "verify",
        ca_pem=database.ca_pem,
        pool_size=database.pool_size,
        seconds=seconds,
        # A statement that was cancelled runs on at the server, so it is given an end there. MySQL takes that for a
        # comment.
        session=(
            f"SET SESSION sql_mode = '{SQL_MODE}', innodb_lock_wait_timeout = {limit} "
            f"/*M!100101 , max_statement_time = {limit} */",
        ),
    )


def server_engine(
    host: str,
    port: int,
    *,
    database: str = "",
    username: str | None,
    password: str | None,
    tls: bool,
    ca_pem: str | None,
    pool_size: int,
    seconds: float,
    session: Sequence[str],
) -> AsyncEngine:
    """An engine of a server of MariaDB or MySQL; its transactions read what is committed.

    Args:
        tls: encrypted, and the server's certificate must be good for its name.
        ca_pem: authorities that are trusted in place of the system's.
        seconds: for an answer, and for a free connection.
        session: statements with which each connection begins.

    Raises:
        ValueError: no certificates.
    """
    options: dict[str, Any] = {
        "host": host,
        "port": port,
        "user": username or "",
        # As text it would go as Latin-1.
        "password": (password or "").encode(),
        "charset": "utf8mb4",
        "connect_timeout": min(CONNECT_SECONDS, max(1, round(seconds))),
        # A server that hangs ends no connection by itself.
        "read_timeout": seconds,
    }
    if database:
        options["db"] = database
    if tls:
        options["ssl"] = _context(ca_pem)
    engine = create_async_engine(
        "mysql+asyncmy://",
        connect_args=options,
        isolation_level="READ COMMITTED",
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=seconds,
        pool_pre_ping=True,
        pool_recycle=RECYCLE_SECONDS,
        hide_parameters=True,
    )

    def connected(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        try:
            for statement in session:
                cursor.execute(statement)
        finally:
            cursor.close()

    event.listen(engine.sync_engine, "connect", connected)
    return engine


def _context(ca_pem: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cadata=ca_pem)
    except (ssl.SSLError, ValueError):
        raise ValueError("the authority of the database is no PEM certificate") from None


def _of_file(path: str, database: DatabaseSettings) -> AsyncEngine:
    if not path:
        raise ValueError("the database's URL is not sqlite:////path")
    with suppress(OSError):  # told by whoever connects
        os.close(os.open(path, os.O_CREAT | os.O_RDONLY, 0o600))  # for nobody else
    seconds = database.timeout_ms / 1000
    # SQLite lets one write at a time, and of several that wait none is sure to be next. So one connection serves all,
    # in the order in which they came.
    engine = create_async_engine(
        URL.create("sqlite+aiosqlite", database=path),
        connect_args={"timeout": seconds},
        pool_size=1,
        max_overflow=0,
        pool_timeout=FILE_SECONDS,
        hide_parameters=True,
    )

    def connected(connection: Any, _record: object) -> None:
        """A commit appends to a journal beside the file, which has the file's mode."""
        cursor = connection.cursor()
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            cursor.execute("PRAGMA synchronous = NORMAL")
        finally:
            cursor.close()

    event.listen(engine.sync_engine, "connect", connected)
    return engine


def error_number(error: BaseException) -> int | None:
    """The server's or the driver's number of an error; None where it has none."""
    original = error.orig if isinstance(error, DBAPIError) else error
    for found in (original, getattr(original, "__cause__", None)):
        arguments = getattr(found, "args", ())
        if arguments and isinstance(arguments[0], int):
            return arguments[0]
    return None
