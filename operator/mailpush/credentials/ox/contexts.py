"""Which database holds a context's users, by OX's configuration database."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from sqlalchemy import Row, Select, column, select, table

from mailpush.credentials.ox.address import Address, from_jdbc
from mailpush.credentials.ox.engines import Engines, NoSuchTableError
from mailpush.credentials.storage import StorageUnavailableError
from mailpush.work.clock import Clock, boottime

log = structlog.get_logger(__name__)

KEPT_SECONDS: Final = 300.0
BATCH: Final = 500

_CONTEXTS: Final = table(
    "context_server2db_pool", column("cid"), column("server_id"), column("write_db_pool_id"), column("db_schema")
)
_POOLS: Final = table("db_pool", column("db_pool_id"), column("url"), column("login"), column("password"))


@dataclass(frozen=True, slots=True)
class Schema:
    """A user schema, where it is written: a replica may lag behind, and OX reads only what has reached it."""

    address: Address
    name: str


@dataclass(slots=True)
class _Known:
    schema: Schema | None
    until: float


class Contexts:
    """Contexts and their schemas, kept some minutes."""

    def __init__(self, engines: Engines, configdb: Address, clock: Clock = boottime) -> None:
        self._engines = engines
        self._configdb = configdb
        self._clock = clock
        self._known: dict[int, _Known] = {}

    async def schemas(self, contexts: Iterable[int], *, anew: bool = False) -> dict[int, Schema]:
        """By context; those that OX does not have are left out. `anew`: not as it was some minutes ago.

        Raises:
            StorageUnavailableError: the configdb, or what stands in it.
        """
        wanted, now = set(contexts), self._clock()
        unknown = [one for one in sorted(wanted) if anew or one not in self._known or self._known[one].until <= now]
        for start in range(0, len(unknown), BATCH):
            part = unknown[start : start + BATCH]
            found = await self._read(_mapping().where(_CONTEXTS.c.cid.in_(part)))
            for one in part:
                self._known[one] = _Known(found.get(one), now + KEPT_SECONDS)
        if unknown:  # a pool may have another server or password now
            known = {one.schema.address for one in self._known.values() if one.schema is not None}
            await self._engines.keep({self._configdb, *known})
        if len(self._known) > 2 * len(wanted) + 10_000:  # users who have moved to other pods
            self._known = {one: known for one, known in self._known.items() if known.until > now}
        return {one: schema for one in wanted if (schema := self._known[one].schema) is not None}

    async def after(self, context: int, limit: int) -> tuple[int | None, dict[int, Schema]]:
        """The next `limit` contexts from `context` on: the last one, None where there is none, and their schemas."""
        first = select(_CONTEXTS.c.cid).distinct().where(_CONTEXTS.c.cid >= context).order_by(_CONTEXTS.c.cid)
        found = [int(row[0]) for row in await self._rows(first.limit(limit))]
        return (found[-1] if found else None), await self.schemas(found)

    async def all(self) -> set[Schema]:
        return set((await self._read(_mapping())).values())

    async def _rows(self, query: Select[*tuple[Any, ...]]) -> Sequence[Row[*tuple[Any, ...]]]:
        try:
            async with self._engines.reading(self._configdb) as connection:
                return (await connection.execute(query)).all()
        except NoSuchTableError:
            raise StorageUnavailableError(
                "ox.database is no configdb of OX: it has no tables context_server2db_pool and db_pool"
            ) from None

    async def _read(self, query: Select[*tuple[Any, ...]]) -> dict[int, Schema]:
        found: dict[int, Schema] = {}
        for row in await self._rows(query):
            schema = _schema_of(row)
            if found.setdefault(int(row[0]), schema) != schema:
                log.warning("ox_context_in_two_schemas", context=int(row[0]), meaning="the first of them is read")
        return found


def _mapping() -> Select[*tuple[Any, ...]]:
    return (
        select(_CONTEXTS.c.cid, _CONTEXTS.c.db_schema, _POOLS.c.url, _POOLS.c.login, _POOLS.c.password)
        .join_from(_CONTEXTS, _POOLS, _POOLS.c.db_pool_id == _CONTEXTS.c.write_db_pool_id)
        .order_by(_CONTEXTS.c.cid, _CONTEXTS.c.server_id)
    )


def _schema_of(row: Row[*tuple[Any, ...]]) -> Schema:
    try:
        return Schema(from_jdbc(row[2], row[3], row[4]), row[1])
    except ValueError as error:
        raise StorageUnavailableError(f"the configdb cannot be read: {error}") from None
