"""A voice's run stops when asked, goes on exactly where it was, and names what it cannot learn from."""

import shutil
import subprocess
import sys

import numpy as np
import pytest

from ml_backend.errors import ConfigurationError, InvalidInput, PermanentError
from ml_backend.tts.speaking import Speaker
from tests.training.voice_improvement import WEIGHTS
from training.runs import voice_rows
from training.runs.tts_arguments import TtsArguments
from training.runs.voice_rows import VoiceRow
from training.runs.workspace import Workspace, write_json
from training.trainers.tts import __main__ as process
from training.trainers.tts import voice_tuning

OPTIONS = {
    "aligner_steps": 3, "steps": 4, "batch_clips": 2, "rehearsal_share": 0.0, "checkpoint_every": 1,
    "validate_every": 2,
}  # fmt: skip


def buzz(seconds=1.2, seed=0):
    t = np.arange(round(seconds * 16000)) / 16000
    return (0.1 * np.sign(np.sin(2 * np.pi * (150 + 20 * seed) * t))).astype(np.float32)


def workspace(folder, rows=None, **changed):
    folder.mkdir()
    made = Workspace(folder)
    rows = rows or [
        (VoiceRow(f"c-{n}", "hello sir", "en", "asha", split="validation" if n == 5 else "train"), buzz(seed=n))
        for n in range(6)
    ]
    voice_rows.write(made, rows)
    made.write_plan(
        {
            "arguments": {**OPTIONS, **changed}, "base": str(WEIGHTS), "name": "kaan-voice", "languages": ["en"],
            "trained_on": "a test", "sample_rate_hz": 16000,
        }
    )  # fmt: skip
    return made


def test_a_stopped_run_goes_on_and_ends_as_if_it_had_never_stopped(tmp_path):
    whole = voice_tuning.train(workspace(tmp_path / "whole"))
    stopped = workspace(tmp_path / "stopped")
    for _ in range(7):  # one step at a time
        stopped.ask_to_stop()
        found = voice_tuning.train(stopped)
        if found["state"] != "stopped":
            break
    assert stopped.begun
    stopped.allow()
    resumed = voice_tuning.train(stopped)
    assert resumed["state"] == "done"
    assert resumed["model_version"] == whole["model_version"]
    assert resumed["after"] == whole["after"]
    assert whole["parity"]["passed"]
    assert whole["trained_step"] == 7


def test_the_new_version_keeps_the_voice_of_its_base_and_has_the_new_one(tmp_path):
    made = workspace(tmp_path / "run")
    assert process.main(made.folder) == 0
    speaker = Speaker.load(made.model)
    assert speaker.needs.voices == ("kaan", "asha")
    assert len(speaker.speak("hello", language="en", voice="asha").samples)
    again = workspace(tmp_path / "again")
    shutil.copytree(made.weights, tmp_path / "base")
    again.write_plan({**again.plan(), "base": str(tmp_path / "base")})
    assert voice_tuning.train(again)["state"] == "done"


def test_complete_weights_are_not_trained_again(tmp_path):
    made = workspace(tmp_path / "run")
    first = voice_tuning.train(made)
    shutil.rmtree(made.model)
    lines = len(list(made.progress()))
    assert voice_tuning.train(made)["model_version"] == first["model_version"]
    assert len(list(made.progress())) == lines + 1


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ([(VoiceRow("a", "hello", "en", "asha"), np.zeros(16000, np.float32))] * 3, "voice-clips-unfit"),
        ([(VoiceRow("a", "hello " * 30, "en", "asha"), buzz(0.3))] * 3, "voice-clips-unfit"),
        ([(VoiceRow("a", "?!", "en", "asha"), buzz())] * 3, "voice-clips-unfit"),
        ([(VoiceRow("a", "hello", "en", "asha", split="validation"), buzz())], "voice-no-clips"),
    ],
)
def test_recordings_that_do_not_fit_their_texts_are_refused_with_an_example(tmp_path, rows, code):
    made = workspace(tmp_path / "run", rows)
    assert process.main(made.folder) == 1
    found = made.result()
    assert (found["state"], found["branch"], found["code"]) == ("failed", "permanent", code)


def test_one_bad_recording_among_many_is_left_out_by_name(tmp_path):
    rows = [(VoiceRow(f"c-{n}", "hello sir", "en", "asha"), buzz(seed=n)) for n in range(6)]
    rows.append((VoiceRow("silent", "hello", "en", "asha"), np.zeros(16000, np.float32)))
    made = workspace(tmp_path / "run", rows)
    assert voice_tuning.train(made)["state"] == "done"
    assert next(line for line in made.progress() if line["phase"] == "left-out")["left_out"] == {
        "no-speech": ["silent"]
    }


@pytest.mark.parametrize("kind", ["vits", "speecht5", None])
def test_a_base_of_another_type_is_refused_in_one_sentence_that_names_the_supported_ones(tmp_path, kind):
    base = tmp_path / "base"
    base.mkdir()
    if kind:
        write_json(base / "config.json", {"model_type": kind})
    made = workspace(tmp_path / "run")
    made.write_plan({**made.plan(), "base": str(base)})
    with pytest.raises(ConfigurationError) as refused:
        voice_tuning.train(made)
    assert refused.value.code == "voice-base-unsupported"
    assert "parler_tts" in refused.value.next_step


def test_recordings_of_another_rate_are_refused(tmp_path):
    made = workspace(tmp_path / "run")
    made.write_plan({**made.plan(), "sample_rate_hz": 8000})
    with pytest.raises(PermanentError) as refused:
        voice_tuning.train(made)
    assert refused.value.code == "voice-sample-rate"


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"stepps": 5}, {"rehearsal_share": 2}, {"learning_rate": "fast"}])
def test_wrong_options_are_refused_by_name(wrong):
    with pytest.raises(InvalidInput) as refused:
        TtsArguments.from_json(wrong)
    assert next(iter(wrong)) in refused.value.sentence


def test_options_and_rows_need_no_training_library():
    code = (
        "import sys, training.runs.tts_arguments, training.runs.voice_rows, training.scoring.speech_scores,"
        " training.evaluation.speech_gate, training.trainers.tts.__main__; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
