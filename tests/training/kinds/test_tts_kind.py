"""The kind tts goes the whole way on real parts: clips, a dataset, a trained voice, its scores, the gate's answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.commands import command_line
from ml_backend.context import Context
from ml_backend.models import registry
from ml_backend.tts.speaking import Speaker
from tests import sounds
from tests.training import spoken
from training.evaluation.speech_gate import SpeechJudgement, SpeechRules
from training.evaluation.verdict import GateObjection
from training.promotion import voice_gate
from training.voices import people_verdict, voice_lines
from training.voices.people_verdict import PeopleVerdict

GOODS = ("saree", "printer", "mirror", "kettle", "phone", "lamp", "chair", "watch", "bottle", "blanket")
ASKED = ("where is my {}", "please send the {}", "i want to return the {}", "is the {} ready")


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    opened = spoken.opened(tmp_path / "data")
    monkeypatch.setenv("DATA_DIR", str(opened.settings.data_dir))
    yield opened
    opened.db.dispose()


def told(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert command_line.main(list(words)) == code, capsys.readouterr().err
    return capsys.readouterr().out


def clips(context: Context, folder: Path, sentences: list[str]) -> None:
    """Accepted clips of a new voice, with the recordings that they were found in: the bundled voice, spoken faster."""
    speaker, bucket = Speaker.load(voice_folder()), context.settings.audio_bucket
    context.store.ensure_bucket(bucket)
    for number, text in enumerate(sentences):
        wave = speaker.speak(text, language="en", tempo=1.3).samples
        path = sounds.write_wav(folder / f"{number}.wav", wave[None] if wave.ndim == 1 else wave)
        sha256, key = f"{number:064x}", f"tts/en/{number}.wav"
        context.store.put_file(bucket, key, path)
        with context.db.transaction() as connection:
            connection.execute(
                sa.insert(tables.recordings).values(
                    source="object", source_identity=f"s3://{bucket}/{key}", sha256=sha256, derived_key=key,
                    state="ready", object_key=key,
                )
            )  # fmt: skip
            connection.execute(
                sa.insert(tables.voice_clips).values(
                    bucket=bucket, key=key, sha256=sha256, text=text, language="en", voice="meera", emotion="neutral",
                    engine="studio", duration_s=len(wave) / 16_000, rate_hz=16_000, channels=1, digest=sha256,
                    state="accepted", accepted_at=tables.now(),
                )
            )  # fmt: skip


def voice_folder() -> Path:
    from ml_backend.models import kinds

    return kinds.BUNDLED[kinds.TTS]


@pytest.mark.xdist_group("tts-kind")
def test_clips_become_a_voice_that_is_scored_and_refused_until_enough_stands_for_it(
    context: Context, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    every = [asked.format(goods) for goods in GOODS for asked in ASKED]
    tested = [text for text in every if voice_lines.side(text, "en") == "test"][:4]
    learnt = [text for text in every if voice_lines.side(text, "en") == "train"][:14]
    clips(context, tmp_path, tested + learnt)
    exported = json.loads(told(capsys, "export", "voices", "--json"))
    assert exported["kind"] == "tts"
    assert exported["counts"]["splits"]["test"]["rows"] == len(tested)
    assert exported["counts"]["voices"]["meera"]["rows"] == len(tested) + len(learnt)
    run = json.loads(
        told(capsys, "train", "tts", "--dataset", "voices", "--steps", "12", "--option", "aligner_steps=4", "--json")
    )
    assert run["state"] == "done"
    made = registry.named(context, run["version"])
    assert made is not None
    assert made.kind == "tts"
    assert "meera" in made.manifest["needs"]["voices"], "a new voice beside the old one"
    assert "characters wrong" in told(capsys, "evaluate", made.version)
    said = told(capsys, "promote", made.version, code=3)
    assert f"Refused: {len(tested)} sentences were judged; 60 are needed." in said
    assert registry.champion(context, "tts").version != made.version
    assert "characters wrong of 100" in told(capsys, "models", "list", "--kind", "tts")


def judgement(*objections: GateObjection) -> SpeechJudgement:
    return SpeechJudgement(objections, {"cer": [0.04, 0.02, 0.06], "cer_change": None}, True, SpeechRules())


@pytest.mark.parametrize(
    ("people", "enough", "outcome", "begins"),
    [
        (people_verdict.BETTER, False, "better", "The candidate may speak: 4.0 % of the characters"),
        (people_verdict.WORSE, False, "worse", "People prefer the present voice."),
        (people_verdict.UNDECIDED, False, "equal", "No difference beyond chance."),
        (people_verdict.UNRATED, False, "cannot-tell", "No figure stands against it"),
        (people_verdict.PROVISIONAL, False, "cannot-tell", "No figure stands against it"),
        (people_verdict.UNRATED, True, "better", "The candidate may speak"),
        (people_verdict.WORSE, True, "worse", "People prefer the present voice."),
    ],
)
def test_figures_may_refuse_a_voice_and_only_people_promote_one(people, enough, outcome, begins) -> None:
    said = PeopleVerdict(people, "What people said.")
    found = voice_gate.decide(judgement(), said, before=(), now=(), figures_are_enough=enough)
    assert found.outcome == outcome
    assert found.words[0].startswith(begins)
    refused = judgement(GateObjection("not-understood", "20 % of the characters are recognised wrongly."))
    found = voice_gate.decide(refused, said, before=(), now=(), figures_are_enough=True)
    assert found.outcome == "vetoed"
    body = {**found.body, "words": found.words, "candidate": "b", "champion": "a", "dataset": "voices@1"}
    assert voice_gate.page(body).startswith("# b against a\n\nRefused: 20 % of the characters")
    assert b"<svg" in voice_gate.plot(body)
