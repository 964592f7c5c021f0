"""The rows of OX's table `credentials`: encrypted passwords by context and user."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Final, NoReturn

from sqlalchemy import ColumnElement, and_, func, or_, select, tuple_

from mailpush.credentials.ox.address import Address, from_url
from mailpush.credentials.ox.columns import ROWS
from mailpush.credentials.ox.contexts import BATCH, Contexts, Schema
from mailpush.credentials.ox.engines import Engines, NoSuchTableError, Reach
from mailpush.credentials.ox.rules import Form, Refusal, SchemaRefusedError
from mailpush.credentials.ox.writes import Change, Outcome, Writes
from mailpush.credentials.storage import Entry, UserKey, WriteRefusedError
from mailpush.properties.settings import OxCredentialSettings
from mailpush.work.clock import Clock, boottime

CONTEXTS_AT_A_TIME: Final = 2000
READ_ONLY: Final = "ReadOnly"
READ_ONLY_TEXT: Final = (
    "the credential storage is OX's table, which is only read: change the password in OX, or set "
    "credentialStorage.ox.credentials to readWrite"
)


class OxTable:
    """The reading half of CredentialStorage, and `write`. Entries have no marks, and there are no notes.

    A row that is there though nobody is registered is given as any other: only registered users are asked for. A row
    that OX deleted is not there: CredentialsMissing. Nothing is deleted here.

    Args:
        form: in which rows are written; None where none is.
    """

    def __init__(self, configdb: Address, reach: Reach, clock: Clock = boottime, *, form: Form | None = None) -> None:
        self._engines = Engines(reach)
        self._contexts = Contexts(self._engines, configdb, clock)
        self._writes = Writes(self._engines, form) if form is not None else None

    @property
    def form(self) -> Form | None:
        """In which rows are written; None where none is."""
        return self._writes.form if self._writes is not None else None

    async def get(self, key: UserKey) -> Entry | None:
        return (await self.get_many([key])).get(key)

    async def get_many(self, keys: list[UserKey]) -> dict[UserKey, Entry]:
        wanted = set(keys)
        schemas = await self._contexts.schemas({context for context, _ in wanted})
        found = await self._of(wanted, schemas)
        if missing := wanted - found.keys():  # OX moves a context to another schema, and deletes it here
            before = {context: schemas.get(context) for context, _ in missing}
            now = await self._contexts.schemas(before, anew=True)
            moved = {context: schema for context, schema in now.items() if schema != before[context]}
            found |= await self._of({key for key in missing if key[0] in moved}, moved)
        return found

    async def page(self, after: UserKey | None, limit: int) -> list[Entry]:
        entries: list[Entry] = []
        context, user = after or (0, 0)
        while len(entries) < limit:
            last, schemas = await self._contexts.after(context, CONTEXTS_AT_A_TIME)
            if last is None:
                break
            beyond = or_(ROWS.c.cid > context, and_(ROWS.c.cid == context, ROWS.c.user > user))
            for schema, contexts in _by_schema(schemas).items():
                # The rows of other contexts of the schema belong to another part, or to nobody any more.
                entries += await self._rows(schema, and_(ROWS.c.cid.in_(sorted(contexts)), beyond), limit)
            entries.sort(key=lambda entry: entry.key)
            context, user = last + 1, 0
        return entries[:limit]

    async def count(self) -> int:
        total = 0
        for schema in await self._contexts.all():
            try:
                async with self._engines.reading(schema.address, schema.name) as connection:
                    total += (await connection.execute(select(func.count()).select_from(ROWS))).scalar_one()
            except NoSuchTableError:
                continue
        return total

    async def write(self, changes: Mapping[UserKey, Change]) -> dict[UserKey, Outcome | WriteRefusedError]:
        """What became of each: a schema that takes none refuses all of its own, and the others go on.

        Raises:
            WriteRefusedError: this table is only read.
            StorageUnavailableError: whether some were written is not known.
        """
        if self._writes is None:
            _refuse()
        # Not as it was some minutes ago: OX may have moved a context since, and left its rows behind.
        schemas = await self._contexts.schemas({context for context, _ in changes}, anew=True)
        became: dict[UserKey, Outcome | WriteRefusedError] = {}
        by_schema: dict[Schema, dict[UserKey, Change]] = defaultdict(dict)
        for key, change in changes.items():
            if (schema := schemas.get(key[0])) is None:
                became[key] = Outcome.NO_CONTEXT
            else:
                by_schema[schema][key] = change
        for schema, of_it in by_schema.items():
            try:
                became |= await self._writes.write(schema, of_it)
            except NoSuchTableError:  # gone since it was looked for
                became |= dict.fromkeys(of_it, SchemaRefusedError(Refusal.NO_TABLE, schema.name))
            except WriteRefusedError as refused:
                became |= dict.fromkeys(of_it, refused)
        return became

    async def refusals(self) -> dict[str, Refusal | None]:
        """By the name of each schema, why it takes no row of the form now.

        Raises:
            WriteRefusedError: this table is only read.
            StorageUnavailableError
        """
        if self._writes is None:
            _refuse()
        found: dict[str, Refusal | None] = {}
        for schema in sorted(await self._contexts.all(), key=lambda one: (one.name, one.address.host)):
            try:
                refusal = await self._writes.look(schema)
            except NoSuchTableError:
                refusal = Refusal.NO_TABLE
            found[schema.name] = found.get(schema.name) or refusal
        return found

    async def put(self, entry: Entry) -> None:
        _refuse()

    async def put_many(self, entries: list[Entry]) -> None:
        _refuse()

    async def replace(self, old: Entry, new: Entry) -> bool:
        _refuse()

    async def delete(self, key: UserKey) -> bool:
        _refuse()

    async def note(self, name: str) -> str | None:
        return None

    async def set_note(self, name: str, old: str | None, new: str | None) -> bool:
        _refuse()

    async def close(self) -> None:
        await self._engines.close()

    async def _of(self, keys: set[UserKey], schemas: dict[int, Schema]) -> dict[UserKey, Entry]:
        by_schema: dict[Schema, list[UserKey]] = defaultdict(list)
        for key in sorted(keys):
            if key[0] in schemas:
                by_schema[schemas[key[0]]].append(key)
        found: dict[UserKey, Entry] = {}
        for schema, of_it in by_schema.items():
            for start in range(0, len(of_it), BATCH):
                part = of_it[start : start + BATCH]
                rows = await self._rows(schema, tuple_(ROWS.c.cid, ROWS.c.user).in_(part), len(part))
                found |= {entry.key: entry for entry in rows}
        return found

    async def _rows(self, schema: Schema, which: ColumnElement[bool], limit: int) -> list[Entry]:
        query = select(ROWS.c.cid, ROWS.c.user, ROWS.c.password).where(which)
        query = query.order_by(ROWS.c.cid, ROWS.c.user).limit(limit)
        try:
            async with self._engines.reading(schema.address, schema.name) as connection:
                rows = (await connection.execute(query)).all()
        except NoSuchTableError:  # a schema of before the table, in which nothing was ever stored
            return []
        return [Entry(int(row[0]), int(row[1]), row[2] or "") for row in rows]


def _by_schema(schemas: dict[int, Schema]) -> dict[Schema, list[int]]:
    contexts: dict[Schema, list[int]] = defaultdict(list)
    for context, schema in schemas.items():
        contexts[schema].append(context)
    return contexts


def _refuse() -> NoReturn:
    raise WriteRefusedError(READ_ONLY_TEXT, READ_ONLY)


def ox_table(settings: OxCredentialSettings, clock: Clock = boottime) -> OxTable:
    """The table behind the configdb of the settings.

    Raises:
        ValueError: the address of the configdb is none, or no form is chosen for what is to be written.
    """
    database = settings.configdb
    configdb = from_url(database.url, database.username, database.password)
    tls = database.tls == "verify"
    reach = Reach(tls, database.ca_pem, database.pool_size, database.timeout_ms / 1000)
    form = None
    if settings.credentials == "readWrite":
        if settings.form is None:
            raise ValueError("credentialStorage.ox.credentials is readWrite, so credentialStorage.ox.form is needed")
        form = Form(settings.form)
    return OxTable(configdb, reach, clock, form=form)
