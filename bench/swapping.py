"""Transcribing while the model is swapped once a second, beside transcribing in peace: the 99th percentile of both.

One process, twenty requests a second, through `ml_backend.serving` as a worker uses it: the new model is loaded and
checks itself in a thread beside the one that serves. Both versions are the bundled model, under two names, so that
every answer costs the same. Rounds in peace and rounds with swaps alternate; the control is two halves of the peace.
"""

from __future__ import annotations

import itertools
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ml_backend import audio, db, engine, manifest, registry, serving
from ml_backend.context import Context, open_context
from ml_backend.settings import Settings
from ml_backend.transcript import DecodingProfile

A_SECOND = 20
TARGET = 1.15
MOST_DRIFT = 0.15  # percentiles swing more than medians


def rows(*, quick: bool = False) -> Iterator[dict[str, Any]]:
    """The row of this part."""
    rounds, round_s = (2, 5.0) if quick else (6, 15.0)
    with tempfile.TemporaryDirectory(prefix="kaan-bench-") as folder:
        settings = Settings(_env_file=None, data_dir=Path(folder), asr_device="cpu", asr_threads=1)
        db.upgrade(settings.database)
        context = open_context(settings)
        versions = itertools.cycle([_version(context, Path(folder), name) for name in ("one", "two")])
        revision = registry.move_alias(context, next(versions), expected_revision=0, who="bench", why="first")
        request = engine.Request(audio.read_wav(engine.CHECK)[0], DecodingProfile(language="en", beam_size=1))
        times: dict[str, list[float]] = {"peace": [], "control": [], "swaps": []}
        moved = 0
        with serving.using(context):
            pass
        for side in ("peace", "swaps", "control") * rounds:
            ends_at, next_swap = time.monotonic() + round_s, time.monotonic() + 0.5
            while time.monotonic() < ends_at:
                began = time.monotonic()
                if side == "swaps" and began > next_swap:
                    revision = registry.move_alias(
                        context, next(versions), expected_revision=revision, who="bench", why="to and fro"
                    )
                    next_swap, moved = began + 1.0, moved + 1
                    began = time.monotonic()
                with serving.using(context) as transcriber:
                    [answer] = transcriber.transcribe([request])
                if getattr(answer, "model_version", None) != transcriber.model_version:
                    raise AssertionError("an answer mixes versions")
                times[side].append(time.monotonic() - began)
                time.sleep(max(0.0, began + 1 / A_SECOND - time.monotonic()))
        context.kept.clear()
    steady, swapping, control = (_p99(times[side]) for side in ("peace", "swaps", "control"))
    yield {
        "name": "p99 of a transcription while the model is swapped every second, against peace",
        "value": round(swapping / steady, 3),
        "target": f"<= {TARGET}",
        "met": swapping / steady <= TARGET,
        "control": round(control / steady, 3),
        "void": abs(control / steady - 1) > MOST_DRIFT,
        "swaps": moved,
        "ms": {side: round(1000 * _p99(found), 1) for side, found in times.items()},
        "p50_ms": {side: round(1000 * statistics.median(found), 1) for side, found in times.items()},
    }


def _version(context: Context, parent: Path, name: str) -> registry.Version:
    folder = parent / name
    shutil.copytree(registry.BUNDLED, folder)
    old = manifest.verify(folder)
    manifest.write(folder, name=name, languages=old.languages, window=old.window, trained_on=old.trained_on)
    return registry.register(context, str(folder))


def _p99(found: list[float]) -> float:
    return statistics.quantiles(found, n=100)[98]
