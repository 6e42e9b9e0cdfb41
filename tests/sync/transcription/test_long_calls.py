"""A long call is heard in spans, over several jobs if need be, and reads as if it had been heard in one go (G11)."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml_backend import tables
from ml_backend.asr.request import Request
from ml_backend.asr.transcript import DecodingProfile, Transcript
from ml_backend.audio import decoding
from ml_backend.jobs import failpoints, job_kinds
from ml_backend.serving import default_model, loaded_models
from ml_backend.storage.s3_store import S3Store
from sync.recordings.originals import keep_original
from sync.transcription import long_calls
from tests import sounds
from tests.servers import moto
from tests.sync import offline
from tests.sync.offline import Offline

CALLS = Path(__file__).resolve().parents[3] / "ml_backend" / "bundled" / "calls"
LONG = CALLS / "hi-long-complaint.wav"


@pytest.fixture
def service(tmp_path: Path) -> Offline:
    made = offline.opened(tmp_path, max_task_s=20.0, default_language="hi", asr_batch_size=1)
    default_model.ensure(made.context)
    return made


def ingested(service: Offline, path: Path) -> Any:
    recording = service.recording(service.call())
    values = keep_original(service.context, recording, path, extension="wav")
    service.update(recording, **values)
    service.run(job_kinds.INGEST_RECORDING, recording_id=recording.id)
    return service.row(tables.recordings, recording.id)


def heard(service: Offline) -> Transcript | None:
    rows = service.context.db.rows(tables.transcriptions.select())
    return Transcript.from_json(rows[0].transcript) if rows else None


def in_one_go(service: Offline, recording: Any) -> Transcript:
    path = service.context.store.open_local("kaan-audio", recording.derived_key)
    assert path is not None
    request = Request(decoding.read_wav(path)[0], DecodingProfile(language="hi"))
    with loaded_models.using(service.context) as transcriber:
        [answer] = transcriber.transcribe([request])
    assert isinstance(answer, Transcript)
    return answer


def test_text_and_times_are_those_of_the_whole_file(service: Offline) -> None:
    recording = ingested(service, LONG)
    assert len(recording.spans) >= 4
    assert max(end - start for start, end, _ in recording.spans) <= 20
    service.run(job_kinds.TRANSCRIBE_RECORDING, recording_id=recording.id)
    found, whole = heard(service), in_one_go(service, recording)
    assert found is not None
    assert [(s.start_s, s.text) for s in found.segments] == [(s.start_s, s.text) for s in whole.segments]
    assert (found.duration_s, found.language) == (whole.duration_s, whole.language)
    assert len(service.waiting("select-recording")) == 1
    assert service.row(tables.calls, recording.call_id).state == "heard"


def test_a_long_call_in_an_s3_store_is_heard_and_resumed_too(service: Offline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_calls.transcribe_in_parts, "__kwdefaults__", {"slice_s": 0.0})
    with moto.running() as endpoint:
        s3 = S3Store(endpoint, access_key="testing", secret_key="testing", secure=False)
        service.context = dataclasses.replace(service.context, store=s3)
        recording = ingested(service, LONG)
        while heard(service) is None:
            [job] = service.waiting("transcribe-recording")
            service.run(job_kinds.TRANSCRIBE_RECORDING, **job.arguments)
        found = heard(service)
        assert found is not None
        assert found.duration_s == pytest.approx(recording.duration_s, abs=0.001)
        assert len(found.segments) == 15
        assert [item.key for item in s3.list("kaan-audio") if "heard" in item.key] == []


def test_pieces_are_the_call_and_nothing_else(service: Offline) -> None:
    recording = ingested(service, LONG)
    whole = decoding.read_wav(service.context.store.open_local("kaan-audio", recording.derived_key))[0]  # type: ignore[arg-type]
    paths = [service.context.store.open_local("kaan-audio", key) for _, _, key in recording.spans]
    pieces = [decoding.read_wav(path)[0] for path in paths if path is not None]
    assert np.array_equal(np.concatenate(pieces, axis=1), whole[:, : sum(piece.shape[1] for piece in pieces)])
    assert abs(whole.shape[1] - sum(piece.shape[1] for piece in pieces)) <= 16  # the last millisecond
    for (start_s, end_s, key), piece in zip(recording.spans, pieces, strict=True):
        assert key == f"derived/{recording.sha256}/{round(start_s * 1000)}-{round(end_s * 1000)}.wav"
        assert piece.shape[1] / 16000 == pytest.approx(end_s - start_s, abs=0.001)


def test_a_worker_that_dies_between_spans_loses_one_span_and_not_the_call(service: Offline) -> None:
    class Dead(BaseException):
        pass

    spans = []

    def die(name: str) -> None:
        if name == "transcribe.after-span":
            spans.append(name)
            if len(spans) == 2:
                raise Dead

    recording = ingested(service, LONG)
    failpoints.arm(die)
    try:
        with pytest.raises(Dead):
            service.run(job_kinds.TRANSCRIBE_RECORDING, recording_id=recording.id)
        with service.context.db.transaction() as connection:  # its lease runs out
            connection.execute(tables.jobs.update().values(state="cancelled"))
        spans.clear()
        spans += ["", "", ""]  # from here on it only counts
        service.run(job_kinds.TRANSCRIBE_RECORDING, recording_id=recording.id)
    finally:
        failpoints.arm(None)
    assert len(spans) - 3 == len(recording.spans) - 2
    assert [s.text for s in heard(service).segments] == [s.text for s in in_one_go(service, recording).segments]  # type: ignore[union-attr]
    left = [item.key for item in service.context.store.list("kaan-audio", prefix="derived/") if "heard" in item.key]
    assert left == []


def test_a_worker_that_dies_before_the_drafts_has_heard_the_call_once(service: Offline) -> None:
    class Dead(BaseException):
        pass

    def die(name: str) -> None:
        if name == "transcribe.before-drafts":
            raise Dead

    recording = ingested(service, CALLS / "en-short-price.mp3")
    failpoints.arm(die)
    with pytest.raises(Dead):
        service.run(job_kinds.TRANSCRIBE_RECORDING, recording_id=recording.id)
    failpoints.arm(None)
    with service.context.db.transaction() as connection:  # its lease runs out
        connection.execute(tables.jobs.update().values(state="cancelled"))
    service.run(job_kinds.TRANSCRIBE_RECORDING, recording_id=recording.id)
    assert len(service.context.db.rows(tables.transcriptions.select())) == 1
    assert len(service.waiting("select-recording")) == 1


def dtmf(seconds: float) -> np.ndarray:
    return sum(sounds.tone(seconds, hz=hz) for hz in (770, 1336)) / 2  # type: ignore[no-any-return]


@pytest.mark.parametrize("what", ["silence", "dial tones", "hold music"])
def test_where_nobody_speaks_no_text_is_invented_and_the_call_goes_on(
    service: Offline, tmp_path: Path, what: str
) -> None:
    made = {"silence": sounds.silence(9), "dial tones": np.concatenate([dtmf(0.2), sounds.silence(0.3)] * 12)}
    path = CALLS / "hold-music.wav" if what == "hold music" else sounds.write_wav(tmp_path / "a.wav", made[what])
    recording = ingested(service, path)
    assert (recording.state, recording.reason_code) == ("ready", None)
    service.run(job_kinds.TRANSCRIBE_RECORDING, recording_id=recording.id)
    found = heard(service)
    assert found is not None
    assert found.text == ""
    assert len(service.waiting("select-recording")) == 1


def test_a_job_that_has_worked_long_enough_lets_others_and_goes_on_later(
    service: Offline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(long_calls.transcribe_in_parts, "__kwdefaults__", {"slice_s": 0.0})
    recording = ingested(service, LONG)
    runs = 0
    while heard(service) is None:
        [job] = service.waiting("transcribe-recording")
        [outcome] = service.run(job_kinds.TRANSCRIBE_RECORDING, **job.arguments)
        assert outcome.state == "done"
        runs += 1
    assert runs == len(recording.spans)
    assert [s.text for s in heard(service).segments] == [s.text for s in in_one_go(service, recording).segments]  # type: ignore[union-attr]


def test_legs_of_a_long_call_stay_apart(service: Offline, tmp_path: Path) -> None:
    path = tmp_path / "legs.wav"
    decoding.decode(CALLS / "hi-two-legs.wav", path)
    legs = decoding.read_wav(path)[0]
    long = sounds.write_wav(tmp_path / "long.wav", np.concatenate([legs, legs[:, :160_000], legs], axis=1))
    recording = ingested(service, long)
    assert recording.spans
    assert recording.channels == 2
    service.run(job_kinds.TRANSCRIBE_RECORDING, recording_id=recording.id)
    found = heard(service)
    assert found is not None
    assert {segment.channel for segment in found.segments} == {0, 1}
    assert [s.start_s for s in found.segments] == sorted(s.start_s for s in found.segments)
    assert [s.text for s in found.segments] == [s.text for s in in_one_go(service, recording).segments]


def test_a_call_erased_while_it_is_heard_leaves_no_words_behind(service: Offline) -> None:
    recording = ingested(service, LONG)
    failpoints.arm(lambda name: service.update(recording, state="erased") if name == "transcribe.after-span" else None)
    service.run(job_kinds.TRANSCRIBE_RECORDING, recording_id=recording.id)
    failpoints.arm(None)
    assert heard(service) is None
    assert service.waiting("select-recording") == []
    assert [item.key for item in service.context.store.list("kaan-audio") if "heard" in item.key] == []
