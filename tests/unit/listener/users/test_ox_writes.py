"""What a pod tells of the schemas that take passwords."""

from typing import cast

import pytest

from mailpush.credentials.cipher import Cipher, Passcrypt
from mailpush.credentials.ox.rules import Form, Refusal
from mailpush.credentials.ox.table import OxTable
from mailpush.credentials.storage import Entry, StorageUnavailableError, WriteRefusedError
from mailpush.credentials.stored import StoredCredentials
from mailpush.listener.users.ox_writes import OxWrites, report_of
from mailpush.sharding.leases import WritesReport
from tests.unit.credentials.memory import FaultyStorage


class Table(FaultyStorage):
    form = Form.LEGACY
    found: dict[str, Refusal | None]

    async def write(self, _changes: object) -> dict[tuple[int, int], object]:
        raise AssertionError("a look writes nothing")

    async def refusals(self) -> dict[str, Refusal | None]:
        self._ask("refusals")
        return self.found


@pytest.mark.parametrize(
    ("found", "of_all", "report"),
    [
        ({}, None, WritesReport(0)),
        ({"a": None, "b": None}, None, WritesReport(2)),
        ({"b": Refusal.MIXED, "a": None, "c": Refusal.NARROW}, None, WritesReport(3, 2, "FormsMixed", "b")),
        (
            {"a": None, "b": Refusal.MIXED},
            WriteRefusedError("x", "PasscryptUnproven"),
            WritesReport(2, 2, "PasscryptUnproven"),
        ),
    ],
)
def test_one_schema_stands_for_those_that_refuse(
    found: dict[str, Refusal | None], of_all: WriteRefusedError | None, report: WritesReport
) -> None:
    assert report_of(found, of_all) == report


async def test_one_pod_looks_and_says_nothing_when_another_does() -> None:
    table, mine = Table(), [True]
    table.found = {"a": Refusal.UPDATING}
    stored = StoredCredentials(table, Cipher(Passcrypt("right")), foreign=True)
    writes = OxWrites(cast("OxTable", table), stored, lambda: mine[0])
    assert not await writes.look()
    assert writes.report is None, "it is not open yet"
    await stored.open()
    assert await writes.look()
    assert writes.report == WritesReport(1, 1, "SchemaUpdating", "a")
    table.down = True
    assert not await writes.look()
    assert writes.report == WritesReport(1, 1, "SchemaUpdating", "a"), "what was seen last"
    mine[0] = False
    assert not await writes.look()
    assert writes.report is None


async def test_a_passcrypt_that_ox_does_not_have_counts_for_all_schemas() -> None:
    table = Table()
    table.found = {"a": None}
    table.entries[1, 1] = Entry(1, 1, Cipher(Passcrypt("other")).encrypt_legacy("x"))
    stored = StoredCredentials(table, Cipher(Passcrypt("right")), foreign=True)
    await stored.open()
    writes = OxWrites(cast("OxTable", table), stored, lambda: True)
    assert await writes.look()
    assert writes.report == WritesReport(1, 1, "PasscryptUnproven")
    with pytest.raises(WriteRefusedError, match="put OX's passcrypt into the Secret"):
        await stored.put((1, 1), "secret")
    table.down = True
    with pytest.raises((StorageUnavailableError, WriteRefusedError)):
        await stored.put((1, 1), "secret")
