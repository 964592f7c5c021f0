"""Passwords put into OX's own table, on a real MariaDB: as the OX that reads it would, or not at all."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from dev.services import MariaDB
from mailpush.api.mailpushconfig import MailPushConfigSpec
from mailpush.credentials.cipher import Cipher, Passcrypt
from mailpush.credentials.named import storage_of
from mailpush.credentials.ox.rules import Form, Refusal
from mailpush.credentials.ox.table import OxTable, ox_table
from mailpush.credentials.ox.writes import Change, Outcome
from mailpush.credentials.passwords import PasswordRefusedError
from mailpush.credentials.storage import StorageUnavailableError, WriteRefusedError
from mailpush.credentials.stored import StoredCredentials, StoredState, StoreState
from mailpush.listener.users.pod_storage import PodStorage
from mailpush.listener.users.stored_entries import StoredEntries
from mailpush.packages import DOVECOT
from mailpush.properties.read import read
from mailpush.properties.render import render
from mailpush.properties.secrets import CONFIGDB_PASSWORD, ResolvedSecrets
from mailpush.properties.secrets import PASSCRYPT as PASSCRYPT_REF
from mailpush.properties.settings import DatabaseSettings, OxCredentialSettings
from mailpush.sharding.leases import WritesReport
from tests.sites.ox_cipher import read_argon, read_legacy, write_legacy
from tests.sites.ox_databases import (
    ARGON,
    EMPTY,
    LEGACY,
    NEW,
    OLD,
    OX_PASSWORD,
    PASSCRYPT,
    TASK,
    contents,
    newer_schema,
    noted,
    quoted,
    rows,
    sent,
    server,
    site,
    strangers,
)
from tests.sites.passcrypts import SamePasscrypts
from tests.sites.waiting import until

__all__ = ["server", "site"]

pytestmark = pytest.mark.cluster

SECRET: Final = "planted-öx-secret"
KEY: Final = PASSCRYPT.encode()


@asynccontextmanager
async def table(server: MariaDB, form: Form, timeout_ms: int = 20_000) -> AsyncIterator[OxTable]:
    url = f"mysql://{server.host}:{server.port}/configdb"
    configdb = DatabaseSettings(url, "openexchange", OX_PASSWORD, timeout_ms=timeout_ms)
    store = ox_table(OxCredentialSettings("readWrite", form.value, configdb), lambda: 0.0)
    try:
        yield store
    finally:
        await store.close()


def credentials(store: OxTable, passcrypt: str = PASSCRYPT, previous: str | None = None) -> StoredCredentials:
    cipher = Cipher(Passcrypt(passcrypt), Passcrypt(previous) if previous else None)
    return StoredCredentials(store, cipher, foreign=True)


@asynccontextmanager
async def ox(server: MariaDB, schema: str) -> AsyncIterator[AsyncConnection]:
    """A connection of OX's, for transactions that last."""
    url = f"mysql+asyncmy://openexchange@{server.host}:{server.port}/{schema}"
    engine = create_async_engine(url, connect_args={"password": OX_PASSWORD.encode()})
    try:
        async with engine.connect() as connection:
            yield connection
    finally:
        await engine.dispose()


def row(server: MariaDB, schema: str, context: int, user: int) -> tuple[str, str] | None:
    """Password and login."""
    where = f"cid = {context} AND user = {user}"
    found = server.sql(f"SELECT password, CONCAT('<', login, '>') FROM credentials WHERE {where}", schema)
    return (found[0][0], found[0][1]) if found else None


def counted(server: MariaDB) -> dict[int, int]:
    """By context, OX's counter of transactions."""
    return {
        int(context): int(count)
        for schema in (OLD, NEW, EMPTY)
        for context, count in server.sql("SELECT cid, transaction FROM replicationMonitor", schema)
    }


def only_newer_rows(server: MariaDB) -> None:
    server.sql("DELETE FROM credentials WHERE cid = 3 AND user = 9", NEW)


async def test_a_changed_password_is_written_as_an_older_ox_reads_it(site: MariaDB) -> None:
    async with table(site, Form.LEGACY) as store:
        stored = credentials(store)
        assert await stored.put((1, 3), SECRET)
        assert (await stored.get((1, 3))).password == SECRET
        assert not await stored.put((1, 3), SECRET), "it stands there already"
    found = row(site, OLD, 1, 3)
    assert found is not None
    assert read_legacy(KEY, found[0]) == SECRET
    assert found[1] == "<not-the-imap-login>"
    assert counted(site) == {1: 11, 2: 10, 3: 10, 4: 10}


async def test_a_changed_password_is_written_as_a_newer_ox_reads_it(site: MariaDB) -> None:
    only_newer_rows(site)
    async with table(site, Form.ARGON) as store:
        stored = credentials(store)
        assert await stored.put((3, 7), SECRET)
        assert await stored.put((3, 8), "another")
        assert (await stored.get((3, 7))).password == SECRET
    seventh, eighth = row(site, NEW, 3, 7), row(site, NEW, 3, 8)
    assert seventh is not None
    assert eighth is not None
    assert (read_argon(KEY, seventh[0]), seventh[1]) == (SECRET, "<x>")
    assert read_argon(KEY, eighth[0]) == "another"
    assert counted(site) == {1: 10, 2: 10, 3: 12, 4: 10}


async def test_a_row_that_ox_has_deleted_is_missing_until_one_is_put(site: MariaDB) -> None:
    site.sql("DELETE FROM credentials WHERE cid = 1 AND user = 3", OLD)
    async with table(site, Form.LEGACY) as store:
        stored = credentials(store)
        assert (await stored.get((1, 3))).state is StoredState.MISSING
        assert await stored.put((1, 3), SECRET)
        assert (await stored.get((1, 3))).password == SECRET
    found = row(site, OLD, 1, 3)
    assert found is not None
    assert (read_legacy(KEY, found[0]), found[1]) == (SECRET, "<>")


async def test_many_are_written_in_one_transaction_of_each_schema(site: MariaDB) -> None:
    site.sql("DELETE FROM credentials", NEW)
    site.sql("DELETE FROM updateTask", NEW)
    passwords = {(1, 3): "a", (1, 4): "b", (1, 100): "c", (2, 3): "d", (3, 7): "e", (77, 1): "f", (1, 5): " "}
    async with table(site, Form.LEGACY) as store:
        became = await credentials(store).put_many(passwords)
    assert {key for key, one in became.items() if one is True} == {(1, 3), (1, 4), (1, 100), (2, 3), (3, 7)}
    assert str(became[77, 1]) == "OX has no context 77"
    assert isinstance(became[1, 5], PasswordRefusedError)
    assert counted(site) == {1: 11, 2: 11, 3: 11, 4: 10}
    for (context, user), password in passwords.items():
        found = row(site, NEW if context == 3 else OLD, context, user)
        if became[context, user] is True:
            assert found is not None
            assert read_legacy(KEY, found[0]) == password


# -- what a table does not take

WIDE: Final = "ALTER TABLE credentials MODIFY password VARCHAR(512) NOT NULL"
NARROW: Final = "DELETE FROM credentials; ALTER TABLE credentials MODIFY password VARCHAR(64) NOT NULL"
NO_ROWS: Final = "DELETE FROM credentials"
LEGACY_ROW: Final = f"INSERT INTO credentials VALUES {rows((3, 50, LEGACY, 'x'))}"
ARGON_ROW: Final = f"INSERT INTO credentials VALUES {rows((3, 51, ARGON, 'x'))}"
CUT_ROW: Final = f"INSERT INTO credentials VALUES {rows((3, 52, ARGON[:64], 'x'))}"
CLEAR_ROWS: Final = f"INSERT INTO credentials VALUES {rows((3, 53, 'pa$$word', 'x'), (3, 54, 'hunter2!', 'x'))}"
BLANK_END: Final = f"INSERT INTO credentials VALUES {rows((3, 55, LEGACY + ' ', 'x'))}"


NOT_RUN: Final = "DELETE FROM updateTask"
UNCOUNTED: Final = "DELETE FROM replicationMonitor"


CASES: Final[list[tuple[Form, tuple[str, ...], Refusal | None]]] = [
    (Form.ARGON, (NO_ROWS, NARROW), Refusal.NARROW),
    (Form.ARGON, (NO_ROWS, NOT_RUN, NARROW), Refusal.NARROW),
    (Form.ARGON, (NO_ROWS, NOT_RUN, LEGACY_ROW), Refusal.LEGACY_ROWS),
    (Form.ARGON, (NO_ROWS, NOT_RUN, BLANK_END), Refusal.LEGACY_ROWS),
    (Form.ARGON, (NO_ROWS, NOT_RUN, ARGON_ROW), Refusal.TASK_NOT_RUN),
    (Form.ARGON, (NO_ROWS, NOT_RUN, "DROP TABLE updateTask"), Refusal.TASK_NOT_RUN),
    (Form.ARGON, (NO_ROWS, LEGACY_ROW), Refusal.MIXED),
    (Form.ARGON, (NO_ROWS, ARGON_ROW, LEGACY_ROW), Refusal.MIXED),
    (Form.ARGON, (NO_ROWS, ARGON_ROW, CLEAR_ROWS), None),
    (Form.ARGON, (NO_ROWS,), None),
    (Form.LEGACY, (NO_ROWS,), Refusal.TASK_DONE),
    (Form.LEGACY, (NO_ROWS, LEGACY_ROW), Refusal.MIXED),
    (Form.LEGACY, (NO_ROWS, NOT_RUN, ARGON_ROW), Refusal.ARGON_ROWS),
    (Form.LEGACY, (NO_ROWS, NOT_RUN, CUT_ROW), Refusal.ARGON_ROWS),
    (Form.LEGACY, (NO_ROWS, NOT_RUN, LEGACY_ROW, ARGON_ROW), Refusal.MIXED),
    (Form.LEGACY, (NO_ROWS, NOT_RUN, LEGACY_ROW, CLEAR_ROWS), None),
    (Form.LEGACY, (NO_ROWS, NOT_RUN, "DROP TABLE updateTask"), None),
    *((form, (NO_ROWS, noted("LOCKED")), Refusal.UPDATING) for form in Form),
    *((form, (NO_ROWS, noted("BACKGROUND")), Refusal.UPDATING) for form in Form),
    *((form, (NO_ROWS, noted(TASK, successful=False)), Refusal.TASK_FAILED) for form in Form),
    *((form, ("DROP TABLE credentials",), Refusal.NO_TABLE) for form in Form),
    *((form, (NO_ROWS, "DROP TABLE replicationMonitor"), Refusal.NOT_MONITORED) for form in Form),
    (Form.LEGACY, (NO_ROWS, NOT_RUN, UNCOUNTED), Refusal.NOT_MONITORED),
]


@pytest.mark.parametrize("form", list(Form))
async def test_a_schema_takes_the_form_that_its_ox_reads_and_no_other(site: MariaDB, form: Form) -> None:
    every = "SELECT cid, user, HEX(password), login FROM credentials ORDER BY cid, user"
    async with table(site, form) as store:
        stored = credentials(store)
        for _, made, refusal in [case for case in CASES if case[0] is form]:
            site.sql("; ".join((*newer_schema(), *made)))
            missing = refusal is Refusal.NO_TABLE
            before = [] if missing else site.sql(every, NEW)
            # That a context has no counter shows only when it is written to.
            seen = None if made[-1] == UNCOUNTED else refusal
            assert (await store.refusals())[NEW] is seen, made
            if refusal is None:
                assert await stored.put((3, 7), SECRET), made
                continue
            with pytest.raises(WriteRefusedError) as error:
                await stored.put((3, 7), SECRET)
            assert error.value.reason == refusal.value, made
            assert f"schema {NEW}" in str(error.value)
            assert SECRET not in str(error.value)
            assert stored.state is StoreState.READY
            assert (await stored.get((1, 3))).password == "secret", "reading goes on"
            assert missing or site.sql(every, NEW) == before, made


async def test_a_schema_that_takes_none_keeps_the_others_from_nothing(site: MariaDB) -> None:
    async with table(site, Form.LEGACY) as store:
        stored = credentials(store)
        became = await stored.put_many({(1, 3): SECRET, (3, 7): SECRET})
        assert became[1, 3] is True
        assert isinstance(refused := became[3, 7], WriteRefusedError)
        assert refused.reason == Refusal.MIXED.value
        assert await store.refusals() == {OLD: None, NEW: Refusal.MIXED, EMPTY: Refusal.NO_TABLE}


@pytest.mark.parametrize(
    ("rows_of_ox", "passcrypt", "previous", "reason"),
    [
        ((), "wrong", None, None),
        ((write_legacy(KEY, "a"),), "wrong", None, Refusal.UNPROVEN),
        ((write_legacy(KEY, "a"),), "new", PASSCRYPT, Refusal.UNPROVEN),
        ((write_legacy(KEY, "a"), write_legacy(b"new", "b")), "new", PASSCRYPT, None),
        ((), "pässcrypt", None, Refusal.OTHER_READING),
        ((write_legacy("pässcrypt".encode(), "a"),), "pässcrypt", None, None),
        (
            (write_legacy("pässcrypt".encode().decode("latin-1").encode(), "a"),),
            "pässcrypt",
            None,
            Refusal.OTHER_READING,
        ),
        ((write_legacy(b"p?sscrypt", "a"),), "pässcrypt", None, Refusal.OTHER_READING),
    ],
)
async def test_nothing_is_written_under_a_passcrypt_that_ox_may_not_have(
    site: MariaDB, rows_of_ox: tuple[str, ...], passcrypt: str, previous: str | None, reason: Refusal | None
) -> None:
    site.sql("DELETE FROM credentials", NEW)
    site.sql("DELETE FROM credentials", OLD)
    if rows_of_ox:
        values = rows(*((1, 10 + at, text, "x") for at, text in enumerate(rows_of_ox)))
        site.sql(f"INSERT INTO credentials VALUES {values}", OLD)
    before = contents(site)
    async with table(site, Form.LEGACY) as store:
        stored = credentials(store, passcrypt, previous)
        if reason is None:
            assert await stored.put((1, 3), SECRET)
            found = row(site, OLD, 1, 3)
            assert found is not None
            assert read_legacy(passcrypt.encode(), found[0]) == SECRET
            return
        with pytest.raises(WriteRefusedError) as error:
            await stored.put((1, 3), SECRET)
        assert error.value.reason == reason.value
        assert stored.state is StoreState.READY
    assert contents(site) == before


async def test_a_row_under_the_former_passcrypt_is_read_and_never_encrypted_anew(site: MariaDB) -> None:
    site.sql("DELETE FROM credentials", NEW)
    site.sql(f"UPDATE credentials SET password = {quoted(write_legacy(b'new', 'x'))} WHERE cid = 1 AND user = 4", OLD)
    before = contents(site)
    async with table(site, Form.LEGACY) as store:
        stored = credentials(store, "new", PASSCRYPT)
        assert (await stored.get((1, 3))).password == "secret"
        assert not await stored.put((1, 3), "secret"), "the same password again"
    assert contents(site) == before


# -- others write as well


@pytest.mark.parametrize("stands", [LEGACY.swapcase(), LEGACY + " ", LEGACY[:-1], "grüße"])
async def test_a_row_that_is_another_by_one_byte_is_left(site: MariaDB, stands: str) -> None:
    site.sql(f"UPDATE credentials SET password = {quoted(stands)} WHERE cid = 1 AND user = 3", OLD)
    before, counters = contents(site), counted(site)
    async with table(site, Form.LEGACY) as store:
        new = write_legacy(KEY, SECRET)
        assert await store.write({(1, 3): Change(LEGACY, new)}) == {(1, 3): Outcome.OTHERWISE}
        assert await store.write({(1, 3): Change(None, new)}) == {(1, 3): Outcome.OTHERWISE}
        assert await store.write({(1, 98): Change(LEGACY, new)}) == {(1, 98): Outcome.OTHERWISE}
        assert (contents(site), counted(site)) == (before, counters)
        assert await store.write({(1, 3): Change(stands, new)}) == {(1, 3): Outcome.WRITTEN}


async def test_what_is_put_last_counts_though_ox_changes_the_row_meanwhile(site: MariaDB) -> None:
    class Late(OxTable):
        """OX is faster once."""

        raced = False

        async def write(self, changes):  # type: ignore[no-untyped-def]
            if not self.raced:
                self.raced = True
                changed = quoted(write_legacy(KEY, "by ox"))
                site.sql(f"UPDATE credentials SET password = {changed} WHERE cid = 1 AND user = 3", OLD)
            return await super().write(changes)

    async with table(site, Form.LEGACY) as plain:
        late = Late.__new__(Late)
        late.__dict__.update(plain.__dict__)
        assert await credentials(late).put((1, 3), SECRET)
        assert late.raced
    found = row(site, OLD, 1, 3)
    assert found is not None
    assert read_legacy(KEY, found[0]) == SECRET


async def test_ox_alters_the_table_only_before_or_after_a_write(site: MariaDB) -> None:
    waiting = "SELECT COUNT(*) FROM information_schema.processlist WHERE state LIKE 'Waiting for table metadata lock%'"
    async with table(site, Form.LEGACY) as store, ox(site, OLD) as connection:
        await connection.execute(text("UPDATE replicationMonitor SET transaction = transaction + 1 WHERE cid = 1"))
        put = asyncio.create_task(credentials(store).put((1, 3), SECRET))
        updating = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'UPDATE %replicationMonitor%'"
        await until(lambda: site.sql(updating) == [("1",)])
        altered = asyncio.create_task(asyncio.to_thread(site.sql, WIDE, OLD))
        await until(lambda: site.sql(waiting) == [("1",)])
        assert not put.done()
        await connection.commit()
        assert await put
        await altered
    found = row(site, OLD, 1, 3)
    assert found is not None
    assert read_legacy(KEY, found[0]) == SECRET


async def test_a_row_that_others_hold_is_given_up_and_reading_goes_on(site: MariaDB) -> None:
    async with table(site, Form.LEGACY, timeout_ms=3_000) as store, ox(site, OLD) as connection:
        stored = credentials(store)
        await connection.execute(text("SELECT * FROM credentials WHERE cid = 1 AND user = 3 FOR UPDATE"))
        with pytest.raises(WriteRefusedError, match="try again") as error:
            await stored.put((1, 3), SECRET)
        assert (error.value.reason, error.value.again) == ("Busy", True)
        assert stored.state is StoreState.READY
        assert (await stored.get((1, 3))).password == "secret"
        await connection.rollback()
        assert await stored.put((1, 3), SECRET)


# -- what does not fit, and who may not


async def test_what_does_not_fit_the_column_is_refused_and_never_cut(site: MariaDB) -> None:
    site.sql("SET GLOBAL sql_mode = ''")
    try:
        before = contents(site)
        async with table(site, Form.LEGACY) as store:
            stored = credentials(store)
            for password in ("x" * 48, "ä" * 24):
                with pytest.raises(PasswordRefusedError, match="too long"):
                    await stored.put((1, 3), password)
            assert contents(site) == before
            assert await stored.put((1, 3), "x" * 47)
            address = store._contexts._configdb
            async with store._engines.writing(address, OLD) as connection:
                mode = (await connection.exec_driver_sql("SELECT @@sql_mode")).scalar_one()
            assert "STRICT_ALL_TABLES" in mode
            with pytest.raises(StorageUnavailableError, match="error 1406"):
                async with store._engines.writing(address, OLD) as connection:
                    await connection.exec_driver_sql(f"UPDATE {OLD}.credentials SET password = REPEAT('x', 65)")
    finally:
        site.sql("SET GLOBAL sql_mode = DEFAULT")


async def test_a_login_that_may_only_read_reads_on(site: MariaDB) -> None:
    site.create_user("reader", OX_PASSWORD)
    for schema in (OLD, NEW, EMPTY):
        site.sql(f"GRANT SELECT ON {schema}.* TO reader@'%'")
    site.sql("UPDATE db_pool SET login = 'reader' WHERE db_pool_id = 5", "configdb")
    before = contents(site)
    async with table(site, Form.LEGACY) as store:
        stored = credentials(store)
        with pytest.raises(WriteRefusedError, match="grant it SELECT, INSERT and UPDATE") as error:
            await stored.put((1, 3), SECRET)
        assert error.value.reason == Refusal.NO_RIGHT.value
        assert (await stored.get((1, 3))).password == "secret"
    assert contents(site) == before


async def test_a_server_that_is_read_only_is_read_on(site: MariaDB) -> None:
    before = contents(site)
    site.sql("SET GLOBAL read_only = ON")
    try:
        async with table(site, Form.LEGACY) as store:
            stored = credentials(store)
            with pytest.raises(WriteRefusedError) as error:
                await stored.put((1, 3), SECRET)
            assert error.value.reason == Refusal.READ_ONLY_SERVER.value
            assert (await stored.get((1, 3))).password == "secret"
    finally:
        site.sql("SET GLOBAL read_only = OFF")
    assert contents(site) == before


async def test_a_write_without_an_answer_is_an_error_and_reading_comes_back(site: MariaDB) -> None:
    async with table(site, Form.LEGACY, timeout_ms=2_000) as store:
        stored = credentials(store)
        assert (await stored.get((1, 3))).password == "secret"
        site.freeze()
        try:
            with pytest.raises(StorageUnavailableError):
                await stored.put((1, 3), SECRET)
        finally:
            site.resume()
        assert await stored.open() is StoreState.READY
        assert await stored.put((1, 3), SECRET)


# -- what the server sees


def test_the_witness_knows_a_stranger() -> None:
    for statement in (
        f"DELETE FROM `{OLD}`.credentials WHERE cid = 1",
        f"UPDATE {OLD}.credentials SET login='x' WHERE {OLD}.credentials.cid = 1",
        f"UPDATE {OLD}.credentials SET password='x', login='y' WHERE {OLD}.credentials.cid = 1",
        f"UPDATE {OLD}.credentials SET password='x' WHERE {OLD}.credentials.cid = 1",
        f"UPDATE {OLD}.replicationMonitor SET transaction=7 WHERE cid = 1",
        f"INSERT INTO {OLD}.updateTask VALUES (1)",
        "SET GLOBAL sql_mode = ''",
        "ALTER TABLE credentials",
    ):
        assert strangers([statement]) == [statement]


async def test_a_server_is_sent_nothing_but_reads_and_these_writes_in_one_transaction(site: MariaDB) -> None:
    site.sql("DELETE FROM updateTask; DELETE FROM credentials", NEW)
    site.sql("TRUNCATE mysql.general_log")
    async with table(site, Form.LEGACY) as store:
        stored = credentials(store)
        await stored.put_many({(1, 3): "a", (1, 100): "b", (2, 3): "c", (3, 1): "d", (4, 1): "f"})
        await store.refusals()
        entry = (await stored.entries([(1, 3)]))[1, 3]
        await stored.mark_refused(entry)
        await stored.mark_worked(entry)
        with pytest.raises(WriteRefusedError, match="of which Mail Push deletes nothing"):
            await stored.delete((1, 3))
    statements = sent(site)
    assert strangers(statements) == []
    assert sum(one.startswith("INSERT") for one in statements) == 2
    written = site.sql(
        "SELECT thread_id, argument FROM mysql.general_log WHERE user_host LIKE '%openexchange%'"
        " AND (argument REGEXP '^(UPDATE|INSERT)' OR argument = 'COMMIT') ORDER BY event_time"
    )
    first = [argument.split(" SET ")[0] for thread, argument in written if thread == written[0][0]]
    assert [one.split(" (")[0].split(".")[-1].strip("`") for one in first[:6]] == [
        "credentials",
        "credentials",
        "credentials",
        "replicationMonitor",
        "replicationMonitor",
        "COMMIT",
    ]


# -- from the settings

OX_FIELDS: Final = {"credentials": "readWrite", "form": "legacy"}


@pytest.mark.parametrize("by_property", [False, True])
async def test_a_pod_writes_by_the_settings_whether_a_field_or_its_property_switches_the_storage_on(
    site: MariaDB, tmp_path: Path, by_property: bool
) -> None:
    url = f"mysql://{site.host}:{site.port}/configdb"
    database = {"url": url, "username": "openexchange", "timeoutMilliseconds": 20_000}
    reference = {"name": "secret", "key": "key"}
    spec = MailPushConfigSpec.model_validate(
        {
            "packages": {"status": {DOVECOT: "enabled"}},
            "mailAccess": {"passwordSource": "session", "servers": [{"host": "dovecot"}]},
            "properties": {"com.openexchange.push.credstorage.enabled": "true"} if by_property else {},
            "credentialStorage": {
                "enabled": not by_property,
                "passcryptSecretRef": reference,
                "ox": {**OX_FIELDS, "database": {**database, "passwordSecretRef": reference}},
            },
        }
    )
    secrets = ResolvedSecrets(b"key", {PASSCRYPT_REF: PASSCRYPT, CONFIGDB_PASSWORD: OX_PASSWORD})
    named = read(render(spec, secrets, "main").directory)
    pod = PodStorage(
        named,
        "uid",
        lambda settings, uid: storage_of(settings, uid, tmp_path),
        entries=StoredEntries(),
        owns=lambda _slot: True,
        hash_key=lambda: b"k" * 32,
        passcrypts=SamePasscrypts(),
    )
    running = asyncio.create_task(pod.run())
    try:
        assert pod.stored is not None
        await until(lambda: pod.writes is not None, 120)
        assert pod.writes == WritesReport(3, 2, Refusal.MIXED.value, NEW)
        assert await pod.stored.put((1, 3), SECRET)
        assert (await pod.stored.get((1, 3))).password == SECRET
    finally:
        running.cancel()
        await asyncio.wait({running})
        await pod.close()
    found = row(site, OLD, 1, 3)
    assert found is not None
    assert read_legacy(KEY, found[0]) == SECRET
    assert strangers(sent(site)) == []
