"""A genuine improvement: a voice comes near to new recordings, is still understood, and a careless run is refused."""

import shutil

import pytest

from ml_backend import settings
from ml_backend.tts.speaking import BUNDLED
from tests.training import voice_improvement
from training.scoring import speech_scores
from training.trainers.tts import voice_tuning

pytestmark = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng speaks the recordings")
# Everything else is as in the good run.
UNADAPTED = {"aligner_steps": 0, "rehearsal_share": 0.0}


@pytest.fixture(scope="module")
def fresh():
    return voice_improvement.HeldOutSpeech.of(
        voice_improvement.held_out(voice_improvement.TUNED_ON, voice_improvement.FRESH), settings.load()
    )


@pytest.fixture(scope="module")
def before(fresh):
    return fresh.spoken_by(BUNDLED, None)


@pytest.mark.timeout(1200)
def test_a_hundred_and_fifty_clips_move_the_voice_and_keep_it_understood(tmp_path, capsys, fresh, before):
    tuned = voice_improvement.workspace_of(tmp_path)
    assert voice_tuning.train(tuned)["state"] == "done"
    now = fresh.spoken_by(tuned.model, voice_improvement.NEW_VOICE)
    with capsys.disabled():
        print(f"\n{voice_improvement.line('base', before)}\n{voice_improvement.line('tuned', now)}")
    judged = voice_improvement.judged(before, now)
    assert judged.passed, judged.objections
    change = speech_scores.distance_change(before, now)
    assert change.high < 0
    assert judged.figures["cer"][0] < 0.15


@pytest.mark.timeout(1200)
def test_a_voice_whose_letters_were_measured_by_an_unadapted_aligner_is_refused_as_not_understood(
    tmp_path, capsys, fresh, before
):
    """It sounds like the new voice (pitch, length, most of the spectrum) and says other letters."""
    careless = voice_improvement.workspace_of(tmp_path, **UNADAPTED)
    assert voice_tuning.train(careless)["state"] == "done"
    control = fresh.spoken_by(careless.model, voice_improvement.NEW_VOICE)
    with capsys.disabled():
        print(f"\n{voice_improvement.line('unadapted', control)}")
    refused = {one.code for one in voice_improvement.judged(before, control).objections}
    assert "not-understood" in refused
    assert speech_scores.against_version(before, control).low > 0.03
