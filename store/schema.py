"""The tables of the log, and which schema revisions this code knows.

Only column types that SQLite and PostgreSQL share are used. Times are text of one fixed width
(``2024-04-05T18:29:52.123456Z``): they sort as they read, and their bytes are part of the hash. The column
``at`` repeats the time inside ``data`` as an index for people and SQL; verification checks that both agree.

Positions are assigned by the writer inside a transaction that excludes all other writers, never by a
sequence: a sequence hands out numbers before commit, so a reader could pass a number that a slower
transaction commits later.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)

REVISIONS = ("0001",)
"""Every revision of the tables this code knows, oldest first; the Alembic scripts bear the same names."""

REVISION = REVISIONS[-1]
"""The revision this code reads and writes."""

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

LARGE = BigInteger().with_variant(Integer, "sqlite")
"""A 64-bit integer; SQLite needs the word INTEGER to make a primary key the row id."""

NAME = Text().with_variant(Text(collation="C"), "postgresql")
"""Text compared byte by byte in both databases, so that a prefix is a range."""

metadata = MetaData(naming_convention=NAMING)

events = Table(
    "events",
    metadata,
    Column("position", LARGE, primary_key=True, autoincrement=False),
    Column("stream", NAME, nullable=False),
    Column("version", LARGE, nullable=False),
    Column("type", Text, nullable=False),
    Column("schema_version", Integer, nullable=False),
    Column("at", String(27), nullable=False),
    Column("recorded_at", String(27), nullable=False),
    Column("epoch", LARGE, nullable=False),
    Column("cause", Text, nullable=False),
    Column("event_id", String(64), nullable=False),
    Column("data", Text, nullable=False),
    Column("hash", String(64), nullable=False),
    UniqueConstraint("stream", "version"),
    UniqueConstraint("event_id"),
)

fences = Table(
    "fences",
    metadata,
    Column("name", Text, primary_key=True),
    Column("epoch", LARGE, nullable=False),
)
"""The highest epoch that may write to a family of streams: a row for each that was led."""


snapshots = Table(
    "snapshots",
    metadata,
    Column("stream", NAME, primary_key=True),
    Column("version", LARGE, nullable=False),
    Column("hash", String(64), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("state", Text, nullable=False),
)
"""The latest folded state of a stream; ``hash`` is that of the event at ``version``."""

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("projection", Text, primary_key=True),
    Column("position", LARGE, nullable=False),
)
"""The last position each projection has taken in."""

workspaces = Table(
    "workspaces",
    metadata,
    Column("stream", NAME, primary_key=True),
    Column("namespace", Text, nullable=False),
    Column("name", Text, nullable=False, index=True),
    Column("uid", Text, nullable=False),
    Column("first_position", LARGE, nullable=False),
    Column("last_position", LARGE, nullable=False),
    Column("last_type", Text, nullable=False),
    Column("last_at", String(27), nullable=False),
)
"""The read model of the projection `workspaces`: one row a stream."""

revision_table = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
"""Alembic's own table; read here without loading Alembic, which would slow every start."""
