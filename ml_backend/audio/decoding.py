"""Recording bytes -> one seekable 16 kHz PCM WAV with the recording's channels. The only entry to audio decoding.

Decoding runs in a child process (`decoder_process` says why) with a wall-clock limit. This file holds the limits, the
result, and the errors shown to people. A file that ends before its header says is not an error:
`DecodedAudio.cut` is true, and the caller decides what follows.
"""

from __future__ import annotations

import errno
import json
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ml_backend.audio import decoder_pool, decoder_process
from ml_backend.errors import KaanError, PermanentError, RetryableError

RATE_HZ = decoder_process.RATE_HZ
_PIECE_S = 30  # copied at once

_NEXT_STEP = {
    "audio-empty": "Fetch the recording again; if it stays empty the call was not recorded.",
    "audio-not-audio": "Open the recording's address and check what it returns.",
    "audio-too-long": "Raise MAX_RECORDING_S, or split the recording.",
    "audio-too-large": "Split the recording.",
    "audio-unusable": "Convert the recording to a usual telephone format.",
    "audio-undecodable": "Fetch the recording again; if that does not help, it is damaged.",
    "audio-missing": "Check the path.",
}


@dataclass(frozen=True)
class Limits:
    """Limits for one file. Wall-clock and processor time grow with the permitted duration."""

    max_duration_s: float = 4 * 3600.0
    memory_mb: int = 1024
    cpu_s: int = 300
    wall_s: float = 600.0  # well below the time limit of jobs that decode, so that the job can still report the error
    min_rate_hz: int = 4000
    max_rate_hz: int = 192_000
    max_channels: int = 8


@dataclass(frozen=True)
class DecodedAudio:
    """The properties of a decoded file. `rate_hz` is the source's; `cut`: the file ends before its header says."""

    duration_s: float
    header_duration_s: float | None
    cut: bool
    container: str
    codec: str
    rate_hz: int
    channels: int
    warnings: tuple[str, ...] = ()


def decode(source: Path, target: Path, *, limits: Limits | None = None) -> DecodedAudio:
    """Write `target` completely or not at all. PermanentError `audio-...` if the file cannot be used."""
    limits = limits or Limits()
    aside = target.with_name(target.name + ".decoding")
    try:
        try:
            stream = source.open("rb")
        except OSError as error:
            raise _error("audio-missing", f"The audio file cannot be opened ({error.strerror}).") from None
        with stream, aside.open("w+b") as out:
            answer = _in_child(stream.fileno(), out.fileno(), limits=limits, hint=source.suffix.lower().lstrip("."))
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)
    return DecodedAudio(**{**answer, "warnings": tuple(answer["warnings"])})


def read_wav(path: Path, *, start_s: float = 0.0, end_s: float | None = None) -> tuple[npt.NDArray[np.float32], int]:
    """(samples [channels, n] in -1..1, rate in Hz) of a PCM16 WAV as `decode` writes it, or of a part of it."""
    with _open_wav(path) as stream:
        rate_hz, total = stream.getframerate(), stream.getnframes()
        first = min(total, max(0, round(start_s * rate_hz)))
        last = total if end_s is None else min(total, max(first, round(end_s * rate_hz)))
        stream.setpos(first)
        samples = _channels(stream.readframes(last - first), stream.getnchannels())
    return np.ascontiguousarray(samples, dtype=np.float32) / np.float32(32768.0), rate_hz


def blocks(path: Path, *, block_s: float) -> Iterator[npt.NDArray[np.int16]]:
    """The 16-bit samples [channels, n] of a PCM16 WAV, `block_s` seconds at a time, so that hours fit in memory."""
    with _open_wav(path) as stream:
        channels, frames = stream.getnchannels(), round(block_s * stream.getframerate())
        while raw := stream.readframes(frames):
            yield _channels(raw, channels)


@contextmanager
def frames(path: Path, *, size: int) -> Iterator[npt.NDArray[np.int16]]:
    """The 16-bit samples of a PCM16 WAV as a memory map [frames, size, channels]: only the frames used are read."""
    with _open_wav(path) as stream:
        channels, count = stream.getnchannels(), stream.getnframes()
    if count < size:
        yield np.zeros((0, size, channels), np.int16)
        return
    begin = path.stat().st_size - count * channels * 2  # the samples are the last thing in the file
    mapped = np.memmap(path, dtype="<i2", mode="r", offset=begin)
    yield np.asarray(mapped[: count // size * size * channels]).reshape(-1, size, channels)


def copy_part(path: Path, target: Path, *, start_s: float, end_s: float) -> None:
    """Write one part of a PCM16 WAV as a WAV of its own, a few seconds in memory at a time."""
    with _open_wav(path) as stream, wave.open(str(target), "wb") as out:
        rate_hz = stream.getframerate()
        first, last = round(start_s * rate_hz), min(stream.getnframes(), round(end_s * rate_hz))
        out.setparams(stream.getparams())
        stream.setpos(first)
        while first < last and (raw := stream.readframes(min(_PIECE_S * rate_hz, last - first))):
            out.writeframes(raw)
            first += _PIECE_S * rate_hz


def duration_s(path: Path) -> float:
    """The duration of a WAV in seconds."""
    with _open_wav(path) as stream:
        return stream.getnframes() / stream.getframerate()


@contextmanager
def _open_wav(path: Path) -> Iterator[wave.Wave_read]:
    with wave.open(str(path), "rb") as stream:
        if stream.getsampwidth() != 2:
            raise _error("audio-undecodable", "The WAV file is not 16-bit PCM.")
        yield stream


def _channels(raw: bytes, channels: int) -> npt.NDArray[np.int16]:
    return np.frombuffer(raw, dtype="<i2").reshape(-1, channels).T


def _in_child(source_fd: int, target_fd: int, *, limits: Limits, hint: str) -> dict[str, Any]:
    output = decoder_pool.run(source_fd, target_fd, limits=asdict(limits), hint=hint, wall_s=limits.wall_s)
    if output is None:
        raise RetryableError(
            "audio-decoder-timeout",
            f"Decoding did not end within {limits.wall_s:.0f} s.",
            "It is tried again; if that fails too, the file was made to hang decoders.",
        )
    return _answer(output)


def _answer(output: bytes) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = json.loads(output)
    except ValueError:
        raise _error("audio-undecodable", "The decoder crashed on this file.") from None
    if "code" not in answer:
        return answer
    if answer["code"] == "write":
        if answer.get("errno") in (errno.ENOSPC, errno.EDQUOT):
            raise RetryableError("disk-full", "There is no space left to decode audio.", "Free some disk space.")
        raise _error("audio-undecodable", f"The decoder could not go on ({answer['sentence']}).")
    raise _error(answer["code"], answer["sentence"])


def _error(code: str, sentence: str) -> KaanError:
    return PermanentError(code, sentence, _NEXT_STEP.get(code, ""))
