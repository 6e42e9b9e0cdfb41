"""Speaking and learning to speak: the bundled voice on one thread, its trainer, and the start of Parler's environment.

CPU seconds of one thread, so that a busy machine does not change them; the A-A control speaks the same twice. First
audio is that of a text of two sentences: a voice speaks sentence by sentence.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.ratios import MOST_DRIFT, alternate, own_cpu_s
from ml_backend import settings
from ml_backend.errors import KaanError
from ml_backend.tts.speaking import BUNDLED, Speaker
from training.demo_model import corpus

SENTENCES, ROUNDS, STARTS = 60, 3, 5
RATE_GOAL, FIRST_GOAL_MS, START_GOAL_S = 0.1, 150, 5.0
CLIPS, STEPS = 60, 20
_SEED = 31


def rows(*, quick: bool = False) -> Iterator[dict[str, Any]]:
    rounds = 1 if quick else ROUNDS
    speaker = Speaker.load(BUNDLED)
    sentences = corpus.held_out_sentences(_SEED, SENTENCES)
    spoken_s = sum(speaker.speak(one.text, language=one.language).duration_s for one in sentences)

    def all_spoken() -> float:
        return own_cpu_s(lambda: [speaker.speak(one.text, language=one.language) for one in sentences])

    pairs = alternate(all_spoken, all_spoken, rounds=rounds)
    yield _absolute(
        f"CPU seconds per second of speech of the bundled voice, {SENTENCES} sentences, one thread",
        [a / spoken_s for pair in pairs for a in pair], RATE_GOAL, control=_control(pairs), spoken_s=round(spoken_s, 1),
    )  # fmt: skip

    first = [_first_audio_ms(speaker, sentences, at) for _ in range(rounds) for at in range(len(sentences))]
    yield _absolute(
        "CPU milliseconds to the first audio of two sentences, bundled voice: the slowest twentieth",
        [sorted(first)[int(0.95 * len(first))]], FIRST_GOAL_MS, median=round(statistics.median(first), 1),
        slowest=round(max(first), 1),
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="kaan-bench-") as folder:
        yield _trained(Path(folder), rounds)
    yield from _parler_start(2 if quick else STARTS)


def _first_audio_ms(speaker: Speaker, sentences: list[corpus.Sentence], at: int) -> float:
    one = sentences[at]
    other = next(each for each in [*sentences[at + 1 :], *sentences] if each.language == one.language)
    text = f"{one.text}. {other.text}."
    return 1000 * own_cpu_s(lambda: next(speaker.stream(text, language=one.language)))


def _trained(folder: Path, rounds: int) -> dict[str, Any]:
    """Steps of both networks as a run makes them, with rehearsal; reading the clips is not counted, measuring is."""
    import torch

    from tests.training import voice_improvement
    from training.runs.tts_arguments import TtsArguments
    from training.trainers.tts import voice_tuning

    torch.set_num_threads(1)
    options = {"aligner_steps": STEPS, "steps": STEPS, "validate_every": 0, "checkpoint_every": 10_000}
    clips = STEPS * 2 * TtsArguments().batch_clips

    def learnt(at: int) -> float:
        workspace = voice_improvement.workspace_of(folder / str(at), clips=CLIPS, **options)
        run = voice_tuning.TuningRun.open(workspace, TtsArguments.from_json(workspace.plan()["arguments"]), 0)
        return clips / own_cpu_s(run.finished)

    speeds = [learnt(at) for at in range(2 * rounds)]
    pairs = list(zip(speeds[::2], speeds[1::2], strict=True))
    return {
        "name": f"clips per CPU second of the voice's trainer, {STEPS} steps of each network, no alternative",
        "value": round(statistics.median(speeds), 1), "target": "stated", "met": True, "control": _control(pairs),
        "void": abs(_control(pairs) - 1) > MOST_DRIFT, "spread": [round(min(speeds), 1), round(max(speeds), 1)],
        "rounds": rounds,
    }  # fmt: skip


def _parler_start(starts: int) -> Iterator[dict[str, Any]]:
    """The interpreter of .venv-parler until all that its trainer needs is imported; no row where there is none."""
    from ml_backend.tts import parler_environment

    try:
        python = parler_environment.python(settings.load())
    except KaanError:
        return
    command = [str(python), "-m", parler_environment.TRAINER, "--check"]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}

    def start() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, cwd=parler_environment.ROOT, check=True, capture_output=True, env=one_thread)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    start()  # the first reads the files from the disk
    yield _absolute(
        "CPU seconds from starting Parler's environment to a trainer that can begin, files in memory",
        [start() for _ in range(starts)], START_GOAL_S,
    )  # fmt: skip


def _absolute(name: str, values: list[float], most: float, **more: Any) -> dict[str, Any]:
    value = statistics.median(values)
    return {
        "name": name, "value": round(value, 3), "target": f"<= {most:g}", "met": bool(value <= most),
        "spread": [round(min(values), 3), round(max(values), 3)], "rounds": len(values),
        "void": abs(more.get("control", 1.0) - 1) > MOST_DRIFT, **more,
    }  # fmt: skip


def _control(pairs: list[tuple[float, float]]) -> float:
    """The second of each pair over the first, medians: the same work twice."""
    return round(statistics.median(b for _, b in pairs) / statistics.median(a for a, _ in pairs), 3)
