"""A dataset takes no draft that nobody read, and no call twice; and a leak in one that is there is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.calls import sample_use
from tests.training.datasets import speech
from tests.training.datasets.speech import Service, caller
from training.datasets import dataset
from training.quality import exclusions, summary

CALLS = ("hi-refund-sum.wav", "hi-wrong-chair.wav", "hi-mixed-order.wav")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    opened = speech.opened(tmp_path)
    yield opened
    opened.context.db.dispose()


def decide(service: Service, body: dict[str, object]) -> None:
    with service.context.db.transaction() as connection:
        summary.keep(connection, exclusions.NAME, body)


def test_stamped_annotations_and_surplus_calls_stay_out_with_their_reason(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summary, "renew_verdicts", lambda context: None)  # the verdicts of this test are made up
    for number, file in enumerate(CALLS):
        service.sample(service.call(file, who=caller(number)), 0.0, 2.0, f"नमस्ते {number}")
    rows = service.context.db.rows(sa.select(tables.samples).order_by(tables.samples.c.id))
    decide(service, {"annotations": {str(rows[0].annotation_id): "suspect"}, "recordings": [rows[1].recording_id]})

    dataset_id = dataset.export(service.context, forms=())
    assert [line["text"] for line in dataset.read(service.context, dataset_id, None)] == ["नमस्ते 2"]
    counts = service.context.db.row(tables.datasets, dataset_id).counts
    assert counts["excluded"] == {"stamped": 1, "duplicate": 1}


@pytest.mark.parametrize("gone", [0, 1])
def test_a_call_whose_twin_has_lost_its_sound_is_in_it(service: Service, gone: int) -> None:
    ids = [service.call(CALLS[0], who=caller(1), sid=sid) for sid in ("a", "b")]
    for recording_id in ids:
        service.sample(recording_id, 0.0, 2.0, "नमस्ते")
    dataset_id = dataset.export(service.context, forms=())
    assert service.context.db.row(tables.datasets, dataset_id).counts["excluded"] == {"duplicate": 1}
    with service.context.db.transaction() as connection:
        db.update(connection, tables.recordings, ids[gone], state="expired")
        sample_use.recording_moved(connection, ids[gone])
    now = service.context.db.row(tables.datasets, dataset.export(service.context, forms=()))
    if gone == 0:  # the one that was in it: the other takes its place
        assert (now.counts["rows"], now.counts["excluded"]) == (1, {"audio-missing": 1})
    else:
        assert now.id == dataset_id, "what is in it is the same"


def test_before_the_job_has_run_nothing_is_left_out(service: Service) -> None:
    with service.context.db.reading() as connection:
        assert exclusions.read(connection) == exclusions.Verdicts()
    decide(service, {"annotations": {}, "recordings": []})
    with service.context.db.reading() as connection:
        assert exclusions.read(connection) == exclusions.Verdicts()


def test_the_summary_looks_for_leaks_in_the_newest_version_of_each_dataset(service: Service) -> None:
    for number, file in enumerate(CALLS):
        recording_id = service.call(file, who=caller(number))
        service.sample(recording_id, 0.0, 2.0, f"नमस्ते {number}")
    dataset_id = dataset.export(service.context, forms=())
    body, _ = summary.make(service.context)
    (clean,) = body["leaks"]
    assert (clean["dataset"], clean["version"], clean["lines"], clean["leaks"]) == ("calls", 1, 3, {})

    row = service.context.db.row(tables.datasets, dataset_id)
    path = service.context.store.open_local(service.context.settings.audio_bucket, row.manifest_key)
    assert path is not None
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    other = {**lines[0], "split": "test", "text": "मेरा नाम"}
    spoilt = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in [*lines, other])
    key = service.context.store.put_bytes("kaan-audio", "datasets/spoilt", spoilt.encode())
    assert key
    with service.context.db.transaction() as connection:
        changed = sa.update(tables.datasets).where(tables.datasets.c.id == dataset_id)
        connection.execute(changed.values(manifest_key="datasets/spoilt"))
    (leaky,) = summary.make(service.context)[0]["leaks"]
    assert {"audio", "call", "caller"} <= leaky["leaks"].keys()


def test_a_dataset_whose_manifest_is_gone_is_said_to_be(service: Service) -> None:
    service.sample(service.call(CALLS[0], who=caller(1)), 0.0, 2.0, "नमस्ते")
    dataset_id = dataset.export(service.context, forms=())
    row = service.context.db.row(tables.datasets, dataset_id)
    service.context.store.delete(service.context.settings.audio_bucket, row.manifest_key)
    (told,) = summary.make(service.context)[0]["leaks"]
    assert told["note"].startswith("its manifest cannot be read")
