"""Requests -> Transcripts. faster-whisper behind one class, pooled across calls.

`transcribe` takes many recordings at once. Speech is found per channel and cut into windows. The windows of all
recordings share batches, sorted by length, because a call of one window gains nothing from batching on its own. Each
window is encoded once. No window sees the text of another, so one hallucination cannot cause the next.

A CTranslate2 model that was loaded before a fork hangs in the child, so a Transcriber works only in the process that
loaded it.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ml_backend import quantities
from ml_backend.asr import corrections
from ml_backend.asr.request import Request
from ml_backend.asr.transcript import DecodingProfile, Transcript
from ml_backend.asr.windows import RATE_HZ
from ml_backend.audio import decoding
from ml_backend.errors import ConfigurationError, KaanError, PermanentError
from ml_backend.models import manifest
from ml_backend.settings import Settings

if TYPE_CHECKING:
    from ml_backend.asr.pool import Pool, Recording

CHECK = Path(__file__).parents[1] / "bundled" / "checks" / "speech.wav"
SMALL_BYTES = 20_000_000  # weights on disk, in any type: the smallest published Whisper has 39 MB in int8
_ROUND_S = 1800.0  # recordings pooled at once; bounds the memory of features and kept encoder outputs


class Transcriber:
    """A loaded model version. Thread-safe (one caller at a time); raises when used after a fork."""

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
        before_batch: Callable[[], None] = lambda: None,
    ) -> Transcriber:
        """Load a CTranslate2 folder, or a hub name (`large-v3-turbo`, `hub:owner/name`).

        A folder with a manifest is verified file by file first; one without is treated as a stock Whisper (30 s).
        `temperatures` are tried in order on windows that fail the quality test; empty switches retries off.
        `before_batch` is called before each batch: it may wait while somebody else needs the device.
        """
        import ctranslate2
        from faster_whisper import WhisperModel

        from ml_backend.asr.pool import Pool, first_line
        from ml_backend.asr.window_decoding import LADDER, Decoder

        ctranslate2.set_log_level(logging.ERROR)  # hides its warning about float16 models on a CPU
        folder = folder_of(location)
        described = manifest.verify(folder) if (folder / manifest.FILE).is_file() else None
        try:
            model = WhisperModel(
                str(folder),
                device=settings.asr_device,
                compute_type=settings.asr_compute_type,
                cpu_threads=settings.asr_threads or threads_for(folder, settings),
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
            described.windows if described else manifest.WindowPolicy.stock(),
            temperatures=LADDER if temperatures is None else temperatures,
            confidence=described.confidence if described else manifest.WEAKEST,
        )
        pool = Pool(
            decoder,
            languages=described.languages if described else (),
            batch_size=settings.asr_batch_size,
            workers=settings.asr_workers,
            before_batch=before_batch,
        )
        name = described.model_version if described else str(location).removeprefix("hub:").rstrip("/").split("/")[-1]
        return cls(pool, model_version=model_version or name)

    def transcribe(self, requests: Sequence[Request]) -> list[Transcript | KaanError]:
        """One answer per request, in order; for a bad recording the answer is its error."""
        if os.getpid() != self._pid:
            raise after_fork()
        answers: list[Transcript | KaanError] = []
        with self._lock:
            for some in _rounds(requests):
                for recording in self._pool.run(some):
                    answers.append(recording.error or self._transcript(recording))
        return answers

    def _transcript(self, recording: Recording) -> Transcript:
        from ml_backend.asr.segments import transcript_of

        transcript = transcript_of(recording, model_version=self.model_version)
        return corrections.apply(transcript, recording.request.profile.corrections)

    def decode_features(self, features: Sequence[npt.NDArray[np.float32]], languages: Sequence[str]) -> list[str]:
        """Greedy texts of windows given as log-mel frames [mels, frames], for the parity check."""
        decoder = self._pool.decoder
        prompts = [decoder.prompt(language, prompt=None, hotwords=()) for language in languages]
        with self._lock:
            return [decoded.text for decoded in decoder.decode(decoder.encode(features), prompts, beam_size=1)]

    def left_out(self, profile: DecodingProfile) -> str | None:
        """A sentence that names the prompt words and hotwords that do not fit into the model; None if all fit."""
        decoder = self._pool.decoder
        known = self._pool.languages or decoder.model.supported_languages
        wanted = (profile.language, *profile.languages, *(language for language, _ in profile.learnt_words), known[0])
        for language in dict.fromkeys(one for one in wanted if one and one in known):
            words = profile.words_for(language)
            found = decoder.context(language, prompt=profile.prompt, hotwords=words).sentence
            if found:
                return found
        return None

    @property
    def languages(self) -> tuple[str, ...]:
        """The codes of the languages that may be asked for."""
        return self._pool.languages or tuple(self._pool.decoder.model.supported_languages)

    @property
    def window_s(self) -> float:
        """The longest audio that one pass of the model reads."""
        return self._pool.decoder.policy.max_s

    @property
    def suppressed(self) -> tuple[int, ...]:
        """Tokens that are never generated."""
        return self._pool.decoder.suppressed()

    def self_check(self) -> None:
        """Decode fixed clips before serving: noise must not fail, speech must give words, silence must give none."""
        from ml_backend.asr.pool import WindowWork
        from ml_backend.asr.windows import Stretch, Window

        noise = np.random.default_rng(0).normal(0, 0.05, RATE_HZ).astype(np.float32)
        decoder = self._pool.decoder
        work = WindowWork(0, Window(0, (Stretch(0, RATE_HZ, 1.0),)), decoder.features(noise), 0.0)
        prompt = decoder.prompt("en", prompt=None, hotwords=())
        decoder.decode(decoder.encode([work.features]), [prompt], beam_size=1)
        speech, silence = self.transcribe(list(_check_clips()))
        if isinstance(speech, KaanError) or not speech.text.strip():
            raise _unfit(self.model_version, "transcribes no words from a clip of speech")
        if isinstance(silence, KaanError) or silence.text.strip():
            raise _unfit(self.model_version, "transcribes words from silence")

    def unload(self) -> None:
        """Free the model's memory now; the Transcriber cannot be used afterwards."""
        self._pool.decoder.model.model.unload_model()


def threads_for(folder: Path, settings: Settings) -> int:
    """Default threads per worker: all cores shared by the workers, but one thread for a small model.

    A small model computes so little per step that its threads lose more by synchronising than they gain, and several
    times more when a second model is in memory (OpenMP stops spinning once threads outnumber cores).
    """
    if sum(path.stat().st_size for path in folder.glob("*.bin")) < SMALL_BYTES:
        return 1
    return max(1, len(os.sched_getaffinity(0)) // settings.asr_workers)


@lru_cache(maxsize=1)
def _check_clips() -> tuple[Request, Request]:
    """Clips of speech and silence with their speech probabilities, computed once to save processor time."""
    from ml_backend.asr.windows import speech_probabilities

    profile = DecodingProfile(beam_size=1)
    clips = (decoding.read_wav(CHECK)[0], np.zeros((1, 3 * RATE_HZ), np.float32))
    speech, silence = (
        Request(samples, profile, speech=tuple(speech_probabilities(channel) for channel in samples))
        for samples in clips
    )
    return speech, silence


def _unfit(model_version: str, what: str) -> PermanentError:
    return PermanentError(
        "model-self-check", f"Model version {model_version} {what}.", "Do not serve it; look at its evaluation."
    )


def folder_of(location: Path | str) -> Path:
    """A local folder; a hub name is downloaded unless the hub cache has it."""
    name = str(location).removeprefix("hub:")
    if Path(name).is_dir():
        return Path(name)
    from faster_whisper import download_model

    try:
        return Path(download_model(name))
    except Exception as error:  # the hub library raises many kinds
        reason = quantities.shortened((str(error).splitlines() or [""])[0], 80) or type(error).__name__
        raise ConfigurationError(
            "model-not-found",
            f"The model {name[:80]!r} is not a folder and could not be fetched from the hub ({reason}).",
            "Set ASR_MODEL to bundled, to a CTranslate2 Whisper folder, or to a hub name this machine can reach.",
        ) from error


def after_fork() -> ConfigurationError:
    """The error for a model used in a process that did not load it."""
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
