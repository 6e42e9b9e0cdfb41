"""Every call becomes a recording."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import ml_backend.tables

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "checkpoints",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("position", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("reason_code", sa.String(length=80), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("started_at", ml_backend.tables.UtcTime(timezone=True), nullable=False),
        sa.Column("updated_at", ml_backend.tables.UtcTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_checkpoints")),
    )
    op.create_table(
        "company_numbers",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("created_at", ml_backend.tables.UtcTime(timezone=True), nullable=False),
        sa.Column("updated_at", ml_backend.tables.UtcTime(timezone=True), nullable=False),
        sa.Column("pseudonym", sa.String(length=80), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=True),
        sa.Column("agent_channel", sa.Integer(), nullable=True),
        sa.Column("consent_purpose", sa.String(length=60), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_company_numbers")),
        sa.UniqueConstraint("pseudonym", name=op.f("uq_company_numbers_pseudonym")),
    )
    op.create_table(
        "erasures",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("created_at", ml_backend.tables.UtcTime(timezone=True), nullable=False),
        sa.Column("pseudonym", sa.String(length=80), nullable=False),
        sa.Column("who", sa.String(length=120), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=True),
        sa.Column("report", sa.JSON(), nullable=True),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("finished_at", ml_backend.tables.UtcTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erasures")),
    )
    op.create_table(
        "holds",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("created_at", ml_backend.tables.UtcTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("identity", sa.String(length=1000), nullable=False),
        sa.Column("why", sa.String(length=200), nullable=False),
        sa.Column("who", sa.String(length=120), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_holds")),
        sa.UniqueConstraint("kind", "identity", name=op.f("uq_holds_kind_identity")),
    )
    op.create_table(
        "retention",
        sa.Column("bucket", sa.String(length=100), nullable=False),
        sa.Column("days", sa.Integer(), nullable=True),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("report", sa.JSON(), nullable=True),
        sa.Column("updated_at", ml_backend.tables.UtcTime(timezone=True), nullable=False),
        sa.Column("who", sa.String(length=120), nullable=True),
        sa.PrimaryKeyConstraint("bucket", name=op.f("pk_retention")),
    )
    op.create_table(
        "objects",
        sa.Column("bucket", sa.String(length=100), nullable=False),
        sa.Column(
            "object_key",
            sa.String(length=1024).with_variant(sa.String(length=1024, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("name", sa.String(length=200), nullable=True),
        sa.Column("etag", sa.String(length=120), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("modified_at", ml_backend.tables.UtcTime(timezone=True), nullable=True),
        sa.Column("seen_at", ml_backend.tables.UtcTime(timezone=True), nullable=False),
        sa.Column("recording_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("reason_code", sa.String(length=80), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["recording_id"], ["recordings.id"], name=op.f("fk_objects_recording_id_recordings")),
        sa.PrimaryKeyConstraint("bucket", "object_key", name=op.f("pk_objects")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("objects", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_objects_name"), ["name"], unique=False)
        batch_op.create_index(batch_op.f("ix_objects_recording_id"), ["recording_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_objects_state"), ["state"], unique=False)

    with op.batch_alter_table("calls", schema=None) as batch_op:
        batch_op.add_column(sa.Column("merged", sa.JSON(), nullable=False, server_default="{}"))
        batch_op.add_column(sa.Column("seen_by", sa.JSON(), nullable=False, server_default="[]"))
        batch_op.add_column(sa.Column("listed_at", ml_backend.tables.UtcTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("tries", sa.Integer(), nullable=False, server_default="0"))
        batch_op.create_index(batch_op.f("ix_calls_from_pseudonym"), ["from_pseudonym"], unique=False)
        batch_op.create_index(batch_op.f("ix_calls_started_at"), ["started_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_calls_to_pseudonym"), ["to_pseudonym"], unique=False)

    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.add_column(sa.Column("once_key", sa.String(length=80), nullable=True))
        batch_op.add_column(sa.Column("copies", sa.Integer(), nullable=False, server_default="1"))
        batch_op.add_column(sa.Column("call_sid", sa.String(length=200), nullable=True))
        batch_op.create_index(batch_op.f("ix_events_call_sid"), ["call_sid"], unique=False)
        batch_op.create_unique_constraint(batch_op.f("uq_events_once_key"), ["once_key"])

    with op.batch_alter_table("recordings", schema=None) as batch_op:
        batch_op.add_column(sa.Column("spans", sa.JSON(), nullable=True))
        batch_op.add_column(sa.Column("language", sa.String(length=10), nullable=True))
        batch_op.add_column(sa.Column("known_text", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("etag", sa.String(length=120), nullable=True))
        batch_op.add_column(sa.Column("object_seen_at", ml_backend.tables.UtcTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("priority", sa.Integer(), nullable=False, server_default="50"))
        batch_op.create_index(batch_op.f("ix_recordings_bucket_object_key"), ["bucket", "object_key"], unique=False)

    with op.batch_alter_table("tasks", schema=None) as batch_op:
        batch_op.add_column(sa.Column("usefulness", sa.Float(), nullable=True))
        batch_op.add_column(sa.Column("overlap", sa.Integer(), nullable=False, server_default="1"))


def downgrade() -> None:
    with op.batch_alter_table("tasks", schema=None) as batch_op:
        batch_op.drop_column("overlap")
        batch_op.drop_column("usefulness")

    with op.batch_alter_table("recordings", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_recordings_bucket_object_key"))
        batch_op.drop_column("priority")
        batch_op.drop_column("object_seen_at")
        batch_op.drop_column("etag")
        batch_op.drop_column("known_text")
        batch_op.drop_column("language")
        batch_op.drop_column("spans")

    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f("uq_events_once_key"), type_="unique")
        batch_op.drop_index(batch_op.f("ix_events_call_sid"))
        batch_op.drop_column("call_sid")
        batch_op.drop_column("copies")
        batch_op.drop_column("once_key")

    with op.batch_alter_table("calls", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_calls_to_pseudonym"))
        batch_op.drop_index(batch_op.f("ix_calls_started_at"))
        batch_op.drop_index(batch_op.f("ix_calls_from_pseudonym"))
        batch_op.drop_column("tries")
        batch_op.drop_column("listed_at")
        batch_op.drop_column("seen_by")
        batch_op.drop_column("merged")

    op.drop_table("objects")
    op.drop_table("retention")
    op.drop_table("holds")
    op.drop_table("erasures")
    op.drop_table("company_numbers")
    op.drop_table("checkpoints")
