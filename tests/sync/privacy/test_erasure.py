"""Erasing a person or a call: nothing of them is left, nothing comes back, and nobody else is touched.

The tasks of these people are in a Label Studio we do not serve; `test_erasing_in_label_studio` has the real one.
"""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from werkzeug.wrappers import Response

from ml_backend import db, tables
from ml_backend.calls import ledger, tombstones
from ml_backend.calls.events import CallEvent
from ml_backend.errors import InvalidInput, PermanentError, RetryableError
from ml_backend.jobs import failpoints, job_kinds
from ml_backend.outcomes import call_outcomes, outcome_reports
from sync.exotel import callbacks as calls
from sync.privacy import erasure as privacy
from sync.privacy.subjects import subject_of
from sync.recordings import ingest, removal
from sync.recordings.sources import RecordingSource, add_recording
from sync.tasks import selection
from tests.sync.persons import ANNA, BERT, COMPANY, People
from tests.sync.web import serving
from training.utterances import call_utterances


@pytest.fixture
def people(tmp_path: Path) -> Iterator[People]:
    world = People(tmp_path)
    world.call("anna1", ANNA)
    world.call("anna2", "+91" + ANNA[1:])
    world.call("bert1", BERT)
    yield world
    world.context.db.dispose()


def erase(people: People, **whom: str) -> dict:
    return privacy.erase(people.context, subject_of(people.context.settings, **whom), who="tester", busy_s=0)


def test_nothing_of_the_person_is_left_in_any_table_or_bucket(people: People) -> None:
    done = erase(people, caller=ANNA)

    assert (done["counts"]["calls"], done["counts"]["recordings"]) == (2, 2)
    left = people.everything()
    for word in (ANNA, ANNA[1:], "words of anna", "text of anna", "draft of anna", "written of anna"):
        assert word not in left
    assert not any("anna" in key for key in people.objects())
    assert {c.state for c in people.rows(tables.calls) if c.call_sid.startswith("anna")} == {"erased"}


def test_what_the_person_said_teaches_no_model_of_intents(people: People) -> None:
    with people.context.db.transaction() as connection:
        for number, call in enumerate(people.rows(tables.calls)):
            heard = next(r.id for r in people.rows(tables.recordings) if r.call_id == call.id)
            where = {"call_id": call.id} if number % 2 else {"recording_id": heard}
            connection.execute(sa.insert(tables.utterances).values(
                origin="table:t", external_id=call.call_sid, source="call", text=f"said by {call.call_sid}",
                digest="d", state="accepted", **where,
            ))  # fmt: skip
    erase(people, caller=ANNA)
    assert [row.text for row in people.rows(tables.utterances)] == ["said by bert1"]


def test_what_was_taken_from_the_person_s_calls_goes_with_them_and_is_not_taken_again(people: People) -> None:
    with people.context.db.transaction() as connection:
        connection.execute(sa.update(tables.recordings).values(channels=2, agent_channel=0))
        connection.execute(sa.update(tables.annotations).values(deleted_at=tables.now()))
        for row in connection.execute(sa.select(tables.transcriptions)).all():
            segment = {"start_s": 0.0, "end_s": 2.0, "channel": 1, "text": row.text, "confidence": 0.9, "flags": []}
            db.update(connection, tables.transcriptions, row.id, transcript={"segments": [segment]})
    call_utterances.collect(people.context)
    assert {row.text for row in people.rows(tables.utterances)} == {f"words of {n}" for n in ("anna1", "bert1")}
    erase(people, caller=ANNA)
    assert [row.text for row in people.rows(tables.utterances)] == ["words of bert1"]
    call_utterances.collect(people.context, everything=True)
    assert [row.text for row in people.rows(tables.utterances)] == ["words of bert1"]
    assert "words of anna" not in people.everything()


def test_how_the_person_s_calls_went_goes_with_them(people: People) -> None:
    reported = {"success": True, "intent": "words of anna", "tags": {"note": "words of anna"}}
    with people.context.db.transaction() as connection:
        for call in ("anna1", "bert1", "unknown", "unknown too"):
            report = outcome_reports.checked(call, reported)
            call_outcomes.merge(connection, report, source=call_outcomes.API, key=people.key)
        values = {"call_sid": "anna2", "kind": "asr", "model_version": "words of anna", "requests": 1}
        connection.execute(sa.insert(tables.outcomes).values(**values))
    erase(people, caller=ANNA)
    erase(people, call="unknown")
    assert [row.call_sid for row in people.rows(tables.outcomes)] == ["bert1", "unknown too"]
    for call in ("anna1", "unknown"):
        report = outcome_reports.checked(call, reported)
        with people.context.db.transaction() as connection, pytest.raises(InvalidInput, match="erased"):
            call_outcomes.merge(connection, report, source=call_outcomes.API, key=people.key)


@pytest.mark.parametrize("column", ["call_id", "recording_id"])
def test_a_task_over_what_the_person_said_goes_with_its_text(people: People, column: str) -> None:
    [call] = [row for row in people.rows(tables.calls) if row.call_sid == "anna1"]
    [heard] = [row for row in people.rows(tables.recordings) if row.call_id == call.id]
    with people.context.db.transaction() as connection:
        project = people.project(connection)
        task = {"project_id": project.id, "external_key": "k", "origin": "ours", "data_value": "said by anna1"}
        task_id = connection.execute(sa.insert(tables.tasks).values(**task).returning(tables.tasks.c.id)).scalar_one()
        connection.execute(sa.insert(tables.predictions).values(
            task_id=task_id, project_id=project.id, draft_label="draft-1", model_version="m", config_sha256="",
            body='{"result": ["said by anna1"]}',
        ))  # fmt: skip
        connection.execute(sa.insert(tables.utterances).values(
            origin="calls", external_id="1", source="call", text="said by anna1", digest="d", state="waiting",
            task_id=task_id, **{column: {"call_id": call.id, "recording_id": heard.id}[column]},
        ))  # fmt: skip
    erase(people, caller=ANNA)
    assert "said by anna1" not in people.everything()
    assert people.rows(tables.tasks, id=task_id)[0].state == "deleted"


@pytest.mark.parametrize("column", ["call_id", "recording_id"])
def test_no_task_can_be_made_of_the_person_s_words_once_an_erasure_has_begun(
    people: People, column: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said_by_anna(people, column)
    left: list[Any] = []
    monkeypatch.setattr(privacy, "_wait_for_jobs", lambda *given: left.append(people.rows(tables.utterances)))
    erase(people, caller=ANNA)
    assert left == [[]]


def test_a_task_that_was_made_while_an_erasure_began_goes_too(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    said_by_anna(people, "recording_id")
    real, made = privacy.find, list[int]()

    def find(connection: Any, subject: Any) -> Any:
        found = real(connection, subject)
        if not made:
            project = people.project(connection)
            task = {"project_id": project.id, "external_key": "k", "origin": "ours", "data_value": "said by anna1"}
            new = sa.insert(tables.tasks).values(**task).returning(tables.tasks.c.id)
            made.append(connection.execute(new).scalar_one())
            connection.execute(sa.update(tables.utterances).values(task_id=made[0]))
        return found

    monkeypatch.setattr(privacy, "find", find)
    states: list[str] = []
    monkeypatch.setattr(
        privacy, "_wait_for_jobs", lambda *given: states.append(people.rows(tables.tasks, id=made[0])[0].state)
    )
    erase(people, caller=ANNA)
    assert states == ["deleted"], "a job that imports tasks would take it into Label Studio"
    assert "said by anna1" not in people.everything()


def said_by_anna(people: People, column: str) -> None:
    """An utterance that nobody was asked about yet, known by its call or by its recording."""
    [call] = [row for row in people.rows(tables.calls) if row.call_sid == "anna1"]
    [heard] = [row for row in people.rows(tables.recordings) if row.call_id == call.id]
    with people.context.db.transaction() as connection:
        connection.execute(sa.insert(tables.utterances).values(
            origin="calls", external_id="1", source="call", text="said by anna1", digest="d", state="waiting",
            **{column: {"call_id": call.id, "recording_id": heard.id}[column]},
        ))  # fmt: skip


def test_a_message_nobody_could_read_is_emptied_when_it_holds_the_number(people: People) -> None:
    broken = {"source": "exotel", "method": "POST", "digest": "d", "state": "unreadable"}
    with people.context.db.transaction() as connection:
        for body, query in ((b'{"From": "+91' + ANNA[1:].encode(), ""), (b"", f"CallFrom={ANNA}"), (b"", BERT)):
            connection.execute(sa.insert(tables.events).values(**broken, body=body, query=query))
    erase(people, caller=ANNA)
    assert ANNA[1:] not in people.everything()
    assert [e.query for e in people.rows(tables.events, state="unreadable")] == [BERT]


def test_everybody_else_keeps_everything(people: People) -> None:
    erase(people, caller=ANNA)
    left = people.everything()
    for word in (BERT, "words of bert1", "text of bert1", "draft of bert1", "written of bert1"):
        assert word in left
    assert sum("bert1" in key for key in people.objects()) == 3
    assert people.rows(tables.calls, call_sid="bert1")[0].state == "tasked"


def test_one_call_is_erased_by_its_id(people: People) -> None:
    erase(people, call="anna1")
    assert {c.call_sid: c.state for c in people.rows(tables.calls)} == {
        "anna1": "erased", "anna2": "tasked", "bert1": "tasked",
    }  # fmt: skip


def test_the_report_names_what_was_erased_for_whoever_decides_about_datasets_and_models(people: People) -> None:
    shas = [r.sha256 for r in people.rows(tables.recordings) if r.call_sid.startswith("anna")]
    manifest = f'{{"audio": "{shas[0]}"}}\n'.encode()
    people.context.store.put_bytes(people.context.settings.audio_bucket, "datasets/1.json", manifest)
    with people.context.db.transaction() as connection:
        used = {"name": "calls", "version": 3, "manifest_sha256": "x", "manifest_key": "datasets/1.json"}
        dataset = connection.execute(sa.insert(tables.datasets).values(**used).returning(tables.datasets.c.id)).scalar()
        run = connection.execute(
            sa.insert(tables.runs).values(kind="asr", dataset_id=dataset, arguments={}).returning(tables.runs.c.id)
        ).scalar()
        version = {"version": "asr-9", "kind": "asr", "location": "x", "manifest": {}, "languages": [], "run_id": run}
        connection.execute(sa.insert(tables.model_versions).values(**version))
    report = erase(people, caller=ANNA)["report"]
    assert sorted(report["audio_sha256"]) == sorted(shas)
    assert len(report["recordings"]) == len(report["annotations"]) == 2
    assert report["datasets"] == [{"id": dataset, "name": "calls", "version": 3}]
    assert report["models"] == ["asr-9"]
    [row] = people.rows(tables.erasures)
    assert (row.state, row.who, row.report["models"]) == ("done", "tester", ["asr-9"])


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def kill_at() -> Iterator[Callable[[str], None]]:
    """Lets this process end at a fail point."""

    def arm(place: str) -> None:
        def kill(name: str) -> None:
            if name == place:
                raise Killed

        failpoints.arm(kill)

    yield arm
    failpoints.arm(None)


@pytest.mark.parametrize("place", ["erase.after-tombstones", "erase.after-recording", "erase.before-rows"])
def test_an_erasure_that_was_killed_goes_on_when_repeated(
    people: People, place: str, kill_at: Callable[[str], None]
) -> None:
    kill_at(place)
    with pytest.raises(Killed):
        erase(people, caller=ANNA)
    failpoints.arm(None)
    assert people.rows(tables.erasures)[0].state == "running"
    done = erase(people, caller=ANNA)

    assert done["counts"]["calls"] == 2
    assert [row.state for row in people.rows(tables.erasures)] == ["done"]
    left = people.everything()
    assert ANNA not in left
    assert "words of anna" not in left
    assert not any("anna" in key for key in people.objects())


def test_erasing_again_finds_nothing_and_says_so(people: People) -> None:
    erase(people, caller=ANNA)
    assert erase(people, caller=ANNA)["counts"]["calls"] == 0


def test_a_server_that_is_down_leaves_the_erasure_open_but_the_sound_is_gone(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, and nobody listens
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        people = People(tmp_path, label_studio_url=url, label_studio_api_key="0d3f5a7b9c1e2468")
        people.call("anna1", ANNA)
        with pytest.raises(RetryableError):
            erase(people, caller=ANNA)
    assert people.objects() == []
    assert people.rows(tables.erasures)[0].state == "running"
    assert "words of anna1" in people.everything(), "or Label Studio's copy would be read again"
    people.context.db.dispose()


def test_an_original_the_store_does_not_let_us_remove_is_named(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    delete = people.context.store.delete

    def refuse(bucket: str, key: str) -> None:
        if bucket == "call-recordings":
            raise PermanentError("store-refused", "The store refused access.")
        delete(bucket, key)

    monkeypatch.setattr(people.context.store, "delete", refuse)
    report = erase(people, call="anna1")["report"]
    assert "call-recordings/recordings/2026/11/20/anna1.mp3: The store refused access." in report["left"]
    assert not any("anna1" in key for key in people.objects() if key.startswith("kaan-audio"))


def test_waiting_work_is_stopped_and_running_work_is_waited_for(people: People) -> None:
    recording = next(r for r in people.rows(tables.recordings) if r.call_sid == "anna1")
    waiting = people.enqueue(job_kinds.INGEST_RECORDING, recording.id)
    running = people.enqueue(job_kinds.TRANSCRIBE_RECORDING, recording.id)
    people.context.db.update(tables.jobs, running, state="running")
    with pytest.raises(RetryableError) as refused:
        erase(people, caller=ANNA)
    assert refused.value.code == "erase-busy"
    assert people.rows(tables.jobs, id=waiting)[0].state == "cancelled"
    people.context.db.update(tables.recordings, recording.id, state="ready")  # what the running job wrote at its end
    people.context.db.update(tables.jobs, running, state="done")
    erase(people, caller=ANNA)
    assert people.rows(tables.recordings, id=recording.id)[0].state == "erased"


# --- doors


def test_a_late_callback_of_an_erased_call_brings_nothing_back_and_its_number_is_not_kept(people: People) -> None:
    erase(people, caller=ANNA)
    event = people.event("anna1", ANNA, tables.now() - timedelta(days=2), extra="again")
    calls.read_call_event(people.context, event)
    assert ANNA not in people.everything()
    assert people.rows(tables.events, id=event)[0].state == "erased"
    assert people.rows(tables.calls, call_sid="anna1")[0].state == "erased"


def test_an_older_call_of_that_person_which_was_never_seen_does_not_come_in_by_the_listing(people: People) -> None:
    erase(people, caller=ANNA)
    before = len(people.rows(tables.recordings))
    old = CallEvent("anna0", "listing", status="completed", from_=ANNA, to=COMPANY,
                    started_at_utc=tables.now() - timedelta(days=40), recording_url="https://r/anna0.mp3")  # fmt: skip
    with people.context.db.transaction() as connection:
        assert ledger.record(connection, old, key=people.key).state == "erased"
    assert len(people.rows(tables.recordings)) == before
    assert people.rows(tables.calls, call_sid="anna0")[0].from_pseudonym is None


def test_a_new_call_of_that_person_is_a_new_matter(people: People) -> None:
    erase(people, caller=ANNA)
    soon = tables.now() + timedelta(minutes=1)
    new = CallEvent("anna9", "status_callback", status="completed", from_=ANNA, to=COMPANY,
                    started_at_utc=soon, recording_url="https://r/anna9.mp3")  # fmt: skip
    with people.context.db.transaction() as connection:
        assert ledger.record(connection, new, key=people.key).state == "to-fetch"


def test_the_same_audio_does_not_come_back_as_a_new_object_or_upload(people: People) -> None:
    store = people.context.store
    original = store.open_local("call-recordings", "recordings/2026/11/20/anna1.mp3")
    assert original is not None
    sound, sha = original.read_bytes(), ingest.sha256_of(original)
    people.context.db.update(tables.recordings, 1, sha256=sha)
    erase(people, call="anna1")
    store.put_bytes("call-recordings", "elsewhere/copy.mp3", sound)
    with people.context.db.transaction() as connection:
        copy, _ = add_recording(connection, RecordingSource("object", "s3://call-recordings/elsewhere/copy.mp3"))
    ingest.ingest_recording(people.context, copy)
    row = people.rows(tables.recordings, id=copy)[0]
    assert (row.state, row.reason_code) == ("refused", "erased")
    assert not any("derived" in key and sha in key for key in people.objects())


def test_the_same_audio_does_not_come_back_by_a_web_address_or_upload(people: People, tmp_path: Path) -> None:
    original = people.context.store.open_local("call-recordings", "recordings/2026/11/20/anna1.mp3")
    assert original is not None
    sound, sha = original.read_bytes(), ingest.sha256_of(original)
    people.context.db.update(tables.recordings, 1, sha256=sha)
    erase(people, call="anna1")
    with serving(lambda request: Response(sound, content_type="audio/mpeg")) as web:
        allowed = people.context.settings.model_copy(update={"exotel_recording_origins": web.url})
        context = dataclasses.replace(people.context, settings=allowed, kept={})
        with context.db.transaction() as connection:
            copy, _ = add_recording(connection, RecordingSource("web", f"{web.url}/copy.mp3"))
        ingest.ingest_recording(context, copy)
    assert web.asked == ["/copy.mp3"]
    assert people.rows(tables.recordings, id=copy)[0].reason_code == "erased"
    assert not any(sha in name for name in people.objects())


def test_the_scan_and_a_retry_leave_an_erased_recording_alone(people: People) -> None:
    erase(people, call="anna1")
    [recording] = people.rows(tables.recordings, call_sid="anna1")
    people.context.store.put_bytes("call-recordings", recording.object_key, b"put back by somebody")
    ingest.ingest_recording(people.context, recording.id)
    selection.select_recording(people.context, recording.id)
    assert people.rows(tables.recordings, id=recording.id)[0].state == "erased"
    with people.context.db.transaction() as connection:
        again, new = add_recording(
            connection, RecordingSource("object", f"s3://call-recordings/{recording.object_key}")
        )
    assert new
    ingest.ingest_recording(people.context, again)
    assert people.rows(tables.recordings, id=again)[0].reason_code == "erased"
    assert recording.id not in {job.arguments.get("recording_id") for job in people.jobs("waiting")}


# --- who may not be erased


def test_a_hold_on_the_call_or_the_person_refuses_erasure_with_its_reason(people: People) -> None:
    for kind, identity in (("call", "anna2"), ("caller", subject_of(people.context.settings, caller=ANNA).identity)):
        with people.context.db.transaction() as connection:
            assert tombstones.hold(connection, kind, identity, why="case 17", who="counsel")
        for whom in ({"caller": ANNA}, {"call": "anna2"}):
            with pytest.raises(PermanentError, match="case 17") as refused:
                erase(people, **whom)
            assert refused.value.code == "legal-hold"
        with people.context.db.transaction() as connection:
            assert tombstones.release(connection, kind, identity)
    assert people.rows(tables.erasures) == []
    assert people.rows(tables.tombstones) == []
    erase(people, caller=ANNA)


def test_the_companys_own_number_is_not_a_person(people: People) -> None:
    with pytest.raises(PermanentError) as refused:
        erase(people, caller=COMPANY)
    assert refused.value.code == "company-number"


@pytest.mark.parametrize(("number", "code"), [("xxxxxxxx42", "masked-number"), ("hello", "no-number")])
def test_what_is_no_persons_number_is_refused(people: People, number: str, code: str) -> None:
    with pytest.raises(PermanentError) as refused:
        erase(people, caller=number)
    assert refused.value.code == code


def test_audio_that_another_persons_recording_shares_stays(people: People) -> None:
    [mine] = people.rows(tables.recordings, call_sid="anna1")
    [theirs] = people.rows(tables.recordings, call_sid="bert1")
    people.context.db.update(tables.recordings, mine.id, sha256=theirs.sha256)
    kept = set(removal.places(people.context, people.rows(tables.recordings, id=mine.id)[0]))
    assert kept == {("call-recordings", mine.object_key)}
