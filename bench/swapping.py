"""Transcribing while the model is swapped once a second, beside transcribing in peace: the 99th percentile of both.

Four clients in one process ask for the same window through `loaded_models`, as a worker does: in all twenty times
a second, at random moments; an answer's time counts from the moment it was due. The new model is loaded and checks
itself in a thread beside the one that serves. Both versions are the bundled model, under two names, so that every
answer costs the same. Rounds in peace and rounds with swaps alternate; the control is the other half of the peace.
"""

from __future__ import annotations

import itertools
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ml_backend import db
from ml_backend.asr import engine
from ml_backend.asr.request import Request
from ml_backend.asr.transcript import DecodingProfile
from ml_backend.audio import decoding
from ml_backend.context import Context, open_context
from ml_backend.models import manifest, registry
from ml_backend.serving import loaded_models
from ml_backend.settings import Settings

CLIENTS, A_SECOND = 4, 20
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
        request = Request(decoding.read_wav(engine.CHECK)[0], DecodingProfile(language="en", beam_size=1))
        times: dict[str, list[float]] = {"peace": [], "control": [], "swaps": []}
        moved = 0
        with loaded_models.using(context):
            pass
        for number, side in enumerate(("peace", "swaps", "control") * rounds):
            ends_at = time.monotonic() + round_s
            with ThreadPoolExecutor(CLIENTS) as clients:
                asked = [
                    clients.submit(_ask, context, request, ends_at, chance)
                    for chance in (random.Random(f"{number // 3} {client}") for client in range(CLIENTS))
                ]
                while side == "swaps" and time.monotonic() + 1.0 < ends_at:
                    time.sleep(1.0)
                    revision = registry.move_alias(
                        context, next(versions), expected_revision=revision, who="bench", why="to and fro"
                    )
                    moved += 1
                for answers in asked:
                    times[side] += answers.result()
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


def _ask(context: Context, request: Request, ends_at: float, chance: random.Random) -> list[float]:
    """One client: the seconds of each of its answers, from the moment it was due."""
    taken = []
    due = time.monotonic()
    while (due := due + chance.expovariate(A_SECOND / CLIENTS)) < ends_at:
        time.sleep(max(0.0, due - time.monotonic()))
        with loaded_models.using(context) as transcriber:
            [answer] = transcriber.transcribe([request])
        taken.append(time.monotonic() - due)
        if getattr(answer, "model_version", None) != transcriber.model_version:
            raise AssertionError("an answer mixes versions")
    return taken


def _version(context: Context, parent: Path, name: str) -> registry.Version:
    folder = parent / name
    shutil.copytree(registry.BUNDLED, folder)
    old = manifest.verify(folder)
    manifest.write(folder, name=name, languages=old.languages, window=old.window, trained_on=old.trained_on)
    return registry.register(context, str(folder))


def _p99(found: list[float]) -> float:
    return statistics.quantiles(found, n=100)[98]
