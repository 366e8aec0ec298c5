"""The tables of the first release.

Column types are written out and not taken from `store.schema`: that module tells what the tables are today,
a revision what they were.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

LARGE = sa.BigInteger().with_variant(sa.Integer, "sqlite")
NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "events",
        sa.Column("position", LARGE, autoincrement=False, nullable=False),
        sa.Column("stream", NAME, nullable=False),
        sa.Column("version", LARGE, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("schema_version", sa.Integer, nullable=False),
        sa.Column("at", sa.String(27), nullable=False),
        sa.Column("recorded_at", sa.String(27), nullable=False),
        sa.Column("epoch", LARGE, nullable=False),
        sa.Column("cause", sa.Text, nullable=False),
        sa.Column("event_id", sa.String(64), nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("position", name="pk_events"),
        sa.UniqueConstraint("stream", "version", name="uq_events_stream_version"),
        sa.UniqueConstraint("event_id", name="uq_events_event_id"),
    )
    op.create_table(
        "fences",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("epoch", LARGE, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_fences"),
    )
    op.create_table(
        "snapshots",
        sa.Column("stream", NAME, nullable=False),
        sa.Column("version", LARGE, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("stream", name="pk_snapshots"),
    )
    op.create_table(
        "checkpoints",
        sa.Column("projection", sa.Text, nullable=False),
        sa.Column("position", LARGE, nullable=False),
        sa.PrimaryKeyConstraint("projection", name="pk_checkpoints"),
    )
    op.create_table(
        "workspaces",
        sa.Column("stream", NAME, nullable=False),
        sa.Column("namespace", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("uid", sa.Text, nullable=False),
        sa.Column("first_position", LARGE, nullable=False),
        sa.Column("last_position", LARGE, nullable=False),
        sa.Column("last_type", sa.Text, nullable=False),
        sa.Column("last_at", sa.String(27), nullable=False),
        sa.PrimaryKeyConstraint("stream", name="pk_workspaces"),
    )
    op.create_index("ix_workspaces_name", "workspaces", ["name"])


def downgrade() -> None:
    for table in ("workspaces", "checkpoints", "snapshots", "fences", "events"):
        op.drop_table(table)
