"""What the worker says when Parler's environment is missing, half installed, of another version, or killed."""

import json
import stat

import pytest

from ml_backend.errors import ConfigurationError, InvalidInput, RetryableError
from ml_backend.settings import Settings
from ml_backend.tts import parler_environment


@pytest.fixture
def interpreter(tmp_path):
    """Settings whose interpreter is a shell script."""

    def made(script):
        path = tmp_path / "env" / "bin" / "python"
        path.parent.mkdir(parents=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return Settings(_env_file=None, tts_parler_python=str(path))

    return made


def said(answer):
    return f"echo '{json.dumps(answer)}'"


def test_a_missing_environment_is_named_with_the_command_that_installs_it(tmp_path):
    settings = Settings(_env_file=None, tts_parler_python=str(tmp_path / "nowhere" / "python"))
    with pytest.raises(ConfigurationError) as refused:
        parler_environment.check(settings)
    assert refused.value.code == "parler-environment"
    assert refused.value.next_step.startswith("Install it: make parler.")


def test_an_installation_that_was_killed_is_not_taken_for_an_environment(interpreter, tmp_path):
    settings = interpreter(said({"state": "done", "versions": {}}))
    (tmp_path / "env" / ".unfinished").touch()
    with pytest.raises(ConfigurationError) as refused:
        parler_environment.python(settings)
    assert refused.value.next_step == "Finish it: make parler"


def test_the_environments_own_refusal_is_passed_on_as_it_was(interpreter):
    answer = {
        "state": "failed", "branch": "configuration", "code": "parler-environment-version",
        "sentence": "The Parler environment has transformers 5.0.0, not 4.46.1.", "next": "Install it: make parler",
    }  # fmt: skip
    with pytest.raises(ConfigurationError) as refused:
        parler_environment.check(interpreter(said(answer)))
    assert (refused.value.code, refused.value.sentence) == (answer["code"], answer["sentence"])


def test_an_environment_that_does_not_start_says_its_last_line(interpreter):
    with pytest.raises(ConfigurationError, match=r"does not start \(No module named 'numpy'\)") as refused:
        parler_environment.check(interpreter("echo \"No module named 'numpy'\" >&2; exit 1"))
    assert refused.value.code == "parler-environment"


def test_speech_that_was_killed_may_be_tried_again(interpreter, tmp_path):
    with pytest.raises(RetryableError, match="exit code -9") as refused:
        parler_environment.speak(interpreter("kill -9 $$"), tmp_path, [{"text": "hello", "out": "x.wav"}])
    assert refused.value.code == "parler-speech-died"


def test_speech_that_hangs_is_ended(interpreter, tmp_path):
    with pytest.raises(RetryableError) as refused:
        parler_environment.speak(interpreter("exec sleep 60"), tmp_path, [], timeout_s=0.2)
    assert refused.value.code == "parler-timeout"


def test_what_the_caller_asked_wrongly_is_the_callers_error(interpreter, tmp_path):
    answer = {
        "state": "failed", "branch": "permanent", "code": "speech-voice-unknown", "sentence": "It has no voice 'x'.",
        "next": "It knows: asha.",
    }  # fmt: skip
    script = f"cat > \"${{3%.json}}.answer.json\" <<'EOF'\n{json.dumps(answer)}\nEOF\nexit 1"
    with pytest.raises(InvalidInput) as refused:
        parler_environment.speak(interpreter(script), tmp_path, [{"text": "hello", "out": "x.wav"}])
    assert refused.value.status == 400


def test_the_other_process_gets_no_secret(interpreter, tmp_path, monkeypatch):
    monkeypatch.setenv("EXOTEL_API_TOKEN", "not-for-parler")
    script = f"env > {tmp_path / 'seen'}; {said({'state': 'done', 'versions': {}})}"
    assert parler_environment.check(interpreter(script)) == {}
    assert "not-for-parler" not in (tmp_path / "seen").read_text()
