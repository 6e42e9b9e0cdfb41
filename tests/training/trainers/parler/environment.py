"""The real environment of parler-tts, once per test process: its interpreter, and a tiny random ParlerTTS."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[4]
RATE_HZ = 24000
TEXTS = ("hello there", "नमस्ते जी", "the order is on its way", "कृपया रुकिए", "thank you", "press one")


def python():
    """The interpreter; without it the test is skipped, and fails where CI promises every real part."""
    path = Path(os.environ.get("TTS_PARLER_PYTHON") or ROOT / ".venv-parler/bin/python")
    if not path.is_file() or (path.parents[1] / ".unfinished").exists():
        absent = "there is no .venv-parler: make parler"
        (pytest.fail if os.environ.get("CI", "").lower() in ("1", "true") else pytest.skip)(absent)
    return path


def run(*arguments, **environment):
    """Run something there; (exit code, output)."""
    done = subprocess.run(
        [str(python()), *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, timeout=500, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **environment},
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def fill(folder, base, **options):
    """A run's folder with six recordings of tones."""
    rows, chunks, at = [], [], 0
    for number, text in enumerate(TEXTS):
        time = np.arange(int(RATE_HZ * (0.6 + 0.1 * number))) / RATE_HZ
        wave = (8000 * np.sin(2 * np.pi * (150 + 20 * number) * time)).astype("<i2")
        rows.append(
            {
                "id": f"r{number}", "text": text, "language": "hi" if number % 2 else "en", "voice": "asha",
                "emotion": "neutral", "first": at, "samples": wave.size, "part": "new",
                "split": "validation" if number >= 4 else "train",
            }
        )  # fmt: skip
        chunks.append(wave.tobytes())
        at += wave.size
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "audio.i16").write_bytes(b"".join(chunks))
    (folder / "rows.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    arguments = {
        "steps": 4, "batch_clips": 2, "learning_rate": 0.003, "warm_up_steps": 1, "checkpoint_every": 2,
        "validate_every": 2, **options,
    }  # fmt: skip
    plan = {
        "arguments": arguments, "base": str(base), "name": "asha", "languages": ["en", "hi"], "trained_on": "six tones",
        "sample_rate_hz": RATE_HZ, "descriptions": {"asha/hi": "Asha's voice is low. The recording is very clear."},
    }  # fmt: skip
    (folder / "plan.json").write_text(json.dumps(plan))
