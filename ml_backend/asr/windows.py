"""Samples of one channel -> Windows: the stretches of speech, cut and packed as in the model version's training.

Silero's voice-activity model (it ships with faster-whisper) gives a speech probability per 32 ms. Hysteresis turns
these into stretches, and the manifest's window policy turns stretches into windows. Silence of `split_pause_s` or more
never reaches the model. A model that pads to a fixed length gets several stretches in one window without the silence
(every window costs the same, so fewer is cheaper); any other model gets one window per group of stretches. Each window
keeps the positions of its pieces, so that times can be converted to times in the recording.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from ml_backend.models.manifest import WindowPolicy

RATE_HZ = 16000
_STEP = 512  # samples per probability of the voice-activity model
# Speech begins above _ENTER and ends below _LEAVE. The usual values (0.5, 0.35) cut narrow-band voices; hold music,
# tones, ringing and noise stay below 0.25. A stretch must reach _CERTAIN once, or last _MIN_UNCERTAIN_S.
_ENTER, _LEAVE, _CERTAIN = 0.3, 0.15, 0.5
_MIN_SPEECH_S = 0.1
_MIN_UNCERTAIN_S = 0.5
_MIN_PAUSE_S = 0.3  # shorter gaps do not end a stretch
_PHRASE_PAUSE_S = 0.6  # a pause of this length inside a window still ends a segment
_PAD_S = 0.3  # kept before and after a stretch, so that quiet first and last sounds survive
_SHORT_S, _WARM_S = 5.0, 2.0  # the longest channel for `second_look`, and the length of the sound put before it

Samples = npt.NDArray[np.float32]
Probabilities = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Stretch:
    """Speech with padding, from `start` to `end` in samples; `first` and `last` bound the speech itself.

    `pauses` are the pauses inside that end a phrase: (where speech stops, where it resumes), in samples.
    """

    start: int
    end: int
    probability: float  # mean probability that it is speech
    first: int = 0
    last: int = 0
    pauses: tuple[tuple[int, int], ...] = ()

    @property
    def breaks(self) -> tuple[int, ...]:
        """The middles of the pauses, where one phrase ends and the next begins."""
        return tuple((stop + resume) // 2 for stop, resume in self.pauses)


@dataclass(frozen=True)
class SpeechPhrase:
    """Speech between two pauses, in seconds from the start of its window; `first_s` and `last_s` bound the speech."""

    piece: int
    start_s: float
    end_s: float
    first_s: float
    last_s: float
    probability: float


@dataclass(frozen=True)
class Window:
    """The input of one encoder pass: the samples of the pieces, one after the other."""

    channel: int
    pieces: tuple[Stretch, ...]

    @property
    def samples(self) -> int:
        return sum(piece.end - piece.start for piece in self.pieces)

    @property
    def duration_s(self) -> float:
        return self.samples / RATE_HZ

    @property
    def start_s(self) -> float:
        return self.pieces[0].start / RATE_HZ

    @property
    def end_s(self) -> float:
        return self.pieces[-1].end / RATE_HZ

    @property
    def speech_probability(self) -> float:
        return sum(p.probability * (p.end - p.start) for p in self.pieces) / max(1, self.samples)

    def cut_from(self, samples: Samples) -> Samples:
        """The window's samples, from the samples of its channel."""
        if len(self.pieces) == 1:
            return samples[self.pieces[0].start : self.pieces[0].end]
        return np.concatenate([samples[piece.start : piece.end] for piece in self.pieces])

    def phrases(self) -> list[SpeechPhrase]:
        """The phrases of all pieces, in order, end to end."""
        found: list[SpeechPhrase] = []
        before = 0
        for number, piece in enumerate(self.pieces):
            edges = (piece.start, *piece.breaks, piece.end)
            firsts = (piece.first, *(resume for _, resume in piece.pauses))
            lasts = (*(stop for stop, _ in piece.pauses), piece.last)
            for start, end, first, last in zip(edges, edges[1:], firsts, lasts, strict=False):
                times = [(place - piece.start + before) / RATE_HZ for place in (start, end, first, last)]
                found.append(SpeechPhrase(number, times[0], times[1], times[2], times[3], piece.probability))
            before += piece.end - piece.start
        return found

    def part(self, phrase: SpeechPhrase, start_s: float, end_s: float) -> Stretch:
        """A part of a phrase as a Stretch; at the edges of the phrase it keeps the padding."""
        piece = self.pieces[phrase.piece]
        before = sum(p.end - p.start for p in self.pieces[: phrase.piece])

        def place(seconds: float) -> int:
            return piece.start + int(seconds * RATE_HZ) - before

        first, last = place(start_s), place(end_s)
        start = place(phrase.start_s) if start_s <= phrase.first_s else first
        end = place(phrase.end_s) if end_s >= phrase.last_s else last
        return Stretch(start, end, piece.probability, first, last)

    def in_recording_s(self, time_s: float, piece: int) -> float:
        """A time within the window as a time in the recording, kept inside the given piece."""
        before = sum(p.end - p.start for p in self.pieces[:piece])
        chosen = self.pieces[piece]
        return min(max(chosen.start + time_s * RATE_HZ - before, chosen.start), chosen.end) / RATE_HZ


def find_speech(samples: Samples, policy: WindowPolicy, probabilities: Probabilities | None = None) -> list[Stretch]:
    """The stretches of speech of one channel: padded, in order, not overlapping, none longer than `policy.max_s`."""
    if samples.size < _STEP:
        return []
    probabilities = speech_probabilities(samples) if probabilities is None else probabilities
    most = int((policy.max_s - 2 * _PAD_S) * RATE_HZ / _STEP)
    runs = [part for run in _runs(probabilities) for part in _at_most(run, probabilities, max(1, most))]
    return _padded(runs, probabilities, samples.size)


def windows_of(stretches: list[Stretch], *, channel: int, policy: WindowPolicy) -> list[Window]:
    """Pack stretches into windows of at most `policy.max_s`."""
    most = int(policy.max_s * RATE_HZ)
    pause = int(policy.split_pause_s * RATE_HZ)
    groups: list[Stretch] = []  # stretches joined over pauses too short to split at
    for stretch in stretches:
        if groups and stretch.first - groups[-1].last < pause and stretch.end - groups[-1].start <= most:
            groups[-1] = _joined(groups[-1], stretch)
        else:
            groups.append(stretch)
    if policy.pad_to_s is None:
        return [Window(channel, (group,)) for group in groups]
    packed: list[Window] = []
    for group in groups:
        if packed and packed[-1].samples + group.end - group.start <= most:
            packed[-1] = Window(channel, (*packed[-1].pieces, group))
        else:
            packed.append(Window(channel, (group,)))
    return packed


def halves(window: Window) -> list[Window]:
    """Two windows in place of one whose text did not fit; cut between pieces if there are several."""
    if len(window.pieces) > 1:
        middle = len(window.pieces) // 2
        return [Window(window.channel, window.pieces[:middle]), Window(window.channel, window.pieces[middle:])]
    piece = window.pieces[0]
    middle = (piece.start + piece.end) // 2
    left, right = split(piece, middle)
    return [Window(window.channel, (left,)), Window(window.channel, (right,))]


def split(piece: Stretch, place: int) -> tuple[Stretch, Stretch]:
    """The parts of a stretch before and after `place`, in samples."""
    before = tuple(pause for pause in piece.pauses if pause[1] <= place)
    after = tuple(pause for pause in piece.pauses if pause[0] >= place)
    cut = next((pause for pause in piece.pauses if pause[0] < place < pause[1]), (place, place))
    left = replace(piece, end=place, last=min(cut[0], piece.last), pauses=before)
    return left, replace(piece, start=place, first=max(cut[1], piece.first), pauses=after)


def speech_probabilities(samples: Samples) -> Probabilities:
    """The speech probability, 0..1, for each 32 ms of a channel."""
    from faster_whisper.vad import get_vad_model

    padded = np.pad(samples, (0, -samples.size % _STEP))
    return np.asarray(get_vad_model()(padded), dtype=np.float32).reshape(-1)


def second_look(samples: Samples) -> Probabilities | None:
    """Speech probabilities of a short channel in which no speech was found; None for a longer channel.

    The voice-activity model starts with an empty state, so it may miss a word at the first sample. The channel's own
    sound, reversed, fills that state first. Silence instead would find as many words, but also take music for speech.
    """
    if not _STEP <= samples.size <= _SHORT_S * RATE_HZ:
        return None
    whole = np.pad(samples, (0, -samples.size % _STEP))
    before = whole[: int(_WARM_S * RATE_HZ) // _STEP * _STEP][::-1]
    return speech_probabilities(np.concatenate([before, whole]))[before.size // _STEP :]


def _runs(probabilities: Probabilities) -> list[tuple[int, int]]:
    """Runs of speech as step numbers: entered at _ENTER, left after a pause below _LEAVE."""
    runs: list[tuple[int, int]] = []
    begin = quiet = -1
    patience = int(_MIN_PAUSE_S * RATE_HZ / _STEP)
    for step, probability in enumerate(probabilities.tolist()):
        if begin >= 0 and probability < _LEAVE:
            quiet = step if quiet < 0 else quiet
            if step - quiet >= patience:
                runs.append((begin, quiet))
                begin = quiet = -1
        elif probability >= _ENTER:
            begin, quiet = (step if begin < 0 else begin), -1
    if begin >= 0:
        runs.append((begin, quiet if quiet >= 0 else len(probabilities)))
    return [run for run in runs if _is_speech(probabilities[run[0] : run[1]])]


def _is_speech(probabilities: Probabilities) -> bool:
    lasts_s = len(probabilities) * _STEP / RATE_HZ
    return lasts_s >= (_MIN_SPEECH_S if probabilities.max() >= _CERTAIN else _MIN_UNCERTAIN_S)


def _at_most(run: tuple[int, int], probabilities: Probabilities, most: int) -> list[tuple[int, int]]:
    """Cut speech longer than the window where it is least probable, in the second half of what fits."""
    first, last = run
    parts = []
    while last - first > most:
        low, high = first + most // 2, first + most
        cut = low + int(np.argmin(np.convolve(probabilities[low:high], np.ones(3), "same"))) if high - low > 2 else high
        parts.append((first, cut))
        first = cut
    return [*parts, (first, last)]


def _padded(runs: list[tuple[int, int]], probabilities: Probabilities, size: int) -> list[Stretch]:
    pad = int(_PAD_S * RATE_HZ)
    stretches = []
    for index, (begin, stop) in enumerate(runs):
        first, last = begin * _STEP, min(stop * _STEP, size)
        before = runs[index - 1][1] * _STEP if index else -2 * size
        after = runs[index + 1][0] * _STEP if index + 1 < len(runs) else 3 * size
        # the model detects the first word of a recording late, so a short lead-in is kept
        start = 0 if not index and first <= 2 * pad else max(0, first - pad, (before + first) // 2)
        end = min(size, last + pad, (last + after) // 2)
        stretches.append(Stretch(start, end, float(probabilities[begin:stop].mean()), first, last))
    return stretches


def _joined(one: Stretch, other: Stretch) -> Stretch:
    long, short = one.end - one.start, other.end - other.start
    probability = (one.probability * long + other.probability * short) / (long + short)
    pause = ((one.last, other.first),) if other.first - one.last >= _PHRASE_PAUSE_S * RATE_HZ else ()
    return Stretch(one.start, other.end, probability, one.first, other.last, (*one.pauses, *pause, *other.pauses))


STEP = 512  # samples per probability
_CONTEXT = 64  # samples of the previous step that the model reads with each step


class VoiceTracker:
    """The voice-activity model's state for one channel."""

    def __init__(self) -> None:
        self._memory = (np.zeros((1, 1, 128), np.float32), np.zeros((1, 1, 128), np.float32))
        self._before: npt.NDArray[np.float32] = np.zeros(_CONTEXT, np.float32)

    def probabilities(self, block: Samples) -> Probabilities:
        """One probability per step. Every block but the last must be a whole number of steps."""
        from faster_whisper.vad import get_vad_model

        if not block.size:
            return np.zeros(0, np.float32)
        padded = np.pad(block, (0, -block.size % STEP)).astype(np.float32)
        steps = padded.reshape(-1, STEP)
        contexts = np.vstack([self._before[None], steps[:-1, -_CONTEXT:]])
        self._before = steps[-1, -_CONTEXT:].copy()
        h, c = self._memory
        output, h, c = get_vad_model().session.run(None, {"input": np.hstack([contexts, steps]), "h": h, "c": c})
        self._memory = (h, c)
        return np.asarray(output, dtype=np.float32).reshape(-1)
