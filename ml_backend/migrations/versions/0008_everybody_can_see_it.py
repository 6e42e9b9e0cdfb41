"""What the page shows: counts that jobs keep, and what was looked at."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


TIME = sa.DateTime(timezone=True)
# The time by which a day's rows are found: counting must not scan what grows.
TIMES = {
    "recordings": ["created_at"], "tasks": ["created_at"], "samples": ["accepted_at"],
    "outcomes": ["kind", "created_at"],
}  # fmt: skip


def upgrade() -> None:
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


def downgrade() -> None:
    op.drop_index("ix_annotations_annotator_ls_created_at", "annotations")
    op.drop_index("ix_annotations_ls_created_at", "annotations")
    for table, columns in TIMES.items():
        op.drop_index(f"ix_{table}_{'_'.join(columns)}", table)
    op.drop_table("day_counts")
