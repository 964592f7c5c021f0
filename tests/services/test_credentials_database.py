"""Stored credentials in a database: a real MariaDB, and a file of SQLite."""

import asyncio
import itertools
import random
import stat
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from dev.services import MariaDB
from mailpush.credentials import database
from mailpush.credentials.database import DatabaseCredentials
from mailpush.credentials.storage import Entry, StorageUnavailableError
from mailpush.credentials.tables import LOCK
from mailpush.properties.settings import DatabaseSettings
from mailpush.store.sql import engine_of
from tests.unit.credentials.memory import FaultyStorage

PASSWORD = "the database's pässword"
_numbers = itertools.count(1)


@pytest.fixture
def server(mariadb: MariaDB) -> DatabaseSettings:
    """An empty database."""
    name = f"credentials_{next(_numbers)}"
    mariadb.create(name, name, PASSWORD)
    return DatabaseSettings(f"mysql://{mariadb.host}:{mariadb.port}/{name}", name, PASSWORD)


@pytest.fixture(params=["mariadb", "sqlite"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> DatabaseSettings:
    if request.param == "sqlite":
        return DatabaseSettings(f"sqlite:///{tmp_path}/credentials.sqlite")
    server: DatabaseSettings = request.getfixturevalue("server")
    return server


@pytest.fixture
async def storage(settings: DatabaseSettings) -> AsyncIterator[DatabaseCredentials]:
    storage = DatabaseCredentials(engine_of(settings))
    yield storage
    await storage.close()


def database_of(settings: DatabaseSettings) -> str:
    return settings.url.rpartition("/")[2]


async def refusal(settings: DatabaseSettings) -> StorageUnavailableError:
    """What a new pod is told."""
    storage = DatabaseCredentials(engine_of(settings))
    try:
        with pytest.raises(StorageUnavailableError) as told:
            await storage.count()
        return told.value
    finally:
        await storage.close()


async def test_what_is_put_stands_there_with_its_times(storage: DatabaseCredentials) -> None:
    entry = Entry(1, 3, "x" * 512, changed=2**40, worked=2, refused=3)
    await storage.put(Entry(1, 3, "before", 1, 1, 1))
    await storage.put(entry)
    assert await storage.get((1, 3)) == entry
    assert await storage.get((3, 1)) is None
    assert await storage.get((2**40, 1)) is None


async def test_a_replacement_counts_bytes(storage: DatabaseCredentials) -> None:
    """MariaDB's comparisons leave out case, accents or blanks at the end, by collation."""
    await storage.put(Entry(1, 3, "Abc="))
    for wrong in ("abc=", "Abc= ", "Abc", ""):
        assert not await storage.replace(Entry(1, 3, wrong), Entry(1, 3, "new"))
    assert await storage.replace(Entry(1, 3, "Abc="), Entry(1, 3, "Abc="))  # a row that stays as it is was found, too
    assert await storage.replace(Entry(1, 3, "Abc="), Entry(1, 3, "new", worked=5))
    assert await storage.get((1, 3)) == Entry(1, 3, "new", worked=5)


async def test_any_sequence_of_operations_leaves_what_it_leaves_in_memory(storage: DatabaseCredentials) -> None:
    model, chance = FaultyStorage(), random.Random(10)
    for _ in range(300):
        key = chance.choice([(1, 1), (1, 2), (1, 10), (2, 1), (10, 1)])
        old, new = (Entry(*key, chance.choice("aAb"), changed=chance.randrange(3)) for _ in range(2))
        texts = [chance.choice([None, "a", "A", "b"]) for _ in range(2)]
        limit = chance.randrange(1, 4)
        match chance.randrange(7):
            case 0:
                await asyncio.gather(storage.put(new), model.put(new))
            case 1:
                assert await storage.replace(old, new) == await model.replace(old, new)
            case 2:
                assert await storage.delete(key) == await model.delete(key)
            case 3:
                assert await storage.set_note("n", *texts) == await model.set_note("n", *texts)
            case 4:
                assert await storage.page(key, limit) == await model.page(key, limit)
            case 5:
                assert await storage.note("n") == await model.note("n")
            case _:
                assert await storage.get_many([key, (1, 1)]) == await model.get_many([key, (1, 1)])
        assert await storage.count() == await model.count()
    assert await storage.page(None, 100) == await model.page(None, 100)


async def test_what_does_not_fit_is_refused_and_not_cut(storage: DatabaseCredentials) -> None:
    with pytest.raises(ValueError, match="512"):
        await storage.put(Entry(1, 3, "x" * 513))
    assert await storage.count() == 0


async def test_pods_that_begin_at_once_make_the_tables_once(settings: DatabaseSettings) -> None:
    pods = [DatabaseCredentials(engine_of(settings)) for _ in range(1 if "sqlite" in settings.url else 8)]
    assert set(await asyncio.gather(*(pod.count() for pod in pods))) == {0}
    for pod in pods:
        await pod.close()


async def settled(storage: DatabaseCredentials) -> int | str:
    """Asked again as by whoever watches a store: how many entries there are, or for good the reason why not."""
    while True:
        try:
            return await storage.count()
        except StorageUnavailableError as error:
            if error.reason == "DatabaseOfAnother":
                return error.reason
            assert error.reason != "DatabaseTablesDiffer"  # noqa: PT017 - the others pass by


async def test_while_another_has_the_lock_of_the_tables_nothing_is_made_and_then_it_goes_on(
    server: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "PREPARE_TRIES", 1)
    patient = replace(server, timeout_ms=20_000)
    other, storage = engine_of(patient), DatabaseCredentials(engine_of(patient))
    async with other.connect() as held:
        assert (await held.execute(text("SELECT GET_LOCK(:name, 0)"), {"name": LOCK})).scalar() == 1
        with pytest.raises(StorageUnavailableError, match="makes or migrates") as told:
            await storage.count()
        assert told.value.reason == "DatabaseTablesBusy"
        assert (await held.execute(text("SHOW TABLES"))).all() == []
        asking = asyncio.create_task(settled(storage))
        await held.execute(text("SELECT RELEASE_LOCK(:name)"), {"name": LOCK})
        assert await asking == 0
    await other.dispose()
    await storage.close()


async def test_of_two_mail_push_configs_the_first_has_the_database(settings: DatabaseSettings) -> None:
    pods = [DatabaseCredentials(engine_of(settings), f"mail/{name}") for name in ("main", "main", "other", "other")]
    if settings.url.startswith("sqlite"):  # which is one pod's
        told = [await settled(pod) for pod in pods]
    else:
        told = list(await asyncio.gather(*(settled(pod) for pod in pods)))
    assert told in ([0, 0, "DatabaseOfAnother", "DatabaseOfAnother"], ["DatabaseOfAnother", "DatabaseOfAnother", 0, 0])
    for pod in pods:
        await pod.close()


async def test_500_cancelled_queries_leave_no_foreign_answer(server: DatabaseSettings) -> None:
    storage, chance = DatabaseCredentials(engine_of(server)), random.Random(1)
    for number in range(50):
        await storage.put(Entry(1, number, f"password {number}"))
    cancelled = 0
    for number in range(500):
        asked = asyncio.create_task(storage.get((1, number % 50)))
        for _ in range(chance.randrange(12)):
            await asyncio.sleep(0)
        asked.cancel()
        cancelled += (await asyncio.gather(asked, return_exceptions=True))[0] is not None and asked.cancelled()
        assert await storage.get((1, (number + 1) % 50)) == Entry(1, (number + 1) % 50, f"password {(number + 1) % 50}")
    assert cancelled > 100
    await storage.close()


async def test_a_server_that_is_away_or_hangs_is_said_without_a_secret_and_then_used_again(
    server: DatabaseSettings, mariadb: MariaDB
) -> None:
    storage = DatabaseCredentials(engine_of(server))
    await storage.put(Entry(1, 3, "a"))
    for begin, end in ((mariadb.stop, mariadb.start), (mariadb.freeze, mariadb.resume)):
        begin()
        try:
            with pytest.raises(StorageUnavailableError) as told:
                await storage.get((1, 3))
        finally:
            end()
        assert told.value.reason == "DatabaseUnreachable"
        assert told.value.__cause__ is None
        assert told.value.__suppress_context__
        assert await storage.get((1, 3)) == Entry(1, 3, "a")
    await storage.close()


async def test_what_keeps_the_database_from_being_used_is_named(server: DatabaseSettings, mariadb: MariaDB) -> None:
    name = database_of(server)
    wrong = DatabaseSettings(server.url, name, "planted-password")
    told = await refusal(wrong)
    assert (told.reason, "planted" in str(told)) == ("DatabaseLoginRefused", False)
    mariadb.create_database(f"{name}_other")
    other = DatabaseSettings(f"{server.url}_other", name, PASSWORD)
    assert (await refusal(other)).reason == "DatabaseNotAllowed"
    mariadb.grant("SELECT", name, name)
    assert (await refusal(server)).reason == "DatabaseNotAllowed"


async def test_tables_that_somebody_has_changed_are_named_and_left_as_they_are(
    server: DatabaseSettings, mariadb: MariaDB
) -> None:
    name, storage = database_of(server), DatabaseCredentials(engine_of(server))
    await storage.put(Entry(1, 3, "a"))
    await storage.close()
    for change, said in (
        ("DROP COLUMN refused", "refused"),
        ("MODIFY password VARCHAR(64) COLLATE ascii_bin", "shorter"),
        ("MODIFY password VARCHAR(512) COLLATE utf8mb4_unicode_ci", "byte by byte"),
    ):
        mariadb.sql(f"ALTER TABLE mailpush_credentials {change}", name)
        before = mariadb.sql("SHOW CREATE TABLE mailpush_credentials", name)
        told = await refusal(server)
        assert told.reason == "DatabaseTablesDiffer"
        assert said in str(told)
        assert mariadb.sql("SHOW CREATE TABLE mailpush_credentials", name) == before


async def test_tables_of_a_newer_program_are_left_as_they_are(server: DatabaseSettings, mariadb: MariaDB) -> None:
    storage = DatabaseCredentials(engine_of(server))
    await storage.put(Entry(1, 3, "a"))
    await storage.close()
    mariadb.sql("UPDATE mailpush_version SET version_num = '9999'", database_of(server))
    assert "newer" in str(await refusal(server))


async def test_a_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "credentials.sqlite"
    storage = DatabaseCredentials(engine_of(DatabaseSettings(f"sqlite:///{path}")))
    await storage.put(Entry(1, 3, "a"))
    await storage.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "url", ["postgres://planted/x", "mysql://planted", "mysql:///planted", "sqlite://planted", "planted"]
)
def test_an_address_that_is_none_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="URL is not") as told:
        engine_of(DatabaseSettings(url))
    assert "planted" not in str(told.value)


def modes_in(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


async def test_a_file_takes_many_who_write_at_once_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    storage = DatabaseCredentials(engine_of(DatabaseSettings(f"sqlite:///{tmp_path}/credentials.sqlite")))
    try:
        await asyncio.gather(*(storage.put(Entry(1, number, "a")) for number in range(200)))
        assert await storage.count() == 200
        modes = modes_in(tmp_path)
        assert set(modes.values()) == {0o600}
        assert len(modes) > 1  # with the journal beside it
    finally:
        await storage.close()


async def test_closing_waits_for_what_was_asked_and_refuses_what_comes_after(storage: DatabaseCredentials) -> None:
    await storage.count()
    asked = [asyncio.create_task(storage.put(Entry(1, number, "a"))) for number in range(8)]
    await asyncio.sleep(0)
    await storage.close()
    assert all(task.done() for task in asked)
    assert await asyncio.gather(*asked) == [None] * 8
    with pytest.raises(StorageUnavailableError, match="closed"):
        await storage.count()


async def test_a_rule_of_somebody_elses_is_no_fault_of_the_program(server: DatabaseSettings, mariadb: MariaDB) -> None:
    storage = DatabaseCredentials(engine_of(server))
    await storage.count()
    mariadb.sql("ALTER TABLE mailpush_credentials ADD CHECK (user_id < 5)", database_of(server))
    with pytest.raises(StorageUnavailableError, match="rule") as told:
        await storage.put(Entry(1, 7, "S3cret"))
    assert told.value.reason == "DatabaseTablesDiffer"
    await storage.close()
