"""Bulk drafting with a model that takes short windows, against sequential faster-whisper, which pads each to 30 s.

Windows are batched by duration and padded to the longest of their batch. Both sides have random weights of the
published tiny size and write 2.7 tokens per second of audio: ours 27 for each window of up to 10.5 s, the bare
side as many as its window has seconds. What short windows cost in words cannot be measured with random weights: the
service pads to 30 s unless a model's manifest says that it was trained on shorter ones, and the promotion gate
compares such a model with the one before.
"""

from __future__ import annotations

import dataclasses
import math
import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from faster_whisper import WhisperModel

from bench import ratios, recognition
from bench.recognition import Bench, BenchCall
from ml_backend.asr.engine import Transcriber
from ml_backend.asr.windows import RATE_HZ
from ml_backend.audio import decoder_pool
from ml_backend.models import manifest
from ml_backend.models.manifest import WindowPolicy
from ml_backend.settings import Settings
from tests import models

CALL_S = 10.0
WINDOW = WindowPolicy(max_s=10.5, margin_s=0.2, max_padding_s=0.6)
TOKENS_PER_S = 2.7
SHORT = dataclasses.replace(models.TINY, tokens=int(TOKENS_PER_S * CALL_S))


def rows(*, quick: bool = False) -> Iterator[dict[str, Any]]:
    """The rows of this part."""
    count, rounds = (8, 1) if quick else (64, 3)
    with tempfile.TemporaryDirectory(prefix="kaan-bench-") as name:
        folder = Path(name)
        (folder / "tens").mkdir()
        sides = _Sides(folder)
        mix = recognition.make_calls(folder, count=count)
        yield sides.row(f"short windows, {count} calls of 5-60 s", mix, rounds=rounds, target=1.85)
        tens = recognition.make_calls(folder / "tens", count=count, between_s=(CALL_S, CALL_S))
        yield sides.row(f"short windows, {count} calls of 10 s", tens, rounds=rounds, target=4.0)


class _Sides(Bench):
    """Ours with short windows, the bare side with 30 s."""

    def __init__(self, folder: Path) -> None:
        super().__init__(models.cached(models.TINY), folder)
        model = folder / "short"
        shutil.copytree(models.cached(SHORT), model)
        manifest.write(model, name="short", languages=("en",), window=WINDOW, trained_on="nothing")
        settings = Settings(_env_file=None, asr_device="cpu", asr_threads=1, asr_batch_size=8)
        self.ours = Transcriber.load(model, settings=settings, temperatures=())
        self.bare = WhisperModel(str(models.cached(models.TINY)), device="cpu", cpu_threads=1)

    def row(self, name: str, calls: list[BenchCall], *, rounds: int, target: float) -> dict[str, Any]:
        ours = partial(
            ratios.own_cpu_s, partial(self.run_ours, calls, beam_size=1, words=False), child=decoder_pool.process_id()
        )
        bare = partial(ratios.own_cpu_s, partial(self._sequential, calls))
        ours()
        control = ratios.alternate(ours, ours, rounds=rounds)
        return ratios.row(
            f"{name}: ours / sequential faster-whisper, audio-s per CPU-s",
            ratios.alternate(ours, bare, rounds=rounds),
            control,
            target=target,
            at_least=True,
            audio_s=round(sum(call.duration_s for call in calls)),
        )

    def _sequential(self, calls: list[BenchCall]) -> None:
        for call in calls:
            samples = recognition.filtered(call)
            for start_s, end_s in call.windows:
                segments, _ = self.bare.transcribe(
                    samples[int(start_s * RATE_HZ) : int(end_s * RATE_HZ)],
                    beam_size=1,
                    condition_on_previous_text=False,
                    max_new_tokens=max(1, math.ceil(TOKENS_PER_S * (end_s - start_s))),
                    **recognition.BARE,
                )
                self._kept(segments)
