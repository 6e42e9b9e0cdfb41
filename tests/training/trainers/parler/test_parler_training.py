"""A tiny random ParlerTTS, in the real environment of parler-tts: it starts, learns, is saved, loaded, and speaks."""

import json
import signal
import subprocess
import time
import wave
from pathlib import Path

import pytest
import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.context import open_context
from ml_backend.errors import ConfigurationError, InvalidInput, PermanentError
from ml_backend.models import manifest, registry
from ml_backend.serving import chosen_model
from ml_backend.tts import parler_environment, prompts, voice_loading
from tests.training.trainers.parler import environment
from training.runs.workspace import Workspace

TRAINER = ("-m", "training.trainers.parler")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parler") / "tiny"
    code, output = environment.run(environment.ROOT / "tests/training/trainers/parler/tiny_parler.py", folder)
    assert code == 0, output
    return folder


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory):
    """The folder of a run that was killed in its middle and then went on to its end."""
    folder = tmp_path_factory.mktemp("run")
    environment.fill(folder, tiny, steps=400)
    workspace = Workspace(folder)
    killed = subprocess.Popen(
        [str(environment.python()), *TRAINER, str(folder)], cwd=environment.ROOT, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 300
    while not list(workspace.checkpoints.glob("checkpoint-*/seal.json")) and time.monotonic() < deadline:
        assert killed.poll() is None, "it ended before its first checkpoint"
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    plan = workspace.plan()
    plan["arguments"]["steps"] = 1 + max(line["step"] for line in workspace.progress() if line["phase"] == "training")
    workspace.write_plan(plan)
    code, output = environment.run(*TRAINER, folder)
    assert code == 0, output
    return folder


def test_a_killed_run_goes_on_from_its_checkpoint_and_its_version_is_served_as_it_was_trained(trained):
    workspace = Workspace(trained)
    result = workspace.result()
    phases = [line["phase"] for line in workspace.progress()]
    resumed = next(line for line in workspace.progress() if line["phase"] == "resumed")
    assert resumed["step"] >= 2
    assert phases.count("resumed") == 1
    assert result["state"] == "done"
    assert result["after"]["loss"] < result["before"]["loss"]
    assert result["parity"]["passed"]
    assert result["parity"]["clips"] == 2
    assert result["parity"]["spoken_s"] > 0
    described = manifest.verify(workspace.model)
    assert (described.kind, described.languages, described.sample_rate_hz) == ("tts", ("en", "hi"), 16000)
    assert described.needs["voices"] == ["asha"]
    assert described.model_version == result["model_version"]
    same = (workspace.weights / "model.safetensors").stat().st_ino
    assert (workspace.model / "model.safetensors").stat().st_ino == same, "three gigabytes are not kept twice"


def test_codes_are_computed_once(trained):
    lines = [line for line in Workspace(trained).progress() if line["phase"] == "encoding"]
    shards = list((trained / "codes").glob("*.safetensors"))
    assert len(lines) == 3  # the killed start, the second, and the comparison of the served form
    assert len(shards) == 1
    assert shards[0].stat().st_mtime < (trained / "learnt.json").stat().st_mtime


def test_a_version_speaks_in_its_voice_and_says_what_it_does_not_know(trained, settings_of_parler, tmp_path):
    model = Workspace(trained).model
    lines = [{"text": "नमस्ते", "voice": "asha", "language": "hi", "out": str(tmp_path / "a" / "one.wav")}]
    (spoken,) = parler_environment.speak(settings_of_parler, model, lines)
    assert spoken["description"] == "Asha's voice is low. The recording is very clear."
    with wave.open(str(tmp_path / "a" / "one.wav")) as file:
        assert (file.getnchannels(), file.getframerate()) == (1, 16000)
        assert file.getnframes() / 16000 == pytest.approx(spoken["duration_s"], abs=0.01)
    with pytest.raises(InvalidInput, match="no voice 'ravi'") as refused:
        parler_environment.speak(settings_of_parler, model, [{**lines[0], "voice": "ravi"}])
    assert (refused.value.code, refused.value.next_step) == ("speech-voice-unknown", "It knows: asha.")


def test_a_promoted_version_renders_prompts_a_few_in_one_start_and_each_only_once(
    trained, settings_of_parler, tmp_path, monkeypatch
):
    given = settings_of_parler.model_copy(update={"data_dir": tmp_path})
    db.upgrade(given.database)
    context = open_context(given)
    made = registry.register(context, str(Workspace(trained).model))
    registry.move_alias(context, made, expected_revision=0, who="asha", why="people prefer it")
    starts = []
    run = parler_environment._run
    monkeypatch.setattr(parler_environment, "_run", lambda *given: starts.append(given) or run(*given))
    voice = voice_loading.load(given, Path(chosen_model.of_version(context, "tts")))
    texts = (("hello there", "en"), ("नमस्ते", "hi"), ("hello there", "en"), ("???", "en"), ("வணக்கம்", "ta"))
    asked = [prompts.saying(voice, text, language) for text, language in texts]
    found = list(prompts.spoken_each(context, voice, asked))
    assert [one.code for one in found[3:]] == ["speech-text-empty", "speech-language-unknown"]
    assert [new for _, new in found[:3]] == [True, True, False]
    assert [new for _, new in list(prompts.spoken_each(context, voice, asked))[:3]] == [False] * 3
    assert len(starts) == 1
    clips = context.db.rows(sa.select(tables.voice_clips))
    assert {(clip.text, clip.model_version) for clip in clips} == {
        ("hello there", made.version), ("नमस्ते", made.version),
    }  # fmt: skip
    bucket = prompts.PromptPlaces.of(given).bucket
    with wave.open(str(context.store.open_local(bucket, found[1][0]))) as file:
        assert (file.getframerate(), file.getnframes() > 1000) == (16000, True)
    context.db.dispose()


def test_all_of_the_decoder_can_be_trained_and_a_run_that_is_asked_to_stop_keeps_its_step(tiny, tmp_path):
    environment.fill(tmp_path, tiny, method="full", steps=3)
    workspace = Workspace(tmp_path)
    workspace.ask_to_stop()
    assert environment.run(*TRAINER, tmp_path)[0] == 0
    assert workspace.result() == {"state": "stopped"}
    workspace.allow()
    code, output = environment.run(*TRAINER, tmp_path)
    assert code == 0, output
    assert workspace.result()["method"] == "full"
    assert workspace.result()["parity"]["passed"]


def test_the_environment_is_the_locked_one_and_starts(settings_of_parler):
    assert parler_environment.check(settings_of_parler) == {"parler-tts": "0.2.3", "transformers": "4.46.1"}


def test_a_model_of_another_family_is_refused_in_words(tiny, tmp_path):
    other = tmp_path / "vits"
    other.mkdir()
    (other / "config.json").write_text(json.dumps({"model_type": "vits"}))
    environment.fill(tmp_path / "run", other)
    assert environment.run(*TRAINER, tmp_path / "run")[0] == 1
    result = Workspace(tmp_path / "run").result()
    assert (result["branch"], result["code"]) == ("permanent", "parler-base-type")
    assert result["sentence"] == "vits is a vits model, not a Parler-TTS."


@pytest.fixture
def settings_of_parler(monkeypatch):
    from ml_backend.settings import Settings

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return Settings(_env_file=None, tts_parler_python=str(environment.python()))


def test_an_interpreter_without_parler_is_refused_before_a_run(settings_of_parler):
    import sys

    other = settings_of_parler.model_copy(update={"tts_parler_python": sys.executable})
    with pytest.raises(ConfigurationError) as refused:
        parler_environment.check(other)
    assert refused.value.code == "parler-environment"
    assert "make parler" in refused.value.next_step


def test_a_folder_that_is_gone_is_named(settings_of_parler, tmp_path):
    line = {"text": "hello", "out": str(tmp_path / "x.wav")}
    with pytest.raises(PermanentError) as refused:
        parler_environment.speak(settings_of_parler, tmp_path / "gone", [line])
    assert refused.value.code == "parler-model-missing"
