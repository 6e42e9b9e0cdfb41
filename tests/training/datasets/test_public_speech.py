"""Public speech in the layouts it is published in, mixed in with a stated share, for training only."""

from __future__ import annotations

import io
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml_backend import tables
from ml_backend.errors import ConfigurationError, InvalidInput
from tests.training.datasets import speech
from tests.training.datasets.speech import Service, caller
from training.datasets import dataset, dataset_manifest, public_speech
from training.datasets.filters import DatasetFilters


def sound(number: int, *, rate_hz: int = 16_000, seconds: float = 1.0) -> bytes:
    """A tone of its own for each number."""
    times = np.arange(int(rate_hz * seconds)) / rate_hz
    samples = (np.sin(2 * np.pi * (200 + 7 * number) * times) * 9000).astype("<i2")
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(samples.tobytes())
    return out.getvalue()


def fleurs(folder: Path, count: int = 8) -> Path:
    place = folder / "fleurs" / "hi_in"
    for split in ("train", "test"):
        (place / "audio" / split).mkdir(parents=True)
        rows = []
        for number in range(count):
            name = f"{split}{number}.wav"
            (place / "audio" / split / name).write_bytes(sound(number + (100 if split == "test" else 0)))
            rows.append(f"{number}\t{name}\tवाक्य “{number}”।\tवाक्य {number}\tव ा\t16000\tFEMALE")
        (place / f"{split}.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder / "fleurs"


def rasa(folder: Path, count: int = 8) -> Path:
    for language, word in (("Hindi", "हिंदी"), ("Marathi", "मराठी")):
        place = folder / "rasa" / language
        place.mkdir(parents=True)
        table = pa.table({
            "filename": [f"{language}_{n}.wav" for n in range(count)], "text": [f"{word} {n}" for n in range(count)],
            "language": [language] * count, "gender": ["female", "male"] * (count // 2), "style": ["ALEXA"] * count,
            "duration": [1.0] * count,
            "audio": [{"bytes": sound(n, rate_hz=48_000), "path": f"{n}.wav"} for n in range(count)],
        })  # fmt: skip
        pq.write_table(table, place / "train-00000-of-00001.parquet")
    return folder / "rasa"


def indictts(folder: Path, count: int = 8) -> Path:
    place = folder / "indictts" / "marathi_female"
    (place / "wav").mkdir(parents=True)
    for number in range(count):
        (place / "wav" / f"train_{number}.wav").write_bytes(sound(number + 50, rate_hz=48_000))
    texts = "\n".join(f'( train_{number} "वाक्य क्रमांक {number}" )' for number in range(count))
    (place / "txt.done.data").write_text(texts, encoding="utf-8")
    return folder / "indictts"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """Six rows of calls for training, one for validation or test each."""
    opened = speech.opened(tmp_path)
    recording = opened.call("hi-refund-sum.wav", who=caller(1))
    for number in range(6):
        opened.sample(recording, number * 0.5, number * 0.5 + 0.5, f"शब्द {number}")
    blind = opened.call("hi-wrong-chair.wav", who=caller(3))
    opened.sample(blind, 0.0, 1.0, "कुर्सी", blind=True)
    yield opened
    opened.context.db.dispose()


@pytest.mark.parametrize(
    ("make", "spec", "texts"),
    [
        (fleurs, "fleurs:{}:hi", {f"वाक्य “{n}”।" for n in range(8)}),
        (rasa, "rasa:{}:mr", {f"मराठी {n}" for n in range(8)}),
        (rasa, "rasa:{}", {f"{word} {n}" for n in range(8) for word in ("हिंदी", "मराठी")}),
        (indictts, "indictts:{}:mr", {f"वाक्य क्रमांक {n}" for n in range(8)}),
    ],
)
def test_each_layout_gives_its_training_part_with_language_and_sound(
    tmp_path: Path, make, spec: str, texts: set[str]
) -> None:
    source = public_speech.SpeechSource.of(spec.format(make(tmp_path)))
    found = list(public_speech.utterances(source))
    assert {each.text for each in found} == texts
    assert all(each.language in ("hi", "mr") and each.speaker for each in found)
    assert all(each.read()[:4] == b"RIFF" for each in found)


def test_the_share_of_the_training_rows_is_the_stated_one_and_no_other_split_changes(
    service: Service, tmp_path: Path
) -> None:
    plain = list(dataset.read(service.context, dataset.export(service.context, name="plain", forms=())))
    sources = f"fleurs:{fleurs(tmp_path)}:hi,indictts:{indictts(tmp_path)}:mr"
    filters = DatasetFilters(public=sources, public_share=0.4)
    dataset_id = dataset.export(service.context, name="mixed", filters=filters)
    mixed = list(dataset.read(service.context, dataset_id))

    added = [line for line in mixed if line["source"] != "calls"]
    assert len(added) == 4  # of 10 training rows
    assert {line["split"] for line in added} == {"train"}
    assert [line for line in mixed if line["source"] == "calls"] == plain
    assert mixed == sorted(mixed, key=dataset_manifest.order)
    row = service.context.db.row(tables.datasets, dataset_id)
    assert sum(file["rows"] for file in row.renderings["parquet"]["files"]) == 11
    assert row.test_sha256 == dataset.find(service.context, "plain").test_sha256


def test_the_same_share_is_the_same_rows_wherever_the_copy_lies(service: Service, tmp_path: Path) -> None:
    hashes = set()
    for place in ("here", "there"):
        filters = DatasetFilters(public=f"fleurs:{fleurs(tmp_path / place)}:hi", public_share=0.4)
        hashes.add(dataset.find(service.context, str(dataset.export(
            service.context, name=place, filters=filters, forms=()
        ))).manifest_sha256)  # fmt: skip
    assert len(hashes) == 1


def test_a_public_row_without_usable_sound_is_left_out_with_its_reason(service: Service, tmp_path: Path) -> None:
    place = fleurs(tmp_path)
    for path in (place / "hi_in" / "audio" / "train").iterdir():
        path.write_bytes(b"not audio at all" * 20)
    filters = DatasetFilters(public=f"fleurs:{place}:hi", public_share=0.4)
    row = service.context.db.row(tables.datasets, dataset.export(service.context, filters=filters, forms=()))
    assert row.counts["excluded"]["public-unusable"] == 4
    assert "fleurs" not in row.counts["sources"]


def test_a_place_without_the_layout_and_an_unknown_layout_are_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="public-source-empty"):
        list(public_speech.utterances(public_speech.SpeechSource.of(f"fleurs:{tmp_path}:hi")))
    with pytest.raises(InvalidInput, match="bad-public-source"):
        public_speech.SpeechSource.of("librispeech:/data")


def test_a_source_is_read_by_name_through_the_library_that_knows_the_hub(tmp_path: Path) -> None:
    """Without a network the name is a folder's; what matters is the rows' form, with sound as stored bytes."""
    place = tmp_path / "IndicTTS-Hindi" / "data"
    place.mkdir(parents=True)
    rows = [{"bytes": sound(n), "path": f"{n}.wav"} for n in range(3)]
    features = '{"info": {"features": {"audio": {"_type": "Audio"}, "text": {"dtype": "string", "_type": "Value"}}}}'
    table = pa.table({"audio": rows, "text": ["एक", "दो", "तीन"]}).replace_schema_metadata({"huggingface": features})
    pq.write_table(table, place / "train-00000-of-00001.parquet")
    found = list(public_speech._from_hub(public_speech.SpeechSource("indictts", str(place.parent), "hi")))
    assert [each.text for each in found] == ["एक", "दो", "तीन"]
    assert found[1].read() == sound(1)


def test_a_name_the_hub_does_not_give_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="public-source-unavailable"):
        list(public_speech._from_hub(public_speech.SpeechSource("indictts", str(tmp_path / "nothing" / "here"), "hi")))


@pytest.mark.parametrize(
    ("layout", "file", "data"),
    [
        ("fleurs", "hi_in/train.tsv", b"1\ta.wav\t\xff\xfe\t\t\t1\tMALE\n"),
        ("fleurs", "hi_in/train.tsv", b"1\ta.wav\t" + b"k" * 200_000 + b"\t\t\t1\tMALE\n"),
        ("rasa", "train-0.parquet", b"cut"),
        ("indictts", "txt.done.data", b'( a "\xff\xfe" )'),
    ],
)
def test_a_damaged_copy_is_told_in_one_sentence(tmp_path: Path, layout: str, file: str, data: bytes) -> None:
    for folder in ("hi_in/audio/train", "wav"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / file).write_bytes(data)
    with pytest.raises(ConfigurationError, match="public-source-damaged"):
        list(public_speech.utterances(public_speech.SpeechSource.of(f"{layout}:{tmp_path}:hi")))


def test_a_row_that_was_cut_is_left_out_with_its_reason(service: Service, tmp_path: Path) -> None:
    place = fleurs(tmp_path, 2)
    with (place / "hi_in" / "train.tsv").open("a") as stream:
        stream.write("\n9\tcut.wav\n")
    found = list(public_speech.lines(service.context, [public_speech.SpeechSource.of(f"fleurs:{place}:hi")], 10))
    assert sorted(reason for _, reason in found) == ["", "", "public-no-text"]
