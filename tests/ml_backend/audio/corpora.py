"""Broken audio in quantity, and what ingest would make of each: the suite takes a few, `make faults-full` takes all.

Every function gives the names of the files that were NOT treated as they must be, so that an empty list is success.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np

from ml_backend.audio import decoding
from ml_backend.errors import KaanError
from sync.recordings import lengths
from tests import sounds
from tests.ml_backend.audio import bombs

SECONDS = 60.0
FORMATS = ("wav", "mp3", "mp3-without-frame-count")
HONEST = ("audio-not-audio", "audio-empty", "audio-undecodable")


def silent_cuts(
    folder: Path, *, percentages: Iterable[int] = range(1, 100), formats: Iterable[str] = FORMATS
) -> list[str]:
    """F38: a call of a minute cut to n percent. It must be refused, or be a state with a reason."""
    wrong = []
    for name in formats:
        whole = _whole(name)
        for percent in percentages:
            path = folder / f"cut-{percent}.{name[:3]}"
            path.write_bytes(whole[: len(whole) * percent // 100])
            if not _noticed(path):
                wrong.append(f"{name} cut to {percent} %")
    return wrong


def silent_damage(folder: Path, *, seeds: Iterable[int] = range(25), formats: Iterable[str] = FORMATS[:2]) -> list[str]:
    """F41: the middle quarter zeroed or overwritten. What is lost must be said; what comes after must not be lost."""
    wrong = []
    for name in formats:
        whole = _whole(name)
        for seed in seeds:
            raw = bytearray(whole)
            random = np.random.default_rng(seed)
            start, length = int(len(raw) * random.uniform(0.25, 0.5)), len(raw) // 4
            raw[start : start + length] = bytes(length) if seed % 2 else random.bytes(length)
            path = folder / f"damaged-{seed}.{name[:3]}"
            path.write_bytes(raw)
            if not _noticed(path, may_be_whole=True):
                wrong.append(f"{name} damaged with seed {seed}")
    return wrong


def accepted_bombs(folder: Path, *, names: Iterable[str] = (), within_s: float | None = None) -> list[str]:
    """F43, F44: every bomb and disguise is refused, in a child of 1 GiB; `within_s` is for a quiet machine."""
    neighbour = sounds.write_wav(folder / "neighbour.wav", sounds.tone(2, hz=700))
    wrong, chosen = [], set(names)
    for path in bombs.corpus(folder, neighbour, names=chosen):
        began = time.monotonic()
        try:
            decoding.decode(path, folder / "decoded.wav", limits=decoding.Limits(memory_mb=1024))
            wrong.append(f"{path.name} was decoded")
        except KaanError:
            took_s = time.monotonic() - began
            if within_s is not None and took_s > within_s:
                wrong.append(f"{path.name} took {took_s:.1f} s")
        if (folder / "decoded.wav").exists():
            wrong.append(f"{path.name} left a file")
            (folder / "decoded.wav").unlink()
        path.unlink()
    return wrong


def accepted_noise(folder: Path, *, seeds: Iterable[int] = range(200)) -> list[str]:
    """F40: random bytes under the names of recordings are refused, and never crash the caller."""
    wrong = []
    for seed in seeds:
        random = np.random.default_rng(seed)
        path = folder / f"random.{('mp3', 'wav', 'ogg', 'm4a', 'gsm', 'bin')[seed % 6]}"
        path.write_bytes(random.bytes(int(random.integers(1, 50_000))))
        try:
            decoding.decode(path, folder / "decoded.wav")
            wrong.append(f"random bytes with seed {seed}")
        except KaanError as error:
            if not error.code.startswith("audio-") or not error.next_step:
                wrong.append(f"random bytes with seed {seed}: {error.code}")
    return wrong


def _noticed(path: Path, *, may_be_whole: bool = False) -> bool:
    """Whether a file is refused, has a fault with a reason, or (where it may) still holds every second."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            decoded = decoding.decode(path, Path(folder) / "decoded.wav")
        except KaanError as error:
            return error.code in HONEST
    code, reason = lengths.fault(decoded, call_s=SECONDS)
    if code is not None:
        return bool(reason)
    return decoded.duration_s > SECONDS - (0.2 if may_be_whole else 3.0)


@cache
def _whole(name: str) -> bytes:
    spoken = np.concatenate([sounds.speech("Hello, I would like to order milk and bread."), sounds.silence(1)] * 20)
    spoken = np.concatenate([spoken] * 3)[: int(SECONDS * sounds.RATE_HZ)] + sounds.noise(SECONDS, level=0.003)
    with tempfile.TemporaryDirectory() as folder:
        if name == "wav":
            return sounds.write_wav(Path(folder) / "a.wav", spoken[::2], rate_hz=8000).read_bytes()
        path = Path(folder) / "a.mp3"
        raw = sounds.encode(path, spoken[::2], container="mp3", codec="libmp3lame", rate_hz=8000).read_bytes()
    if name == "mp3":
        return raw
    first = raw.index(b"\xff\xe3") if b"\xff\xe3" in raw else raw.index(b"\xff\xf3")
    mark = next(m for m in (b"Xing", b"Info") if m in raw)  # the frame that counts the others is the first
    return raw[raw.index(raw[first : first + 2], raw.index(mark)) :]
