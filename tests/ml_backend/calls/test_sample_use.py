"""Whether a sample may be used stands on its row, and follows when its audio or its call's consent changes."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.calls import ledger, sample_use
from ml_backend.context import Context


def sampled(context: Context) -> None:
    """One accepted sample of a call's recording, with id 1 everywhere."""
    at = tables.now()
    with context.db.transaction() as connection:
        for table, values in (
            (tables.projects, {"instance_url": "http://ls", "ls_project_id": 1}),
            (tables.calls, {"provider": "exotel", "call_sid": "one", "consent_purpose": "training", "state": "tasked"}),
            (tables.recordings, {"source": "exotel", "source_identity": "one", "call_id": 1, "state": "ready"}),
            (tables.tasks, {"project_id": 1, "recording_id": 1, "external_key": "k", "origin": "ours"}),
            (tables.annotations, {"project_id": 1, "task_id": 1, "ls_annotation_id": 1, "ls_updated_at": at,
                                  "result": []}),
            (tables.samples, {"project_id": 1, "task_id": 1, "number": 0, "annotation_id": 1, "recording_id": 1,
                              "start_s": 0.0, "end_s": 1.0, "text": "namaste", "digest": "d", "state": "accepted",
                              "accepted_at": at}),
        ):  # fmt: skip
            connection.execute(sa.insert(table).values(**values))


def state(context: Context) -> tuple[str, str | None]:
    [row] = context.db.rows(sa.select(tables.samples))
    return row.state, row.reason_code


def waiting(context: Context) -> list[dict[str, Any]]:
    return context.db.scalars(sa.select(tables.jobs.c.arguments).where(tables.jobs.c.name == "sample-task"))


@pytest.mark.parametrize("gone", ["lost", "expired"])
def test_a_sample_whose_audio_went_is_left_out_at_once_and_sampled_again_when_it_is_back(
    context: Context, gone: str
) -> None:
    sampled(context)
    with context.db.transaction() as connection:
        db.update(connection, tables.recordings, 1, state=gone)
        ledger.recording_moved(connection, 1)
    assert (state(context), waiting(context)) == (("excluded", "audio-missing"), [])
    with context.db.transaction() as connection:
        db.update(connection, tables.recordings, 1, state="ready")
        ledger.recording_moved(connection, 1)
    assert waiting(context) == [{"task_id": 1}]


@pytest.mark.parametrize("purpose", ["review", "service", "none"])
def test_a_sample_of_a_call_that_may_not_be_learnt_from_is_left_out_at_once(context: Context, purpose: str) -> None:
    sampled(context)
    for stated in (purpose, "training"):
        with context.db.transaction() as connection:
            db.update(connection, tables.calls, 1, consent_purpose=stated)
            sample_use.decide(connection, tables.recordings.c.call_id == 1)
    assert (state(context), waiting(context)) == (("excluded", "consent"), [{"task_id": 1}])


def test_a_recording_that_moves_on_changes_no_sample(context: Context) -> None:
    sampled(context)
    with context.db.transaction() as connection:
        ledger.recording_moved(connection, 1)
    assert (state(context), waiting(context)) == (("accepted", None), [])


@pytest.mark.parametrize(
    ("audio", "purpose", "code"),
    [("ready", None, ""), ("ready", "training", ""), ("ready", "review", "consent"), ("lost", "training",
     "audio-missing"), (None, None, "audio-missing"), ("stored", "training", "")],
)  # fmt: skip
def test_the_objection_is_one_reason(audio: str | None, purpose: str | None, code: str) -> None:
    assert sample_use.objection(audio, purpose) == code
