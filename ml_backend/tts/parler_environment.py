"""The interpreter of .venv-parler: found, checked, and asked to speak. This process never imports parler-tts.

parler-tts works with transformers 4.46.1 only, so it has an environment of its own (`make parler`), and what runs there
shares files with us and nothing else: the folder of a run, or a request and its WAV files.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from ml_backend import quantities, settings
from ml_backend.errors import ConfigurationError, InvalidInput, KaanError, PermanentError, RetryableError
from ml_backend.settings import Settings

ROOT = Path(__file__).parents[2]
TRAINER = "training.trainers.parler"
_NEXT = "Install it: make parler. Or name its interpreter: TTS_PARLER_PYTHON."
_CHECK_S = 300.0  # importing torch from a cold disk; two seconds otherwise
_BRANCHES: dict[str, type[KaanError]] = {
    "retryable": RetryableError, "permanent": PermanentError, "configuration": ConfigurationError,
}  # fmt: skip
_OF_CALLER = "speech-"  # codes about what was asked for, not about the model


def python(chosen: Settings) -> Path:
    """The interpreter. ConfigurationError `parler-environment` when there is none, or only half of one."""
    named = chosen.tts_parler_python
    path = Path(named).expanduser() if named else ROOT / ".venv-parler" / "bin" / "python"
    if not path.is_file():
        where = f"TTS_PARLER_PYTHON names {quantities.shortened(named, 60)}, which is" if named else "There is"
        raise ConfigurationError("parler-environment", f"{where} no environment for Parler-TTS.", _NEXT)
    if (path.parents[1] / ".unfinished").exists():
        raise ConfigurationError(
            "parler-environment", "The environment for Parler-TTS is being installed, or its installation was killed.",
            "Finish it: make parler",
        )  # fmt: skip
    return path


def check(chosen: Settings) -> dict[str, str]:
    """The versions in the environment, after importing what training needs: before a run, not after its first hour."""
    done = _run([str(python(chosen)), "-m", TRAINER, "--check"], chosen, _CHECK_S)
    try:
        answer = dict(json.loads(done.stdout.strip().splitlines()[-1]))
    except (ValueError, IndexError):
        raise ConfigurationError(
            "parler-environment", f"The environment for Parler-TTS does not start ({_last_line(done.stderr)}).", _NEXT
        ) from None
    if answer.get("state") != "done":
        raise error_of(answer)
    return dict(answer["versions"])


def speak(
    chosen: Settings, folder: Path, lines: list[dict[str, Any]], *, seed: int = 1, timeout_s: float = 3600.0
) -> list[dict[str, Any]]:
    """Speak every {"text", "language", "voice", "emotion", "out"} into its WAV file, all in one start.

    Each line comes back with its duration, or with `failed`, of which `error_of` makes an error.
    """
    request = {"model": str(folder), "lines": lines, "device": "auto", "threads": 1, "seed": seed}
    with tempfile.TemporaryDirectory(prefix="kaan-parler-") as place:
        path = Path(place) / "request.json"
        path.write_text(json.dumps(request), encoding="utf-8")
        done = _run([str(python(chosen)), "-m", f"{TRAINER}.parler_speech", str(path)], chosen, timeout_s)
        answer = _answered(path.with_suffix(".answer.json"))
    if answer is None:
        raise RetryableError(
            "parler-speech-died",
            f"Parler-TTS ended without an answer (exit code {done.returncode}): {_last_line(done.stderr)}",
            "Try it again; with exit code -9, on a machine with more memory.",
        )
    if answer.get("state") != "done":
        raise error_of(answer)
    return list(answer["lines"])


def _answered(path: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def _run(command: list[str], chosen: Settings, timeout_s: float) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, errors="replace", timeout=timeout_s, check=False,
            stdin=subprocess.DEVNULL, env=settings.environment_with("tts_", chosen) | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise RetryableError(
            "parler-timeout", f"Parler-TTS did not answer within {quantities.duration(timeout_s)}.",
            "Speak fewer texts at once, or use a GPU.",
        ) from None  # fmt: skip
    except OSError as error:
        raise ConfigurationError(
            "parler-environment", f"The interpreter of Parler-TTS cannot be run ({error.strerror}).", _NEXT
        ) from error


def error_of(answer: dict[str, Any]) -> KaanError:
    """What failed there, as an error here."""
    if str(answer["code"]).startswith(_OF_CALLER):
        return InvalidInput(answer["code"], answer["sentence"], answer["next"])
    return _BRANCHES[answer["branch"]](answer["code"], answer["sentence"], answer["next"])


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return quantities.shortened(lines[-1], 120) if lines else "nothing was printed"
