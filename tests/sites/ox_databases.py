"""The databases of an OX on a real MariaDB: a configdb and user schemas as two eras of OX leave them."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from dev.services import MariaDB
from tests.sites.ox_cipher import Costs, write_argon, write_legacy

PASSCRYPT: Final = "passcrypt"
OX_PASSWORD: Final = "öx's pässword"
VECTORS: Final = Path(__file__).parents[1] / "unit" / "credentials"
OLD, NEW = "oxdatabase_5", "oxdatabase_6"
EMPTY: Final = "oxdatabase_7"
COLUMNS: Final = "cid INT4 UNSIGNED NOT NULL, user INT4 UNSIGNED NOT NULL"
TASK: Final = "com.openexchange.push.impl.credstorage.rdb.groupware.AdjustCredentialsTableTask"
CHEAP: Final = Costs(8, 1, 1)


def vector(file: str, name: str) -> str:
    rows: list[dict[str, Any]] = json.loads((VECTORS / file).read_text())
    return str(next(row["stored"] for row in rows if row["name"] == name and row["passcrypt"] == PASSCRYPT))


LEGACY: Final = vector("vectors-legacy.json", "plain")
ARGON: Final = vector("vectors-new.json", "plain")


@pytest.fixture(scope="module")
def server() -> Iterator[MariaDB]:
    with MariaDB.launch("general-log = ON", "log-output = TABLE") as server:
        yield server


def quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def rows(*values: tuple[int, int, str, str]) -> str:
    """(context, user, password, login)."""
    return ", ".join(f"({cid}, {user}, {quoted(text)}, {quoted(login)})" for cid, user, text, login in values)


@pytest.fixture
def site(server: MariaDB) -> MariaDB:
    """Contexts 1 and 2 in a schema of an older OX, 3 in one of a newer, 4 in a schema without the table."""
    server.create_user("openexchange", OX_PASSWORD)
    script = [
        *_database("configdb"),
        "CREATE TABLE db_pool (db_pool_id INT4 UNSIGNED PRIMARY KEY, url VARCHAR(255), driver VARCHAR(128),"
        " login VARCHAR(128), password VARCHAR(128))",
        "CREATE TABLE context_server2db_pool (server_id INT4 UNSIGNED, cid INT4 UNSIGNED, read_db_pool_id INT4,"
        " write_db_pool_id INT4 UNSIGNED, db_schema VARCHAR(255), PRIMARY KEY (cid, server_id))",
        "INSERT INTO db_pool VALUES (9, 'jdbc:mysql://192.0.2.1:3306', 'd', 'replica', 'nobody reads here'),"
        f" (5, 'jdbc:mysql://127.0.0.1:{server.port}/?useUnicode=true', 'com.mysql.jdbc.Driver', 'openexchange',"
        f" {quoted(OX_PASSWORD)})",
        f"INSERT INTO context_server2db_pool VALUES (2, 1, 9, 5, '{OLD}'), (2, 2, 9, 5, '{OLD}'), (2, 3, 9, 5, '{NEW}')"
        f", (2, 4, 9, 5, '{EMPTY}')",
        *_schema(OLD, 1, 2),
        f"CREATE TABLE credentials ({COLUMNS}, password VARCHAR(64) NOT NULL, login VARCHAR(64) NOT NULL,"
        " PRIMARY KEY (cid, user)) DEFAULT CHARSET=utf8 COLLATE=utf8_unicode_ci",
        "INSERT INTO credentials VALUES "
        + rows(
            (1, 3, LEGACY, "not-the-imap-login"),
            (1, 4, write_legacy(PASSCRYPT.encode(), "grüße"), "x"),
            (1, 5, "hunter2!", "x"),
            (1, 6, "   ", "x"),
            (2, 3, write_legacy(b"another passcrypt", "secret"), "x"),
        ),
        *newer_schema(),
        *_schema(EMPTY, 4),
        "TRUNCATE mysql.general_log",
    ]
    server.sql("; ".join(script))
    return server


def newer_schema() -> tuple[str, ...]:
    """The statements that make the schema of the newer OX anew."""
    return (
        *_schema(NEW, 3),
        noted(TASK),
        f"CREATE TABLE credentials ({COLUMNS}, password VARCHAR(512) NOT NULL, login VARCHAR(64) NOT NULL,"
        " PRIMARY KEY (cid, user)) DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci",
        "INSERT INTO credentials VALUES "
        + rows(
            (3, 7, ARGON, "x"),
            (3, 8, write_argon(PASSCRYPT.encode(), "p", b"i" * 12, b"s" * 16, CHEAP), "x"),
            (3, 9, write_legacy(PASSCRYPT.encode(), "old row in a new schema"), "x"),
        ),
    )


def _database(name: str) -> tuple[str, ...]:
    """An empty one, into which the next statements go."""
    return (
        f"DROP DATABASE IF EXISTS {name}",
        f"CREATE DATABASE {name} CHARACTER SET utf8mb4",
        f"GRANT ALL ON {name}.* TO openexchange@'%'",
        f"USE {name}",
    )


def _schema(name: str, *contexts: int) -> tuple[str, ...]:
    """A user schema, without its table of credentials."""
    return (
        *_database(name),
        "CREATE TABLE updateTask (cid INT4 UNSIGNED NOT NULL, taskName VARCHAR(1024) NOT NULL,"
        " successful BOOLEAN NOT NULL, lastModified INT8 NOT NULL, uuid BINARY(16) NOT NULL,"
        " PRIMARY KEY (cid, uuid)) DEFAULT CHARSET=utf8 COLLATE=utf8_unicode_ci",
        "CREATE TABLE replicationMonitor (cid INT4 UNSIGNED NOT NULL, transaction INT8 NOT NULL,"
        " PRIMARY KEY (cid)) DEFAULT CHARSET=utf8 COLLATE=utf8_unicode_ci",
        f"INSERT INTO replicationMonitor VALUES {', '.join(f'({one}, 10)' for one in contexts)}",
    )


def noted(name: str, *, successful: bool = True) -> str:
    """The statement by which OX notes an update task of a schema, or its lock."""
    return f"REPLACE INTO updateTask VALUES (0, {quoted(name)}, {int(successful)}, 1, UNHEX(MD5({quoted(name)})))"


def contents(server: MariaDB) -> list[list[tuple[str, ...]]]:
    return [
        server.sql("SELECT cid, user, HEX(password), login FROM credentials ORDER BY cid, user", name)
        for name in (OLD, NEW)
    ]


def sent(server: MariaDB) -> list[str]:
    """What came by TCP: statements, in capitals at their first word."""
    found = server.sql(
        "SELECT argument FROM mysql.general_log WHERE command_type IN ('Query', 'Execute', 'Prepare')"
        " AND user_host LIKE '%openexchange%'"
    )
    return [row[0] for row in found]


_NAME: Final = r"`?oxdatabase_\d`?\.`?"
WRITES: Final = (
    r"SELECT ",
    r"(COMMIT|ROLLBACK|BEGIN|START TRANSACTION)$",
    r"SET (SESSION|NAMES|AUTOCOMMIT)",
    rf"UPDATE {_NAME}credentials`? SET `?password`?='[^']*' WHERE \S*cid`? = \d+ AND \S*user`? = \d+ AND CAST\(",
    rf"INSERT INTO {_NAME}credentials`? \(cid, user, password, login\) VALUES \(\d+, \d+, '[^']*', ''\)$",
    rf"UPDATE {_NAME}replicationMonitor`? SET `?transaction`?=\(\S+transaction`? \+ 1\) WHERE \S+cid`? = \d+$",
)


def strangers(statements: list[str]) -> list[str]:
    """Of what a server was sent, what neither a read nor a write of a password needs."""
    return [one for one in statements if not any(re.match(pattern, one, re.IGNORECASE) for pattern in WRITES)]
