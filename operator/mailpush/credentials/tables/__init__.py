"""The tables of stored credentials: made and migrated by alembic, checked before use, and never altered otherwise."""

from pathlib import Path
from typing import Any, Final

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import BigInteger, Column, Connection, Dialect, Integer, MetaData, String, Table, inspect, text
from sqlalchemy.types import TypeEngine

from mailpush.credentials.limits import LONGEST, LONGEST_NAME, LONGEST_NOTE

VERSION_TABLE: Final = "mailpush_version"
LOCK: Final = "mailpush-credentials"
LOCK_SECONDS: Final = 1
"""Short: an answer is waited for as long as the settings say, and whoever watches the store asks again."""


class TablesBusyError(Exception):
    """Another process makes or migrates the tables now, or the lock for it cannot be had."""


class TablesDifferError(Exception):
    """The tables are not those of this program. The text says how they differ."""


def ascii_text(length: int) -> TypeEngine[str]:
    """Compared byte by byte in each database."""
    mysql = String(length, collation="ascii_bin")
    return String(length).with_variant(mysql, "mysql", "mariadb")


METADATA: Final = MetaData()
CREDENTIALS: Final = Table(
    "mailpush_credentials",
    METADATA,
    Column("context_id", Integer, primary_key=True, autoincrement=False),
    Column("user_id", Integer, primary_key=True, autoincrement=False),
    Column("password", ascii_text(LONGEST), nullable=False),
    Column("changed", BigInteger, nullable=False),
    Column("worked", BigInteger, nullable=False),
    Column("refused", BigInteger, nullable=False),
)
NOTES: Final = Table(
    "mailpush_notes",
    METADATA,
    Column("name", ascii_text(LONGEST_NAME), primary_key=True),
    Column("note", ascii_text(LONGEST_NOTE), nullable=False),
)


def prepare(connection: Connection) -> None:
    """Makes or migrates the tables where they are not of this version, then looks whether they are as they should be.

    Several pods may do so at once. Raises TablesDifferError, TablesBusyError, and what the database raises.
    """
    mine = _script().get_current_head()
    if _version(connection) != mine:
        with _Lock(connection):
            if _version(connection) != mine:
                _migrate(connection)
            # Under the lock: the next one would not see the version yet, and make the tables once more.
            connection.commit()
    check(connection)


def check(connection: Connection) -> None:
    """Raises TablesDifferError where a column is missing, too short, or compares letters and not bytes."""
    found = inspect(connection)
    for table in METADATA.sorted_tables:
        columns = {column["name"]: column for column in found.get_columns(table.name)}
        for wanted in table.columns:
            if wanted.name not in columns:
                raise TablesDifferError(f"table {table.name} has no column {wanted.name}")
            _check_type(table.name, wanted, columns[wanted.name]["type"], connection.dialect)
        keys = found.get_pk_constraint(table.name)["constrained_columns"]
        mine = [column.name for column in table.primary_key]
        if sorted(keys) != sorted(mine):
            raise TablesDifferError(f"the primary key of table {table.name} is not {', '.join(mine)}")


def _check_type(table: str, wanted: Column[Any], has: TypeEngine[Any], dialect: Dialect) -> None:
    if not isinstance(wanted.type, String):
        return
    length = getattr(has, "length", None)
    if length is not None and length < (wanted.type.length or 0):
        raise TablesDifferError(
            f"column {wanted.name} of table {table} is shorter than {wanted.type.length} characters"
        )
    collation = getattr(has, "collation", None)
    if dialect.name != "sqlite" and collation is not None and not collation.endswith("_bin"):
        raise TablesDifferError(f"column {wanted.name} of table {table} does not compare byte by byte ({collation})")


def _script() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return ScriptDirectory.from_config(config)


def _version(connection: Connection) -> str | None:
    return MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()


def _migrate(connection: Connection) -> None:
    script = _script()

    def steps(revision: Any, _context: MigrationContext) -> Any:
        return script._upgrade_revs("head", revision)

    try:
        with EnvironmentContext(Config(), script, fn=steps) as environment:
            environment.configure(connection=connection, version_table=VERSION_TABLE)
            environment.run_migrations()
    except CommandError:  # a revision that this program does not know
        raise TablesDifferError("the tables were made by a newer version of Mail Push") from None


class _Lock:
    """One pod at a time: MariaDB ends a transaction at each CREATE TABLE. SQLite's file is one pod's own."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._here = connection.dialect.name != "sqlite"

    def __enter__(self) -> None:
        if self._here:
            wanted = {"name": LOCK, "seconds": LOCK_SECONDS}
            # 1: it is ours. 0: another has it. NULL: an error, such as a server that was told to end the wait.
            if self._connection.execute(text("SELECT GET_LOCK(:name, :seconds)"), wanted).scalar() != 1:
                raise TablesBusyError

    def __exit__(self, *_: object) -> None:
        if self._here and not self._connection.invalidated:
            self._connection.execute(text("SELECT RELEASE_LOCK(:name)"), {"name": LOCK})
