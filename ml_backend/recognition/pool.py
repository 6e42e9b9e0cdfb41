"""Recordings -> windows with texts, for one round of requests that share batches.

The order of things: find the windows of every recording, hear the language of those that name none (keeping what the
encoder gave for it), then decode everything in batches of similar length. Whatever goes wrong with one recording stays
its own error.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ml_backend.errors import KaanError, PermanentError, RetryableError
from ml_backend.recognition import guards
from ml_backend.recognition.decoding import Decoded, Decoder, Encoded, Prompt, level_dbfs
from ml_backend.recognition.windows import Samples, Window, find_speech, halves, windows_of

if TYPE_CHECKING:
    from ml_backend.engine import Request

_SURE_LANGUAGE = 0.8  # below this the next window is heard too, up to _LANGUAGE_WINDOWS
_LANGUAGE_WINDOWS = 3
_MOST_HALVINGS = 2  # dense Hindi can need twice the tokens a window may have, not eight times
_MOST_LEGS = 8


@dataclass
class Work:
    """One window on its way through the engine; `request` is its recording's place in the round."""

    request: int
    window: Window
    features: npt.NDArray[np.float32]
    level_dbfs: float
    prompt: Prompt | None = None
    decoded: Decoded | None = None
    halvings: int = 0


@dataclass
class Recording:
    """What is gathered for one request."""

    request: Request
    language: str | None
    language_probability: float = 1.0
    work: list[Work] = field(default_factory=list)
    error: KaanError | None = None
    votes: list[dict[str, float]] = field(default_factory=list)


@dataclass
class _Batch:
    work: list[Work]
    encoded: Encoded | None = None
    beam_size: int = 5


class Pool:
    """Runs rounds on one loaded model."""

    def __init__(self, decoder: Decoder, *, languages: tuple[str, ...], batch_size: int, workers: int) -> None:
        self.decoder = decoder
        self.languages = languages
        self._batch_size = batch_size
        self._workers = workers

    def run(self, requests: Sequence[Request]) -> list[Recording]:
        """One Recording per request, in order, each with its decoded windows or its error."""
        recordings = [self._prepared(index, request) for index, request in enumerate(requests)]
        heard = self._hear_languages(recordings)
        begun = {id(work) for batch in heard for work in batch.work}
        rest = []
        for recording in recordings:
            if recording.error is None:
                self._set_prompts(recording)
                rest += [work for work in recording.work if id(work) not in begun]
        self._run([*self._split(heard, recordings), *self._batches(rest, recordings)], recordings)
        return recordings

    def _prepared(self, index: int, request: Request) -> Recording:
        """Find the windows of one recording; whatever is wrong with it becomes its own error."""
        recording = Recording(request, request.profile.language)
        try:
            for channel, leg in enumerate(_legs(request.samples)):
                policy = self.decoder.policy
                known = request.speech[channel] if request.speech else None
                for window in windows_of(find_speech(leg, policy, known), channel=channel, policy=policy):
                    samples = window.cut_from(leg)
                    work = Work(index, window, self.decoder.features(samples), level_dbfs(samples))
                    recording.work.append(work)
            self._known(recording.language)
            if not self.decoder.model.model.is_multilingual:
                recording.language = "en"
        except KaanError as error:
            recording.error = error
        except Exception as error:  # whatever it is, it stays this recording's own fault
            recording.error = PermanentError(
                "engine-input", f"The audio cannot be transcribed ({first_line(error)}).", "Check the recording."
            )
        return recording

    def _known(self, language: str | None) -> None:
        known = self.languages or self.decoder.model.supported_languages
        if language is not None and language not in known:
            listed = ", ".join(sorted(known)) if len(known) < 12 else "two-letter codes such as hi, en, mr"
            raise PermanentError(
                "unknown-language",
                f"The model knows no language {language[:12]!r}.",
                f"Use one it knows ({listed}) in the project's extra_params, or another model.",
            )

    def _hear_languages(self, recordings: list[Recording]) -> list[_Batch]:
        """Decide the language of the recordings that name none; gives the batches encoded for it."""
        done: list[_Batch] = []
        for turn in range(_LANGUAGE_WINDOWS):
            unsure = [r for r in recordings if r.error is None and r.language is None and len(r.work) > turn]
            wanted = [r.work[turn] for r in unsure if turn == 0 or r.language_probability < _SURE_LANGUAGE]
            if not wanted:
                break
            for batch in self._grouped(wanted):
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
        """Only languages the model version was made for can win, where its manifest names them."""
        allowed = {k: v for k, v in probabilities.items() if not self.languages or k in self.languages}
        total = sum(allowed.values())
        recording.votes.append({k: v / total for k, v in allowed.items()} if total > 0 else probabilities)
        recording.language_probability = max(_mean(recording.votes).values())

    def _set_prompts(self, recording: Recording) -> None:
        profile = recording.request.profile
        if recording.language is None:
            return
        words = ", ".join(profile.words_for(recording.language))
        prompt = self.decoder.prompt(recording.language, prompt=profile.prompt, hotwords=words)
        for work in recording.work:
            work.prompt = prompt

    def _grouped(self, work: Iterable[Work]) -> list[_Batch]:
        """Batches of windows of similar length, longest first so that memory trouble shows at once."""
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

    def _batches(self, work: list[Work], recordings: list[Recording]) -> list[_Batch]:
        def kind(one: Work) -> tuple[int, int]:
            return len(one.prompt.tokens if one.prompt else ()), recordings[one.request].request.profile.beam_size

        made = []
        for (_, beam_size), some in groupby(sorted(work, key=kind), key=kind):
            made += [replace(batch, beam_size=beam_size) for batch in self._grouped(some)]
        return made

    def _split(self, heard: list[_Batch], recordings: list[Recording]) -> list[_Batch]:
        """Batches encoded for language detection, split where members cannot be decoded together."""
        made = []
        for batch in heard:
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
        try:
            encoded = batch.encoded or self.decoder.encode([work.features for work in batch.work])
            prompts = [work.prompt for work in batch.work if work.prompt is not None]
            found = self.decoder.decode(encoded, prompts, beam_size=batch.beam_size)
        except RuntimeError as error:
            if len(batch.work) == 1:
                recordings[batch.work[0].request].error = _failed(error)
                return
            for work in batch.work:  # one of them may be the cause: alone, the others get through
                self._decode(_Batch([work], beam_size=batch.beam_size), recordings)
            return
        batch.encoded = None
        for work, decoded in zip(batch.work, found, strict=True):
            work.decoded = decoded
            loops = guards.compression(decoded.text) > guards.MOST_COMPRESSION
            if decoded.full and not loops and work.halvings < _MOST_HALVINGS:
                self._decode_halves(work, batch.beam_size, recordings)

    def _decode_halves(self, work: Work, beam_size: int, recordings: list[Recording]) -> None:
        """The text did not fit into the model's length limit: hear both halves instead of losing the end."""
        recording = recordings[work.request]
        leg = _legs(recording.request.samples)[work.window.channel]
        for half in halves(work.window):
            part = replace(work, window=half, features=self.decoder.features(half.cut_from(leg)), decoded=None)
            part.halvings += 1
            recording.work.append(part)
            self._decode(_Batch([part], beam_size=beam_size), recordings)
        recording.work.remove(work)


def _legs(samples: npt.NDArray[np.float32]) -> list[Samples]:
    legs = np.atleast_2d(np.asarray(samples, dtype=np.float32))
    if legs.ndim != 2 or legs.shape[0] > _MOST_LEGS or (legs.shape[0] > legs.shape[1] > 0):
        raise PermanentError("engine-input", "The samples are not [channels, n].", "Decode the audio first.")
    if not np.isfinite(legs).all():
        raise PermanentError("engine-input", "The samples hold values that are no numbers.", "Decode the audio again.")
    return [np.ascontiguousarray(leg) for leg in legs]


def _mean(votes: list[dict[str, float]]) -> dict[str, float]:
    names = {name for vote in votes for name in vote}
    return {name: sum(vote.get(name, 0.0) for vote in votes) / len(votes) for name in names}


def _failed(error: Exception) -> KaanError:
    return RetryableError(
        "engine-failed", f"The speech engine failed ({first_line(error)}).", "It is tried again; check free memory."
    )


def first_line(error: BaseException) -> str:
    """Enough of a foreign message to recognise it."""
    return (str(error).splitlines() or [type(error).__name__])[0][:80]
