"""Live pieces of a call and its whole recording: exactly one of the two is worked on, in any order of events."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.asr import engine
from ml_backend.calls import ledger, live_recordings, pseudonyms, superseding
from ml_backend.calls.events import CallEvent
from ml_backend.calls.live_recordings import LiveAudio
from ml_backend.jobs import job_kinds
from ml_backend.labelling import labelconfig
from ml_backend.storage.object_store import sha256_of
from ml_backend.views import ledger_balance
from tests.ledger_rules import violations
from tests.servers import postgres
from tests.sync import offline

NUMBER, CALL = "00000000102", "c5d1"
CALLS = Path(engine.__file__).parents[1] / "bundled" / "calls"
WHOLE = CALLS / "en-short-price.mp3"


class Line(offline.Offline):
    """A company number whose live audio is kept, and an attached project that takes every call."""

    def __init__(self, context: Any) -> None:
        super().__init__(context)
        self.key = pseudonyms.key_of(context.settings)
        self.number = pseudonyms.pseudonym(NUMBER, self.key)
        number = {"pseudonym": self.number, "keeps_live_audio": True, "consent_purpose": "training"}
        self._insert(tables.company_numbers, number)
        project = {
            "instance_url": "http://ls", "ls_project_id": 1, "state": "attached", "config_sha256": "c",
            "label_config": labelconfig.read("calls"), "selection": {"review": "all", "min_quality": 0.0},
        }  # fmt: skip
        self.project = self._insert(tables.projects, project)

    def sent(self, path: Path = engine.CHECK, call: str = CALL) -> sa.Row[Any]:
        """A live request's audio, as a process of `serve` keeps it; gives its recording."""
        audio = LiveAudio(call, sha256_of(path), path.stat().st_size, tables.now(), self.number, path.suffix)
        bucket = self.context.settings.recordings_bucket
        self.context.store.ensure_bucket(bucket)
        if self.context.store.stat(bucket, audio.key_of(self.key)) is None:
            self.context.store.put_file(bucket, audio.key_of(self.key), path)
        with self.context.db.transaction() as connection:
            live_recordings.take(connection, audio, bucket=bucket, key=self.key)
        return self.of("live")[-1]

    def reported(self, **known: Any) -> sa.Row[Any]:
        """What Exotel says about the call."""
        event = CallEvent(CALL, "status_callback", status="completed", **known)
        with self.context.db.transaction() as connection:
            return ledger.record(connection, event, key=self.key)

    def fetched(self, path: Path = WHOLE) -> sa.Row[Any]:
        """Exotel's recording of the call has come into the store."""
        self.reported(recording_url="https://recordings.exotel.com/a.mp3")
        [recording] = self.of("exotel")
        bucket, key = self.context.settings.recordings_bucket, f"recordings/2026/11/30/{CALL}.mp3"
        self.context.store.ensure_bucket(bucket)
        self.context.store.put_file(bucket, key, path)
        values = {"state": "stored", "bucket": bucket, "object_key": key, "sha256": sha256_of(path)}
        with self.context.db.transaction() as connection:
            connection.execute(
                sa.update(tables.recordings).where(tables.recordings.c.id == recording.id).values(values)
            )
            ledger.recording_moved(connection, recording.id)
        return self.of("exotel")[0]

    def of(self, source: str) -> list[sa.Row[Any]]:
        rows = tables.recordings
        return list(self.context.db.rows(sa.select(rows).where(rows.c.source == source).order_by(rows.c.id)))

    def ingest(self, recording: sa.Row[Any]) -> sa.Row[Any]:
        self.run(job_kinds.INGEST_RECORDING, recording_id=recording.id)
        return self.row(tables.recordings, recording.id)

    def work(self, recording: sa.Row[Any]) -> list[sa.Row[Any]]:
        """Ingest, transcribe, select; gives the recording's tasks."""
        for kind in (job_kinds.INGEST_RECORDING, job_kinds.TRANSCRIBE_RECORDING, job_kinds.SELECT_RECORDING):
            self.run(kind, recording_id=recording.id)
        return self.tasks(recording)

    def tasks(self, recording: sa.Row[Any]) -> list[sa.Row[Any]]:
        rows = tables.tasks
        return list(self.context.db.rows(sa.select(rows).where(rows.c.recording_id == recording.id)))

    def task(self, recording: sa.Row[Any], **values: Any) -> int:
        """A task as Label Studio has it, without the steps before."""
        known = {"project_id": self.project, "recording_id": recording.id, "origin": "ours", "state": "open"}
        number = 100 + recording.id
        return self._insert(tables.tasks, {**known, "ls_task_id": number, "external_key": f"k{number}", **values})

    def annotated(self, task_id: int, **values: Any) -> None:
        known = {"project_id": self.project, "task_id": task_id, "ls_task_id": 1, "ls_annotation_id": 7, "result": []}
        self._insert(tables.annotations, {**known, "ls_updated_at": tables.now(), "text": "hello", **values})

    def call_row(self) -> sa.Row[Any]:
        [call] = self.context.db.rows(sa.select(tables.calls))
        return call

    def sound(self) -> None:
        with self.context.db.reading() as connection:
            assert violations(connection) == []


@pytest.fixture
def line(tmp_path: Path) -> Line:
    return Line(offline.opened(tmp_path).context)


def test_a_live_piece_walks_the_usual_steps_to_a_task_with_its_draft(line: Line) -> None:
    piece = line.sent()
    assert piece.source_identity == f"live:{CALL}:{piece.sha256[:24]}"
    [task] = line.work(piece)
    assert task.state == "wanted"
    [draft] = line.context.db.rows(sa.select(tables.predictions).where(tables.predictions.c.task_id == task.id))
    assert '"text"' in draft.body
    assert line.call_row().state == "tasked"
    line.sound()
    line.sent()
    assert len(line.of("live")) == 1, "the same request sent again"
    assert len(line.tasks(piece)) == 1


def test_a_piece_is_no_cut_recording_of_its_call(line: Line) -> None:
    line.reported(talk_seconds=60.0)
    piece = line.ingest(line.sent())
    assert (piece.state, piece.reason_code, piece.call_duration_s) == ("ready", None, None)


def test_the_whole_recording_takes_the_place_of_pieces_that_came_first(line: Line) -> None:
    first, second = line.ingest(line.sent()), line.ingest(line.sent(CALLS / "en-broken-mobile.wav"))
    waits, shown = line.task(first, state="wanted", ls_task_id=None), line.task(second)
    whole = line.fetched()
    assert {each.state for each in line.of("live")} == {"ready"}, "what is not ready yet replaces nothing"
    assert line.ingest(whole).state == "ready"
    assert {(each.state, each.reason_code) for each in line.of("live")} == {("superseded", "superseded")}
    assert f"recording {whole.id}" in line.of("live")[0].reason
    assert line.row(tables.tasks, waits).state == "deleted"
    assert line.row(tables.tasks, shown).state == "open", "Label Studio is told by a job"
    assert [job.arguments for job in line.waiting("withdraw-tasks")] == [{"recording_id": second.id}]
    [task] = line.work(whole)
    assert task.state == "wanted"
    assert line.work(first)[0].state == "deleted"
    assert (line.call_row().state, line.call_row().status) == ("tasked", "completed")
    line.sound()


def test_a_piece_that_comes_after_the_whole_recording_is_not_kept(line: Line) -> None:
    line.ingest(line.fetched())
    with line.context.db.reading() as connection:
        assert live_recordings.is_superseded(connection, CALL)
    piece = line.sent()
    assert (piece.state, piece.reason_code) == ("superseded", "superseded")
    assert line.work(piece) == []
    assert len(line.tasks(line.of("exotel")[0])) == 0
    line.sound()


def test_a_piece_that_is_annotated_stays_and_the_whole_recording_gets_no_task(line: Line) -> None:
    piece = line.ingest(line.sent())
    line.annotated(line.task(piece, state="annotated"))
    whole = line.fetched()
    assert line.work(whole) == []
    whole = line.row(tables.recordings, whole.id)
    assert (whole.state, whole.reason_code) == ("ready", "kept-same-call")
    assert f"recording {piece.id}" in whole.reason
    assert line.row(tables.recordings, piece.id).state == "ready"
    later = line.ingest(line.sent(CALLS / "en-broken-mobile.wav"))
    assert later.state == "ready", "the pieces stand for the call"
    line.sound()


def test_an_annotation_that_comes_too_late_is_kept_and_teaches_nothing(line: Line) -> None:
    piece = line.ingest(line.sent())
    task_id = line.task(piece)
    line.ingest(line.fetched())
    line.annotated(task_id, language="en")
    line.run(job_kinds.SAMPLE_TASK, task_id=task_id)
    samples = line.context.db.rows(sa.select(tables.samples).where(tables.samples.c.task_id == task_id))
    assert {(row.state, row.reason_code) for row in samples} == {("excluded", "superseded")}
    assert len(line.context.db.rows(sa.select(tables.annotations))) == 1


def test_a_whole_recording_that_is_lost_gives_its_place_back(line: Line) -> None:
    piece = line.ingest(line.sent())
    task_id = line.task(piece, state="wanted", ls_task_id=None)
    whole = line.ingest(line.fetched())
    assert line.row(tables.tasks, task_id).state == "deleted"
    with line.context.db.transaction() as connection:
        lost = sa.update(tables.recordings).where(tables.recordings.c.id == whole.id)
        connection.execute(lost.values(state="lost", reason_code="object-missing", reason="Gone."))
        ledger.recording_moved(connection, whole.id)
    assert line.row(tables.recordings, piece.id).state == "stored"
    assert line.row(tables.tasks, task_id).state == "wanted"
    line.sound()


def test_a_whole_recording_that_cannot_be_used_replaces_nothing(line: Line, tmp_path: Path) -> None:
    piece = line.ingest(line.sent())
    (tmp_path / "noise.mp3").write_bytes(b"no sound at all" * 40)
    whole = line.fetched(tmp_path / "noise.mp3")
    line.update(whole, quality={"fetched_again": True})
    assert line.ingest(whole).state in ("refused", "lost")
    assert line.row(tables.recordings, piece.id).state == "ready"
    [task] = line.work(piece)
    assert task.state == "wanted"
    assert line.call_row().state == "tasked"


def test_a_call_that_exotel_reports_later_is_the_same_call_and_is_asked_about(line: Line) -> None:
    line.ingest(line.sent())
    assert (line.call_row().source, line.waiting("look-up-call")) == ("live", [])
    line.reported()
    call = line.call_row()
    assert (call.source, call.state, call.next_action) == ("status_callback", "expected", "look-up")
    assert len(line.waiting("look-up-call")) == 1
    with line.context.db.transaction() as connection:
        ledger.look_ups_ended(connection, call.id, reason_code="recording-not-named", reason="There is none.")
    assert line.call_row().state == "stored", "now what the live requests sent stands for the call"
    line.sound()


def test_a_call_without_a_conversation_has_what_was_sent(line: Line) -> None:
    line.ingest(line.sent())
    with line.context.db.transaction() as connection:
        ledger.record(connection, CallEvent(CALL, "status_callback", status="failed"), key=line.key)
    assert line.call_row().state == "stored"
    line.sound()


def test_the_balance_of_a_day_counts_a_call_once_and_only_whole_recordings_as_downloaded(line: Line) -> None:
    line.ingest(line.sent())
    zone = line.context.settings.exotel_time_zone

    def today() -> ledger_balance.Balance:
        return ledger_balance.of_days(line.context.db, days=1, zone=zone)[0]

    assert (today().reported, today().listed, today().downloaded, today().unexplained) == (1, 0, 0, ())
    listed = CallEvent(CALL, "listing", status="completed", recording_url="https://recordings.exotel.com/a.mp3")
    with line.context.db.transaction() as connection:
        ledger.record(connection, listed, key=line.key)
    balance = today()
    assert (balance.reported, balance.listed, balance.stored, balance.explained) == (1, 1, 0, 1)
    assert balance.balanced
    line.ingest(line.fetched())
    assert (today().stored, today().downloaded, today().balanced) == (1, 1, True)


def test_an_object_that_a_scan_finds_is_a_whole_recording_too(line: Line) -> None:
    piece = line.ingest(line.sent())
    bucket = line.context.settings.recordings_bucket
    line.context.store.put_file(bucket, f"recordings/2026/11/30/{CALL}.mp3", WHOLE)
    line.run(job_kinds.SCAN_BUCKET, bucket=bucket, full=1)
    [whole] = line.of("object")
    assert whole.call_id == piece.call_id
    assert line.ingest(whole).state == "ready"
    assert line.row(tables.recordings, piece.id).state == superseding.SUPERSEDED
    line.sound()


@pytest.mark.parametrize("order", ["select-first", "whole-first"])
def test_whichever_of_two_jobs_comes_first_one_of_them_is_worked_on(line: Line, order: str) -> None:
    piece = line.ingest(line.sent())
    line.run(job_kinds.TRANSCRIBE_RECORDING, recording_id=piece.id)
    whole = line.fetched()
    steps: list[Callable[[], object]] = [
        lambda: line.run(job_kinds.SELECT_RECORDING, recording_id=piece.id),
        lambda: line.ingest(whole),
    ]
    for step in steps if order == "select-first" else reversed(steps):
        step()
    line.work(whole)
    alive = [t.state for r in (piece, whole) for t in line.tasks(r) if t.state != "deleted"]
    assert alive == ["wanted"]
    assert line.row(tables.recordings, piece.id).state == superseding.SUPERSEDED
    line.sound()


TURNS = ("en-broken-mobile.wav", "mr-refund-days.wav", "hi-refund-sum.wav", "hi-wrong-chair.wav")


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_turns_that_are_kept_while_the_whole_recording_becomes_ready_are_never_worked_on_beside_it(
    tmp_path: Path, kind: str
) -> None:
    """Threads as processes: each turn is taken and selected while the whole recording is being committed."""
    with postgres.running() if kind == "postgresql" else nullcontext() as server:
        url = {"database_url": server.database()} if server else {}
        line = Line(offline.opened(tmp_path, **url).context)
        first = line.ingest(line.sent())
        line.run(job_kinds.TRANSCRIBE_RECORDING, recording_id=first.id)
        whole = line.fetched()
        together = threading.Barrier(3)

        def turns() -> None:
            together.wait()
            for name in TURNS:
                line.sent(CALLS / name)

        def selects() -> None:
            together.wait()
            line.run(job_kinds.SELECT_RECORDING, recording_id=first.id)

        def whole_is_ready() -> None:
            together.wait()
            line.ingest(whole)

        with ThreadPoolExecutor(3) as pool:
            for done in [pool.submit(each) for each in (turns, selects, whole_is_ready)]:
                done.result()
        assert {each.state for each in line.of("live")} == {"superseded"}
        assert len(line.of("live")) == 1 + len(TURNS)
        assert [task.state for task in line.tasks(first) if task.state != "deleted"] == []
        assert len(line.work(line.of("exotel")[0])) == 1
        line.sound()
        line.context.db.dispose()
