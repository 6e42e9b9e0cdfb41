"""Facts about a clip -> figures, and whether a voice may learn from it. Pure.

These checks come before anybody rates, because a person's minute is dear and a broken clip costs a model more than it
gives. All audio figures are those that ingest measured (`ml_backend.audio.quality`); nothing is decoded again. What a
check refuses has one code, and the sentence says what to do.

The pace is in characters per second of speech. A digit counts as five characters, because "300" is read as "three
hundred". Re-transcription is a figure for people: it refuses a clip only where the recogniser is known to understand
the language, because a weak recogniser says nothing about the clip.
"""

from __future__ import annotations

import hashlib
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ml_backend import languages
from ml_backend.languages import DEVANAGARI, LATIN
from training.text import hinglish
from training.text.writing import indic

LEAST_S, MOST_S = 0.4, 30.0
MOST_CHARS = 1000
MOST_CLIPPED = 0.005  # of the samples
LEAST_SPEECH = 0.15  # of the frames
LEAST_DBFS = -50.0  # of the speech
SLOWEST, FASTEST = 3.0, 30.0  # characters per second of speech
DIGIT_CHARS = 5
MOST_CER, CLIPS_OF_A_JUDGE, CER_OF_A_JUDGE = 0.5, 20, 0.2

REASONS = MappingProxyType(
    {
        "no-text": "There is no text for the audio: put a .txt file of the same name beside it.",
        "two-texts": "The same audio has two different texts: remove the wrong one.",
        "text-long": f"The text is longer than {MOST_CHARS} characters: split it.",
        "markup": "The text contains markup, which nobody speaks: write plain text.",
        "no-language": "The language is unknown: use the folder of a language, as in tts/hi/.",
        "script": "The text is not written in the script of its language.",
        "other-language": "The words of the text belong to another language than its folder.",
        "audio-missing": "The audio is not there.",
        "audio-refused": "The audio cannot be used.",
        "audio-cut": "The audio is cut or damaged: store it again.",
        "not-mono": "The audio has more than one channel: store it as mono.",
        "rate-low": "The sample rate is below TTS_LEAST_RATE_HZ: store the audio as it was made.",
        "too-short": f"The audio is shorter than {LEAST_S} seconds.",
        "too-long": f"The audio is longer than {MOST_S:.0f} seconds: split it.",
        "silent": "Nearly all of the audio is silence.",
        "clipped": "The audio is clipped: record or render it with less level.",
        "pace": "The audio is much too short or too long for its text.",
        "duplicate-text": "The voice has this sentence with this emotion already.",
        "not-the-text": "What is said differs from the text.",
    }
)
UNHEARD = frozenset(("rate-low", "duplicate-text"))  # no material for training, and still worth a rating

_MARKUP = re.compile(r"</?[A-Za-z][^<>]*>|&[a-z]+;|\{\{|\}\}")
_HINDI = """
है हैं और नहीं मुझे आपका आपकी आपके क्या में को से का की के हूँ हूं था थी यह वह हुआ चाहिए कर रहा रही
"""
_MARATHI = """
आहे आहेत आणि नाही मला तुमचा तुमची तुमचे तुम्हाला काय मध्ये आपण होता होती हा ही हे झाला हवा हवी करा
"""
_WORDS = {"hi": frozenset(_HINDI.split()), "mr": frozenset(_MARATHI.split())}
_ROMAN_HINDI = frozenset(hinglish.DEVANAGARI_OF) - hinglish.ENGLISH_OR_NAMES


@dataclass(frozen=True)
class ClipFacts:
    """What is known of one clip. `sound` is the quality of its first channel as ingest measured it."""

    state: str  # of the recording
    text: str | None
    language: str | None
    duration_s: float | None = None
    rate_hz: int | None = None
    channels: int | None = None
    sound: Mapping[str, Any] | None = None
    fault: str | None = None  # the recording's own reason code
    texts: int = 1  # different texts that this audio has
    degraded: bool = False  # a copy that we made worse, which is rated and never learnt from


def figures(facts: ClipFacts) -> dict[str, Any]:
    """The checks' figures, as the row keeps them; a figure is left out where it cannot be taken."""
    sound = facts.sound or {}
    found: dict[str, Any] = {
        name: sound[name] for name in ("clipping", "speech_share", "level_dbfs", "snr_db") if name in sound
    }
    speech_s = (facts.duration_s or 0.0) * float(sound.get("speech_share", 0.0))
    if facts.text and speech_s > 0:
        found["chars_per_s"] = round(spoken_chars(facts.text) / speech_s, 2)
    return found


def objection(facts: ClipFacts, *, least_rate_hz: int) -> str:
    """Why a voice may not learn from it, as a code of REASONS; empty when it may."""
    return _of_text(facts) or _of_audio(facts, least_rate_hz)


def _of_text(facts: ClipFacts) -> str:
    if facts.text is None or not indic(facts.text):
        return "no-text"
    if facts.texts > 1:
        return "two-texts"
    if len(facts.text) > MOST_CHARS:
        return "text-long"
    if _MARKUP.search(facts.text):
        return "markup"
    if not facts.language:
        return "no-language"
    return wrong_language(facts.text, facts.language)


def _of_audio(facts: ClipFacts, least_rate_hz: int) -> str:
    sound = figures(facts)
    length_s, pace = facts.duration_s or 0.0, sound.get("chars_per_s")
    checks = (
        ("audio-missing", facts.state in ("lost", "erased", "expired")),
        ("audio-refused", facts.state == "refused"),
        ("audio-cut", facts.fault in ("audio-cut", "audio-damaged")),
        ("not-mono", (facts.channels or 1) > 1),
        ("silent", sound.get("speech_share", 0.0) < LEAST_SPEECH or sound.get("level_dbfs", 0.0) < LEAST_DBFS),
        ("too-short", length_s < LEAST_S),
        ("too-long", length_s > MOST_S),
        ("clipped", sound.get("clipping", 0.0) > MOST_CLIPPED),
        ("pace", pace is not None and not SLOWEST <= pace <= FASTEST),
        ("rate-low", (facts.rate_hz or 0) < least_rate_hz),
    )
    return next((code for code, wrong in (checks[:3] if facts.degraded else checks) if wrong), "")


def wrong_language(text: str, language: str) -> str:
    """`script` or `other-language` for a text that is not of this language; empty when it may be."""
    known = languages.LANGUAGES.get(language)
    if known is None:
        return ""
    own, found = known.script.code, languages.scripts_in(text)
    allowed = {own, LATIN} | ({DEVANAGARI.code} if known.parts else set())
    if found - allowed or (found and own not in found and not known.parts):
        return "script"
    words = set(indic(text).split())
    if known.code == "en":
        roman = words & _ROMAN_HINDI
        return "other-language" if len(roman) >= 2 and len(roman) * 2 >= len(words) else ""
    if language in _WORDS:
        mine = _WORDS[language]
        other = frozenset().union(*(found for code, found in _WORDS.items() if code != language)) - mine
        if not words & mine and len(words & other) >= 2:
            return "other-language"
    return ""


def spoken_chars(text: str) -> int:
    """The text's characters as spoken: no spaces and signs, a digit for five."""
    return sum(DIGIT_CHARS if one.isdigit() else 1 for one in indic(text) if not one.isspace())


def text_key(text: str, language: str | None) -> str:
    """Equal for the same sentence in one language, whatever its case and punctuation."""
    return hashlib.sha256(f"{language or ''}|{indic(text)}".encode()).hexdigest()


def judge_is_able(cers: Sequence[float]) -> bool:
    """Whether a recogniser understands a language well enough that a high error rate speaks against the clip."""
    return len(cers) >= CLIPS_OF_A_JUDGE and statistics.median(cers) <= CER_OF_A_JUDGE
