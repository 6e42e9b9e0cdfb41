"""Periods: for ever by default, a shorter one only reports, and only a confirmed one removes sound."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.calls import tombstones
from ml_backend.errors import InvalidInput
from ml_backend.jobs import failpoints, job_kinds, schedules
from ml_backend.outcomes import call_outcomes, outcome_reports
from sync.privacy import raw_events, retention
from sync.recordings import ingest
from sync.recordings.sources import RecordingSource, add_recording
from tests.sync.persons import ANNA, BERT, People

BUCKET = "call-recordings"


@pytest.fixture
def people(tmp_path: Path) -> Iterator[People]:
    world = People(tmp_path)
    now = tables.now()
    world.call("old1", ANNA, began=now - timedelta(days=100))
    world.call("old2", BERT, began=now - timedelta(days=90))
    world.call("new1", BERT, began=now - timedelta(days=5))
    yield world
    world.context.db.dispose()


def period(people: People, days: int | None) -> dict:
    with people.context.db.transaction() as connection:
        return dict(retention.set_days(connection, BUCKET, days, who="tester"))


def confirm(people: People, days: int) -> dict:
    with people.context.db.transaction() as connection:
        return dict(retention.confirm(connection, BUCKET, days=days, who="tester"))


def states(people: People) -> dict[str, str]:
    return {row.call_sid: row.state for row in people.rows(tables.recordings)}


def due_buckets(people: People) -> list[dict]:
    with people.context.db.reading() as connection:
        return schedules.buckets_with_a_period(connection)


def test_without_a_period_everything_is_kept_for_ever(people: People) -> None:
    retention.expire_recordings(people.context, BUCKET)
    assert set(states(people).values()) == {"ready"}
    with people.context.db.reading() as connection:
        [row] = retention.shown(connection)
    assert (row["bucket"], row["days"], row["state"]) == (BUCKET, None, "kept")


def test_a_new_period_only_reports(people: People) -> None:
    report = period(people, 30)
    assert (report["state"], report["recordings"]) == ("reported", 2)
    assert report["hours"] == pytest.approx(16 / 3600, abs=0.01)
    before = people.objects()
    retention.expire_recordings(people.context, BUCKET)
    assert people.objects() == before
    assert due_buckets(people) == []


def test_a_confirmed_period_removes_the_sound_and_keeps_the_words(people: People) -> None:
    period(people, 30)
    assert confirm(people, 30)["state"] == "confirmed"
    assert due_buckets(people) == [{"bucket": BUCKET}]
    retention.expire_recordings(people.context, BUCKET)

    assert states(people) == {"old1": "expired", "old2": "expired", "new1": "ready"}
    assert not any("old" in name for name in people.objects())
    assert sum("new1" in name for name in people.objects()) == 3
    assert "words of old1" in people.everything()
    assert "written of old1" in people.everything()
    assert people.rows(tables.calls, call_sid="old1")[0].state == "expired"
    retention.expire_recordings(people.context, BUCKET)  # nothing is left to do


def reported(people: People, *calls: str) -> None:
    with people.context.db.transaction() as connection:
        for call in calls:
            report = outcome_reports.checked(call, {"success": True, "intent": "refund", "tags": ["vip"]})
            call_outcomes.merge(connection, report, source=call_outcomes.API, key=people.key)


def words(people: People) -> dict[str, tuple[bool, str | None, dict | None]]:
    return {row.call_sid: (row.success, row.intent, row.tags) for row in people.rows(tables.outcomes)}


def test_with_the_sound_of_a_call_go_the_words_of_its_outcome_and_the_figures_stay(people: People) -> None:
    reported(people, "old1", "new1")
    period(people, 30)
    confirm(people, 30)
    retention.expire_recordings(people.context, BUCKET)
    assert words(people) == {"old1": (True, None, None), "new1": (True, "refund", {"vip": ""})}
    with pytest.raises(InvalidInput, match="expired"):
        reported(people, "old1")


def test_words_about_a_call_that_never_became_known_go_after_a_time(people: People) -> None:
    reported(people, "old1", "unknown", "unknown too")
    long_ago = tables.now() - timedelta(days=people.context.settings.event_retention_days + 1)
    with people.context.db.transaction() as connection:
        old = tables.outcomes.c.call_sid.in_(("old1", "unknown"))
        connection.execute(sa.update(tables.outcomes).where(old).values(updated_at=long_ago))
    raw_events.reduce_events(people.context)
    raw_events.reduce_events(people.context)
    kept = (True, "refund", {"vip": ""})
    assert words(people) == {"old1": kept, "unknown": (True, None, None), "unknown too": kept}


def test_nobody_confirms_another_number_than_was_reported(people: People) -> None:
    with pytest.raises(InvalidInput, match="no period"):
        confirm(people, 30)
    period(people, 30)
    with pytest.raises(InvalidInput, match="30 days"):
        confirm(people, 7)


def test_shortening_a_confirmed_period_has_to_be_confirmed_again_and_lengthening_has_not(people: People) -> None:
    period(people, 95)
    confirm(people, 95)
    assert period(people, 30)["state"] == "reported"
    retention.expire_recordings(people.context, BUCKET)
    assert set(states(people).values()) == {"ready"}
    confirm(people, 30)
    assert period(people, 400)["state"] == "confirmed"
    assert period(people, None)["state"] == "kept"
    assert due_buckets(people) == []


def test_what_is_under_a_hold_or_in_an_unfinished_task_stays_and_is_counted(people: People) -> None:
    caller = people.rows(tables.calls, call_sid="old1")[0].from_pseudonym
    with people.context.db.transaction() as connection:
        tombstones.hold(connection, "caller", caller, why="case 17", who="counsel")
    [task] = [t for t in people.rows(tables.tasks) if t.recording_id == 2]
    people.context.db.update(tables.tasks, task.id, state="open")
    report = period(people, 30)
    assert (report["recordings"], report["held"], report["in_use"]) == (0, 1, 1)
    confirm(people, 30)
    retention.expire_recordings(people.context, BUCKET)
    assert set(states(people).values()) == {"ready"}

    people.context.db.update(tables.tasks, task.id, state="annotated")
    retention.expire_recordings(people.context, BUCKET)
    assert states(people) == {"old1": "ready", "old2": "expired", "new1": "ready"}


def test_an_expiry_that_was_killed_is_finished_by_the_next(people: People) -> None:
    class Killed(BaseException):
        pass

    def kill(name: str) -> None:
        if name == "retention.after-tombstones":
            raise Killed

    period(people, 30)
    confirm(people, 30)
    failpoints.arm(kill)
    try:
        with pytest.raises(Killed):
            retention.expire_recordings(people.context, BUCKET)
    finally:
        failpoints.arm(None)
    assert any("old1" in name for name in people.objects())
    retention.expire_recordings(people.context, BUCKET)
    assert not any("old" in name for name in people.objects())


def test_what_expired_is_not_taken_in_again(people: People) -> None:
    key = people.rows(tables.recordings, call_sid="old1")[0].object_key
    period(people, 30)
    confirm(people, 30)
    retention.expire_recordings(people.context, BUCKET)
    people.context.store.put_bytes(BUCKET, key, b"put back")
    with people.context.db.transaction() as connection:
        again, _ = add_recording(connection, RecordingSource("object", f"s3://{BUCKET}/{key}"))
    ingest.ingest_recording(people.context, again)
    assert people.rows(tables.recordings, id=again)[0].reason_code == "expired"


def test_the_schedule_makes_one_job_a_day_for_each_confirmed_bucket(people: People) -> None:
    period(people, 30)
    confirm(people, 30)
    ours = [each for each in schedules.SCHEDULES if each.kind is job_kinds.EXPIRE_RECORDINGS]
    assert len(schedules.make_due(people.context.db, *ours)) == 1
    assert schedules.make_due(people.context.db, *ours) == []
