"""The real MariaDB, as other tests use it."""

import asyncio
import os
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncmy
import pytest
from asyncmy.errors import MySQLError

from dev.processes.errors import DevError
from dev.services import MariaDB

pytestmark = pytest.mark.cluster

PASSWORD = "it's a \\ word"


@pytest.fixture(scope="module")
def server() -> Iterator[MariaDB]:
    with MariaDB.launch() as server:
        server.create("push", "mailpush", PASSWORD)
        yield server


async def ask(server: MariaDB, query: str, password: str = PASSWORD, **options: Any) -> Any:
    connection = await asyncmy.connect(
        host=server.host, port=server.port, user="mailpush", password=password, db="push", **options
    )
    try:
        async with connection.cursor() as cursor:
            await cursor.execute(query)
            return await cursor.fetchall()
    finally:
        await connection.ensure_closed()


async def test_a_user_has_the_database_and_nothing_else(server: MariaDB) -> None:
    await ask(server, "CREATE TABLE own (word VARCHAR(9))")
    assert server.sql("SHOW TABLES", "push") == [("own",)]
    with pytest.raises(MySQLError, match="denied"):
        await ask(server, "SELECT * FROM mysql.user")
    with pytest.raises(MySQLError, match="Access denied"):
        await ask(server, "SELECT 1", password="another")
    server.grant("SELECT", "push", "mailpush")
    with pytest.raises(MySQLError, match="denied"):
        await ask(server, "INSERT INTO own VALUES ('a')")
    server.grant("ALL", "push", "mailpush")


def test_what_is_no_sql_or_no_name_is_refused(server: MariaDB) -> None:
    with pytest.raises(DevError, match="SQL syntax"):
        server.sql("SELEKT 1")
    with pytest.raises(DevError, match="no name"):
        server.create_database("a`b")


def test_what_was_committed_survives_kill_9_at_the_same_port() -> None:
    with MariaDB.launch() as server:
        server.create("push", "mailpush", PASSWORD)
        server.sql("CREATE TABLE t (n INT, word VARCHAR(9)); INSERT INTO t VALUES (1, 'é'), (2, NULL)", "push")
        server.stop()
        with pytest.raises(MySQLError, match="Can't connect"):
            asyncio.run(ask(server, "SELECT 1"))
        server.start()
        assert server.sql("SELECT * FROM t", "push") == [("1", "é"), ("2", "NULL")]
        assert asyncio.run(ask(server, "SELECT n FROM t")) == ((1,), (2,))


def test_a_frozen_one_answers_nothing_until_it_is_resumed_or_killed(server: MariaDB) -> None:
    server.freeze()
    try:
        with pytest.raises((TimeoutError, MySQLError)):
            asyncio.run(asyncio.wait_for(ask(server, "SELECT 1", read_timeout=0.2), 0.5))
    finally:
        server.resume()
    assert asyncio.run(ask(server, "SELECT 1")) == ((1,),)


def test_with_tls_its_certificate_is_good_for_its_authority_only_and_nothing_goes_without() -> None:
    with MariaDB.launch("wait-timeout = 77", tls=True) as server:
        server.create("push", "mailpush", PASSWORD)
        trusting = ssl.create_default_context(cafile=str(server.ca_file))
        assert asyncio.run(ask(server, "SELECT @@wait_timeout", ssl=trusting)) == ((77,),)
        with pytest.raises(MySQLError, match="CERTIFICATE_VERIFY_FAILED"):
            asyncio.run(ask(server, "SELECT 1", ssl=ssl.create_default_context()))
        with pytest.raises(MySQLError, match="Access denied"):
            asyncio.run(ask(server, "SELECT 1"))


def test_nothing_is_left_of_a_closed_one() -> None:
    with MariaDB.launch() as server:
        folder = server.ca_file.parent
        pid = int((folder / "mariadbd.pid").read_text())
        server.freeze()
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, signal.SIG_DFL)
    assert not Path(f"/proc/{pid}").exists()
