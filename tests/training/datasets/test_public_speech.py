"""Public speech in the layouts it is published in, mixed in with a stated share, for training only."""

from __future__ import annotations

import io
import json
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
from training.datasets import dataset, dataset_card, dataset_manifest, public_speech
from training.datasets.filters import DatasetFilters
from training.voices import public_voices


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


def rural_women(folder: Path, count: int = 4) -> Path:
    """Splits train_real, train_synthetic and benchmark, with audio and text, as the published one has."""
    place = folder / "rural" / "data"
    place.mkdir(parents=True)
    for part, first in (("train_real", 0), ("train_synthetic", 40), ("benchmark", 80)):
        table = pa.table({
            "audio": [{"bytes": sound(first + n), "path": f"{part}{n}.wav"} for n in range(count)],
            "text": [f"{part} खेत {n}" for n in range(count)],
        })  # fmt: skip
        pq.write_table(table, place / f"{part}-00000-of-00001.parquet")
    return folder / "rural"


def globe(folder: Path, count: int = 4) -> Path:
    """The columns of the annotated GLOBE that a reader needs, and some that it does not."""
    place = folder / "globe" / "data"
    place.mkdir(parents=True)
    table = pa.table({
        "text": [f"sentence {n}" for n in range(count)], "filepath": [f"/there/S_{n:06d}.wav" for n in range(count)],
        "language": ["English"] * count, "speaker": ["male"] * count,
        "speaker_id": [f"S_{n % 2:06d}" for n in range(count)],
        "name": [f"S_{n % 2:06d}_{n:06d}.wav" for n in range(count)], "snr": [49.6] * count, "MOS": [4.4] * count,
        "text_description": ["A man speaks slowly."] * count, "accent": ["India and South Asia"] * count,
        "audio": [{"bytes": sound(n, rate_hz=24_000), "path": None} for n in range(count)], "split": ["train"] * count,
    })  # fmt: skip
    pq.write_table(table, place / "train-00000-of-00001.parquet")
    return folder / "globe"


def limmits(folder: Path, count: int = 4) -> Path:
    """Two speakers of SYSPIN; the last sentence of each is of the evaluation domain."""
    for language, gender, name in (("hi", "f", "Hindi_Female_Spk001_HC"), ("bh", "m", "Bhojpuri_Male_Spk001_HC")):
        place = folder / "limmits" / f"IISc_SYSPINProject_{name}"
        (place / "wav").mkdir(parents=True)
        said = {}
        for number in range(count + 1):
            domain = "EVALUATION" if number == count else "AGRI"
            file = f"IISc_SYSPINProject_{language}_{gender}_{domain[:4]}_{number:05d}"
            said[file] = {"Transcript": f"{language} फसल {number}", "Domain": domain}
            (place / "wav" / f"{file}.wav").write_bytes(sound(number + len(language), rate_hz=48_000))
        listed = {"MetaData": {}, "SpeakersMetaData": {}, "Transcripts": said}
        (place / f"IISc_SYSPINProject_{name}_Transcripts.json").write_text(json.dumps(listed), encoding="utf-8")
    return folder / "limmits"


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
        (rural_women, "rural_women:{}:bho", {f"train_real खेत {n}" for n in range(4)}),
        (globe, "globe:{}", {f"sentence {n}" for n in range(4)}),
        (limmits, "limmits:{}:hi", {f"hi फसल {n}" for n in range(4)}),
        (limmits, "limmits:{}", {f"{code} फसल {n}" for n in range(4) for code in ("hi", "bh")}),
    ],
)
def test_each_layout_gives_its_training_part_with_language_and_sound(
    tmp_path: Path, make, spec: str, texts: set[str]
) -> None:
    source = public_speech.SpeechSource.of(spec.format(make(tmp_path)))
    found = list(public_speech.utterances(source))
    assert {each.text for each in found} == texts
    assert all(each.language in ("hi", "mr", "bho", "en") and each.speaker for each in found)
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


def test_the_card_names_licence_and_attribution_of_every_public_corpus_and_of_no_other(
    service: Service, tmp_path: Path
) -> None:
    filters = DatasetFilters(public=f"limmits:{limmits(tmp_path)}:hi", public_share=0.25)
    row = service.context.db.row(tables.datasets, dataset.export(service.context, filters=filters, forms=()))
    card = dataset_card.text(service.context, row, {})
    assert "| LIMMITS (SYSPIN) | CC-BY-4.0 | SPIRE Lab, Indian Institute of Science, Bengaluru |" in card
    assert "GLOBE" not in card
    plain = service.context.db.row(tables.datasets, dataset.export(service.context, name="plain", forms=()))
    assert "Licences" not in dataset_card.text(service.context, plain, {})


def test_a_list_of_transcripts_that_is_cut_is_told_in_one_sentence(tmp_path: Path) -> None:
    listed = next(limmits(tmp_path).rglob("*Transcripts.json"))
    listed.write_text(listed.read_text()[:40])
    with pytest.raises(ConfigurationError, match="public-source-damaged"):
        list(public_speech.utterances(public_speech.SpeechSource.of(f"limmits:{tmp_path / 'limmits'}")))


def test_public_voices_keep_their_rate_and_are_named_after_corpus_and_speaker(service: Service, tmp_path: Path) -> None:
    specs = (f"globe:{globe(tmp_path)}", f"limmits:{limmits(tmp_path)}:hi", f"rasa:{rasa(tmp_path, 4)}:hi")
    sources = [public_speech.SpeechSource.of(spec) for spec in specs]
    found = list(public_voices.lines(service.context, sources, 99, least_rate_hz=16_000))
    assert {reason for _, reason in found} == {""}
    lines = [line for line, _ in found]
    assert len(lines) == 12
    assert {line["split"] for line in lines} == {"train"}
    assert {(line["source"], line["rate_hz"]) for line in lines} == {
        ("globe", 24_000), ("limmits", 48_000), ("rasa", 48_000),
    }  # fmt: skip
    assert {line["voice"] for line in lines if line["source"] == "globe"} == {"globe-s-000000", "globe-s-000001"}
    one = next(line for line in lines if line["source"] == "limmits")
    assert one["voice"] == "limmits-iisc-syspinproject-hindi-female-spk001-hc"
    service.context.store.fetch(one["bucket"], one["key"], tmp_path / "one.wav")
    with wave.open(str(tmp_path / "one.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.getnframes()) == (48_000, 1, 48_000)


def test_a_public_voice_below_the_least_rate_is_left_out_and_the_same_number_is_the_same_rows(
    service: Service, tmp_path: Path
) -> None:
    source = public_speech.SpeechSource.of(f"globe:{globe(tmp_path)}")
    assert {reason for _, reason in public_voices.lines(service.context, [source], 9, least_rate_hz=32_000)} == {
        "public-rate"
    }
    first, again = (
        [line["id"] for line, _ in public_voices.lines(service.context, [source], 2, least_rate_hz=8000)] for _ in "12"
    )
    assert first == again
    assert len(first) == 2


def test_a_style_is_an_emotion_only_where_it_is_one(service: Service, tmp_path: Path) -> None:
    place = tmp_path / "rasa"
    place.mkdir()
    styles = ["HAPPY", "ANGER", "ALEXA", "BOOK"]
    table = pa.table({
        "text": [f"वाक्य {n}" for n in range(4)], "language": ["Hindi"] * 4, "gender": ["female"] * 4, "style": styles,
        "audio": [{"bytes": sound(n, rate_hz=48_000), "path": f"{n}.wav"} for n in range(4)],
    })  # fmt: skip
    pq.write_table(table, place / "train-0.parquet")
    source = public_speech.SpeechSource.of(f"rasa:{place}")
    found = {line["text"]: line["emotion"] for line, _ in public_voices.lines(
        service.context, [source], 9, least_rate_hz=8000
    )}  # fmt: skip
    assert [found[f"वाक्य {n}"] for n in range(4)] == ["happy", "angry", "neutral", "neutral"]
