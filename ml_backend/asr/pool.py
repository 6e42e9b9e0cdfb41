"""Requests -> Recordings with decoded windows, for one round of requests that share batches.

The steps: find the windows of every recording, detect the language of those that name none (and keep the encoder
output), then decode all windows in batches of similar length. A failure in one recording does not affect the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import groupby

import numpy as np
import numpy.typing as npt

from ml_backend import quantities
from ml_backend.asr import guards, timing
from ml_backend.asr.request import Request
from ml_backend.asr.window_decoding import DecodedWindow, Decoder, Encoded, Prompt, level_dbfs
from ml_backend.asr.windows import Probabilities, Samples, Window, find_speech, halves, second_look, windows_of
from ml_backend.errors import KaanError, PermanentError, RetryableError
from ml_backend.models import manifest

_SURE_LANGUAGE = 0.8  # below this the next window votes too, up to _LANGUAGE_WINDOWS
_LANGUAGE_WINDOWS = 3
_MOST_HALVINGS = 2  # dense Hindi can need twice the tokens that a window may have, but not eight times
_MOST_CHANNELS = 8
_NO_GAIN = np.float32(1)
_NOTHING_DBFS, _SOFT_DBFS, _USUAL_DBFS = -95.0, -55.0, -30.0


@dataclass
class WindowWork:
    """One window and its results so far; `request` is the index of its recording in the round."""

    request: int
    window: Window
    features: npt.NDArray[np.float32]
    level_dbfs: float
    prompt: Prompt | None = None
    decoded: DecodedWindow | None = None
    halvings: int = 0
    confidence: str = manifest.WEAKEST  # the formula of this model version
    transcribed_apart: tuple[tuple[float, float], ...] = ()  # seconds within the window that separate windows cover


@dataclass
class Recording:
    """The state of one request."""

    request: Request
    language: str | None
    language_probability: float = 1.0
    work: list[WindowWork] = field(default_factory=list)
    error: KaanError | None = None
    votes: list[dict[str, float]] = field(default_factory=list)
    gains: tuple[np.float32, ...] = ()  # per channel, when the recording is too quiet

    def channel_samples(self, channel: int) -> Samples:
        """The samples of one channel, with its gain."""
        audio = _channels(self.request.samples)[channel]
        return audio * self.gains[channel] if self.gains else audio


@dataclass
class _Batch:
    work: list[WindowWork]
    encoded: Encoded | None = None
    beam_size: int = 5
    again: bool = True  # retry windows that fail the quality test


class Pool:
    """Runs rounds on one loaded model."""

    def __init__(
        self,
        decoder: Decoder,
        *,
        languages: tuple[str, ...],
        batch_size: int,
        workers: int,
        before_batch: Callable[[], None] = lambda: None,
    ) -> None:
        self.decoder = decoder
        self.languages = languages
        self._before_batch = before_batch
        self._batch_size = batch_size
        self._workers = workers

    def run(self, requests: Sequence[Request]) -> list[Recording]:
        """One Recording per request, in order, each with its decoded windows or its error."""
        recordings = [self._prepared(index, request) for index, request in enumerate(requests)]
        detected = self._detect_languages(recordings)
        begun = {id(work) for batch in detected for work in batch.work}
        rest = []
        for recording in recordings:
            if recording.error is None:
                self._set_prompts(recording)
                rest += [work for work in recording.work if id(work) not in begun]
        self._run([*self._split(detected, recordings), *self._batches(rest, recordings)], recordings)
        return recordings

    def _prepared(self, index: int, request: Request) -> Recording:
        """Find the windows of one recording; any failure becomes that recording's error."""
        recording = Recording(request, request.profile.language)
        try:
            channels = _channels(request.samples)
            for channel, audio in enumerate(channels):
                known = request.speech[channel] if request.speech else None
                recording.work += self._windows(index, channel, audio, known)
            if not recording.work:  # the first word of a recording is easily missed
                for channel, audio in enumerate(channels):
                    known = second_look(audio)
                    recording.work += self._windows(index, channel, audio, known) if known is not None else []
            if not recording.work:  # the voice may be too quiet for the voice-activity model
                recording.gains = tuple(map(_gain, channels))
                for channel, (audio, gain) in enumerate(zip(channels, recording.gains, strict=True)):
                    recording.work += self._windows(index, channel, audio, None, gain=gain) if gain > 1 else []
            self._known(recording.language)
            if recording.language is None:
                self._allowed(request.profile.languages)
            if not self.decoder.model.model.is_multilingual:
                recording.language = "en"
        except KaanError as error:
            recording.error = error
        except Exception as error:  # any failure belongs to this recording alone
            recording.error = PermanentError(
                "engine-input", f"The audio cannot be transcribed ({first_line(error)}).", "Check the recording."
            )
        return recording

    def _windows(
        self,
        index: int,
        channel: int,
        audio: Samples,
        known: Probabilities | None,
        *,
        gain: np.float32 = _NO_GAIN,
    ) -> list[WindowWork]:
        policy, made = self.decoder.policy, []
        for window in windows_of(find_speech(audio * gain, policy, known), channel=channel, policy=policy):
            samples = window.cut_from(audio)
            features, level = self.decoder.features(samples * gain), level_dbfs(samples)
            made.append(WindowWork(index, window, features, level, confidence=self.decoder.confidence))
        return made

    def _known(self, language: str | None) -> None:
        known = self.languages or self.decoder.model.supported_languages
        if language is not None and language not in known:
            listed = ", ".join(sorted(known)) if len(known) < 12 else "two-letter codes such as hi, en, mr"
            raise PermanentError(
                "unknown-language",
                f"The model knows no language {language[:12]!r}.",
                f"Use one it knows ({listed}) in the project's extra_params, or another model.",
            )

    def _allowed(self, wished: tuple[str, ...]) -> tuple[str, ...]:
        """The languages that may win: those of the model version that may also be spoken; () for all."""
        known = self.languages or tuple(self.decoder.model.supported_languages)
        allowed = tuple(language for language in wished if language in known)
        if wished and not allowed:
            self._known(wished[0])
        return allowed or self.languages

    def _detect_languages(self, recordings: list[Recording]) -> list[_Batch]:
        """Detect the language of the recordings that name none; returns the batches encoded for it."""
        done: list[_Batch] = []
        for turn in range(_LANGUAGE_WINDOWS):
            unsure = [r for r in recordings if r.error is None and r.language is None and len(r.work) > turn]
            wanted = [r.work[turn] for r in unsure if turn == 0 or r.language_probability < _SURE_LANGUAGE]
            if not wanted:
                break
            for batch in self._grouped(wanted):
                self._before_batch()
                try:
                    batch.encoded = self.decoder.encode([work.features for work in batch.work])
                    found = self.decoder.languages(batch.encoded)
                except RuntimeError as error:
                    for work in batch.work:
                        recordings[work.request].error = _failed(error)
                    continue
                for work, probabilities in zip(batch.work, found, strict=True):
                    self._vote(recordings[work.request], probabilities)
                done.append(batch)
        for recording in recordings:
            if recording.language is None and recording.votes:
                recording.language = max(_mean(recording.votes).items(), key=lambda item: item[1])[0]
        return done

    def _vote(self, recording: Recording, probabilities: dict[str, float]) -> None:
        """Only allowed languages can win; the probability of the others is shared among them."""
        names = self._allowed(recording.request.profile.languages)
        allowed = {k: v for k, v in probabilities.items() if not names or k in names}
        total = sum(allowed.values())
        recording.votes.append({k: v / total if total > 0 else 1 / len(allowed) for k, v in allowed.items()})
        recording.language_probability = max(_mean(recording.votes).values())

    def _set_prompts(self, recording: Recording) -> None:
        profile = recording.request.profile
        if recording.language is None:
            return
        words = profile.words_for(recording.language)
        prompt = self.decoder.prompt(recording.language, prompt=profile.prompt, hotwords=words)
        for work in recording.work:
            work.prompt = prompt

    def _grouped(self, work: Iterable[WindowWork]) -> list[_Batch]:
        """Batches of windows of similar length, longest first so that a lack of memory shows at once."""
        policy = self.decoder.policy
        batches: list[_Batch] = []
        for one in sorted(work, key=lambda w: -w.features.shape[-1]):
            longest = batches[-1].work[0].features.shape[-1] if batches else 0
            similar = policy.pad_to_s is not None or longest - one.features.shape[-1] <= policy.max_padding_s * 100
            if batches and similar and len(batches[-1].work) < self._batch_size:
                batches[-1].work.append(one)
            else:
                batches.append(_Batch([one]))
        return batches

    def _batches(self, work: list[WindowWork], recordings: list[Recording]) -> list[_Batch]:
        def kind(one: WindowWork) -> tuple[int, int]:
            return len(one.prompt.tokens if one.prompt else ()), recordings[one.request].request.profile.beam_size

        made = []
        for (_, beam_size), some in groupby(sorted(work, key=kind), key=kind):
            made += [replace(batch, beam_size=beam_size) for batch in self._grouped(some)]
        return made

    def _split(self, detected: list[_Batch], recordings: list[Recording]) -> list[_Batch]:
        """Batches encoded for language detection, split so that the members of each can be decoded together."""
        made = []
        for batch in detected:
            if batch.encoded is None:
                continue
            order = {id(work): index for index, work in enumerate(batch.work)}
            alive = [work for work in batch.work if recordings[work.request].error is None]
            for part in self._batches(alive, recordings):
                rows = [order[id(work)] for work in part.work]
                frames = tuple(batch.encoded.frames[row] for row in rows)
                part.encoded = replace(batch.encoded, output=batch.encoded.rows(rows), frames=frames)
                made.append(part)
        return made

    def _run(self, batches: list[_Batch], recordings: list[Recording]) -> None:
        def one(batch: _Batch) -> None:
            self._decode(batch, recordings)

        if self._workers > 1:
            with ThreadPoolExecutor(self._workers, "asr") as pool:
                list(pool.map(one, batches))
        else:
            for batch in batches:
                one(batch)

    def _decode(self, batch: _Batch, recordings: list[Recording]) -> None:
        self._before_batch()
        try:
            encoded = batch.encoded or self.decoder.encode([work.features for work in batch.work])
            prompts = [work.prompt for work in batch.work if work.prompt is not None]
            begins_s = [[phrase.first_s for phrase in work.window.phrases()] for work in batch.work]
            found = self.decoder.decode(
                encoded, prompts, beam_size=batch.beam_size, again=batch.again, begins_s=begins_s
            )
        except RuntimeError as error:
            if len(batch.work) == 1:
                recordings[batch.work[0].request].error = _failed(error)
                return
            for work in batch.work:  # one window may be the cause: decoded alone, the others succeed
                self._decode(_Batch([work], beam_size=batch.beam_size, again=batch.again), recordings)
            return
        batch.encoded = None
        for work, decoded in zip(batch.work, found, strict=True):
            work.decoded = decoded
            believable = guards.is_believable(decoded.text, decoded.avg_logprob)
            if not believable and not batch.again:  # a retry of skipped speech: a doubtful text is no better than none
                work.decoded = replace(decoded, text="", tokens=(), words=(), word_tokens=())
            if work.halvings >= _MOST_HALVINGS or not believable:
                continue
            if decoded.full:
                self._decode_halves(work, batch.beam_size, recordings)
            elif decoded.words:
                self._decode_rest(work, batch.beam_size, recordings)

    def _decode_halves(self, work: WindowWork, beam_size: int, recordings: list[Recording]) -> None:
        """The text exceeded the model's length limit: decode both halves instead of losing the end."""
        self._decode_parts(work, halves(work.window), beam_size, recordings, again=True)
        recordings[work.request].work.remove(work)

    def _decode_rest(self, work: WindowWork, beam_size: int, recordings: list[Recording]) -> None:
        """The text skipped some speech or ended early: decode the missing speech in windows of its own."""
        decoded = work.decoded
        spoken = timing.by_phrase(decoded.words, work.window) if decoded else []
        gaps = timing.untranscribed(spoken, work.window)
        if gaps:
            work.transcribed_apart = tuple((start_s, end_s) for _, start_s, end_s in gaps)
            rest = [work.window.part(phrase, start_s, end_s) for phrase, start_s, end_s in gaps]
            windows = windows_of(rest, channel=work.window.channel, policy=self.decoder.policy)
            self._decode_parts(work, windows, beam_size, recordings, again=False)

    def _decode_parts(
        self, work: WindowWork, windows: list[Window], beam_size: int, recordings: list[Recording], *, again: bool
    ) -> None:
        recording = recordings[work.request]
        audio = recording.channel_samples(work.window.channel)
        for window in windows:
            samples = window.cut_from(audio)
            part = WindowWork(
                work.request, window, self.decoder.features(samples), work.level_dbfs, work.prompt,
                halvings=work.halvings + 1, confidence=work.confidence,
            )  # fmt: skip
            recording.work.append(part)
            self._decode(_Batch([part], beam_size=beam_size, again=again), recordings)


def _channels(samples: npt.NDArray[np.float32]) -> list[Samples]:
    channels = np.atleast_2d(np.asarray(samples, dtype=np.float32))
    if channels.ndim != 2 or channels.shape[0] > _MOST_CHANNELS or (channels.shape[0] > channels.shape[1] > 0):
        raise PermanentError("engine-input", "The samples are not [channels, n].", "Decode the audio first.")
    if not np.isfinite(channels).all():
        raise PermanentError(
            "engine-input", "The samples hold values that are not finite numbers.", "Decode the audio again."
        )
    return [np.ascontiguousarray(audio) for audio in channels]


def _gain(audio: Samples) -> np.float32:
    """The factor that brings a channel to a usual level; 1 if it is loud enough or silent."""
    level = level_dbfs(audio)
    return np.float32(10 ** ((_USUAL_DBFS - level) / 20)) if _NOTHING_DBFS < level < _SOFT_DBFS else _NO_GAIN


def _mean(votes: list[dict[str, float]]) -> dict[str, float]:
    names = {name for vote in votes for name in vote}
    return {name: sum(vote.get(name, 0.0) for vote in votes) / len(votes) for name in names}


def _failed(error: Exception) -> KaanError:
    return RetryableError(
        "engine-failed", f"The speech engine failed ({first_line(error)}).", "It is tried again; check free memory."
    )


def first_line(error: BaseException) -> str:
    """The first line of another library's message, shortened."""
    return quantities.shortened((str(error).splitlines() or [type(error).__name__])[0], 80)
