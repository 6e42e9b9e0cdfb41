"""A Parler version as a voice: what needs no start of its environment, and what a missing environment says.

The real environment speaks in tests/training/trainers/parler.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ml_backend.errors import ConfigurationError, InvalidInput, PermanentError
from ml_backend.models import kinds, manifest
from ml_backend.settings import Settings
from ml_backend.tts import voice_loading
from ml_backend.tts.parler_voice import ParlerVoice
from ml_backend.tts.speaking import Speaker, SpeechLine

NEEDS = {"engine": "parler_tts", "voices": ["asha", "ravi"], "emotions": ["neutral", "happy"], "descriptions": {}}


def version(folder: Path, **needs: Any) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "parler_tts"}))
    manifest.write(
        folder, name="asha", languages=("en", "hi"), window=None, kind="tts", needs={**NEEDS, **needs}, trained_on="x",
        sample_rate_hz=44_100,
    )  # fmt: skip
    return folder


@pytest.fixture
def environment(tmp_path: Path) -> Callable[[str], Settings]:
    """Settings whose interpreter is a shell script."""

    def made(script: str) -> Settings:
        path = tmp_path / "env" / "bin" / "python"
        path.parent.mkdir(parents=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o700)
        return Settings(_env_file=None, tts_parler_python=str(path))  # type: ignore[call-arg]

    return made


def test_what_it_cannot_say_is_refused_before_the_environment_is_started(
    environment: Callable[[str], Settings], tmp_path: Path
) -> None:
    settings = environment(f"touch {tmp_path}/started; exit 1")
    voice = voice_loading.load(settings, version(tmp_path / "asha"))
    lines = [
        SpeechLine(" ?! ", "en"), SpeechLine("a" * 601, "en"), SpeechLine("hello", "ta"),
        SpeechLine("hello", "en", voice="x" * 100), SpeechLine("hello", "en", emotion="angry"),
        SpeechLine("hello", "en", tempo=1.2),
    ]  # fmt: skip
    found = list(voice.speak_each(lines))
    assert [one.code for one in found if isinstance(one, InvalidInput)] == [
        "speech-text-empty", "speech-text-too-long", "speech-language-unknown", "speech-voice-unknown",
        "speech-emotion-unknown", "speech-tempo",
    ]  # fmt: skip
    assert "It knows: asha, ravi." in str(found[3])
    assert not (tmp_path / "started").exists()
    with pytest.raises(InvalidInput):
        voice.speak("hello", language="ta")


def test_a_missing_environment_is_named_before_anything_is_asked(tmp_path: Path) -> None:
    nowhere = Settings(_env_file=None, tts_parler_python=str(tmp_path / "nowhere"))  # type: ignore[call-arg]
    with pytest.raises(ConfigurationError) as refused:
        voice_loading.load(nowhere, version(tmp_path / "asha"))
    assert refused.value.code == "parler-environment"
    assert "make parler" in refused.value.next_step


def test_an_environment_that_is_killed_may_be_tried_again(
    environment: Callable[[str], Settings], tmp_path: Path
) -> None:
    voice = voice_loading.load(environment("kill -9 $$"), version(tmp_path / "asha"))
    with pytest.raises(Exception, match="parler-speech-died"):
        voice.speak("hello", language="en")


@pytest.mark.parametrize("needs", [{"voices": []}, {"voices": "asha"}, {"emotions": 5}])
def test_a_manifest_that_names_no_voices_is_refused(
    environment: Callable[[str], Settings], tmp_path: Path, needs: dict[str, Any]
) -> None:
    with pytest.raises(PermanentError) as refused:
        voice_loading.load(environment("exit 1"), version(tmp_path / "asha", **needs))
    assert refused.value.code == "speech-manifest"


def test_the_manifest_says_which_engine_speaks(environment: Callable[[str], Settings], tmp_path: Path) -> None:
    settings = environment("exit 1")
    assert isinstance(voice_loading.load(settings, kinds.BUNDLED[kinds.TTS]), Speaker)
    assert isinstance(voice_loading.load(settings, version(tmp_path / "asha")), ParlerVoice)


def test_what_the_bundled_voice_cannot_say_costs_the_others_nothing() -> None:
    speaker = Speaker.load(kinds.BUNDLED[kinds.TTS])
    one, two, three = speaker.speak_each(
        [SpeechLine("hello", "en"), SpeechLine("hello", "ta"), SpeechLine("yes", "en")]
    )
    assert isinstance(two, InvalidInput)
    assert not isinstance(one, PermanentError)
    assert not isinstance(three, PermanentError)
