"""Learning: what fine-tuning gains on new calls and loses on old ones, and how fast it goes against the usual recipe.

The usual recipe pads every clip to 30 s and computes in float32, four clips in a batch. Ours batches by duration, not
padded to 30 s, and computes in bfloat16 where the processor has it; on a processor without, the padded row cannot be
better than 1. Shape: Whisper tiny with random weights, forward and backward, one thread. Lengths: from 5 to 30 s alike,
and as samples have them, half of them up to 4 s; by duration is how a base is trained that takes short windows.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench import ratios
from bench.ratios import alternate, own_cpu_s

SEEDS = (1, 2, 3)
LEAST_FALL, MOST_RISE = 1 / 3, 0.03
MEDIAN_S, MOST_S = 4.0, 30.0
ROUNDS, CLIPS, BATCH, STOCK_FRAMES, TOKENS_PER_S = 5, 16, 4, 3000, 4


def rows(*, quick: bool = False) -> Iterator[dict[str, Any]]:
    yield from _throughput(2 if quick else ROUNDS, 8 if quick else CLIPS)
    for seed in SEEDS[:1] if quick else SEEDS:
        yield from _improvement(seed)


def _improvement(seed: int) -> Iterator[dict[str, Any]]:
    from tests.training import improvement, spoken

    with tempfile.TemporaryDirectory() as folder:
        context = spoken.opened(Path(folder) / "data")
        found = improvement.measured(context, Path(folder) / "scratch", seed=seed)
        context.db.dispose()
    rise = found.old_after - found.old_before
    yield {
        "name": f"errors on calls of a new domain that fine-tuning takes away, seed {seed}: {found}",
        "value": round(found.fall, 3), "target": f">= {LEAST_FALL:.3f}",
        "met": bool(found.fall >= LEAST_FALL and found.new_change.high < 0), "interval": found.new_change.to_json(),
    }  # fmt: skip
    yield {
        "name": f"rise of the word error rate on the old calls, seed {seed}", "value": round(rise, 4),
        "target": f"<= {MOST_RISE}", "met": bool(rise <= MOST_RISE), "interval": found.old_change.to_json(),
    }  # fmt: skip


def _throughput(rounds: int, clips: int) -> Iterator[dict[str, Any]]:
    import torch

    from training.trainers.asr import loop

    torch.set_num_threads(1)
    model = _model()
    draw = random.Random(1)
    fast = loop.bfloat16_pays(False)
    alike = [2 * draw.randint(250, 1500) for _ in range(clips)]  # 5 to 30 s
    real = [2 * max(25, round(50 * seconds)) for seconds in lengths(clips)]

    def standard(frames: list[int]) -> float:
        return own_cpu_s(lambda: _learn(model, [STOCK_FRAMES] * clips, frames, half=False))

    def padded(frames: list[int]) -> float:
        return own_cpu_s(lambda: _learn(model, [STOCK_FRAMES] * clips, frames, half=fast))

    def by_duration(frames: list[int]) -> float:
        ordered = sorted(frames)
        return own_cpu_s(lambda: _learn(model, ordered, ordered, half=fast))

    usual = partial(standard, alike)
    usual()
    control = alternate(usual, usual, rounds=rounds)
    more = {"bfloat16": fast}
    for name, ours, frames, target in (
        ("training clips per CPU second, padded to 30 s / the usual recipe", padded, alike, 1.9),
        ("training clips per CPU second, 5-30 s by duration / the usual recipe", by_duration, alike, 5.0),
        (
            "training clips per CPU second, median 4 s, by duration / the usual recipe",
            by_duration,
            real,
            3.0,
        ),
    ):
        pairs = _speeds(partial(ours, frames), partial(standard, frames), rounds)
        yield ratios.row(name, pairs, control, target=target, at_least=True, **more)


def lengths(count: int, *, seed: int = 1, most_s: float = MOST_S) -> list[float]:
    """Of samples as projects have them: half of them up to 4 s, some up to 30 s."""
    draw = random.Random(seed)
    return [min(most_s, max(0.5, draw.lognormvariate(np.log(MEDIAN_S), 0.7))) for _ in range(count)]


def _speeds(ours: Callable[[], float], standard: Callable[[], float], rounds: int) -> list[tuple[float, float]]:
    """Clips per CPU second are the inverse of CPU seconds: the pair is turned round."""
    return [(mine, usual) for usual, mine in alternate(standard, ours, rounds=rounds)]


def _model() -> Any:
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    from training.trainers.asr.weights import accept_short_windows

    return accept_short_windows(WhisperForConditionalGeneration(WhisperConfig(attn_implementation="sdpa"))).train()


def _learn(model: Any, frames: list[int], lengths: list[int], *, half: bool) -> None:
    """Forward and backward over all clips, `BATCH` at a time, each batch as long as its longest clip."""
    import torch

    for at in range(0, len(frames), BATCH):
        part = frames[at : at + BATCH]
        tokens = max(1, max(lengths[at : at + BATCH]) // 100) * TOKENS_PER_S
        features, asked = torch.randn(len(part), 80, max(part)), torch.randint(0, 50_000, (len(part), tokens))
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            scores = model(input_features=features, decoder_input_ids=asked, use_cache=False).logits
        torch.nn.functional.cross_entropy(scores.float().flatten(0, 1), asked.flatten()).backward()
        model.zero_grad()
