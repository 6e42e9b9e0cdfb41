"""What the recogniser writes beside a clip's text: a figure, and a reason only where it understands the language."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from ml_backend.context import JobContext
from ml_backend.serving import default_model
from ml_backend.views import voice_views
from tests.training.voices.conftest import Voices
from training.voices import clip_checks, clip_collection, retranscription

CALLS = Path(__file__).resolve().parents[3] / "ml_backend" / "bundled" / "calls"
FILES = ("hi-wrong-chair.wav", "hi-refund-sum.wav", "hi-late-fan.wav")


@pytest.fixture
def clips(voices: Voices) -> Voices:
    """Two bundled calls with their own texts and one with the text of another, at the rate of a telephone."""
    chosen = voices.context.settings.model_copy(update={"tts_least_rate_hz": 8000})
    voices.context = dataclasses.replace(voices.context, settings=chosen)
    default_model.ensure(voices.context)
    texts = {one["file"]: one["text"] for one in json.loads((CALLS / "calls.json").read_text(encoding="utf-8"))}
    for name in FILES:
        said = texts[name] if name != FILES[2] else texts[FILES[1]].replace("गुरुवार", "सोमवार")
        voices.put(f"training-data/tts/hi/{name}", (CALLS / name).read_bytes())
        voices.put(f"training-data/tts/hi/{name.replace('.wav', '.txt')}", said)
    voices.find()
    assert {clip.reason_code for clip in voices.clips()} == {None}
    return voices


def check(voices: Voices) -> None:
    context = voices.context
    retranscription.check_voices(JobContext(context.settings, context.db, context.store, context.kept))


def test_a_clip_with_another_text_is_left_out_only_where_the_recogniser_is_known_to_be_able(
    clips: Voices, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(clips)
    found = {clip.key.rpartition("/")[2]: clip for clip in clips.clips()}
    rates = {name: clip.checks["cer"] for name, clip in found.items()}
    assert max(rates[FILES[0]], rates[FILES[1]]) < 0.2
    assert rates[FILES[2]] > 0.5
    assert {clip.state for clip in found.values()} == {"accepted"}, "three clips say nothing about the recogniser"
    [told] = voice_views.summary(clips.context.db)["retranscription"]
    assert (told["language"], told["clips"]) == ("hi", 3)

    monkeypatch.setattr(clip_checks, "CLIPS_OF_A_JUDGE", 3)
    retranscription._judge(clips.context, "hi", found[FILES[0]].checks["recogniser"])
    wrong = clips.clip(f"tts/hi/{FILES[2]}")
    assert (wrong.state, wrong.reason_code) == ("excluded", "not-the-text")
    clip_collection.collect(clips.context)
    assert clips.clip(f"tts/hi/{FILES[2]}").reason_code == "not-the-text", "a later pass keeps the verdict"
    assert clips.clip(f"tts/hi/{FILES[0]}").checks["cer"] == rates[FILES[0]], "and the figures"
