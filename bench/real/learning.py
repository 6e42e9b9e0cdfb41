"""Fine-tuning a published Whisper: LoRA and full, with estimate against peak, conversion, parity, evaluation, verdict.

The base is whisper-base in transformers' form, made exactly from what CTranslate2 serves; the rows are prompts of a
telephone exchange. Few steps: whether the whole way holds is measured, not what is learnt on it.
"""

from __future__ import annotations

import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.real import parts, published_weights
from ml_backend.audio import decoding
from ml_backend.models import registry
from tests.training import spoken
from tests.training.spoken import Line
from training.evaluation import evaluation
from training.promotion import promotion
from training.runs import execution as training_runs
from training.runs.arguments import Arguments

WITHIN = 1.3
LANGUAGES = 99
_CLIPS, _TESTS, _VALIDATION = 40, 24, 8
_QUICK = {
    "steps": 2, "validate_every": 2, "validation_clips": _VALIDATION, "batch_s": 120.0, "device": "cpu", "threads": 1,
}  # fmt: skip


def rows(*, quick: bool = False) -> Iterator[dict[str, Any]]:
    """LoRA first: the system keeps the largest peak of all children, and a full run needs more. `quick`: LoRA alone."""
    with tempfile.TemporaryDirectory(prefix="kaan-real-") as name:
        folder = Path(name)
        base = published_weights.to_transformers(parts.model(), folder / "whisper-base")
        context = spoken.opened(folder / "data")
        dataset_id = spoken.dataset_of(context, "prompts", _lines(folder), folder / "scratch")
        for method in ("lora",) if quick else ("lora", "full"):
            yield from _method(context, dataset_id, base, method)
        context.db.dispose()


def _method(context: Any, dataset_id: int, base: Path, method: str) -> Iterator[dict[str, Any]]:
    options = Arguments(**{**_QUICK, "base": str(base), "method": method, "name": f"base-{method}"})
    run_id = training_runs.create(context, dataset_id, options, who="make real", why="to measure")
    version = training_runs.execute(context, run_id)
    peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6
    row = training_runs.find(context, run_id)
    ratio = row.estimate["memory_mb"] / peak_mb
    yield _row(
        f"memory of {method} fine-tuning, estimate / peak", round(ratio, 2), f"within {WITHIN}",
        1 / WITHIN <= ratio <= WITHIN, peak_mb=round(peak_mb), windows=row.estimate["batch_windows"],
    )  # fmt: skip
    made = registry.find(context, str(version))
    count = len(made.languages)
    yield _row(f"languages of a version tuned by {method}", count, f">= {LANGUAGES}", count >= LANGUAGES)
    parity = context.db.row(training_runs.model_versions, made.id).parity
    yield _row(f"parity after {method}: {parity['verdict']}", parity["difference"], "passed", bool(parity["passed"]))
    found = evaluation.evaluate(context, made, dataset_id)
    yield _row(
        f"utterances scored after {method}", len(found.utterances), f">= {_TESTS}", len(found.utterances) >= _TESTS
    )
    verdict = promotion.promote(context, made, who="make real", why="", dataset_id=dataset_id)
    outcome = verdict.judgement.verdict.outcome if verdict.judgement else "none"
    yield _row(f"the gate after {method}", outcome, "an answer with its reason", bool(verdict.refused or verdict.moved))


def _row(name: str, value: Any, target: str, met: bool, **more: Any) -> dict[str, Any]:
    return {"name": name, "value": value, "target": target, "met": met, **more}


def _lines(folder: Path) -> list[Line]:
    """Digits and letters by the exchange's voice: every other one to learn from, the rest to be judged on."""
    prompts, found = sorted(_prompts(parts.voice("en"))), []
    for number, path in enumerate(_spread(prompts[::2], _CLIPS + _VALIDATION)):
        split = "train" if number < _CLIPS else "validation"
        found.append(Line(f"prompt-{number}", _wave(path, folder), path.stem, "en", f"prompt-{number % 3}", split))
    for number, path in enumerate(_spread(prompts[1::2], _TESTS)):
        found.append(Line(f"test-{number}", _wave(path, folder), path.stem, "en", f"test-{number}", "test"))
    return found


def _prompts(voice: Path) -> Iterator[Path]:
    for path in voice.rglob("*.wav"):
        if path.parent.name in ("digits", "letters", "phonetic") and path.stem.isalpha():
            yield path


def _spread(paths: list[Path], count: int) -> list[Path]:
    return paths[:: max(1, len(paths) // count)][:count]


def _wave(path: Path, folder: Path) -> Any:
    out = folder / "one.wav"
    decoding.decode(path, out)
    return decoding.read_wav(out)[0][0]


if __name__ == "__main__":
    for one in rows():
        print(one, flush=True)
