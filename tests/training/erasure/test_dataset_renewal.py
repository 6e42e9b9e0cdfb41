"""Who is erased is in no dataset any more, and nothing else about a dataset changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.errors import PermanentError, RetryableError
from ml_backend.jobs import failpoints, job_kinds
from sync.privacy import erasure
from sync.privacy.subjects import subject_of
from sync.recordings.removal import Removed, remove_audio
from tests.training.datasets import speech
from tests.training.datasets.speech import Service, caller
from tests.training.datasets.test_dataset import CHAIR, PRICE, REFUND, fill, lines
from training.datasets import dataset
from training.erasure import dataset_renewal


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    opened = speech.opened(tmp_path)
    yield opened
    opened.context.db.dispose()


def stored(service: Service) -> dict[str, bytes]:
    """Every object of every dataset."""
    store = service.context.store
    return {
        found.key: path.read_bytes()
        for found in store.list("kaan-audio", prefix="datasets/")
        if (path := store.open_local("kaan-audio", found.key)) is not None
    }


def versions(service: Service) -> list[tuple[str, int, str]]:
    rows = service.context.db.rows(sa.select(tables.datasets).order_by(tables.datasets.c.id))
    return [(row.name, row.version, row.state) for row in rows]


def erase(service: Service, who: int) -> None:
    context = service.context
    with context.db.transaction() as connection:  # of Label Studio there is none here
        connection.execute(sa.update(tables.projects).values(instance_url="http://elsewhere"))
    erasure.erase(context, subject_of(context.settings, caller=caller(who)), who="tester", busy_s=0)
    for job in service.offline.waiting("renew-datasets"):
        service.offline.run(job_kinds.RENEW_DATASETS, erasure_id=job.arguments["erasure_id"])


def test_an_erasure_makes_the_next_version_without_the_person_and_empties_the_old_one(service: Service) -> None:
    fill(service)
    first = dataset.export(service.context, forms=("parquet", "jsonl", "nemo"))
    (gone,) = {line["audio_sha256"] for line in lines(service, first) if line["text"] == "नमस्ते"}
    kept = [line for line in lines(service, first) if line["audio_sha256"] != gone]

    erase(service, 1)

    assert versions(service) == [("calls", 1, "superseded"), ("calls", 2, "ready")]
    row = dataset.find(service.context, "calls")
    assert lines(service, row.id) == kept
    assert row.parent_id == first
    assert set(row.renderings) == {"parquet", "jsonl", "nemo"}
    assert row.counts["excluded"]["erased"] == 2
    everything = stored(service)
    assert not [key for key, data in everything.items() if "नमस्ते".encode() in data or "रिफंड".encode() in data]
    assert [key for key in everything if key.startswith("datasets/calls/1/")] == ["datasets/calls/1/audio.txt"]
    with pytest.raises(PermanentError, match="dataset-superseded"):
        lines(service, first)


def test_the_next_version_is_what_an_export_without_the_person_gives(service: Service) -> None:
    fill(service)
    dataset.export(service.context, forms=())
    erase(service, 3)  # the only person with a blind sample
    after = dataset.find(service.context, "calls")
    assert dataset.export(service.context, forms=()) == after.id


def test_models_that_learnt_from_the_person_get_a_date_and_stay_traceable_for_the_next_erasure(
    service: Service,
) -> None:
    fill(service)
    first = dataset.export(service.context, forms=())
    with service.context.db.transaction() as connection:
        run = sa.insert(tables.runs).values(kind="asr", dataset_id=first, arguments={}, state="done")
        run_id = connection.execute(run.returning(tables.runs.c.id)).scalar_one()
        version = {"version": "asr-2", "kind": "asr", "location": "x", "manifest": {}, "languages": []}
        insert = sa.insert(tables.model_versions)
        connection.execute(insert.values(**version, run_id=run_id))
        for name, lineage in (
            ("tuned-from-it", {"base": "asr-2"}), ("replayed-it", {"base": "other", "replay_dataset_id": first}),
            ("stranger", {"base": "other"}),
        ):  # fmt: skip
            connection.execute(insert.values(**{**version, "version": name}, lineage=lineage))
    erase(service, 1)
    models = service.context.db.rows(sa.select(tables.model_versions))
    due = {model.version for model in models if model.retrain_by is not None}
    assert due == {"asr-2", "tuned-from-it", "replayed-it"}

    erase(service, 2)
    (second,) = service.context.db.rows(sa.select(tables.erasures).order_by(tables.erasures.c.id.desc()).limit(1))
    assert second.report["models"] == ["asr-2"]
    assert {each["version"] for each in second.report["datasets"]} == {1, 2}
    assert second.report["datasets_not_read"] == []


def test_a_renewal_that_was_killed_is_finished_by_the_next_one(service: Service) -> None:
    fill(service)
    first = dataset.export(service.context)
    (gone,) = {line["audio_sha256"] for line in lines(service, first) if line["text"] == "नमस्ते"}

    def killed(place: str) -> None:
        if place == "dataset.before-renderings":
            raise RuntimeError("killed")

    failpoints.arm(killed)
    try:
        with pytest.raises(RuntimeError):
            dataset_renewal.without(service.context, {gone})
    finally:
        failpoints.arm(None)
    dataset_renewal.without(service.context, {gone})
    assert versions(service) == [("calls", 1, "superseded"), ("calls", 2, "ready")]
    assert dataset_renewal.without(service.context, {gone}) == []


def test_an_erasure_goes_through_where_another_recording_has_lost_its_sound_since(service: Service) -> None:
    fill(service)
    dataset.export(service.context)
    other = service.recordings["b"]
    remove_audio(service.context, service.offline.row(tables.recordings, other), Removed())
    service.context.db.update(tables.recordings, other, state="expired", object_key=None, derived_key=None)

    erase(service, 1)

    assert versions(service) == [("calls", 1, "superseded"), ("calls", 2, "ready")]
    row = dataset.find(service.context, "calls")
    assert [line["text"] for line in lines(service, row.id)] == ["कुर्सी"]
    assert row.counts["excluded"] == {"erased": 2, "audio-missing": 1, "test-caller": 1}
    assert not [key for key, data in stored(service).items() if "नमस्ते".encode() in data]


def test_who_was_only_left_out_is_taken_off_that_list_and_the_version_stays(service: Service) -> None:
    fill(service)
    other = service.call(PRICE, who=caller(9), consent_purpose="review")
    service.sample(other, 0.0, 1.0, "price", state="excluded", reason_code="consent")
    first = dataset.export(service.context, forms=())
    sha = service.offline.row(tables.recordings, other).sha256
    assert sha.encode() in stored(service)["datasets/calls/1/exclusions.jsonl"]
    assert dataset_renewal.without(service.context, {sha}) == []
    assert sha.encode() not in stored(service)["datasets/calls/1/exclusions.jsonl"]
    assert dataset.find(service.context, "calls").id == first


def test_when_everybody_in_it_is_erased_no_version_is_left(service: Service) -> None:
    recording = service.call(REFUND, who=caller(1))
    service.sample(recording, 0.0, 1.0, "नमस्ते")
    dataset.export(service.context)
    erase(service, 1)
    assert versions(service) == [("calls", 1, "superseded")]


def test_an_export_during_an_erasure_is_looked_at_again(service: Service) -> None:
    recording = service.call(REFUND, who=caller(1))
    service.sample(recording, 0.0, 1.0, "नमस्ते")
    other = service.call(CHAIR, who=caller(2))
    service.sample(other, 0.0, 1.0, "कुर्सी")

    def meanwhile(place: str) -> None:
        if place == "dataset.before-renderings":
            failpoints.arm(None)
            erase(service, 1)

    failpoints.arm(meanwhile)
    try:
        with pytest.raises(RetryableError):
            dataset.export(service.context)
    finally:
        failpoints.arm(None)
    dataset.export(service.context)
    assert [line["text"] for line in lines(service, dataset.find(service.context, "calls").id)] == ["कुर्सी"]
    assert not [key for key, data in stored(service).items() if "नमस्ते".encode() in data]
