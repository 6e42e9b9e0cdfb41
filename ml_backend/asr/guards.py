"""Evidence -> GuardResult. Guards against invented text.

Whisper writes fluent sentences on silence, hold music and noise, and repeats itself on other windows. Each guard adds
its own flag. A window that cannot be speech is emptied. A doubtful window keeps its text, its confidence is capped, and
the annotator sees a `check` mark. Speech without a text is flagged too (`no-text`), to separate it from silence.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

MOST_COMPRESSION = 2.4  # Whisper's own limits for a decoding that failed (Radford et al. 2022, section 4.5)
LEAST_LOGPROB = -1.0
NO_SPEECH = 0.6
LEAST_SPEECH = 0.35  # mean voice-activity probability of a window; below it, the window may hold no voice
QUIET_DBFS = (
    -60.0
)  # below this a window needs a clear voice and a sure text: it is usually an echo of the other channel
CLEAR_SPEECH, CLEAR_LOGPROB = 0.5, -0.7
FASTEST_WORDS_PER_S = 6.0  # fast talkers reach about 5 in Hindi and English
LEAST_REPEATS = 4  # "haan haan haan" is speech; a fourth copy in a row of the same phrase is doubtful
WEAKEST = 3
FLAGGED_CONFIDENCE = 0.3  # the most a flagged segment may have


@dataclass(frozen=True)
class Evidence:
    """What is known about one decoded window."""

    text: str
    avg_logprob: float
    no_speech_probability: float
    speech_probability: float
    duration_s: float
    level_dbfs: float


@dataclass(frozen=True)
class GuardResult:
    """`empty` drops the text; `flags` say why."""

    empty: bool = False
    flags: tuple[str, ...] = ()


def failed(text: str, avg_logprob: float, no_speech_probability: float) -> bool:
    """Whisper's quality test: the decoding is repetitive or improbable, and the window is not silence."""
    if avg_logprob < LEAST_LOGPROB:
        return no_speech_probability <= NO_SPEECH
    return compression(text) > MOST_COMPRESSION


def is_believable(text: str, avg_logprob: float) -> bool:
    """Whether a decoding is neither improbable nor repetitive."""
    return avg_logprob >= LEAST_LOGPROB and compression(text) <= MOST_COMPRESSION


def judge(evidence: Evidence) -> GuardResult:
    """All guards on one window."""
    words = evidence.text.split()
    if not words:
        return GuardResult(empty=True)
    quiet = evidence.level_dbfs < QUIET_DBFS
    if quiet and (evidence.speech_probability < CLEAR_SPEECH or evidence.avg_logprob < CLEAR_LOGPROB):
        return GuardResult(True, ("quiet",))
    if evidence.no_speech_probability > NO_SPEECH and evidence.avg_logprob < LEAST_LOGPROB:
        return GuardResult(True, ("no-speech",))
    flags = ["quiet"] if quiet else []
    rate = len(words) / max(0.1, evidence.duration_s)
    if rate > FASTEST_WORDS_PER_S:
        flags.append("rate")
    share, repeats = repetition(words)
    if repeats >= LEAST_REPEATS or compression(evidence.text) > MOST_COMPRESSION:
        flags.append("repetition")
    if evidence.avg_logprob < LEAST_LOGPROB:
        flags.append("improbable")
    if evidence.no_speech_probability > NO_SPEECH:
        flags.append("no-speech")
    if evidence.speech_probability < LEAST_SPEECH:
        flags.append("hardly-speech")
    invented = (
        (repeats >= 2 * LEAST_REPEATS and share > 0.5)
        or rate > 2 * FASTEST_WORDS_PER_S
        or len(flags) >= 3
        or {"hardly-speech", "improbable"} <= set(flags)
    )
    return GuardResult(empty=invented, flags=tuple(flags))


def repetition(words: list[str]) -> tuple[float, int]:
    """(share of the words, number of copies) of the longest run of one phrase of 1 to 8 words repeated."""
    best_share, best_repeats = 0.0, 1
    for size in range(1, min(8, len(words) // 2) + 1):
        start = 0
        while start + 2 * size <= len(words):
            phrase, run = words[start : start + size], 1
            while words[start + run * size : start + (run + 1) * size] == phrase:
                run += 1
            if run > best_repeats:
                best_share, best_repeats = run * size / len(words), run
            start += 1 + (run - 1) * size
    return best_share, best_repeats


def compression(text: str) -> float:
    """How much zlib shortens the text; above MOST_COMPRESSION it repeats itself."""
    raw = text.encode()
    return len(raw) / len(zlib.compress(raw)) if raw else 0.0


def confidence(probabilities: Sequence[float], flags: tuple[str, ...]) -> float:
    """How likely it is that a segment is right in every word, 0..1; flags cap it at FLAGGED_CONFIDENCE.

    The mean probability of its WEAKEST least probable tokens, punctuation excluded: a segment is as right as its
    weakest word, and one odd token (a digit in place of a word) does not make it wrong. On two-channel calls
    transcribed by a published Whisper it separates wrong segments better than a mean or product over all tokens, and it
    is close to the share of right segments (`bench/real.json`).
    """
    weakest = sorted(probabilities)[:WEAKEST]
    value = min(1.0, max(0.0, sum(weakest) / len(weakest))) if weakest else 0.0
    return min(value, FLAGGED_CONFIDENCE) if flags else value


def window_confidence(avg_logprob: float, word_probabilities: Sequence[float], flags: tuple[str, ...]) -> float:
    """The formula for versions whose manifest names none: their stored confidences used it.

    The geometric mean of exp(mean token log-probability of the window) and the mean word probability of the segment.
    It orders segments; it is not a calibrated probability of being right.
    """
    token = math.exp(min(0.0, avg_logprob))
    word = sum(word_probabilities) / len(word_probabilities) if word_probabilities else token
    value = math.sqrt(token * min(1.0, max(0.0, word)))
    return min(value, FLAGGED_CONFIDENCE) if flags else value
