"""Which storage settings name."""

from dataclasses import replace
from pathlib import Path

import pytest

from mailpush.credentials.database import DatabaseCredentials
from mailpush.credentials.memory import ProcessCredentials, RedisCredentials
from mailpush.credentials.moving import MovingCredentials
from mailpush.credentials.named import Absent, storage_of
from mailpush.credentials.ox.rules import Form
from mailpush.credentials.ox.table import OxTable
from mailpush.credentials.storage import Entry, StorageUnavailableError
from mailpush.properties.settings import DatabaseSettings, OxCredentialSettings, RedisSettings, Settings
from tests.unit.listener.people import settings
from tests.unit.listener.users.test_stored_passwords import STORED

BASE = settings(STORED)
RDB = replace(BASE, credential_storage=BASE.credential_storage.model_copy(update={"rdb": True}))
WRONG = "-----BEGIN CERTIFICATE-----\nMIIB+/=\n-----END CERTIFICATE-----\n"
SERVER = DatabaseSettings("mysql://db.example:3306/mailpush", "u", "p")
CONFIGDB = DatabaseSettings("mysql://db.example/configdb")


@pytest.mark.parametrize(
    ("named", "kind"),
    [
        (settings(), type(None)),
        (BASE, ProcessCredentials),
        (replace(BASE, redis=RedisSettings("redis://r.example/0", "p")), RedisCredentials),
        (replace(BASE, redis=RedisSettings("nonsense://r.example/0", "p")), Absent),
        (RDB, DatabaseCredentials),
        (replace(RDB, database=DatabaseSettings("mysql://db.example:3306/mailpush", "u", "p")), DatabaseCredentials),
        (replace(RDB, database=SERVER, redis=RedisSettings("redis://r.example/0")), MovingCredentials),
        (replace(RDB, redis=RedisSettings("redis://r.example/0")), DatabaseCredentials),
        (
            replace(BASE, ox=OxCredentialSettings("read", None, DatabaseSettings("mysql://db.example/configdb"))),
            OxTable,
        ),
        (replace(BASE, ox=OxCredentialSettings("readWrite", "argon", CONFIGDB)), OxTable),
        (replace(BASE, ox=OxCredentialSettings("readWrite", None, CONFIGDB)), Absent),
        (replace(RDB, database=DatabaseSettings("mysql://d.example/m", tls="verify", ca_pem=WRONG)), Absent),
        (replace(BASE, redis=RedisSettings("rediss://r.example/0", ca_pem=WRONG)), Absent),
        (replace(RDB, database=DatabaseSettings("nonsense://db.example/mailpush", "u", "p")), Absent),
    ],
)
async def test_the_storage_of_settings(named: Settings, kind: type, tmp_path: Path) -> None:
    storage = storage_of(named, "uid", tmp_path)
    assert type(storage) is kind
    if storage is not None:
        await storage.close()


@pytest.mark.parametrize(
    ("credentials", "form", "written"),
    [("read", "argon", None), ("readWrite", "argon", Form.ARGON), ("readWrite", "legacy", Form.LEGACY)],
)
async def test_ox_table_is_written_only_where_that_is_chosen(
    credentials: str, form: str, written: Form | None, tmp_path: Path
) -> None:
    storage = storage_of(replace(BASE, ox=OxCredentialSettings(credentials, form, CONFIGDB)), "uid", tmp_path)
    assert isinstance(storage, OxTable)
    assert storage.form is written
    await storage.close()


async def test_a_file_of_the_pod_keeps_passwords_for_its_next_process(tmp_path: Path) -> None:
    for number in (1, 2):
        storage = storage_of(RDB, "uid", tmp_path)
        assert storage is not None
        await storage.put(Entry(1, number, "encrypted"))
        assert await storage.count() == number
        await storage.close()


async def test_a_database_is_one_mail_push_config_s_and_its_next_one_of_that_name_finds_the_passwords(
    tmp_path: Path,
) -> None:
    first = storage_of(RDB, "uid-1", tmp_path, "mail/main")
    assert first is not None
    await first.put(Entry(1, 1, "encrypted"))
    await first.close()
    other = storage_of(RDB, "uid-2", tmp_path, "mail/other")
    assert other is not None
    said = "of the MailPushConfig mail/main, and this is mail/other"
    for asked in (other.count(), other.get((1, 1)), other.put(Entry(1, 1, "theirs")), other.delete((1, 1))):
        with pytest.raises(StorageUnavailableError, match=said) as error:
            await asked
        assert error.value.reason == "DatabaseOfAnother"
    await other.close()
    again = storage_of(RDB, "uid-3", tmp_path, "mail/main")
    assert again is not None
    assert await again.get((1, 1)) == Entry(1, 1, "encrypted")
    assert await again.set_note("owner", "mail/main", "mail/other")
    await again.close()
    handed_over = storage_of(RDB, "uid-2", tmp_path, "mail/other")
    assert handed_over is not None
    assert await handed_over.count() == 1
    await handed_over.close()


async def test_one_that_cannot_be_had_says_why_at_each_operation() -> None:
    absent = Absent("no such thing", "Nothing")
    for asked in (absent.get((1, 1)), absent.get_many([]), absent.page(None, 1), absent.count(), absent.note("n")):
        with pytest.raises(StorageUnavailableError, match="no such thing") as error:
            await asked
        assert error.value.reason == "Nothing"
