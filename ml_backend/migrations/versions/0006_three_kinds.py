"""Utterances and voice clips, for the kinds nlu and tts; datasets and experiments say their kind."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    for name in ("datasets", "experiments"):
        column = "kind" if name == "datasets" else "model_kind"
        with op.batch_alter_table(name, schema=None) as batch_op:
            batch_op.add_column(sa.Column(column, sa.String(length=10), nullable=False, server_default="asr"))
    with op.batch_alter_table("tasks", schema=None) as batch_op:
        batch_op.add_column(sa.Column("beside_id", ID, nullable=True))
    op.create_table(
        "utterances",
        sa.Column("id", ID, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("origin", sa.String(length=120), nullable=False),
        sa.Column("external_id", sa.String(length=120), nullable=False),
        sa.Column("source", sa.String(length=20), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("intent", sa.String(length=120), nullable=True),
        sa.Column("entities", sa.JSON(), nullable=False),
        sa.Column("language", sa.String(length=10), nullable=True),
        sa.Column("script", sa.String(length=10), nullable=True),
        sa.Column("family", sa.String(length=64), nullable=True),
        sa.Column("parent_id", sa.String(length=120), nullable=True),
        sa.Column("checked", sa.Boolean(), nullable=False),
        sa.Column("call_id", ID, nullable=True),
        sa.Column("recording_id", ID, nullable=True),
        sa.Column("caller", sa.String(length=80), nullable=True),
        sa.Column("task_id", ID, nullable=True),
        sa.Column("annotation_id", ID, nullable=True),
        sa.Column("model_version", sa.String(length=120), nullable=True),
        sa.Column("confidence", sa.Float(), nullable=True),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("accepted_at", TIME, nullable=True),
        sa.Column("source_updated_at", TIME, nullable=True),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("reason_code", sa.String(length=80), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["call_id"], ["calls.id"], name="fk_utterances_call_id"),
        sa.ForeignKeyConstraint(["recording_id"], ["recordings.id"], name="fk_utterances_recording_id"),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name="fk_utterances_task_id"),
        sa.ForeignKeyConstraint(["annotation_id"], ["annotations.id"], name="fk_utterances_annotation_id"),
        sa.PrimaryKeyConstraint("id", name="pk_utterances"),
        sa.UniqueConstraint("origin", "external_id", name="uq_utterances_origin_external_id"),
    )
    op.create_index("ix_utterances_state_language", "utterances", ["state", "language"])
    op.create_index("ix_utterances_digest", "utterances", ["digest"])
    op.create_index("ix_utterances_call_id", "utterances", ["call_id"])
    op.create_index("ix_utterances_recording_id", "utterances", ["recording_id"])
    op.create_index("ix_utterances_task_id", "utterances", ["task_id"])
    op.create_table(
        "voice_clips",
        sa.Column("id", ID, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("bucket", sa.String(length=63), nullable=False),
        sa.Column("key", sa.String(length=1000), nullable=False),
        sa.Column("etag", sa.String(length=120), nullable=True),
        sa.Column("recording_id", ID, nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("text_key", sa.String(length=64), nullable=True),
        sa.Column("language", sa.String(length=10), nullable=True),
        sa.Column("voice", sa.String(length=60), nullable=True),
        sa.Column("emotion", sa.String(length=60), nullable=True),
        sa.Column("engine", sa.String(length=60), nullable=True),
        sa.Column("model_version", sa.String(length=120), nullable=True),
        sa.Column("role", sa.String(length=20), nullable=True),
        sa.Column("duration_s", sa.Float(), nullable=True),
        sa.Column("rate_hz", sa.Integer(), nullable=True),
        sa.Column("channels", sa.Integer(), nullable=True),
        sa.Column("checks", sa.JSON(), nullable=True),
        sa.Column("digest", sa.String(length=64), nullable=True),
        sa.Column("accepted_at", TIME, nullable=True),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("reason_code", sa.String(length=80), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["recording_id"], ["recordings.id"], name="fk_voice_clips_recording_id"),
        sa.PrimaryKeyConstraint("id", name="pk_voice_clips"),
        sa.UniqueConstraint("bucket", "key", name="uq_voice_clips_bucket_key"),
    )
    op.create_index("ix_voice_clips_state_language", "voice_clips", ["state", "language"])
    op.create_index("ix_voice_clips_digest", "voice_clips", ["digest"])
    op.create_index("ix_voice_clips_recording_id", "voice_clips", ["recording_id"])
    op.create_index("ix_voice_clips_text_key", "voice_clips", ["text_key"])
    op.create_index("ix_voice_clips_sha256", "voice_clips", ["sha256"])
    op.create_index(
        "ix_recordings_voices", "recordings", ["updated_at", "id"],
        sqlite_where=sa.text("synthetic"), postgresql_where=sa.text("synthetic"),
    )  # fmt: skip


def downgrade() -> None:
    op.drop_index("ix_recordings_voices", table_name="recordings")
    op.drop_table("voice_clips")
    op.drop_table("utterances")
    with op.batch_alter_table("tasks", schema=None) as batch_op:
        batch_op.drop_column("beside_id")
    for name, column in (("experiments", "model_kind"), ("datasets", "kind")):
        with op.batch_alter_table(name, schema=None) as batch_op:
            batch_op.drop_column(column)
