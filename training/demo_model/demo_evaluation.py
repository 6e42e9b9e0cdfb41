"""Model folder -> its word error rate on unknown speech, transcribed by the serving engine.

The sets combine unknown sentences, voices, lines and several phrases, and end with the demonstration calls. Rates are
pooled: errors over all reference words. All audio goes through `ml_backend.asr.engine`: voice-activity detection,
windows, language detection, beam search, int8.
"""

import json
import random
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml_backend import settings
from ml_backend.asr.engine import Transcriber
from ml_backend.asr.request import Request
from ml_backend.asr.transcript import DecodingProfile, Transcript
from ml_backend.audio import decoding
from training.demo_model import corpus, demo_script, voices
from training.trainers.asr import telephone
from training.trainers.asr.features import Array

SEED = 7
LANGUAGES = ("en", "hi", "mr")


@dataclass(frozen=True)
class SpokenClip:
    """16 kHz samples (channels, n), their text and language."""

    samples: Array
    text: str
    language: str


@dataclass(frozen=True)
class Score:
    """Pooled over one set. `strict` counts case and punctuation, `plain` does not. Rates in 0..1."""

    clips: int
    words: int
    strict: float
    plain: float
    by_language: dict[str, float]
    language_accuracy: float


def score_all(model_folder: Path, calls_folder: Path, *, clips: int = 120) -> Iterator[tuple[str, Score]]:
    """(name of the set, its score), one after another."""
    engine = Transcriber.load(model_folder, settings=settings.load(), temperatures=())
    for name, test_set in sets(clips):
        yield name, score(engine, test_set)
    if (calls_folder / "calls.json").is_file():
        yield "demonstration calls", score(engine, demo_clips(calls_folder))


def sets(count: int) -> Iterator[tuple[str, list[SpokenClip]]]:
    sentences = corpus.held_out_sentences(SEED, 3 * count)
    known, unknown = voices.TRAINING, voices.HELD_OUT
    yield "held-out sentences, direct line", _clips(sentences[:count], known, None)
    yield "held-out sentences, telephone and noise", _clips(sentences[:count], known, (5, 30))
    yield "held-out sentences, telephone and strong noise", _clips(sentences[:count], known, (0, 5))
    yield "held-out sentences and voices, direct line", _clips(sentences[:count], unknown, None)
    yield "held-out sentences and voices, telephone and noise", _clips(sentences[:count], unknown, (5, 30))
    yield "known words in sentences no template makes, telephone and noise", _clips(_new_patterns(), known, (10, 30))
    yield "several phrases, pauses of 0.5 to 1.5 s", _several(sentences, known, (0.5, 1.5), count // 3)
    yield "two phrases run together, pause of 0.1 s", _several(sentences, known, (0.1, 0.1), count // 3, together=2)


def score(engine: Transcriber, clips: list[SpokenClip], language: str | None = None) -> Score:
    profile = DecodingProfile(language=language)
    answers = engine.transcribe([Request(clip.samples, profile) for clip in clips])
    transcripts = [answer if isinstance(answer, Transcript) else None for answer in answers]
    pairs = [(clip, one.text if one else "") for clip, one in zip(clips, transcripts, strict=True)]
    spoken = [(clip, one) for clip, one in zip(clips, transcripts, strict=True) if clip.text]
    by_language = {
        language: _rate((c.text, text) for c, text in pairs if c.language == language)
        for language in LANGUAGES
        if any(c.language == language and c.text for c, _ in pairs)
    }
    return Score(
        clips=len(clips),
        words=sum(len(clip.text.split()) for clip in clips),
        strict=_rate((clip.text, text) for clip, text in pairs),
        plain=_rate((corpus.sentence_key(clip.text), corpus.sentence_key(text)) for clip, text in pairs),
        by_language=by_language,
        language_accuracy=sum(one is not None and one.language == c.language for c, one in spoken)
        / max(1, len(spoken)),
    )


def demo_clips(folder: Path) -> list[SpokenClip]:
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        for row in json.loads((folder / "calls.json").read_text()):
            normal = Path(scratch) / "normal.wav"
            decoding.decode(folder / row["file"], normal)
            found.append(SpokenClip(decoding.read_wav(normal)[0], row["text"], row["language"]))
    return found


def edits(reference: list[str], hypothesis: list[str]) -> int:
    """Levenshtein distance over words."""
    row = list(range(len(hypothesis) + 1))
    for i, word in enumerate(reference, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(hypothesis, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != other))
    return row[-1]


def _rate(pairs: Iterable[tuple[str, str]]) -> float:
    errors = words = 0
    for reference, hypothesis in pairs:
        errors += edits(reference.split(), hypothesis.split())
        words += len(reference.split())
    return errors / max(1, words)


def _clips(
    sentences: list[corpus.Sentence], variants: tuple[str, ...], snr_db: tuple[float, float] | None
) -> list[SpokenClip]:
    rng, line = random.Random(SEED), np.random.default_rng(SEED)
    return [
        SpokenClip(_on_a_line(_said([s], variants, rng, 0.0), snr_db, line)[None], s.text, s.language)
        for s in sentences
    ]


def _new_patterns() -> list[corpus.Sentence]:
    return [corpus.Sentence(corpus.tidy(t), lang) for lang, texts in demo_script.NEW_PATTERNS.items() for t in texts]


def _several(
    sentences: list[corpus.Sentence],
    variants: tuple[str, ...],
    pause_s: tuple[float, float],
    count: int,
    *,
    together: int = 3,
) -> list[SpokenClip]:
    rng, line = random.Random(SEED), np.random.default_rng(SEED)
    clips = []
    for _ in range(count):
        language = rng.choice(LANGUAGES)
        group = rng.sample([s for s in sentences if s.language == language], together)
        wave = _said(group, variants, rng, rng.uniform(*pause_s))
        clips.append(SpokenClip(_on_a_line(wave, (10, 30), line)[None], " ".join(s.text for s in group), language))
    return clips


def _said(group: list[corpus.Sentence], variants: tuple[str, ...], rng: random.Random, pause_s: float) -> Array:
    """One speaker, with half a second of silence at both ends."""
    voice, rate = voices.draw(group[0].language, variants, rng), voices.RATE_HZ
    parts: list[Array] = [np.zeros(rate // 2, dtype=np.float32)]
    for sentence in group:
        parts += [voices.speak(sentence.text, voice), np.zeros(round(pause_s * rate), dtype=np.float32)]
    return np.concatenate([*parts, np.zeros(rate // 2, dtype=np.float32)])


def _on_a_line(wave: Array, snr_db: tuple[float, float] | None, line: np.random.Generator) -> Array:
    if snr_db is None:
        return wave
    kind = str(line.choice(["white", "pink", "street", "line"]))
    return telephone.narrowband(
        telephone.mixed(wave, telephone.noise(kind, wave.size, line), line.uniform(*snr_db)), line
    )
