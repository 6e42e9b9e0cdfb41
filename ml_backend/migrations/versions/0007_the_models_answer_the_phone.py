"""How calls went, what live requests were answered, and which numbers' live audio is kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    with op.batch_alter_table("company_numbers", schema=None) as batch_op:
        batch_op.add_column(sa.Column("keeps_live_audio", sa.Boolean(), nullable=True))
    op.create_table(
        "outcomes",
        sa.Column("id", ID, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("call_sid", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("model_version", sa.String(length=120), nullable=True),
        sa.Column("experiment_id", ID, nullable=True),
        sa.Column("arm", sa.String(length=20), nullable=True),
        sa.Column("shadow", sa.JSON(), nullable=True),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("latency_s", sa.Float(), nullable=True),
        sa.Column("success", sa.Boolean(), nullable=True),
        sa.Column("satisfaction", sa.Float(), nullable=True),
        sa.Column("automated", sa.Boolean(), nullable=True),
        sa.Column("intent", sa.String(length=120), nullable=True),
        sa.Column("latencies", sa.JSON(), nullable=True),
        sa.Column("tags", sa.JSON(), nullable=True),
        sa.Column("field_times", sa.JSON(), nullable=True),
        sa.Column("reported_at", TIME, nullable=True),
        sa.Column("source", sa.String(length=40), nullable=True),
        sa.ForeignKeyConstraint(["experiment_id"], ["experiments.id"], name="fk_outcomes_experiment_id"),
        sa.PrimaryKeyConstraint("id", name="pk_outcomes"),
        sa.UniqueConstraint("call_sid", "kind", name="uq_outcomes_call_sid_kind"),
    )
    op.execute(  # how content callers were: in one place from now on
        "INSERT INTO outcomes (created_at, updated_at, call_sid, kind, requests, failed, satisfaction, source) "
        "SELECT max(updated_at), max(updated_at), call_sid, 'call', 0, 0, max(satisfaction), 'satisfaction' FROM calls "
        "WHERE satisfaction IS NOT NULL AND state NOT IN ('erased', 'expired') GROUP BY call_sid"
    )
    with op.batch_alter_table("calls", schema=None) as batch_op:
        batch_op.drop_column("satisfaction")
        batch_op.create_index("ix_calls_call_sid", ["call_sid"])
    op.create_index("ix_tasks_experiment_id", "tasks", ["experiment_id"])
    op.create_index("ix_outcomes_experiment_id_kind", "outcomes", ["experiment_id", "kind"])
    op.create_index("ix_outcomes_updated_at", "outcomes", ["updated_at"])
    op.create_table(
        "live_minutes",
        sa.Column("id", ID, nullable=False),
        sa.Column("minute", TIME, nullable=False),
        sa.Column("process", sa.String(length=120), nullable=False),
        sa.Column("route", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("model_version", sa.String(length=120), nullable=False),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.JSON(), nullable=True),
        sa.Column("waits", sa.JSON(), nullable=True),
        sa.Column("computes", sa.JSON(), nullable=True),
        sa.Column("first_partials", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_live_minutes"),
        sa.UniqueConstraint(
            "minute", "process", "route", "kind", "model_version",
            name="uq_live_minutes_minute_process_route_kind_model_version",
        ),
    )  # fmt: skip
    op.create_table(
        "live_totals",
        sa.Column("route", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("model_version", sa.String(length=120), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("route", "kind", "model_version", name="pk_live_totals"),
    )
    op.create_table(
        "uptime_days",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("minutes", sa.Integer(), nullable=False),
        sa.Column("good_minutes", sa.Integer(), nullable=False),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("day", name="pk_uptime_days"),
    )


def downgrade() -> None:
    op.drop_index("ix_tasks_experiment_id", table_name="tasks")
    with op.batch_alter_table("calls", schema=None) as batch_op:
        batch_op.drop_index("ix_calls_call_sid")
        batch_op.add_column(sa.Column("satisfaction", sa.Float(), nullable=True))
    op.execute(
        "UPDATE calls SET satisfaction = (SELECT outcomes.satisfaction FROM outcomes "
        "WHERE outcomes.call_sid = calls.call_sid AND outcomes.kind = 'call')"
    )
    for name in ("uptime_days", "live_totals", "live_minutes", "outcomes"):
        op.drop_table(name)
    with op.batch_alter_table("company_numbers", schema=None) as batch_op:
        batch_op.drop_column("keeps_live_audio")
