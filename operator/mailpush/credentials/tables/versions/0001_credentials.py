"""Entries and notes."""

from typing import Any

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, String

revision = "0001"
down_revision = None

# Widths are written out: a later version may have others.
MYSQL = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mariadb_engine": "InnoDB", "mariadb_charset": "utf8mb4"}


def _text(length: int) -> Any:
    return String(length).with_variant(String(length, collation="ascii_bin"), "mysql", "mariadb")


def upgrade() -> None:
    op.create_table(
        "mailpush_credentials",
        Column("context_id", Integer, primary_key=True, autoincrement=False),
        Column("user_id", Integer, primary_key=True, autoincrement=False),
        Column("password", _text(512), nullable=False),
        Column("changed", BigInteger, nullable=False),
        Column("worked", BigInteger, nullable=False),
        Column("refused", BigInteger, nullable=False),
        if_not_exists=True,
        **MYSQL,
    )
    op.create_table(
        "mailpush_notes",
        Column("name", _text(64), primary_key=True),
        Column("note", _text(4096), nullable=False),
        if_not_exists=True,
        **MYSQL,
    )
