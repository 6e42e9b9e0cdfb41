"""A recording says who knows its language; what no release ever wrote is gone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("recordings", schema=None) as batch_op:
        batch_op.add_column(sa.Column("language_by", sa.String(length=10), nullable=True))
        batch_op.add_column(sa.Column("language_asked", sa.String(length=10), nullable=True))
        batch_op.add_column(sa.Column("speech", sa.JSON(), nullable=True))
    for said in ("annotations", "samples"):
        with op.batch_alter_table(said, schema=None) as batch_op:
            batch_op.add_column(sa.Column("emotion", sa.String(length=60), nullable=True))
    with op.batch_alter_table("company_numbers", schema=None) as batch_op:
        batch_op.add_column(sa.Column("language", sa.String(length=10), nullable=True))
    with op.batch_alter_table("projects", schema=None) as batch_op:
        batch_op.drop_column("language")
        batch_op.add_column(sa.Column("redraft", sa.JSON(), nullable=True))
    unconfirmed = sa.text("confirmed_at IS NULL")
    op.create_index(
        "ix_predictions_unconfirmed", "predictions", ["project_id", "draft_label"],
        sqlite_where=unconfirmed, postgresql_where=unconfirmed,
    )  # fmt: skip
    _languages()


def _languages() -> None:
    """What was detected and confirmed before recordings kept it; their next transcription or annotation goes on."""
    op.execute("UPDATE recordings SET language_by = 'given' WHERE language IS NOT NULL")
    first = (
        "SELECT t.language FROM transcriptions t WHERE t.audio_sha256 = recordings.sha256"
        " AND t.language IS NOT NULL ORDER BY t.id LIMIT 1"
    )
    op.execute(
        f"UPDATE recordings SET language = ({first}), language_by = 'detected' WHERE language_by IS NULL"  # noqa: S608
        " AND EXISTS (SELECT 1 FROM transcriptions t WHERE t.audio_sha256 = recordings.sha256)"
    )
    chosen = (
        "FROM annotations a JOIN tasks k ON k.id = a.task_id WHERE k.recording_id = recordings.id"
        " AND a.language IS NOT NULL AND a.deleted_at IS NULL AND NOT a.skipped"
    )
    op.execute(
        f"UPDATE recordings SET language = (SELECT a.language {chosen}"  # noqa: S608
        f" ORDER BY a.ls_updated_at DESC, a.id DESC LIMIT 1), language_by = 'confirmed' WHERE EXISTS (SELECT 1 {chosen})"
    )


def downgrade() -> None:
    op.drop_index("ix_predictions_unconfirmed", table_name="predictions")
    with op.batch_alter_table("projects", schema=None) as batch_op:
        batch_op.drop_column("redraft")
        batch_op.add_column(sa.Column("language", sa.String(length=10), nullable=True))
    with op.batch_alter_table("company_numbers", schema=None) as batch_op:
        batch_op.drop_column("language")
    with op.batch_alter_table("recordings", schema=None) as batch_op:
        batch_op.drop_column("language_by")
        batch_op.drop_column("language_asked")
        batch_op.drop_column("speech")
    for said in ("annotations", "samples"):
        with op.batch_alter_table(said, schema=None) as batch_op:
            batch_op.drop_column("emotion")
