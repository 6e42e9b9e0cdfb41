"""A version is scored by listening, through the engine that serves it; the same question is answered once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ml_backend import tables
from ml_backend.audio import decoding
from ml_backend.context import Context
from ml_backend.errors import PermanentError
from ml_backend.jobs import devices
from ml_backend.models import manifest, registry
from ml_backend.serving import adoption, default_model
from tests import models
from tests.training import candidates, spoken
from tests.training.spoken import Line
from training.datasets import dataset
from training.evaluation import evaluation, exposure, recognition_scoring, silence, test_transcription
from training.promotion import promotion
from training.text import readings

CALLS = registry.BUNDLED.parent / "calls"


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    opened = spoken.opened(tmp_path / "data")
    yield opened
    opened.db.dispose()


def bundled_calls(tmp_path: Path) -> list[Line]:
    """The demonstration calls in which one person speaks for less than half a minute."""
    lines = []
    for row in json.loads((CALLS / "calls.json").read_text()):
        wav = tmp_path / "call.wav"
        decoding.decode(CALLS / row["file"], wav)
        samples, rate_hz = decoding.read_wav(wav)
        if row["text"] and len(samples) == 1 and samples.shape[1] < 20 * rate_hz:
            lines.append(Line(row["file"], samples[0], row["text"], row["language"], row["file"], "test"))
    return lines


@pytest.fixture
def calls(context: Context, tmp_path: Path) -> int:
    return spoken.dataset_of(context, "calls", bundled_calls(tmp_path), tmp_path / "scratch")


def twin(context: Context, folder: Path) -> registry.Version:
    """The bundled model under another name."""
    shutil.copytree(registry.BUNDLED, folder)
    was = manifest.read(folder)
    (folder / manifest.FILE).unlink()
    manifest.write(folder, name="twin", languages=was.languages, window=was.window, trained_on=was.trained_on)
    return adoption.adopt(context, folder)


def test_the_bundled_model_is_scored_is_no_better_than_itself_and_beats_one_that_knows_nothing(
    context, calls, tmp_path
):
    default_model.ensure(context)
    champion = registry.champion(context)
    found = evaluation.evaluate(context, champion, calls)
    assert found.scores["calls"] >= 8
    assert found.scores["rates"]["indic@1"]["wer"][0] < 0.2
    assert found.scores["language_identification"]["share"] > 0.8
    assert found.scores["silence"]["with_words"] == 0
    assert found.scores["self_check"] is None
    assert 0 < found.scores["speed"]["cpu_per_audio_s"] < 2
    assert evaluation.evaluate(context, champion, calls).id == found.id, "the same question"
    assert evaluation.find(context, found.id) == found
    registry.verified(context, champion)  # what is kept of a version lies apart from its files

    equal = promotion.promote(context, twin(context, tmp_path / "twin"), who="a test", why="")
    assert not equal.moved
    assert equal.judgement.verdict.detail.overall.difference.value == 0

    noise = registry.register(context, str(models.cached()))
    worse = promotion.promote(context, noise, who="a test", why="")
    assert not worse.moved
    assert worse.judgement.verdict.detail.overall.now > 0.9
    assert worse.judgement.verdict.detail.overall.difference.low > 0
    assert registry.champion(context).version == champion.version


def test_a_test_row_whose_audio_is_gone_is_counted_and_the_rest_is_heard(context, calls):
    default_model.ensure(context)
    gone = next(iter(dataset.read(context, calls, "test")))
    bucket = context.settings.audio_bucket
    context.store.delete(bucket, f"public/{gone['audio_sha256']}.wav")
    found = evaluation.evaluate(context, registry.champion(context), calls)
    assert found.scores["left_out"]["audio_missing"] == 1
    assert gone["id"] not in {one.id for one in found.utterances}


def test_a_test_set_is_heard_by_whoever_holds_the_device_and_by_nobody_else(context, calls, monkeypatch):
    default_model.ensure(context)
    champion, device = registry.champion(context), devices.here(context.settings.asr_device)
    with devices.held(context, device, "run-1"), pytest.raises(devices.Busy, match="trained or scored"):
        evaluation.evaluate(context, champion, calls)

    def heard(*_, **__):
        with context.db.transaction() as connection:
            assert devices.is_training(connection), "bulk waits meanwhile"
            assert not devices.take(connection, device, "run-2")
        return [], {}, 0

    monkeypatch.setattr(recognition_scoring.test_transcription, "transcribe_test_set", heard)
    evaluation.evaluate(context, champion, calls)
    with devices.held(context, device, "run-2"):
        evaluation.evaluate(context, champion, calls)  # known by now: nothing is heard


def test_a_dataset_without_test_rows_is_refused(context, tmp_path):
    default_model.ensure(context)
    lines = [Line("a", spoken.tone(1), "x", split="train")]
    empty = spoken.dataset_of(context, "calls", lines, tmp_path / "scratch")
    with pytest.raises(PermanentError, match="no test rows"):
        evaluation.evaluate(context, registry.champion(context), empty)
    with pytest.raises(PermanentError, match="no dataset with test rows"):
        promotion.newest_test_set(context)


def test_what_a_base_learnt_from_counts_too_and_an_agent_is_on_every_side(context, tmp_path):
    def learnt(name: str, number: int, speaker: str) -> int:
        line = Line(f"{name}-{number}", spoken.tone(number), "x", "en", speaker)
        return spoken.dataset_of(context, name, [line], tmp_path / name)

    first, old = learnt("first", 1, "caller-1"), learnt("old", 2, "agent-9")
    base = candidates.version(context, tmp_path, "base", lineage={"dataset_id": first})
    second = learnt("second", 3, "caller-3")
    grown = candidates.version(
        context, tmp_path, "grown",
        lineage={"dataset_id": second, "replay_dataset_id": old, "base": base.version},
    )  # fmt: skip
    found = exposure.by(context, grown)
    assert found.speakers == {"caller-1", "caller-3"}
    assert found.calls == {"first-1", "old-2", "second-3"}
    assert found.has(audio_sha256="", call="old-2", caller="agent-9")
    assert not found.has(audio_sha256="", call="another", caller="agent-9")
    assert exposure.by(context, base).speakers == {"caller-1"}


def test_nobody_speaks_in_the_clips_of_silence_and_they_are_the_same_every_time():
    once, again = list(silence.clips()), list(silence.clips())
    assert {clip.kind for clip in once} == {"quiet", "sound"}
    assert all((a.samples == b.samples).all() for a, b in zip(once, again, strict=True))
    assert all(clip.samples.shape[1] >= 4 * silence.RATE_HZ for clip in once)


def test_a_change_of_the_decoding_asks_anew(context):
    other = context.settings.model_copy(update={"asr_beam_size": context.settings.asr_beam_size + 1})
    changed = replace(context, settings=other)
    assert recognition_scoring.conditions(changed.settings) != recognition_scoring.conditions(context.settings)
    assert test_transcription.profile_of(changed.settings).beam_size == other.asr_beam_size


def test_an_evaluation_under_older_readings_is_kept_as_it_is_and_never_compared_with_newer_ones(
    context, calls, monkeypatch
):
    """The gate asks `evaluate` for both versions, so it compares what was counted in one way."""
    default_model.ensure(context)
    champion = registry.champion(context)
    asked = []

    def heard(*_, **__):
        asked.append(1)
        return [], {}, 0

    monkeypatch.setattr(recognition_scoring.test_transcription, "transcribe_test_set", heard)
    old = evaluation.evaluate(context, champion, calls)
    before = ["strict@1", "indic@1", "script-neutral@1", "number-canonical@1"]
    context.db.update(tables.evaluations, old.id, normalisers=before)
    new = evaluation.evaluate(context, champion, calls)
    assert (len(asked), new.id > old.id) == (2, True)
    assert context.db.row(tables.evaluations, old.id).normalisers == before
    assert context.db.row(tables.evaluations, new.id).normalisers == list(readings.CURRENT)
    assert evaluation.evaluate(context, champion, calls).id == new.id
