"""Two versions, test rows -> the ratio of their processing times, measured in alternation on the same clips.

The speeds of two evaluations are not comparable on a busy machine: a version measured four times slower than itself.
So the versions are timed in alternation, and the median of the rounds removes most machine noise.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from ml_backend.asr.engine import Transcriber
from ml_backend.asr.request import Request
from ml_backend.context import Context
from ml_backend.jobs import devices
from ml_backend.models import registry
from ml_backend.models.registry import Version
from training.datasets import clip_audio, dataset
from training.datasets.splits import TEST
from training.evaluation import test_transcription

ROUNDS = 3
NOT_RUN = {"ratio": 0.0}  # for a candidate that is refused for other reasons
_WORK_S = 60.0  # about the longest time that one version computes in one round
_MOST_AUDIO_S = 300.0
Report = Callable[[float, str], None]


def compare(
    context: Context, champion: Version, candidate: Version, dataset_id: int, *, least_s: float,
    real_time_factor: float, report: Report = lambda fraction, note: None,
) -> dict[str, Any] | None:  # fmt: skip
    """Ratio of processor seconds (on a GPU: of seconds), candidate over champion; None below `least_s` of audio.

    `real_time_factor` is about what the champion takes for a second of audio.
    """
    requests, audio_s = _requests(context, dataset_id, max(least_s, _WORK_S / max(real_time_factor, 0.001)))
    if audio_s < least_s:
        return None
    device = devices.here(context.settings.asr_device)
    on_gpu = device.endswith(":cuda")
    places = {version.version: registry.verified(context, version) for version in (champion, candidate)}
    ratios = []
    with devices.held(context, device, f"pace-{uuid4().hex}"):
        for number in range(ROUNDS):
            took = {}
            for name in sorted(places, reverse=number % 2 == 1):
                took[name] = _seconds(context, places[name], requests, on_gpu=on_gpu)
            ratios.append(took[candidate.version] / max(took[champion.version], 1e-6))
            report((number + 1) / ROUNDS, f"round {number + 1} of {ROUNDS} of both in turns")
    return {
        "ratio": round(statistics.median(ratios), 3), "rounds": [round(each, 3) for each in ratios],
        "audio_s": round(audio_s, 1), "of": "seconds" if on_gpu else "processor seconds",
    }  # fmt: skip


def _seconds(context: Context, place: str, requests: list[Request], *, on_gpu: bool) -> float:
    """Loaded anew each time, because a machine may hold only one; loading and the first window are not counted."""
    engine = Transcriber.load(place, settings=context.settings)
    try:
        engine.transcribe(requests[:1])
        clock = time.monotonic if on_gpu else time.process_time
        began = clock()
        engine.transcribe(requests)
        return clock() - began
    finally:
        engine.unload()


def _requests(context: Context, dataset_id: int, wanted_s: float) -> tuple[list[Request], float]:
    """Every so-manieth row, about as much audio as is wanted; rows without sound are left out."""
    lines = [line for line in dataset.read(context, dataset_id, TEST) if line["end_s"] > line["start_s"]]
    length_s = sum(line["end_s"] - line["start_s"] for line in lines)
    lines = lines[:: max(1, math.floor(length_s / min(wanted_s, _MOST_AUDIO_S)))]
    found, audio_s = [], 0.0
    with clip_audio.Clips(context) as clips:
        clips.expect(list(lines))
        for line in lines:
            if (wave := test_transcription.wave(clips, line)) is not None:
                found.append(Request(wave[None], test_transcription.profile_of(context.settings), key=line["id"]))
                audio_s += line["end_s"] - line["start_s"]
    return found, audio_s
