"""Annotations become datasets and datasets become models."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import ml_backend.tables

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "device_leases",
        sa.Column("device", sa.String(length=60), nullable=False),
        sa.Column("owner", sa.String(length=120), nullable=True),
        sa.Column("purpose", sa.String(length=20), nullable=True),
        sa.Column("until", ml_backend.tables.UtcTime(timezone=True), nullable=True),
        sa.Column("wanted_by", sa.String(length=120), nullable=True),
        sa.PrimaryKeyConstraint("device", name=op.f("pk_device_leases")),
    )
    op.create_table(
        "summaries",
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("made_at", ml_backend.tables.UtcTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_summaries")),
    )
    op.create_table(
        "hotwords",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("created_at", ml_backend.tables.UtcTime(timezone=True), nullable=False),
        sa.Column("updated_at", ml_backend.tables.UtcTime(timezone=True), nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("language", sa.String(length=10), nullable=False),
        sa.Column("word", sa.String(length=120), nullable=False),
        sa.Column("heard", sa.JSON(), nullable=False),
        sa.Column("seen", sa.Integer(), nullable=False),
        sa.Column("check", sa.JSON(), nullable=True),
        sa.Column("who", sa.String(length=120), nullable=True),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("reason_code", sa.String(length=80), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_hotwords_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hotwords")),
        sa.UniqueConstraint("project_id", "language", "word", name=op.f("uq_hotwords_project_id_language_word")),
    )
    op.create_table(
        "agreements",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("created_at", ml_backend.tables.UtcTime(timezone=True), nullable=False),
        sa.Column("task_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("first_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("second_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["first_id"], ["annotations.id"], name=op.f("fk_agreements_first_id")),
        sa.ForeignKeyConstraint(["second_id"], ["annotations.id"], name=op.f("fk_agreements_second_id")),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_agreements_task_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agreements")),
        sa.UniqueConstraint("first_id", "second_id", name=op.f("uq_agreements_first_id_second_id")),
    )
    with op.batch_alter_table("agreements", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_agreements_task_id"), ["task_id"], unique=False)

    op.create_table(
        "samples",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("created_at", ml_backend.tables.UtcTime(timezone=True), nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("task_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("annotation_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("recording_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("start_s", sa.Float(), nullable=False),
        sa.Column("end_s", sa.Float(), nullable=False),
        sa.Column("channel", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("language", sa.String(length=10), nullable=True),
        sa.Column("script", sa.String(length=10), nullable=True),
        sa.Column("annotator", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("quality", sa.String(length=60), nullable=True),
        sa.Column("accent", sa.String(length=60), nullable=True),
        sa.Column("chosen_by", sa.String(length=20), nullable=True),
        sa.Column("blind", sa.Boolean(), nullable=False),
        sa.Column("before_attach", sa.Boolean(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("accepted_at", ml_backend.tables.UtcTime(timezone=True), nullable=True),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("reason_code", sa.String(length=80), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["annotation_id"], ["annotations.id"], name=op.f("fk_samples_annotation_id")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_samples_project_id")),
        sa.ForeignKeyConstraint(["recording_id"], ["recordings.id"], name=op.f("fk_samples_recording_id")),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_samples_task_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_samples")),
        sa.UniqueConstraint("task_id", "number", name=op.f("uq_samples_task_id_number")),
    )
    with op.batch_alter_table("samples", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_samples_digest"), ["digest"], unique=False)
        batch_op.create_index(batch_op.f("ix_samples_recording_id"), ["recording_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_samples_state_language"), ["state", "language"], unique=False)

    with op.batch_alter_table("annotations", schema=None) as batch_op:
        batch_op.add_column(sa.Column("found_by", sa.String(length=20), nullable=True))
        batch_op.add_column(sa.Column("segments", sa.JSON(), nullable=True))
        batch_op.add_column(sa.Column("reject", sa.JSON(), nullable=True))
        batch_op.add_column(sa.Column("edited", sa.String(length=20), nullable=True))
        batch_op.add_column(sa.Column("draft", sa.JSON(), nullable=True))
        batch_op.add_column(sa.Column("model_version", sa.String(length=120), nullable=True))
        batch_op.add_column(sa.Column("measures", sa.JSON(), nullable=True))

    with op.batch_alter_table("calls", schema=None) as batch_op:
        batch_op.add_column(sa.Column("satisfaction", sa.Float(), nullable=True))

    with op.batch_alter_table("datasets", schema=None) as batch_op:
        batch_op.add_column(sa.Column("test_sha256", sa.String(length=64), nullable=True))
        batch_op.add_column(sa.Column("renderings", sa.JSON(), nullable=False, server_default="{}"))
        batch_op.add_column(sa.Column("card_key", sa.String(length=1000), nullable=True))
        batch_op.add_column(sa.Column("state", sa.String(length=20), nullable=False, server_default="ready"))
        batch_op.add_column(sa.Column("reason_code", sa.String(length=80), nullable=True))
        batch_op.add_column(sa.Column("reason", sa.Text(), nullable=True))
        batch_op.create_index(batch_op.f("ix_datasets_manifest_sha256"), ["manifest_sha256"], unique=False)

    with op.batch_alter_table("evaluations", schema=None) as batch_op:
        batch_op.add_column(sa.Column("test_sha256", sa.String(length=64), nullable=True))
        batch_op.add_column(sa.Column("against_version", sa.String(length=120), nullable=True))
        batch_op.add_column(sa.Column("details_key", sa.String(length=1000), nullable=True))
        batch_op.create_index(batch_op.f("ix_evaluations_model_version_id"), ["model_version_id"], unique=False)

    with op.batch_alter_table("experiments", schema=None) as batch_op:
        batch_op.add_column(sa.Column("kind", sa.String(length=20), nullable=False, server_default="ab"))
        batch_op.add_column(sa.Column("language", sa.String(length=10), nullable=False, server_default="*"))
        batch_op.add_column(sa.Column("salt", sa.String(length=40), nullable=True))
        batch_op.add_column(sa.Column("options", sa.JSON(), nullable=True))
        batch_op.add_column(sa.Column("started_by", sa.String(length=120), nullable=True))
        batch_op.add_column(sa.Column("ends_at", ml_backend.tables.UtcTime(timezone=True), nullable=True))

    with op.batch_alter_table("model_versions", schema=None) as batch_op:
        batch_op.add_column(sa.Column("lineage", sa.JSON(), nullable=True))
        batch_op.add_column(sa.Column("parity", sa.JSON(), nullable=True))
        batch_op.add_column(sa.Column("retrain_by", ml_backend.tables.UtcTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("rolled_back_at", ml_backend.tables.UtcTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("reason_code", sa.String(length=80), nullable=True))
        batch_op.add_column(sa.Column("reason", sa.Text(), nullable=True))

    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "updated_at",
                ml_backend.tables.UtcTime(timezone=True),
                nullable=False,
                server_default="1970-01-01 00:00:00",
            )
        )
        batch_op.add_column(
            sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True)
        )
        batch_op.add_column(sa.Column("who", sa.String(length=120), nullable=True))
        batch_op.add_column(sa.Column("why", sa.String(length=200), nullable=True))
        batch_op.add_column(sa.Column("estimate", sa.JSON(), nullable=True))
        batch_op.add_column(sa.Column("metrics", sa.JSON(), nullable=True))
        batch_op.add_column(sa.Column("cancel_asked", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.add_column(sa.Column("started_at", ml_backend.tables.UtcTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("finished_at", ml_backend.tables.UtcTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("folder", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("step", sa.String(length=20), nullable=True))
        batch_op.create_index(batch_op.f("ix_runs_state"), ["state"], unique=False)
        batch_op.create_foreign_key(batch_op.f("fk_runs_project_id"), "projects", ["project_id"], ["id"])

    with op.batch_alter_table("tasks", schema=None) as batch_op:
        batch_op.add_column(sa.Column("gold_text", sa.Text(), nullable=True))
        batch_op.add_column(
            sa.Column("experiment_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True)
        )
        batch_op.add_column(sa.Column("arm", sa.String(length=20), nullable=True))
        batch_op.create_foreign_key(batch_op.f("fk_tasks_experiment_id"), "experiments", ["experiment_id"], ["id"])

    with op.batch_alter_table("projects", schema=None) as batch_op:
        batch_op.add_column(sa.Column("learnt", sa.JSON(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("projects", schema=None) as batch_op:
        batch_op.drop_column("learnt")

    with op.batch_alter_table("tasks", schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f("fk_tasks_experiment_id"), type_="foreignkey")
        batch_op.drop_column("arm")
        batch_op.drop_column("experiment_id")
        batch_op.drop_column("gold_text")

    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f("fk_runs_project_id"), type_="foreignkey")
        batch_op.drop_index(batch_op.f("ix_runs_state"))
        batch_op.drop_column("step")
        batch_op.drop_column("folder")
        batch_op.drop_column("finished_at")
        batch_op.drop_column("started_at")
        batch_op.drop_column("cancel_asked")
        batch_op.drop_column("metrics")
        batch_op.drop_column("estimate")
        batch_op.drop_column("why")
        batch_op.drop_column("who")
        batch_op.drop_column("project_id")
        batch_op.drop_column("updated_at")

    with op.batch_alter_table("model_versions", schema=None) as batch_op:
        batch_op.drop_column("reason")
        batch_op.drop_column("reason_code")
        batch_op.drop_column("rolled_back_at")
        batch_op.drop_column("retrain_by")
        batch_op.drop_column("parity")
        batch_op.drop_column("lineage")

    with op.batch_alter_table("experiments", schema=None) as batch_op:
        batch_op.drop_column("ends_at")
        batch_op.drop_column("started_by")
        batch_op.drop_column("options")
        batch_op.drop_column("salt")
        batch_op.drop_column("language")
        batch_op.drop_column("kind")

    with op.batch_alter_table("evaluations", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_evaluations_model_version_id"))
        batch_op.drop_column("details_key")
        batch_op.drop_column("against_version")
        batch_op.drop_column("test_sha256")

    with op.batch_alter_table("calls", schema=None) as batch_op:
        batch_op.drop_column("satisfaction")

    with op.batch_alter_table("datasets", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_datasets_manifest_sha256"))
        batch_op.drop_column("reason")
        batch_op.drop_column("reason_code")
        batch_op.drop_column("state")
        batch_op.drop_column("card_key")
        batch_op.drop_column("renderings")
        batch_op.drop_column("test_sha256")

    with op.batch_alter_table("annotations", schema=None) as batch_op:
        batch_op.drop_column("measures")
        batch_op.drop_column("model_version")
        batch_op.drop_column("draft")
        batch_op.drop_column("edited")
        batch_op.drop_column("reject")
        batch_op.drop_column("segments")
        batch_op.drop_column("found_by")

    with op.batch_alter_table("samples", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_samples_state_language"))
        batch_op.drop_index(batch_op.f("ix_samples_recording_id"))
        batch_op.drop_index(batch_op.f("ix_samples_digest"))

    op.drop_table("samples")
    with op.batch_alter_table("agreements", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_agreements_task_id"))

    op.drop_table("agreements")
    op.drop_table("hotwords")
    op.drop_table("summaries")
    op.drop_table("device_leases")
