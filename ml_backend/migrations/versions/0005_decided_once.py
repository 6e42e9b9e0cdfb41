"""A recording's project and route, an annotation's choices and a callback's event are stored where they were decided."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from ml_backend.labelling import labelconfig
from ml_backend.labelling.reference import to_reference

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

PAGE = 500


def upgrade() -> None:
    with op.batch_alter_table("recordings", schema=None) as batch_op:
        batch_op.add_column(sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite")))
        batch_op.add_column(sa.Column("route", sa.JSON(), nullable=True))
        batch_op.create_foreign_key("fk_recordings_project_id", "projects", ["project_id"], ["id"])
    with op.batch_alter_table("annotations", schema=None) as batch_op:
        batch_op.add_column(sa.Column("choices", sa.JSON(), nullable=True))
        batch_op.add_column(sa.Column("redraft", sa.String(length=10), nullable=True))
    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.add_column(sa.Column("said", sa.JSON(), nullable=True))
    with op.batch_alter_table("device_leases", schema=None) as batch_op:
        batch_op.drop_column("wanted_by")  # no release ever wrote it
    _projects()
    _samples()
    _annotations()


def _projects() -> None:
    """A recording with tasks goes where they are. All else is decided when it is needed next, routes included."""
    op.execute(
        "UPDATE recordings SET project_id = (SELECT MIN(t.project_id) FROM tasks t JOIN projects p"
        " ON p.id = t.project_id WHERE t.recording_id = recordings.id AND p.state <> 'detached')"
    )


def _samples() -> None:
    """What export and progress worked out for themselves until now: samples without sound, or without consent."""
    op.execute(
        "UPDATE samples SET state = 'excluded', reason_code = 'audio-missing', reason = 'The recording is not there.'"
        " WHERE state = 'accepted' AND recording_id IN"
        " (SELECT id FROM recordings WHERE state IN ('refused', 'lost', 'erased', 'expired'))"
    )
    op.execute(
        "UPDATE samples SET state = 'excluded', reason_code = 'consent',"
        " reason = 'What the people in the call agreed to does not cover training.'"
        " WHERE state = 'accepted' AND recording_id IN"
        " (SELECT r.id FROM recordings r JOIN calls c ON c.id = r.call_id"
        " WHERE c.consent_purpose IN ('review', 'service', 'none'))"
    )


def _annotations() -> None:
    """What the samples of older annotations read from their result until now."""
    connection = op.get_bind()
    annotations = sa.table(
        "annotations", sa.column("id"), sa.column("project_id"), sa.column("result", sa.JSON),
        sa.column("choices", sa.JSON), sa.column("redraft"),
    )  # fmt: skip
    projects = sa.table("projects", sa.column("id"), sa.column("label_config"))
    controls: dict[int, Any] = {
        row.id: labelconfig.parse(row.label_config or "") for row in connection.execute(sa.select(projects))
    }
    last = 0
    while True:
        page = sa.select(annotations.c.id, annotations.c.project_id, annotations.c.result)
        rows = connection.execute(page.where(annotations.c.id > last).order_by(annotations.c.id).limit(PAGE)).all()
        for row in rows:
            said = to_reference(row.result, controls[row.project_id])
            if said.choices or said.redraft:
                change = sa.update(annotations).where(annotations.c.id == row.id)
                connection.execute(change.values(choices=dict(said.choices), redraft=(said.redraft or "")[:10] or None))
        if len(rows) < PAGE:
            return
        last = rows[-1].id


def downgrade() -> None:
    with op.batch_alter_table("device_leases", schema=None) as batch_op:
        batch_op.add_column(sa.Column("wanted_by", sa.String(length=120), nullable=True))
    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.drop_column("said")
    with op.batch_alter_table("annotations", schema=None) as batch_op:
        batch_op.drop_column("redraft")
        batch_op.drop_column("choices")
    with op.batch_alter_table("recordings", schema=None) as batch_op:
        batch_op.drop_constraint("fk_recordings_project_id", type_="foreignkey")
        batch_op.drop_column("route")
        batch_op.drop_column("project_id")
