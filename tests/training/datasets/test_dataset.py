"""The same annotations are the same dataset; nobody is on two sides; what is left out has its reason."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from ml_backend import db, packages, tables
from ml_backend.audio import decoding
from ml_backend.errors import ConfigurationError, InvalidInput, PermanentError
from ml_backend.jobs import devices, failpoints, job_kinds
from ml_backend.labelling import labelconfig
from tests.servers import moto, postgres
from tests.training.datasets import speech
from tests.training.datasets.speech import Service, caller
from training.datasets import dataset, dataset_manifest
from training.datasets.filters import DatasetFilters
from training.quality import summary

REFUND, TWO_LEGS, CHAIR, PRICE = "hi-refund-sum.wav", "hi-two-legs.wav", "hi-wrong-chair.wav", "en-short-price.mp3"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    opened = speech.opened(tmp_path)
    yield opened
    opened.context.db.dispose()


def fill(service: Service, *, backwards: bool = False) -> None:
    """Three callers, one of them with a blind audit sample; the same content in either order of rows."""
    calls = [(REFUND, 1, "a"), (TWO_LEGS, 2, "b"), (CHAIR, 3, "c")]
    found = {sid: service.call(file, who=caller(who), sid=sid) for file, who, sid in calls[:: -1 if backwards else 1]}
    spoken: list[tuple[str, float, float, str, dict[str, Any]]] = [
        ("a", 0.0, 2.0, "नमस्ते", {"ls": 11, "accent": "Pune"}),
        ("a", 2.0, 4.25, "मुझे रिफंड चाहिए", {"ls": 12}),
        ("b", 0.5, 3.0, "जी", {"ls": 13, "channel": 1}),
        ("c", 0.0, 2.0, "कुर्सी", {"ls": 14, "blind": True}),
        ("c", 2.0, 3.0, "गलत कुर्सी", {"ls": 15}),
    ]
    for sid, start_s, end_s, text, known in spoken[:: -1 if backwards else 1]:
        service.sample(found[sid], start_s, end_s, text, **known)


def lines(service: Service, dataset_id: int, split: str | None = None) -> list[dict[str, Any]]:
    return list(dataset.read(service.context, dataset_id, split))


def left_out(service: Service, dataset_id: int) -> dict[str, int]:
    return dict(service.context.db.row(tables.datasets, dataset_id).counts["excluded"])


def test_the_same_annotations_give_the_same_hash_on_another_machine_in_another_order(tmp_path: Path) -> None:
    hashes = set()
    for place, backwards in (("one", False), ("two", True)):
        service = speech.opened(tmp_path / place)
        fill(service, backwards=backwards)
        row = service.context.db.row(tables.datasets, dataset.export(service.context, forms=()))
        hashes.add((row.manifest_sha256, row.test_sha256))
        service.context.db.dispose()
    assert len(hashes) == 1


def test_the_other_kind_of_database_gives_the_same_hash(tmp_path: Path) -> None:
    hashes = set()
    with postgres.running() as server:
        for place, url in (("one", ""), ("two", server.database())):
            service = speech.opened(tmp_path / place, database_url=url)
            fill(service)
            row = service.context.db.row(tables.datasets, dataset.export(service.context))
            hashes.add(row.manifest_sha256)
            service.context.db.dispose()
    assert len(hashes) == 1


def test_exporting_again_gives_the_version_there_is_and_a_correction_makes_the_next(service: Service) -> None:
    fill(service)
    first = dataset.export(service.context, forms=())
    assert dataset.export(service.context, forms=()) == first

    with service.context.db.transaction() as connection:
        connection.execute(sa.update(tables.samples).where(tables.samples.c.text == "जी").values(text="जी हाँ"))
    second = service.context.db.row(tables.datasets, dataset.export(service.context, forms=()))
    assert (second.version, second.parent_id) == (2, first)
    assert second.test_sha256 == service.context.db.row(tables.datasets, first).test_sha256

    old, new = (lines(service, each) for each in (first, second.id))
    assert [what for what, _ in dataset_manifest.difference(old, new)] == ["changed"]


def test_hugging_face_loads_the_folder_with_its_three_splits_and_the_sound_of_each_row(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets
    from datasets import config

    monkeypatch.setattr(config, "HF_DATASETS_CACHE", tmp_path / "cache")
    fill(service)
    row = service.context.db.row(tables.datasets, dataset.export(service.context))
    folder = tmp_path / "data" / "objects" / "kaan-audio" / "datasets" / "calls" / "1"
    files = {split: str(folder / "parquet" / f"{split}-*.parquet") for split in ("train", "validation", "test")}
    by_files = datasets.load_dataset("parquet", data_files=files)
    found = datasets.load_dataset(str(folder))

    assert {split: len(found[split]) for split in found} == {"train": 2, "validation": 1, "test": 1}
    assert {split: len(by_files[split]) for split in by_files} == {"train": 2, "validation": 1, "test": 1}
    assert found["train"].features["audio"] == datasets.Audio(sampling_rate=16_000)
    plain = found.cast_column("audio", datasets.Audio(decode=False))
    assert plain["test"][0]["transcription"] == "कुर्सी"
    for split in plain:
        for each in plain[split]:
            _same_sound(service, each, tmp_path)
    assert row.counts["rows"] == 4


def test_a_dataset_with_an_empty_split_is_loaded(service: Service, tmp_path: Path, monkeypatch: Any) -> None:
    """As in every first dataset: nobody's blind audit is written down yet."""
    import datasets
    from datasets import config

    monkeypatch.setattr(config, "HF_DATASETS_CACHE", tmp_path / "cache")
    service.sample(service.call(CHAIR, who=caller(3), sid="c"), 0.0, 2.0, "कुर्सी", ls=14)
    dataset.export(service.context)
    found = datasets.load_dataset(str(tmp_path / "data" / "objects" / "kaan-audio" / "datasets" / "calls" / "1"))
    assert [len(rows) for rows in found.values()] == [1]


def _same_sound(service: Service, row: dict[str, Any], folder: Path) -> None:
    """The bytes of a row are the annotators' region of the recording, on the leg that speaks."""
    path = folder / "piece.wav"
    path.write_bytes(row["audio"]["bytes"])
    samples, rate_hz = decoding.read_wav(path)
    recording = next(iter(service.offline.context.db.rows(
        sa.select(tables.recordings).where(tables.recordings.c.sha256 == row["audio_sha256"])
    )))  # fmt: skip
    whole = service.context.store.open_local("kaan-audio", recording.derived_key)
    expected, _ = decoding.read_wav(whole, start_s=row["start_s"], end_s=row["end_s"])
    assert rate_hz == 16_000
    assert samples.shape[0] == 1
    assert np.array_equal(samples[0], expected[row["channel"]])


def test_the_test_set_holds_blind_audit_samples_only_and_their_callers_are_nowhere_else(service: Service) -> None:
    fill(service)
    again = service.call(PRICE, who=caller(3))
    service.sample(again, 0.0, 1.0, "price", language="en", script="Latn")
    demo = service.call("mr-new-address.wav", who=caller(5))
    service.sample(demo, 0.0, 1.0, "पत्ता", language="mr", blind=True, reason="all")  # blind, but not drawn at random
    found = lines(service, dataset.export(service.context, forms=()))

    assert [line["text"] for line in found if line["split"] == "test"] == ["कुर्सी"]
    sides: dict[str, set[str]] = {}
    for line in found:
        sides.setdefault(line["speaker_id"], set()).add(line["split"])
    assert all(len(each) == 1 for each in sides.values())
    assert "price" not in {line["text"] for line in found}
    assert "पत्ता" in {line["text"] for line in found if line["split"] != "test"}


def test_what_an_annotator_wrote_arrives_in_the_dataset_as_it_was_written(service: Service) -> None:
    """The whole way: annotation -> samples -> manifest, with the project's script policy in between."""
    recording = service.call(TWO_LEGS, who=caller(2))
    sample_id = service.sample(recording, 0.0, 1.0, "-")  # its task and annotation; the samples are made anew
    task_id = service.offline.row(tables.samples, sample_id).task_id
    segments = [
        {"start_s": 0.5, "end_s": 2.5, "channel": 1, "text": "मुझे रिफंड चाहिए"},
        {"start_s": 3.0, "end_s": 4.0, "channel": 0, "text": "जी [unclear]"},
    ]
    with service.context.db.transaction() as connection:
        config = {"label_config": labelconfig.read("calls"), "script_policy": {"hi": "Deva"}}
        connection.execute(sa.update(tables.projects).values(**config))
        mine = tables.annotations.c.task_id == task_id
        written = {"segments": segments, "text": "मुझे रिफंड चाहिए जी [unclear]", "language": "hi"}
        connection.execute(sa.update(tables.annotations).where(mine).values(**written))
    service.offline.run(job_kinds.SAMPLE_TASK, task_id=task_id)
    dataset_id = dataset.export(service.context)
    (line,) = lines(service, dataset_id)
    assert (line["text"], line["start_s"], line["end_s"], line["channel"]) == ("मुझे रिफंड चाहिए", 0.5, 2.5, 1)
    assert (line["language"], line["script"]) == ("hi", "Deva")
    assert left_out(service, dataset_id) == {"unclear": 1}


def test_an_agents_leg_is_the_agents_voice_on_its_callers_side(service: Service) -> None:
    recording = service.call(TWO_LEGS, who=caller(2))
    with service.context.db.transaction() as connection:
        db.update(connection, tables.recordings, recording, agent_channel=0)
    service.sample(recording, 0.0, 1.0, "हेलो", channel=0)
    service.sample(recording, 1.0, 2.0, "जी", channel=1)
    agent, customer = lines(service, dataset.export(service.context, forms=()))
    assert agent["speaker_id"].startswith("agent-")
    assert customer["speaker_id"].startswith("caller-")
    assert agent["split"] == customer["split"]


@pytest.mark.parametrize(
    ("reason", "filters", "change"),
    [
        ("consent", DatasetFilters(consent="stated"), {}),
        ("language", DatasetFilters(languages="en,mr"), {}),
        ("quality", DatasetFilters(min_quality=0.5), {"recordings": {"quality_score": 0.4}}),
        ("date", DatasetFilters(since="2026-03-05"), {}),
        ("date", DatasetFilters(until="2026-03-03"), {}),
        ("audio-missing", DatasetFilters(), {"recordings": {"state": "expired"}}),
        ("no-anchor", DatasetFilters(), {"samples": {"state": "excluded", "reason_code": "no-anchor"}}),
    ],
)
def test_what_is_left_out_is_counted_and_listed_with_its_reason(
    service: Service, reason: str, filters: DatasetFilters, change: dict[str, dict[str, Any]]
) -> None:
    other = service.call(PRICE, who=caller(9), consent_purpose="training", started_at=speech.AT)
    kept = {"language": "mr", "script": "Latn"}
    recording = service.call(REFUND, who=caller(1))
    service.sample(recording, 0.0, 1.0, "नमस्ते")
    with service.context.db.transaction() as connection:
        for name, values in change.items():
            table = tables.metadata.tables[name]
            connection.execute(sa.update(table).values(**values))
    if "date" not in reason:
        service.sample(other, 0.0, 1.0, "kept", **kept)
        with service.context.db.transaction() as connection:
            db.update(connection, tables.recordings, other, state="ready", quality_score=0.9)
            calls = tables.calls
            mine = calls.c.from_pseudonym == caller(9)
            connection.execute(sa.update(calls).where(mine).values(consent_purpose="training"))
        dataset_id = dataset.export(service.context, filters=filters, forms=())
        assert [line["text"] for line in lines(service, dataset_id)] == ["kept"]
        assert left_out(service, dataset_id) == {reason: 1}
        text = (service.context.store.open_local("kaan-audio", "datasets/calls/1/exclusions.jsonl")).read_text()
        assert [json.loads(line)["reason"] for line in text.splitlines()] == [reason]
    else:
        with pytest.raises(PermanentError) as refused:
            dataset.export(service.context, filters=filters, forms=())
        assert refused.value.code == "dataset-empty"
        assert "1 date" in refused.value.sentence


def test_a_piece_said_twice_in_two_projects_is_in_it_once(service: Service) -> None:
    recording = service.call(REFUND, who=caller(1))
    service.sample(recording, 0.0, 1.0, "नमस्ते")
    service.sample(recording, 0.0, 1.0, "नमस्ते")
    dataset_id = dataset.export(service.context, forms=())
    assert len(lines(service, dataset_id)) == 1
    assert left_out(service, dataset_id) == {"duplicate": 1}


def test_the_same_audio_as_two_peoples_calls_is_one_persons(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary, "renew_verdicts", lambda context: None)  # they leave one out
    first = service.call(REFUND, who=caller(1))
    second = service.call(REFUND, who=caller(2))
    service.sample(first, 0.0, 1.0, "नमस्ते")
    service.sample(second, 1.0, 2.0, "मुझे", blind=True)
    service.sample(first, 2.0, 3.0, "रिफंड")
    dataset_id = dataset.export(service.context, forms=())
    assert [line["text"] for line in lines(service, dataset_id)] == ["नमस्ते", "रिफंड"]
    assert left_out(service, dataset_id) == {"duplicate": 1}


def test_the_job_exports_with_its_filters_and_reports_progress(service: Service) -> None:
    fill(service)
    (done,) = service.offline.run(job_kinds.EXPORT_DATASET, name="hindi", languages="hi", forms="text")
    assert done.state == "done"
    row = dataset.find(service.context, "hindi")
    assert row.filters == {"languages": "hi"}
    assert set(row.renderings) == {"text"}
    (job,) = service.context.db.rows(sa.select(tables.jobs).where(tables.jobs.c.name == "export-dataset"))
    assert job.progress["fraction"] == 1.0
    assert "4 rows" in job.progress["note"]


def killed_export(service: Service) -> None:
    """An export that ends between the manifest and its renderings."""

    def killed(place: str) -> None:
        if place == "dataset.before-renderings":
            raise RuntimeError("killed")

    failpoints.arm(killed)
    try:
        with pytest.raises(RuntimeError):
            dataset.export(service.context)
    finally:
        failpoints.arm(None)


def test_a_version_left_half_written_is_called_unfinished_and_no_other_command_takes_it(service: Service) -> None:
    fill(service)
    killed_export(service)
    (row,) = service.context.db.rows(sa.select(tables.datasets))
    assert dataset.state_of(service.context, row) == "unfinished"
    for name in ("calls", "calls@1", str(row.id)):
        with pytest.raises(
            InvalidInput, match=r"export of calls@1 was not finished.*`python -m ml_backend export calls`"
        ):
            dataset.find_whole(service.context, name)
    with pytest.raises(InvalidInput) as refused:
        dataset.find(service.context, "other")
    assert "calls" not in refused.value.next_step


def test_a_version_left_half_written_is_taken_over_by_an_export_that_finds_other_samples(service: Service) -> None:
    fill(service)
    killed_export(service)
    service.sample(service.call(PRICE, who=caller(9), sid="z"), 0.0, 1.0, "कितना", ls=99)
    row = service.context.db.row(tables.datasets, dataset.export(service.context))
    assert (row.version, row.state) == (1, "ready")
    assert sum(file["rows"] for file in row.renderings["parquet"]["files"]) == row.counts["rows"] == 5
    assert len(list(dataset.read(service.context, row.id))) == 5
    assert [one.version for one in service.context.db.rows(sa.select(tables.datasets))] == [1]


def test_two_exports_of_one_name_do_not_write_at_once(service: Service) -> None:
    fill(service)
    context = service.context
    with devices.held(context, "export:calls", "another process", purpose=devices.EXPORTING):
        with pytest.raises(devices.Busy, match="Another export writes this dataset now"):
            dataset.export(context)
        (done,) = service.offline.run(job_kinds.EXPORT_DATASET, name="calls")
        assert done.state == "done"  # it asks again by itself
        waiting = sa.select(tables.jobs).where(tables.jobs.c.name == "export-dataset", tables.jobs.c.state == "waiting")
        assert [job.arguments["name"] for job in context.db.rows(waiting)] == ["calls"]
        with context.db.reading() as connection:
            assert not devices.is_training(connection)
    assert context.db.row(tables.datasets, dataset.export(context)).state == "ready"


def test_what_cannot_be_rendered_here_is_refused_before_anything_is_written(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(service)
    monkeypatch.setattr(packages, "_is_here", lambda name: name not in ("pyarrow", "datasets"))
    for refused in (
        {},
        {"forms": ("text",)},
        {"forms": ("jsonl",), "filters": DatasetFilters(public="rasa:o/n:mr", public_share=0.2)},
    ):
        with pytest.raises(ConfigurationError, match="not-installed"):
            dataset.export(service.context, **refused)
    assert service.context.db.rows(sa.select(tables.datasets)) == []
    assert service.context.db.row(tables.datasets, dataset.export(service.context, forms=("jsonl",))).state == "ready"


def test_an_export_that_was_killed_is_finished_by_the_next_one(service: Service) -> None:
    fill(service)
    killed_export(service)
    row = service.context.db.row(tables.datasets, dataset.export(service.context))
    assert (row.version, row.state) == (1, "ready")
    assert sum(file["rows"] for file in row.renderings["parquet"]["files"]) == 4


def test_a_changed_manifest_is_noticed(service: Service) -> None:
    fill(service)
    dataset_id = dataset.export(service.context, forms=())
    path = service.context.store.open_local("kaan-audio", "datasets/calls/1/manifest.jsonl")
    path.write_bytes(path.read_bytes().replace("जी".encode(), "ना".encode()))
    with pytest.raises(PermanentError, match="dataset-damaged"):
        lines(service, dataset_id)


def test_lists_for_nemo_and_plain_lines_name_files_that_are_there(service: Service) -> None:
    fill(service)
    row = service.context.db.row(tables.datasets, dataset.export(service.context, forms=("jsonl", "nemo")))
    for form, key in (("jsonl", "audio"), ("nemo", "audio_filepath")):
        listed = []
        for file in row.renderings[form]["files"]:
            path = service.context.store.open_local("kaan-audio", file["key"])
            listed += [(path.parent, json.loads(line)) for line in path.read_text().splitlines()]
        assert len(listed) == 4
        for folder, line in listed:
            path = folder / line[key]  # NeMo begins at the folder of the list
            assert path.is_file()
            if form == "nemo":
                assert decoding.duration_s(path) == pytest.approx(line["duration"], abs=0.001)


def test_it_works_from_and_into_an_s3_store(tmp_path: Path) -> None:
    with moto.running() as endpoint:
        service = speech.opened(
            tmp_path, object_store="s3://", minio_endpoint=endpoint, minio_secure=False,
            minio_access_key="testing", minio_secret_key="testing",
        )  # fmt: skip
        fill(service)
        row = service.context.db.row(tables.datasets, dataset.export(service.context))
        for file in row.renderings["parquet"]["files"]:
            assert service.context.store.fetch("kaan-audio", file["key"], tmp_path / "part") == file["sha256"]
        service.context.db.dispose()


def test_unknown_names_are_refused_with_the_known_ones(service: Service) -> None:
    fill(service)
    with pytest.raises(InvalidInput, match="unknown-form"):
        dataset.export(service.context, forms=("parquet", "xml"))
    assert not service.context.db.rows(sa.select(tables.datasets))
    dataset.export(service.context, forms=())
    with pytest.raises(InvalidInput) as refused:
        dataset.find(service.context, "call")
    assert "calls" in refused.value.next_step
