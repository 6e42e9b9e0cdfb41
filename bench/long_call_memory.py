"""Memory of bringing in and transcribing a four-hour call, beside one of twenty minutes of the same speech.

Each side is `sync objects` and `jobs run` on an empty folder that holds one recording; the figure is the largest
resident size of `jobs run`, its children (the decoder) included one by one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ml_backend.audio import decoding

RATE_HZ = 8000
LONG_S, SHORT_S, QUICK_S = 4 * 3600 - 60, 20 * 60, 40 * 60
MOST, MOST_DRIFT = 1.5, 0.15
CALLS = Path(__file__).resolve().parents[1] / "ml_backend" / "bundled" / "calls"
KEY = "call-recordings/recordings/2026/03/04/CA0000000000000000000000000000long.wav"


def rows(*, quick: bool = False) -> Iterator[dict[str, Any]]:
    """The row of this part."""
    long_s = QUICK_S if quick else LONG_S
    short_mb, _ = _peak(SHORT_S)
    long_mb, cpu_s = _peak(long_s)
    control_mb, _ = _peak(SHORT_S)
    ratio, same = long_mb / short_mb, control_mb / short_mb
    yield {
        "name": f"a call of {long_s / 3600:.1f} hours / one of 20 minutes, brought in and transcribed: peak memory",
        "value": round(ratio, 3),
        "target": f"<= {MOST}",
        "met": ratio <= MOST,
        "control": round(same, 3),
        "void": abs(same - 1) > MOST_DRIFT,
        "long_mb": round(long_mb),
        "short_mb": round(short_mb),
        "cpu_s": round(cpu_s, 1),
    }


def _peak(duration_s: float) -> tuple[float, float]:
    """(MB, CPU seconds) of transcribing one call of that length."""
    with tempfile.TemporaryDirectory(prefix="kaan-bench-") as name:
        objects = Path(name) / "objects"
        (objects / KEY).parent.mkdir(parents=True)
        _write(objects / KEY, duration_s)
        given = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
        environment = given | {"DATA_DIR": name, "OBJECT_STORE": str(objects), "ASR_THREADS": "1"}
        for words in (("db", "upgrade"), ("sync", "objects", "--full")):
            _output(environment, *_words(*words))
        said = _output(environment, sys.executable, "-c", _MEASURED, *_words("jobs", "run")).split()
        if said[0] != "0" or '"heard"' not in _output(environment, *_words("calls", "list", "--json")):
            raise RuntimeError(f"The call was not transcribed: {said}")
        return float(said[1]) / 1024, float(said[2])


# A process counts the memory of the one that started it as its own: so a small one starts it.
_MEASURED = """
import os, subprocess, sys
started = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, used = os.wait4(started.pid, 0)
print(status, used.ru_maxrss, used.ru_utime + used.ru_stime)
"""


def _words(*words: str) -> list[str]:
    return [sys.executable, "-m", "ml_backend", *words]


def _output(environment: dict[str, str], *command: str) -> str:
    return subprocess.run(
        command, env=environment, cwd=CALLS.parents[2], stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def _write(path: Path, duration_s: float) -> None:
    """The bundled calls of one voice, over and over, a second of silence after each."""
    pause = np.zeros(RATE_HZ, np.int16)
    clips = [
        _sound(call, path.parent / "one.wav")
        for call in sorted(CALLS.glob("*.wav"))
        if call.stem not in ("silence", "hold-music", "hi-two-legs")
    ]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        while file.getnframes() < duration_s * RATE_HZ:
            for clip in clips:
                file.writeframes(clip.tobytes() + pause.tobytes())


def _sound(call: Path, decoded: Path) -> npt.NDArray[np.int16]:
    """One bundled call at 8 kHz."""
    decoding.decode(call, decoded)
    samples = decoding.read_wav(decoded)[0].reshape(-1)[::2]
    decoded.unlink()
    return (samples * 32767).astype(np.int16)
