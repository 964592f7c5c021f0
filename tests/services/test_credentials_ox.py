"""OX's own table on a real MariaDB: two user schemas, of an older and of a newer OX, are read and stay as they are."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from dev.services import MariaDB
from mailpush.credentials.cipher import Cipher, Passcrypt
from mailpush.credentials.named import storage_of
from mailpush.credentials.ox.address import Address
from mailpush.credentials.ox.engines import Engines, Reach
from mailpush.credentials.ox.table import OxTable, ox_table
from mailpush.credentials.ox.writes import Change
from mailpush.credentials.storage import Entry, StorageUnavailableError, WriteRefusedError
from mailpush.credentials.stored import StoredCredentials, StoredState, StoreState
from mailpush.listener.users.pod_storage import PodStorage
from mailpush.listener.users.stored_entries import StoredEntries
from mailpush.properties import keys
from mailpush.properties.read import read
from mailpush.properties.settings import DatabaseSettings, OxCredentialSettings
from tests.sites.ox_databases import (
    ARGON,
    LEGACY,
    NEW,
    OLD,
    OX_PASSWORD,
    PASSCRYPT,
    contents,
    quoted,
    rows,
    sent,
    server,
    site,
)
from tests.sites.passcrypts import SamePasscrypts

__all__ = ["server", "site"]

pytestmark = pytest.mark.cluster


@asynccontextmanager
async def table(server: MariaDB, clock: Callable[[], float] = lambda: 0.0) -> AsyncIterator[OxTable]:
    url = f"mysql://{server.host}:{server.port}/configdb"
    configdb = DatabaseSettings(url, "openexchange", OX_PASSWORD, timeout_ms=20_000)
    store = ox_table(OxCredentialSettings("read", None, configdb), clock)
    try:
        yield store
    finally:
        await store.close()


def credentials(store: OxTable, passcrypt: str = PASSCRYPT) -> StoredCredentials:
    return StoredCredentials(store, Cipher(Passcrypt(passcrypt)), foreign=True)


EXPECTED: Final = {
    (1, 3): (StoredState.USABLE, "secret"),
    (1, 4): (StoredState.USABLE, "grüße"),
    (1, 5): (StoredState.CLEAR_TEXT, None),
    (1, 6): (StoredState.MISSING, None),
    (1, 99): (StoredState.MISSING, None),
    (2, 3): (StoredState.UNDECRYPTABLE, None),
    (3, 7): (StoredState.USABLE, "secret"),
    (3, 8): (StoredState.USABLE, "p"),
    (3, 9): (StoredState.USABLE, "old row in a new schema"),
    (4, 1): (StoredState.MISSING, None),
    (77, 1): (StoredState.MISSING, None),
}


async def test_rows_of_both_schemas_are_read_right_and_stay_as_they_are(site: MariaDB) -> None:
    before = contents(site)
    async with table(site) as store:
        stored = credentials(store)
        assert await stored.open() is StoreState.READY
        entries = await stored.entries(list(EXPECTED))
        assert set(entries) == {(1, 3), (1, 4), (1, 5), (1, 6), (2, 3), (3, 7), (3, 8), (3, 9)}
        for key, (state, password) in EXPECTED.items():
            found = await stored.get(key)
            assert (found.state, found.password) == (state, password), key
        await stored.mark_worked(entries[1, 3])
        await stored.mark_refused(entries[1, 4])
        assert (await stored.get((1, 3))).proven, "kept in this process"
        assert await store.count() == 8
    assert contents(site) == before


async def test_a_server_is_sent_nothing_but_selects(site: MariaDB) -> None:
    async with table(site) as store:
        stored = credentials(store)
        await stored.open()
        await stored.entries(list(EXPECTED))
        await stored.page(None, 100)
        await store.count()
        with pytest.raises(WriteRefusedError, match="of which Mail Push deletes nothing"):
            await stored.delete((1, 3))
        with pytest.raises(WriteRefusedError, match="OX's table, which is only read") as error:
            await stored.put((1, 3), "another")
        assert error.value.reason == "ReadOnly"
        assert stored.state is StoreState.READY
        change = Change(LEGACY, LEGACY)
        for write in (
            store.put(Entry(1, 3, "x")),
            store.replace(Entry(1, 3, LEGACY), Entry(1, 3, "x")),
            store.write({(1, 3): change}),
            store.refusals(),
        ):
            with pytest.raises(WriteRefusedError, match="only read"):
                await write
    statements = sent(site)
    assert any("credentials" in one for one in statements)
    assert "SET SESSION TRANSACTION READ ONLY" in statements
    allowed = ("SELECT", "SET ", "ROLLBACK", "COMMIT", "START TRANSACTION", "BEGIN")
    assert [one for one in statements if not one.startswith(allowed)] == []
    assert not [
        one
        for one in statements
        if one.startswith("SET ") and not one.startswith(("SET SESSION ", "SET NAMES", "SET AUTOCOMMIT"))
    ]


async def test_the_session_itself_refuses_to_write(site: MariaDB) -> None:
    before = contents(site)
    engines = Engines(Reach(timeout=20))
    try:
        with pytest.raises(StorageUnavailableError, match="error 1792"):
            async with engines.reading(Address(site.host, site.port, "openexchange", OX_PASSWORD, OLD)) as connection:
                await connection.exec_driver_sql("DELETE FROM credentials")
    finally:
        await engines.close()
    assert contents(site) == before


async def test_a_wrong_passcrypt_is_found_by_three_rows_and_nothing_is_deleted(site: MariaDB) -> None:
    before = contents(site)
    async with table(site) as store:
        stored = credentials(store, "wrong")
        assert await stored.open() is StoreState.MISMATCH
        assert (await stored.get((1, 3))).state is StoredState.MISMATCH
    assert contents(site) == before


async def test_a_row_that_ox_deletes_or_changes_is_so_at_the_next_look(site: MariaDB) -> None:
    async with table(site) as store:
        stored = credentials(store)
        assert (await stored.get((1, 3))).password == "secret"
        site.sql("DELETE FROM credentials WHERE cid = 1 AND user = 3", OLD)
        site.sql(f"UPDATE credentials SET password = {quoted(LEGACY)} WHERE cid = 1 AND user = 4", OLD)
        assert (await stored.get((1, 3))).state is StoredState.MISSING
        assert (await stored.get((1, 4))).password == "secret"


async def test_a_context_that_moves_to_another_schema_is_found_there(site: MariaDB) -> None:
    async with table(site) as store:
        stored = credentials(store)
        assert (await stored.get((2, 3))).state is StoredState.UNDECRYPTABLE
        site.sql(
            f"DELETE FROM credentials WHERE cid = 2; INSERT INTO {NEW}.credentials VALUES {rows((2, 3, ARGON, 'x'))}",
            OLD,
        )
        site.sql(f"UPDATE context_server2db_pool SET db_schema = '{NEW}' WHERE cid = 2", "configdb")
        assert (await stored.get((2, 3))).password == "secret"


async def test_all_entries_come_page_by_page_in_order_across_schemas(site: MariaDB) -> None:
    site.sql(
        f"INSERT INTO context_server2db_pool VALUES (2, 5, 9, 5, '{OLD}')",
        "configdb",
    )
    site.sql(f"INSERT INTO credentials VALUES {rows((5, 1, LEGACY, 'x'))}, (6, 1, 'of no context', 'x')", OLD)
    async with table(site) as store:
        for limit in (1, 2, 3, 100):
            keys: list[tuple[int, int]] = []
            while part := await store.page(keys[-1] if keys else None, limit):
                keys += [entry.key for entry in part]
            assert keys == [(1, 3), (1, 4), (1, 5), (1, 6), (2, 3), (3, 7), (3, 8), (3, 9), (5, 1)]


async def test_a_changed_login_of_a_pool_is_taken_over(site: MariaDB) -> None:
    now = 0.0
    async with table(site, lambda: now) as store:
        assert await store.get((3, 7)) is not None
        site.create_user("other", "other-password")
        site.sql(f"GRANT SELECT ON {NEW}.* TO other@'%'")
        site.sql("UPDATE db_pool SET login = 'other', password = 'other-password' WHERE db_pool_id = 5", "configdb")
        now = 1000.0
        assert await store.get((3, 7)) is not None
        with pytest.raises(StorageUnavailableError, match="the login may not read it"):
            await store.get((1, 3))


async def test_what_keeps_it_from_reading_is_said_without_a_secret(site: MariaDB) -> None:
    site.sql("UPDATE db_pool SET password = 'planted-secret' WHERE db_pool_id = 5", "configdb")
    async with table(site) as store:
        with pytest.raises(StorageUnavailableError, match=r"127\.0\.0\.1 does not answer \(login refused\)") as error:
            await store.get((1, 3))
        assert error.value.__cause__ is None
        assert error.value.__suppress_context__
        site.sql("UPDATE db_pool SET url = 'planted-secret' WHERE db_pool_id = 5", "configdb")
        with pytest.raises(StorageUnavailableError, match="configdb cannot be read") as other:
            await store.get((3, 7))
        assert "planted" not in str(error.value) + str(other.value)
        site.sql("DROP TABLE db_pool", "configdb")
        with pytest.raises(StorageUnavailableError, match="is no configdb of OX"):
            await store.get((4, 1))


async def test_a_server_that_is_away_delays_and_comes_back(site: MariaDB) -> None:
    configdb = Address(site.host, site.port, "openexchange", OX_PASSWORD, "configdb")
    store = OxTable(configdb, Reach(timeout=3))
    try:
        assert await store.get((1, 3)) is not None
        site.freeze()
        try:
            with pytest.raises(StorageUnavailableError):
                await store.get((1, 3))
        finally:
            site.resume()
        site.stop()
        with pytest.raises(StorageUnavailableError):
            await store.get((1, 3))
        site.start()
        assert await store.get((1, 3)) is not None
    finally:
        await store.close()


async def test_tls_goes_by_the_authority_that_is_set() -> None:
    with MariaDB.launch(tls=True) as server:
        server.create("configdb", "openexchange", OX_PASSWORD)
        address = Address(server.host, server.port, "openexchange", OX_PASSWORD, "configdb")
        for ca, works in ((server.ca_file.read_text(), True), (None, False)):
            engines = Engines(Reach(True, ca, timeout=20))
            try:
                async with engines.reading(address) as connection:
                    assert (await connection.exec_driver_sql("SELECT 1")).scalar_one() == 1
                    assert works
            except StorageUnavailableError:
                assert not works
            finally:
                await engines.close()


FILES: Final = """\
com.openexchange.mail.passwordSource=session
com.openexchange.push.credstorage.enabled=true
com.openexchange.push.credstorage.passcrypt=passcrypt
"""


async def test_the_settings_name_it_and_a_pod_takes_its_passwords_from_there(site: MariaDB, tmp_path: Path) -> None:
    before = contents(site)
    url = f"mysql://{site.host}:{site.port}/configdb"
    named = {
        keys.OX_CREDENTIALS: "read",
        keys.database_key(keys.CONFIGDB, "url"): url,
        keys.database_key(keys.CONFIGDB, "username"): "openexchange",
        keys.database_key(keys.CONFIGDB, "password"): OX_PASSWORD,
        keys.database_key(keys.CONFIGDB, "timeout"): "20000",
    }
    lines = [f"{key}={value}" for key, value in named.items()]
    settings = read({"all.properties": FILES + "\n".join(lines) + "\n"})
    assert settings.ox is not None, settings
    entries = StoredEntries()
    pod = PodStorage(
        settings,
        "uid",
        lambda named, uid: storage_of(named, uid, tmp_path),
        entries=entries,
        owns=lambda _slot: True,
        hash_key=lambda: b"k" * 32,
        passcrypts=SamePasscrypts(),
    )
    try:
        assert pod.stored is not None
        assert await pod.stored.open() is StoreState.READY
        assert (await entries.get((1, 3))).password == "secret"
        assert (await entries.get((3, 7))).password == "secret"
    finally:
        await pod.close()
    assert contents(site) == before
