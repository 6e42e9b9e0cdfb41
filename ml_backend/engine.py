"""Requests -> Transcripts. faster-whisper behind one class, pooled across calls.

`transcribe` takes many recordings at once: speech is found per leg, cut into windows, and the windows of all recordings
share batches, sorted by length, because batching inside one call brings nothing for calls of one window. Each window is
encoded once; no window sees the text of another, so one invented sentence cannot breed the next.

A CTranslate2 model that was loaded before a fork hangs for ever in the child, so a Transcriber refuses to work in any
process but the one that loaded it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ml_backend import manifest, registry, routing
from ml_backend.errors import ConfigurationError, KaanError
from ml_backend.recognition.windows import RATE_HZ
from ml_backend.settings import Settings
from ml_backend.transcript import DecodingProfile, Transcript

if TYPE_CHECKING:
    from ml_backend.context import Context
    from ml_backend.recognition.pool import Pool

_ROUND_S = 1800.0  # recordings pooled at once; bounds the memory of features and kept encoder outputs
_POLL_S = 1.0  # how often the alias is looked at
_FAILED_S = 60.0  # how long a version that would not load is left alone


@dataclass(frozen=True)
class Request:
    """One recording: samples [channels, n] at 16 kHz, float32 in -1..1; `key` is the caller's own.

    `speech` are the speech probabilities of each leg, where the caller has them (`voice`, for parts of a call).
    """

    samples: npt.NDArray[np.float32]
    profile: DecodingProfile
    key: str = ""
    speech: tuple[npt.NDArray[np.float32], ...] = ()


class Transcriber:
    """A loaded model version. Thread-safe (one caller at a time); not fork-safe, and it says so."""

    def __init__(self, pool: Pool, *, model_version: str) -> None:
        self.model_version = model_version
        self._pool = pool
        self._pid = os.getpid()
        self._lock = threading.Lock()

    @classmethod
    def load(
        cls,
        location: Path | str,
        *,
        settings: Settings,
        model_version: str = "",
        temperatures: tuple[float, ...] | None = None,
    ) -> Transcriber:
        """Load a CTranslate2 folder, or a hub name (`large-v3-turbo`, `hub:owner/name`).

        A folder with a manifest is verified file by file first; one without is taken for a stock Whisper (30 s).
        `temperatures` is the ladder for windows that fail the quality test; empty switches re-runs off.
        """
        from faster_whisper import WhisperModel

        from ml_backend.recognition.decoding import LADDER, Decoder
        from ml_backend.recognition.pool import Pool, first_line

        folder = folder_of(location)
        described = manifest.verify(folder) if (folder / manifest.FILE).is_file() else None
        try:
            model = WhisperModel(
                str(folder),
                device=settings.asr_device,
                compute_type=settings.asr_compute_type,
                cpu_threads=settings.asr_threads,
                num_workers=settings.asr_workers,
                local_files_only=True,
            )
        except (RuntimeError, ValueError, OSError) as error:
            raise ConfigurationError(
                "model-not-loadable",
                f"The model in {folder.name} cannot be loaded ({first_line(error)}).",
                "Check ASR_MODEL, ASR_DEVICE and ASR_COMPUTE_TYPE; the folder must be a CTranslate2 Whisper.",
            ) from error
        decoder = Decoder(
            model,
            described.window if described else manifest.Window.stock(),
            temperatures=LADDER if temperatures is None else temperatures,
        )
        pool = Pool(
            decoder,
            languages=described.languages if described else (),
            batch_size=settings.asr_batch_size,
            workers=settings.asr_workers,
        )
        name = described.model_version if described else str(location).removeprefix("hub:").rstrip("/").split("/")[-1]
        return cls(pool, model_version=model_version or name)

    def transcribe(self, requests: Sequence[Request]) -> list[Transcript | KaanError]:
        """One answer per request, in order; a bad recording is an error in its own place."""
        from ml_backend.recognition.segments import transcript_of

        if os.getpid() != self._pid:
            raise _after_fork()
        answers: list[Transcript | KaanError] = []
        with self._lock:
            for some in _rounds(requests):
                for recording in self._pool.run(some):
                    answers.append(recording.error or transcript_of(recording, model_version=self.model_version))
        return answers

    def self_check(self) -> None:
        """Encode and decode one window of noise: a model that cannot is found before it serves."""
        from ml_backend.recognition.pool import Work
        from ml_backend.recognition.windows import Stretch, Window

        noise = np.random.default_rng(0).normal(0, 0.05, RATE_HZ).astype(np.float32)
        decoder = self._pool.decoder
        work = Work(0, Window(0, (Stretch(0, RATE_HZ, 1.0),)), decoder.features(noise), 0.0)
        prompt = decoder.prompt("en", prompt=None, hotwords=None)
        decoder.decode(decoder.encode([work.features]), [prompt], beam_size=1)


class Serving:
    """The Transcriber of the champion in this process: loaded once, and again when the alias has moved."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._transcriber: Transcriber | None = None
        self._asked_at = -_POLL_S
        self._failed: tuple[str, float] = ("", 0.0)

    def current(self, context: Context) -> Transcriber:
        """What serves now. A new version that will not load leaves the old one serving."""
        if os.getpid() != self._pid:
            raise _after_fork()
        with self._lock:
            if self._transcriber is None or time.monotonic() - self._asked_at >= _POLL_S:
                self._follow(context)
                self._asked_at = time.monotonic()
            assert self._transcriber is not None  # noqa: S101 - _follow loads or raises
            return self._transcriber

    def _follow(self, context: Context) -> None:
        if self._transcriber is None:
            registry.ensure_default(context)  # the first worker of a new deployment finds no champion
        version = routing.choose(context)
        if self._transcriber is not None and self._transcriber.model_version == version.version:
            return
        if self._transcriber is not None and self._failed[0] == version.version and time.monotonic() < self._failed[1]:
            return
        try:
            registry.verify(version)
            fresh = Transcriber.load(version.location, settings=context.settings, model_version=version.version)
            fresh.self_check()
        except (KaanError, RuntimeError) as error:
            if self._transcriber is None:
                raise
            self._failed = (version.version, time.monotonic() + _FAILED_S)
            from ml_backend import log

            log.get("engine").error("model_not_loaded", model_version=version.version, reason=str(error)[:200])
            return
        self._transcriber = fresh  # the old model is freed when its last caller lets go


def current(context: Context) -> Transcriber:
    """The champion's Transcriber in this process."""
    serving: Serving = context.keep("asr", Serving)
    return serving.current(context)


def folder_of(location: Path | str) -> Path:
    """A local folder; a hub name is fetched, from its cache where it is there already."""
    name = str(location).removeprefix("hub:")
    if Path(name).is_dir():
        return Path(name)
    from faster_whisper import download_model

    try:
        return Path(download_model(name))
    except Exception as error:  # the hub library raises many kinds
        reason = (str(error).splitlines() or [""])[0][:80] or type(error).__name__
        raise ConfigurationError(
            "model-not-found",
            f"The model {name[:80]!r} is not a folder and could not be fetched from the hub ({reason}).",
            "Set ASR_MODEL to bundled, to a CTranslate2 Whisper folder, or to a hub name this machine can reach.",
        ) from error


def _after_fork() -> ConfigurationError:
    return ConfigurationError(
        "model-after-fork",
        "The model was loaded in another process and would hang in this one.",
        "Load the model after forking: in the worker, not in its parent.",
    )


def _rounds(requests: Sequence[Request]) -> Iterable[list[Request]]:
    some: list[Request] = []
    total_s = 0.0
    for request in requests:
        length_s = np.size(request.samples) / RATE_HZ
        if some and total_s + length_s > _ROUND_S:
            yield some
            some, total_s = [], 0.0
        some.append(request)
        total_s += length_s
    if some:
        yield some
