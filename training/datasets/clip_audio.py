"""A line -> its piece of audio as a WAV: 16 kHz, mono, 16 bit, in memory.

Lines are grouped by recording, so one recording is open at a time. The piece is cut from the line's channel of the
normalised WAV, sample by sample, without decoding.
"""

from __future__ import annotations

import struct
import tempfile
import wave
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import sqlalchemy as sa

from ml_backend.audio.decoding import RATE_HZ
from ml_backend.context import Context
from ml_backend.errors import PermanentError, RetryableError
from ml_backend.tables import recordings

PUBLIC_PREFIX = "public"  # normalised public speech, by its hash: public/{audio_sha256}.wav
_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
_LOOK_AHEAD = 500


def wav(samples: bytes) -> bytes:
    """16-bit mono samples as a WAV file."""
    return b"".join((header(len(samples)), samples))


def header(size: int) -> bytes:
    """The WAV header for `size` bytes of samples."""
    return _HEADER.pack(
        b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16, b"data", size
    )  # fmt: skip


def room_for(line: dict[str, Any]) -> int:
    """An upper bound of a line's WAV in bytes."""
    return int(_HEADER.size + 2 * (round((line["end_s"] - line["start_s"]) * RATE_HZ) + 2))


def public_key(audio_sha256: str) -> str:
    return f"{PUBLIC_PREFIX}/{audio_sha256}.wav"


class Clips:
    """`clip(line)` returns the bytes of a WAV; `clip_into` writes them into a buffer.

    Call `expect` with the next lines first, to look up their recordings in one query.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._keys: dict[str, str] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="kaan-clips-")
        self._stream: FileIO | None = None
        self._open_sha, self._begin, self._channels, self._frames = "", 0, 1, 0

    def __enter__(self) -> Clips:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._stream is not None:
            self._stream.close()
        self._folder.cleanup()

    def expect(self, lines: list[dict[str, Any]]) -> None:
        """Look up the recordings of these lines."""
        wanted = sorted({line["audio_sha256"] for line in lines if line["source"] == "calls"})
        self._keys = {line["audio_sha256"]: public_key(line["audio_sha256"]) for line in lines}
        for at in range(0, len(wanted), _LOOK_AHEAD):
            found = sa.select(recordings.c.sha256, recordings.c.derived_key).where(
                recordings.c.sha256.in_(wanted[at : at + _LOOK_AHEAD]), recordings.c.derived_key.is_not(None)
            )
            rows = self._context.db.rows(found.order_by(recordings.c.id.desc()))
            self._keys.update({row.sha256: row.derived_key for row in rows})

    def known(self, line: dict[str, Any]) -> bool:
        """Whether the normalised audio of a line is in the store."""
        key = self._keys.get(line["audio_sha256"])
        return key is not None and self._context.store.stat(self._context.settings.audio_bucket, key) is not None

    def clip(self, line: dict[str, Any]) -> bytes:
        """RetryableError `audio-gone` when the recording was erased or lost since the manifest was made."""
        room = bytearray(room_for(line))
        return bytes(memoryview(room)[: self.clip_into(line, memoryview(room))])

    def clip_into(self, line: dict[str, Any], room: memoryview) -> int:
        """Write the WAV into `room`, which has `room_for(line)` bytes; returns its size."""
        stream = self._stream
        if stream is None or line["audio_sha256"] != self._open_sha:
            stream = self._open(line["audio_sha256"])
        first = round(line["start_s"] * RATE_HZ)
        size = 2 * max(0, min(self._frames, round(line["end_s"] * RATE_HZ)) - first)
        stream.seek(self._begin + first * 2 * self._channels)
        if self._channels == 1:
            if stream.readinto(room[_HEADER.size : _HEADER.size + size]) != size:
                raise RetryableError("audio-short", "A normalised WAV ends too early.", "Ingest its recording again.")
        else:
            frames = np.frombuffer(stream.read(size * self._channels), "<i2").reshape(-1, self._channels)
            np.frombuffer(room, "<i2", count=size // 2, offset=_HEADER.size)[:] = frames[:, line["channel"]]
        room[: _HEADER.size] = header(size)
        return int(_HEADER.size + size)

    def _open(self, audio_sha256: str) -> FileIO:
        path = self._fetched(audio_sha256)
        if self._stream is not None:
            self._stream.close()
        self._stream = path.open("rb", buffering=0)
        with wave.open(self._stream) as found:
            if found.getframerate() != RATE_HZ or found.getsampwidth() != 2:
                raise PermanentError("audio-unusable", "A normalised WAV is not 16 kHz.", "Ingest its recording again.")
            self._channels, self._frames = found.getnchannels(), found.getnframes()
        self._begin = path.stat().st_size - self._frames * 2 * self._channels  # the samples are at the end of the file
        self._open_sha = audio_sha256
        return self._stream

    def _fetched(self, audio_sha256: str) -> Path:
        bucket, key = self._context.settings.audio_bucket, self._keys.get(audio_sha256)
        try:
            if key is None:
                raise PermanentError("object-missing", "No recording has this audio any more.", "Export anew.")
            path = self._context.store.open_local(bucket, key)
            if path is None:
                path = Path(self._folder.name) / "recording.wav"
                self._context.store.fetch(bucket, key, path)
        except PermanentError as error:
            if error.code != "object-missing":
                raise
            raise RetryableError(
                "audio-gone",
                f"The audio of the recording with SHA-256 {audio_sha256[:12]} is gone: erased or lost meanwhile.",
                "Export anew; what the nightly check of objects finds lost is left out then.",
            ) from error
        return path
