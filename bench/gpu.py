"""`python -m bench.gpu`: what only a GPU can show, in at most eight minutes, with random weights and no network.

Transcription pooled across calls against batched per file, on the shape of large-v3-turbo; training memory against its
estimate and clips per second (full, LoRA, bfloat16, short windows); conversion to int8_float16 and its parity; two
models swapped. `--cpu` runs every line of it with a tiny shape where there is no GPU: its figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench import learning
from ml_backend.asr.engine import CHECK, Request, Transcriber
from ml_backend.asr.transcript import DecodingProfile
from ml_backend.audio import decoding
from ml_backend.models import manifest
from ml_backend.models.manifest import WindowPolicy
from ml_backend.settings import Settings
from tests import models
from training.runs import bases, estimates
from training.runs.arguments import Arguments
from training.runs.workspace import RATE_HZ, Row, Workspace

ROOT = Path(__file__).parents[1]
_WORDS = "the parcel did not arrive please send another order to my address".split()  # noqa: SIM905
_WORDS_PER_S = 2.5
RESULTS = Path(__file__).parent / "gpu.json"
LIMIT_S = 460.0
SHORT = WindowPolicy(max_s=10.5, margin_s=0.2, max_padding_s=0.6)


@dataclass(frozen=True)
class MeasurementPlan:
    """What is measured: a shape, how many calls, and on which device."""

    width: int
    encoder_layers: int
    decoder_layers: int
    calls: int
    call_s: tuple[float, float]
    clips: int
    steps: int
    device: str
    compute_type: str
    quantization: str


TURBO = MeasurementPlan(1280, 32, 4, 64, (5.0, 60.0), 96, 6, "cuda", "float16", "int8_float16")
TINY = MeasurementPlan(64, 2, 1, 2, (2.0, 4.0), 4, 2, "cpu", "float32", "int8_float32")


def main() -> int:
    """Write `bench/gpu.json` part by part; what there is no time for is named."""
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cpu", action="store_true", help="a tiny shape on the processor: to try the script")
    parser.add_argument("--only", metavar="PART", action="append", help="only this part (may be given several times)")
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="seconds for everything")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where to write the results")
    given = parser.parse_args()
    found: dict[str, Any] = {"parts": {}, "cpu": given.cpu}
    with tempfile.TemporaryDirectory(prefix="kaan-gpu-") as name:
        plan = TINY if given.cpu else TURBO
        for part, measured in run(plan, Path(name), limit_s=given.limit, only=given.only):
            found["parts"][part] = measured
            given.results.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
            print(part, json.dumps(measured), flush=True)
    failed = [part for part, measured in found["parts"].items() if "error" in measured]
    return 1 if failed else 0


def run(
    plan: MeasurementPlan, folder: Path, *, limit_s: float, only: Collection[str] | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(part, figures) one after the other; a part that fails does not take the others with it."""
    deadline = time.monotonic() + limit_s
    base = random_whisper(plan, folder / "base")
    served = convert(base, folder / "served", plan)
    learn = {"device": plan.device, "steps": plan.steps, "validate_every": plan.steps}
    stock = WindowPolicy.stock()

    def training(name: str, window: WindowPolicy, **options: Any) -> Callable[[], dict[str, Any]]:
        seconds = learning.lengths(plan.clips, most_s=window.max_s)
        quick = {"until": "conversion"} if "quantization" not in options else {}
        return lambda: few_steps(
            folder / name, base, window, seconds, limit_s=max(1.0, deadline - time.monotonic()), **quick,
            **{**learn, **options},
        )  # fmt: skip

    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "transcription": lambda: transcription(plan, served),
        "training full": training("full", stock, precision="fp32"),
        "training lora": training("lora", stock, method="lora", precision="fp32"),
        "training bf16": training("bf16", stock, precision="auto"),
        "training short windows": training("short", SHORT, precision="auto"),
        "conversion and parity": training("parity", SHORT, precision="auto", quantization=plan.quantization),
        "swap": lambda: swap(plan, served),
    }
    if unknown := set(only or ()) - set(parts):
        raise SystemExit(f"There is no part {min(unknown)!r}; there are {', '.join(parts)}.")
    for name, part in parts.items():
        if only and name not in only:
            continue
        if time.monotonic() > deadline:
            yield name, {"skipped": "no time was left"}
            continue
        began = time.monotonic()
        try:
            measured = part()
        except Exception as error:
            measured = {"error": f"{type(error).__name__}: {str(error)[:300]}"}
        yield name, {**measured, "took_s": round(time.monotonic() - began, 1)}


def transcription(plan: MeasurementPlan, served: Path) -> dict[str, Any]:
    """Audio seconds per second: all calls in one pool, against each file batched by itself."""
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    calls = _calls(plan)
    audio_s = sum(len(call) for call in calls) / decoding.RATE_HZ
    ours = Transcriber.load(served, settings=_settings(plan), temperatures=())
    profile = DecodingProfile(language="en", beam_size=1)
    requests = [Request(call[None], profile) for call in calls]
    pooled_s = _timed(lambda: ours.transcribe(requests), warm=lambda: ours.transcribe(requests[:1]))
    ours.unload()
    bare = BatchedInferencePipeline(WhisperModel(str(served), device=plan.device, compute_type=plan.compute_type))

    def each() -> None:
        for call in calls:
            segments, _ = bare.transcribe(call, language="en", beam_size=1, batch_size=16, word_timestamps=True)
            list(segments)

    batched_s = _timed(each)
    return {
        "audio_s": round(audio_s), "pooled": round(audio_s / pooled_s, 1), "batched": round(audio_s / batched_s, 1),
        "ratio": round(batched_s / pooled_s, 2),
    }  # fmt: skip


def swap(plan: MeasurementPlan, served: Path) -> dict[str, Any]:
    """Both models at once for a moment, as when a new one takes over: seconds to load, and memory of both."""
    call = Request(_calls(plan)[0][None], DecodingProfile(language="en", beam_size=1))
    began = time.monotonic()
    first = Transcriber.load(served, settings=_settings(plan), temperatures=())
    first.transcribe([call])
    one_s, began = time.monotonic() - began, time.monotonic()
    second = Transcriber.load(served, settings=_settings(plan), temperatures=())
    second.transcribe([call])
    both_mb = _gpu_mb() if plan.device == "cuda" else None
    first.unload()
    return {"first_s": round(one_s, 2), "second_s": round(time.monotonic() - began, 2), "both_mb": both_mb}


def random_whisper(plan: MeasurementPlan, folder: Path) -> Path:
    """Right in form and cost, in transformers' form; it stops after 80 tokens, so that a window has a length."""
    import torch
    import transformers

    from training.trainers.asr import artefacts

    shape = models.Shape(plan.width, plan.decoder_layers, max(1, plan.width // 64), tokens=80)
    if plan.device == "cuda":
        shape = models.Shape(plan.width, plan.decoder_layers, plan.width // 64, tokens=80, words=50_000)
    tokens, tokenizer = models._tokenizer(shape.words)
    end = tokens["<|endoftext|>"]
    torch.manual_seed(2)
    config = transformers.WhisperConfig(
        vocab_size=len(tokens), d_model=plan.width, encoder_layers=plan.encoder_layers,
        decoder_layers=plan.decoder_layers, encoder_attention_heads=shape.heads,
        decoder_attention_heads=shape.heads, encoder_ffn_dim=4 * plan.width, decoder_ffn_dim=4 * plan.width,
        bos_token_id=end, eos_token_id=end, pad_token_id=end, suppress_tokens=[], begin_suppress_tokens=[],
        decoder_start_token_id=tokens["<|startoftranscript|>"], init_std=1.2 / plan.width**0.5,
    )  # fmt: skip
    model = transformers.WhisperForConditionalGeneration(config).eval()
    with torch.no_grad():
        models._speak(model.model.decoder, end, prompt=4, shape=shape)
    model.generation_config = transformers.GenerationConfig(
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        is_multilingual=True,
        max_length=448,
        decoder_start_token_id=tokens["<|startoftranscript|>"],
        lang_to_id={f"<|{code}|>": tokens[f"<|{code}|>"] for code in models.LANGUAGES},
        task_to_id={"transcribe": tokens["<|transcribe|>"], "translate": tokens["<|translate|>"]},
        no_timestamps_token_id=tokens["<|notimestamps|>"],
        alignment_heads=[[plan.decoder_layers - 1, head] for head in range(shape.heads)],
    )
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    fast = transformers.WhisperTokenizer.from_pretrained(folder)
    fast.add_special_tokens({"pad_token": "<|endoftext|>", "eos_token": "<|endoftext|>"})
    artefacts.save_twin(model, fast, folder, half=True)
    return folder


def convert(base: Path, folder: Path, plan: MeasurementPlan) -> Path:
    from training.trainers.asr import artefacts

    quantization = "float16" if plan.device == "cuda" else "int8_float32"
    artefacts.convert(
        base, folder, name="random", languages=("en",), window=WindowPolicy.stock(), trained_on="nothing",
        quantization=quantization,
    )  # fmt: skip
    manifest.verify(folder)
    return folder


def _settings(plan: MeasurementPlan) -> Settings:
    return Settings(_env_file=None, asr_device=plan.device, asr_compute_type=plan.compute_type, asr_batch_size=32)


def _calls(plan: MeasurementPlan) -> list[Any]:
    """Speech of the self-check, again and again, in calls of many lengths."""
    speech = decoding.read_wav(CHECK)[0][0]
    draw = np.random.default_rng(1)
    seconds = draw.uniform(*plan.call_s, plan.calls)
    return [np.resize(speech, int(length * decoding.RATE_HZ)).astype(np.float32) for length in seconds]


def _timed(work: Callable[[], Any], warm: Callable[[], Any] = lambda: None) -> float:
    warm()
    began = time.monotonic()
    work()
    return time.monotonic() - began


def few_steps(
    folder: Path, base: Path, window: WindowPolicy, seconds: list[float], *, until: str = "", limit_s: float = 600.0,
    **options: Any,
) -> dict[str, Any]:  # fmt: skip
    """The trainer run for a few steps: its memory against the estimate, and clips per second.

    The rows are noise with words: what is measured is work, not learning. Peak memory is what the system counted for
    the trainer's process; on a GPU what nvidia-smi saw, polled. `until` is the phase that is waited for; empty: the
    end, with conversion and parity.
    """
    workspace, arguments = Workspace(folder), _arguments(window, options)
    folder.mkdir(parents=True)
    rows = workspace.write_rows(_rows(seconds))
    workspace.write_plan(
        {
            "arguments": arguments.to_json(), "base": str(base), "base_version": None, "base_name": "base",
            "name": "measured", "window": asdict(window), "languages": ["en"], "memory_share": 1.0,
            "trained_on": "noise",
        }
    )  # fmt: skip
    size = bases.size_of(bases.Base(str(base), "base", window))
    assert size is not None  # noqa: S101 - a folder
    guess = estimates.estimate(size, arguments, estimates.Load.of(rows, window, arguments), folder=folder)
    peak_mb = _run(workspace, on_gpu=guess.device == "cuda", until=until, limit_s=limit_s)
    result = workspace.result() or {}
    steps = [line for line in workspace.progress() if line["phase"] == "training" and line.get("at")]
    took = steps[-1]["at"] - steps[0]["at"] if len(steps) > 1 else None
    clips = guess.batch_windows * arguments.accumulation * (steps[-1]["step"] - steps[0]["step"]) if took else 0
    return {
        "estimate_mb": round(guess.memory_mb), "peak_mb": round(peak_mb),
        "ratio": round(guess.memory_mb / max(1.0, peak_mb), 2), "windows": guess.batch_windows,
        "clips_per_s": round(clips / took, 2) if took else None, "state": result.get("state"),
        "parity": result.get("parity"), "device": guess.device,
    }  # fmt: skip


def _arguments(window: WindowPolicy, options: dict[str, Any]) -> Arguments:
    usual = {"steps": 3, "validate_every": 3, "validation_clips": 2, "noise_share": 0.0}
    return Arguments(**{**usual, **options}).settled(window.pad_to_s)


def _rows(seconds: list[float]) -> Iterator[tuple[Row, npt.NDArray[np.float32]]]:
    draw, noise = random.Random(1), np.random.default_rng(1)
    for number, length in enumerate([*seconds, 3.0, 3.0]):
        text = " ".join(draw.choice(_WORDS) for _ in range(max(1, int(length * _WORDS_PER_S))))
        split = "train" if number < len(seconds) else "validation"
        wave = (noise.standard_normal(int(length * RATE_HZ)) * 0.05).astype(np.float32)
        yield Row(f"row-{number}", text, "en", 0, 0, split, speaker=f"s{number % 3}"), wave


def _run(workspace: Workspace, *, on_gpu: bool, until: str, limit_s: float) -> float:
    """Megabytes at the most."""
    command = [sys.executable, "-m", "training.trainers.asr", str(workspace.folder), "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    deadline, peak_mb = time.monotonic() + limit_s, 0.0
    before_mb = _gpu_mb() if on_gpu else 0.0
    with (workspace.folder / "trainer.log").open("wb") as log:
        trainer = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        while trainer.poll() is None:
            peak_mb = max(peak_mb, _gpu_mb() - before_mb if on_gpu else _resident_mb(trainer.pid))
            reached = until and any(line["phase"] == until for line in workspace.progress())
            if reached or time.monotonic() > deadline:
                trainer.kill()
                trainer.wait()
            time.sleep(0.05)
    return peak_mb


def _resident_mb(pid: int) -> float:
    """The high-water mark, which the system keeps: nothing is missed between two looks."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6


def _gpu_mb() -> float:
    command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    return float(done.stdout.splitlines()[0]) * 1.048576


if __name__ == "__main__":
    raise SystemExit(main())
