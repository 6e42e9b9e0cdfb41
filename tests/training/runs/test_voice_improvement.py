"""A genuine improvement: a voice comes near to new recordings, is still understood, and a careless run is refused."""

import shutil

import pytest

from ml_backend import settings
from ml_backend.tts.speaking import BUNDLED
from tests.training import voice_improvement
from training.scoring import speech_scores
from training.trainers.tts import voice_tuning

pytestmark = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng speaks the recordings")
# The aligner is not adapted and the old voice does not rehearse; shorter, because it need not become good.
CARELESS = {"aligner_steps": 0, "rehearsal_share": 0.0, "steps": 120, "batch_clips": 8}


@pytest.mark.timeout(1200)
def test_a_hundred_and_fifty_clips_move_the_voice_and_keep_it_understood(tmp_path, capsys):
    fresh = voice_improvement.HeldOutSpeech.of(
        voice_improvement.held_out(voice_improvement.TUNED_ON, voice_improvement.FRESH), settings.load()
    )
    before = fresh.spoken_by(BUNDLED, None)
    tuned = voice_improvement.workspace_of(tmp_path / "tuned")
    assert voice_tuning.train(tuned)["state"] == "done"
    now = fresh.spoken_by(tuned.model, voice_improvement.NEW_VOICE)
    careless = voice_improvement.workspace_of(tmp_path / "careless", **CARELESS)
    voice_tuning.train(careless)
    control = fresh.spoken_by(careless.model, voice_improvement.NEW_VOICE)
    with capsys.disabled():
        for name, sentences in (("base", before), ("tuned", now), ("control", control)):
            print(f"\n{voice_improvement.line(name, sentences)}")
    judged = voice_improvement.judged(before, now)
    assert judged.passed, judged.objections
    change = speech_scores.distance_change(before, now)
    assert change.high < 0
    assert judged.figures["cer"][0] < 0.15
    refused = {one.code for one in voice_improvement.judged(before, control).objections}
    assert refused & {"not-understood", "not-this-voice"}, "the control was let through"
