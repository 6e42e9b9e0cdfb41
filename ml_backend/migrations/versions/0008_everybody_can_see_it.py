"""What the page shows: counts that jobs keep, and what was looked at."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)
# The time by which a day's rows are found: counting must not scan what grows.
TIMES = {
    "recordings": ["created_at"], "tasks": ["created_at"], "samples": ["accepted_at"],
    "outcomes": ["kind", "created_at"], "jobs": ["finished_at"],
}  # fmt: skip

# Why a task has its place in the order of work, and whether its draft is shown.
OF_TASKS: dict[str, sa.types.TypeEngine[Any]] = {
    "usefulness_reason": sa.Text(),
    "expected": sa.JSON(),
    "draft_choice": sa.JSON(),
}


def upgrade() -> None:
    for name, kind in OF_TASKS.items():
        op.add_column("tasks", sa.Column(name, kind, nullable=True))
    op.create_table(
        "day_counts",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("made_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("name", "day", name="pk_day_counts"),
    )
    for table, columns in TIMES.items():
        op.create_index(f"ix_{table}_{'_'.join(columns)}", table, columns)
    op.create_index("ix_annotations_ls_created_at", "annotations", ["ls_created_at"])
    op.create_index("ix_annotations_annotator_ls_created_at", "annotations", ["annotator", "ls_created_at"])
    op.add_column("jobs", sa.Column("trace", sa.String(length=40), nullable=True))
    op.create_index("ix_jobs_name_id", "jobs", ["name", "id"])
    _add_calls()
    _errors_of_evaluations()


def _errors_of_evaluations() -> None:
    op.create_table(
        "evaluation_utterances",
        sa.Column("id", ID, nullable=False),
        sa.Column("evaluation_id", ID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("line_id", sa.String(length=120), nullable=False),
        sa.Column("audio_sha256", sa.String(length=64), nullable=True),
        sa.Column("start_s", sa.Float(), nullable=True),
        sa.Column("end_s", sa.Float(), nullable=True),
        sa.Column("channel", sa.Integer(), nullable=True),
        sa.Column("ls_project_id", ID, nullable=True),
        sa.Column("ls_task_id", ID, nullable=True),
        sa.Column("duration_s", sa.Float(), nullable=True),
        sa.Column("language", sa.String(length=10), nullable=True),
        sa.Column("detected_language", sa.String(length=10), nullable=True),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("hypothesis", sa.Text(), nullable=False),
        sa.Column("counted", sa.Boolean(), nullable=False),
        sa.Column("weight", sa.Float(), nullable=False),
        sa.Column("slices", sa.JSON(), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("edits", sa.JSON(), nullable=False),
        sa.Column("steps", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["evaluation_id"], ["evaluations.id"], name="fk_evaluation_utterances_evaluation_id"),
        sa.PrimaryKeyConstraint("id", name="pk_evaluation_utterances"),
        sa.UniqueConstraint("evaluation_id", "number", name="uq_evaluation_utterances_evaluation_id_number"),
    )
    op.create_index("ix_evaluation_utterances_audio_sha256", "evaluation_utterances", ["audio_sha256"])
    op.create_table(
        "evaluation_indexes",
        sa.Column("evaluation_id", ID, autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["evaluation_id"], ["evaluations.id"], name="fk_evaluation_indexes_evaluation_id"),
        sa.PrimaryKeyConstraint("evaluation_id", "name", name="pk_evaluation_indexes"),
    )
    with op.batch_alter_table("tasks", schema=None) as batch_op:
        batch_op.add_column(sa.Column("review_asked", sa.JSON(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("tasks", schema=None) as batch_op:
        batch_op.drop_column("review_asked")
    for name in ("evaluation_indexes", "evaluation_utterances"):
        op.drop_table(name)
    with op.batch_alter_table("tasks", schema=None) as batch_op:
        for name in OF_TASKS:
            batch_op.drop_column(name)
    _remove_calls()
    op.drop_index("ix_jobs_name_id", "jobs")
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.drop_column("trace")
    op.drop_index("ix_annotations_annotator_ls_created_at", "annotations")
    op.drop_index("ix_annotations_ls_created_at", "annotations")
    for table, columns in TIMES.items():
        op.drop_index(f"ix_{table}_{'_'.join(columns)}", table)
    op.drop_table("day_counts")


def _add_calls() -> None:
    """What became of calls by day, who listened, how loud a recording is; lists of calls in the order of an index."""
    op.create_table(
        "waveforms",
        sa.Column("recording_id", ID, autoincrement=False, nullable=False),
        sa.Column("channels", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["recording_id"], ["recordings.id"], name="fk_waveforms_recording_id"),
        sa.PrimaryKeyConstraint("recording_id", name="pk_waveforms"),
    )
    op.create_table(
        "listenings",
        sa.Column("id", ID, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("who", sa.String(length=120), nullable=False),
        sa.Column("recording_id", ID, nullable=False),
        sa.Column("call_id", ID, nullable=True),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_listenings"),
    )
    op.create_index("ix_listenings_recording_id_who", "listenings", ["recording_id", "who"])
    op.create_index("ix_listenings_created_at", "listenings", ["created_at"])
    op.drop_index("ix_calls_started_at", table_name="calls")
    op.create_index("ix_calls_started_at_created_at", "calls", ["started_at", "created_at"])
    op.create_index("ix_calls_state_id", "calls", ["state", "id"])
    op.create_index("ix_calls_reason_code_id", "calls", ["reason_code", "id"])
    op.create_index("ix_recordings_language_call_id", "recordings", ["language", "call_id"])
    op.create_index("ix_recordings_project_id_call_id", "recordings", ["project_id", "call_id"])


def _remove_calls() -> None:
    for table, name in (
        ("recordings", "ix_recordings_project_id_call_id"),
        ("recordings", "ix_recordings_language_call_id"),
        ("calls", "ix_calls_reason_code_id"),
        ("calls", "ix_calls_state_id"),
        ("calls", "ix_calls_started_at_created_at"),
    ):
        op.drop_index(name, table_name=table)
    op.create_index("ix_calls_started_at", "calls", ["started_at"])
    for name in ("listenings", "waveforms"):
        op.drop_table(name)
