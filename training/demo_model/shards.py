"""Sentences -> log-mel shards on disk: every sentence spoken once, stored directly and over a telephone line.

An existing shard is complete (written to a temporary name first), so an interrupted run resumes where it stopped.
"""

import json
import random
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.demo_model import corpus, voices
from training.trainers.asr import telephone
from training.trainers.asr.features import FRAMES_PER_S, MELS, Array, log_mel

SHARD_SIZE = 400
LINES = ("direct", "telephone")


@dataclass(frozen=True)
class SynthesisedUtterance:
    text: str
    language: str
    voice: str
    mels: tuple[Array, Array]
    """float16 (frames, 80): direct, telephone. Views of a memory map."""

    @property
    def frames(self) -> int:
        return int(self.mels[0].shape[0])


def build(folder: Path, seed: int, count: int, *, workers: int = 2, report: Callable[[str], None] = print) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    sentences = corpus.training_sentences(seed, count)
    random.Random(seed).shuffle(sentences)
    parts = [(number, sentences[at : at + SHARD_SIZE]) for number, at in enumerate(range(0, count, SHARD_SIZE))]
    missing = [part for part in parts if not _paths(folder, part[0])[1].exists()]
    report(f"speech: {len(parts) - len(missing)} of {len(parts)} shards are there")
    with ProcessPoolExecutor(workers) as pool:
        jobs = [pool.submit(_write_shard, folder, seed, number, part) for number, part in missing]
        for done, job in enumerate(jobs, 1):
            job.result()
            if done % 5 == 0 or done == len(jobs):
                report(f"speech: {len(parts) - len(missing) + done} of {len(parts)} shards")


def load(folder: Path) -> list[SynthesisedUtterance]:
    found = []
    for index_path in sorted(folder.glob("*.json")):
        mels = [np.load(path, mmap_mode="r") for path in _paths(folder, int(index_path.stem))[0]]
        for row in json.loads(index_path.read_text()):
            cut = slice(row["start"], row["end"])
            found.append(SynthesisedUtterance(row["text"], row["language"], row["voice"], (mels[0][cut], mels[1][cut])))
    return found


def noise_bank(seed: int, seconds: int = 24) -> list[tuple[str, Array]]:
    """(kind, log-mel) of every noise at unit power, direct and over a telephone line."""
    return telephone.bank(np.random.default_rng(seed), seconds=seconds, more={"babble": _babble(seed, seconds)})


def _babble(seed: int, seconds: int) -> Array:
    rng, total = random.Random(seed), np.zeros(seconds * voices.RATE_HZ, dtype=np.float32)
    for sentence in corpus.training_sentences(seed + 1, 400)[-seconds * 3 :]:
        wave = voices.speak(sentence.text, voices.draw(sentence.language, voices.TRAINING, rng))[: total.size // 2]
        at = rng.randrange(total.size - wave.size)
        total[at : at + wave.size] += wave * rng.uniform(0.3, 1.0)
    return total / max(1e-9, float(np.sqrt(np.mean(total**2))))


def _write_shard(folder: Path, seed: int, number: int, sentences: list[corpus.Sentence]) -> None:
    rng, lines = random.Random(f"{seed}-{number}"), np.random.default_rng([seed, number])
    rows: list[dict[str, object]] = []
    mels: tuple[list[Array], list[Array]] = ([], [])
    at = 0
    for sentence in sentences:
        voice = voices.draw(sentence.language, voices.TRAINING, rng)
        wave = voices.speak(sentence.text, voice)
        direct, narrow = log_mel(wave), log_mel(telephone.narrowband(wave, lines))
        frames = min(len(direct), len(narrow))
        mels[0].append(direct[:frames].astype(np.float16))
        mels[1].append(narrow[:frames].astype(np.float16))
        rows.append(
            {"text": sentence.text, "language": sentence.language, "voice": voice.name, "start": at, "end": at + frames}
        )
        at += frames
    paths, index_path = _paths(folder, number)
    for path, parts in zip(paths, mels, strict=True):
        np.save(path, np.concatenate(parts).reshape(-1, MELS))
    partial = index_path.with_suffix(".partial")
    partial.write_text(json.dumps(rows, ensure_ascii=False))
    partial.replace(index_path)


def _paths(folder: Path, number: int) -> tuple[list[Path], Path]:
    return [folder / f"{number:03d}.{line}.npy" for line in LINES], folder / f"{number:03d}.json"


def hours(utterances: list[SynthesisedUtterance]) -> float:
    return sum(u.frames for u in utterances) / FRAMES_PER_S / 3600
