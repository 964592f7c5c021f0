"""Whether OX's table takes the passwords that are put, for the operator's condition: looked at before one is put."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from mailpush.credentials.ox.rules import Refusal
from mailpush.credentials.ox.table import OxTable
from mailpush.credentials.storage import StorageUnavailableError, WriteRefusedError
from mailpush.credentials.stored import StoredCredentials, StoreState
from mailpush.sharding.leases import WritesReport

LOOK_SECONDS: Final = 60.0
WAIT_SECONDS: Final = 5.0
"""While the storage is not open, or another pod looks."""

log = structlog.get_logger(__name__)


class OxWrites:
    """Looks at each schema, as long as this pod is the one that does.

    Args:
        is_mine: whether this pod is to look, of all pods.
    """

    def __init__(self, table: OxTable, stored: StoredCredentials, is_mine: Callable[[], bool]) -> None:
        self._table = table
        self._stored = stored
        self._is_mine = is_mine
        self.report: WritesReport | None = None
        """What was found; None where nobody has looked, or another pod does."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            looked = await self.look()
            await asyncio.sleep(LOOK_SECONDS if looked else WAIT_SECONDS)

    async def look(self) -> bool:
        """Whether this pod was to look, and could."""
        if not self._is_mine():
            self.report = None
            return False
        if self._stored.state is not StoreState.READY:
            return False
        try:
            found = await self._table.refusals()
        except (StorageUnavailableError, WriteRefusedError) as error:
            log.info("ox_schemas_not_seen", why=str(error))
            return False
        report = report_of(found, self._stored.write_refusal)
        if report != self.report:
            said = log.warning if report.refusing else log.info
            said("ox_writes", refusing=report.refusing, of=report.schemas, reason=report.reason, schema=report.schema)
        self.report = report
        return True


def report_of(found: Mapping[str, Refusal | None], of_all: WriteRefusedError | None) -> WritesReport:
    """The schema that comes first by its name stands for the others."""
    if of_all is not None:
        return WritesReport(len(found), len(found), of_all.reason)
    refusing = sorted((name, refusal) for name, refusal in found.items() if refusal is not None)
    if not refusing:
        return WritesReport(len(found))
    name, refusal = refusing[0]
    return WritesReport(len(found), len(refusing), refusal.value, name)
