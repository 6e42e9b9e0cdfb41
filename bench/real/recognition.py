"""Transcription by whisper-base of people's voices: beside faster-whisper as it comes, and against what users need."""

from __future__ import annotations

import itertools
import random
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from faster_whisper import BatchedInferencePipeline
from rapidfuzz.distance import Levenshtein

from bench.real import parts, voices
from bench.real.voices import RATE_HZ, SpokenPrompt
from ml_backend.asr.engine import Transcriber
from ml_backend.asr.request import Request
from ml_backend.asr.transcript import DecodingProfile, Segment, Transcript
from ml_backend.settings import Settings
from training.text.numbers import in_digits

ENGLISH = DecodingProfile(language="en")
_SAME = {word: str(number) for number, word in enumerate(voices.ORDINALS, 1)}
_SAME |= {f"{word[:-1]}ieth": str(10 * number) for number, word in enumerate(voices.TENS, 2)}
_SAME |= {"mister": "mr", "canceled": "cancelled", "pm": "p m", "xray": "x ray"}


def transcriber() -> Transcriber:
    """whisper-base as a deployment loads it, on one thread."""
    settings = Settings(_env_file=None, asr_device="cpu", asr_compute_type="int8", asr_threads=1)
    return Transcriber.load(parts.model(), settings=settings)


def rows(*, quick: bool = False) -> Iterator[dict[str, Any]]:
    """The rows of this part."""
    loaded = transcriber()
    yield from beside_plain(loaded, most=20 if quick else 169, batched=8 if quick else 40)
    yield invented(loaded)
    made = calls(4 if quick else 10)
    transcripts = [_one(loaded, call.samples, ENGLISH) for call in made]
    yield from starts_and_confidence(made, transcripts)
    yield languages(loaded, most=3 if quick else 8)
    yield limits(loaded)
    yield wrong_language(loaded)


def beside_plain(loaded: Transcriber, *, most: int, batched: int) -> Iterator[dict[str, Any]]:
    """WER and CPU of the same files through Kaan, faster-whisper, and faster-whisper's batched form."""
    prompts = [*voices.callers(), *voices.english()]
    random.Random(7).shuffle(prompts)
    prompts = prompts[:most]
    whisper = loaded._pool.decoder.model
    pipeline = BatchedInferencePipeline(whisper)

    def ours(some: Sequence[SpokenPrompt]) -> list[str]:
        answers = loaded.transcribe([Request(prompt.samples[None], ENGLISH) for prompt in some])
        return [answer.text if isinstance(answer, Transcript) else "" for answer in answers]

    def plain(some: Sequence[SpokenPrompt]) -> list[str]:
        how = {"language": "en", "beam_size": 5, "word_timestamps": True}
        return [" ".join(s.text for s in whisper.transcribe(prompt.samples, **how)[0]) for prompt in some]

    def in_batches(some: Sequence[SpokenPrompt]) -> list[str]:
        how = {"language": "en", "beam_size": 5, "word_timestamps": True, "batch_size": 4}
        return [" ".join(s.text for s in pipeline.transcribe(prompt.samples, **how)[0]) for prompt in some]

    (mine, my_s), (theirs, their_s) = _timed(ours, prompts), _timed(plain, prompts)
    (my_rate, words), (their_rate, _) = _wer(prompts, mine), _wer(prompts, theirs)
    yield {
        "name": f"WER on {len(prompts)} recordings less that of faster-whisper, points",
        "value": round(100 * (my_rate - their_rate), 2), "target": "<= 0.0", "met": my_rate <= their_rate,
        "kaan_percent": round(100 * my_rate, 2), "plain_percent": round(100 * their_rate, 2), "words": words,
    }  # fmt: skip
    yield _ratio("CPU seconds / those of faster-whisper, one file after the other", my_s, their_s, 0.85)
    some = prompts[:batched]
    (_, my_s), (_, their_s) = _timed(ours, some), _timed(in_batches, some)
    yield _ratio("CPU seconds / those of faster-whisper in batches", my_s, their_s, 0.90)


def invented(loaded: Transcriber) -> dict[str, Any]:
    """Text where there is no speech."""
    sounds = voices.without_speech()
    answers = loaded.transcribe([Request(samples[None], DecodingProfile()) for _, samples in sounds])
    texts = {
        name: answer.text for (name, _), answer in zip(sounds, answers, strict=True) if isinstance(answer, Transcript)
    }
    wrong = {name: text for name, text in texts.items() if text}
    return {
        "name": f"sounds without speech that got a text, of {len(sounds)}",
        "value": len(wrong), "target": "<= 0", "met": not wrong and len(texts) == len(sounds) >= 40, "which": wrong,
    }  # fmt: skip


@dataclass(frozen=True)
class Said:
    """One utterance of a call."""

    channel: int
    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True)
class TwoChannelCall:
    """Samples [2, n] and what is said in them."""

    samples: voices.Samples
    said: tuple[Said, ...]


def calls(count: int, *, utterances: int = 12) -> list[TwoChannelCall]:
    """Two-leg calls: an agent's prompts, and callers of other pitch, softer and with noise; pauses of 0.4 to 3 s."""
    draw, noise = random.Random(3), np.random.default_rng(3)
    prompts, people = voices.english(), voices.callers()
    made = []
    for _ in range(count):
        place, said = RATE_HZ, []
        for number in range(utterances):
            channel = number % 2
            # each of the few callers once: one clip that is misheard the same way nine times is one finding
            prompt = people.pop() if channel and people and draw.random() < 0.4 else draw.choice(prompts)
            samples = voices.trimmed(prompt.samples)
            if channel:
                pitch = draw.choice((0.88, 1.0, 1.12))
                grid = np.arange(int(samples.size * pitch)) / pitch
                samples = np.interp(grid, np.arange(samples.size), samples).astype(np.float32) * draw.choice((1, 0.5))
            said.append((channel, place, samples, prompt.text))
            place += samples.size + int((0.4 + 2.6 * draw.random() ** 2) * RATE_HZ)
        channels = noise.standard_normal((2, place + RATE_HZ)).astype(np.float32) * np.array(
            [[0.0005], [0.003]], np.float32
        )
        for channel, start, samples, _ in said:
            channels[channel, start : start + samples.size] += samples
        spoken = [Said(c, s / RATE_HZ, (s + x.size) / RATE_HZ, text) for c, s, x, text in said]
        made.append(TwoChannelCall(channels, tuple(spoken)))
    return made


def starts_and_confidence(
    made: Sequence[TwoChannelCall], transcripts: Sequence[Transcript]
) -> Iterator[dict[str, Any]]:
    """First words against where they were put, and a region's confidence against whether it is right."""
    starts: list[float] = []
    regions: list[tuple[float, bool]] = []
    for call, transcript in zip(made, transcripts, strict=True):
        for channel in (0, 1):
            said = [one for one in call.said if one.channel == channel]
            segments = [one for one in transcript.segments if one.channel == channel and one.words]
            found, right = _compared(said, segments)
            starts += found
            regions += [(segment.confidence, well) for segment, well in zip(segments, right, strict=True)]
    near = sum(abs(start) <= 0.5 for start in starts) / len(starts)
    yield {
        "name": f"first words within 0.5 s, of {len(starts)} in two-leg calls",
        "value": round(near, 3), "target": ">= 0.98", "met": near >= 0.98,
        "early": sum(start < -0.5 for start in starts),
    }  # fmt: skip
    area, error = _auroc(regions), _calibration_error(regions)
    wrong = sum(not well for _, well in regions)
    name = f"confidence of {len(regions)} regions, {wrong} of them wrong"
    yield {"name": f"{name}: area under ROC", "value": round(area, 3), "target": ">= 0.8", "met": area >= 0.8}
    yield {"name": f"{name}: calibration error", "value": round(error, 3), "target": "<= 0.1", "met": error <= 0.1}


def languages(loaded: Transcriber, *, most: int) -> dict[str, Any]:
    """Languages found among those of these voices."""
    profile = DecodingProfile(languages=tuple(parts.VOICES))
    wanted = [(code, p) for code in parts.VOICES for p in voices.spoken(code, least_s=2.5, most=most)]
    answers = loaded.transcribe([Request(prompt.samples[None], profile) for _, prompt in wanted])
    found = sum(isinstance(a, Transcript) and a.language == code for (code, _), a in zip(wanted, answers, strict=True))
    share = found / len(wanted)
    name = f"language found among {len(parts.VOICES)}, of {len(wanted)} recordings"
    return {"name": name, "value": round(share, 3), "target": ">= 0.95", "met": share >= 0.95}


def limits(loaded: Transcriber) -> dict[str, Any]:
    """The longest prompt and hotwords a project may have."""
    prompt = voices.callers()[0]
    long = DecodingProfile(language="hi", prompt="मुंबई " * 333, hotwords=tuple(f"गोरेगाँव{n}" for n in range(200)))
    [answer] = loaded.transcribe([Request(prompt.samples[None], long)])
    well = isinstance(answer, Transcript) and bool(loaded.left_out(long))
    return {
        "name": "prompt and hotwords at their limits: cut, and said so",
        "value": int(well),
        "target": ">= 1",
        "met": well,
    }


def wrong_language(loaded: Transcriber) -> dict[str, Any]:
    """What it costs to take English for Russian."""
    pause = np.zeros(RATE_HZ // 2, np.float32)
    speech = np.concatenate([part for p in voices.callers()[:5] for part in (p.samples, pause)])
    (_, right_s), (_, wrong_s) = (
        _timed(lambda language: _one(loaded, speech[None], DecodingProfile(language=language)), language)
        for language in ("en", "ru")
    )
    return _ratio("CPU seconds of English decoded as Russian / as English", wrong_s, right_s, 2.0)


def _one(loaded: Transcriber, samples: voices.Samples, profile: DecodingProfile) -> Transcript:
    [answer] = loaded.transcribe([Request(samples, profile)])
    if not isinstance(answer, Transcript):
        raise answer
    return answer


def _timed(work: Any, given: Any) -> tuple[Any, float]:
    begun = time.process_time()
    return work(given), time.process_time() - begun


def _ratio(name: str, one_s: float, other_s: float, most: float) -> dict[str, Any]:
    value = one_s / other_s
    more = {"cpu_s": [round(one_s, 1), round(other_s, 1)]}
    return {"name": name, "value": round(value, 3), "target": f"<= {most}", "met": value <= most, **more}


def _words(text: str) -> list[str]:
    """As the reading for numbers has them, with ordinals as their numbers: `20th`, `twentieth` and `20` are one."""
    plain = "".join(letter if letter.isalnum() or letter == "'" else " " for letter in text.casefold())
    words = [_SAME.get(word, re.sub(r"^(\d+)(st|nd|rd|th)$", r"\1", word)) for word in plain.split()]
    return in_digits(" ".join(words), "en").split()


def _wer(prompts: Sequence[SpokenPrompt], texts: Sequence[str]) -> tuple[float, int]:
    pairs = [(_words(prompt.text), _words(text)) for prompt, text in zip(prompts, texts, strict=True)]
    pairs = [(wanted, _as_written(found, wanted)) for wanted, found in pairs]
    words = sum(len(wanted) for wanted, _ in pairs)
    return sum(Levenshtein.distance(wanted, found) for wanted, found in pairs) / words, words


def _as_written(found: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """A compound is the same word in one piece or in two (`uppercase`, `upper case`): as the reference writes it."""
    halves = {one + other: [one, other] for one, other in itertools.pairwise(wanted)}
    made: list[str] = []
    for word in found:
        if made and made[-1] + word in wanted and word not in wanted:
            made[-1] += word
        else:
            made += halves.get(word, [word])
    return made


def _compared(said: Sequence[Said], segments: Sequence[Segment]) -> tuple[list[float], list[bool]]:
    """(seconds from where each utterance begins to its first word, whether each segment is right)."""
    wanted = [(word, number, first) for number, one in enumerate(said) for first, word in enumerate(_words(one.text))]
    found = [(w, number, word) for number, s in enumerate(segments) for word in s.words for w in _words(word.text)]
    right = [True] * len(segments)
    starts = []
    for tag, a0, a1, b0, b1 in Levenshtein.opcodes([w for w, _, _ in found], [w for w, _, _ in wanted]):
        if tag != "equal":
            for _, number, _ in found[a0:a1]:
                right[number] = False
        if tag == "insert":  # words that are missing: those of the segment that lies over their utterance
            for _, number, _ in wanted[b0:b1]:
                for place, segment in enumerate(segments):
                    if min(segment.end_s, said[number].end_s) - max(segment.start_s, said[number].start_s) > 0.2:
                        right[place] = False
        if tag in ("equal", "replace"):
            for (_, _, word), (_, number, first) in zip(found[a0:a1], wanted[b0:b1], strict=False):
                if first == 0:
                    starts.append(word.start_s - said[number].start_s)
    return starts, right


def _auroc(regions: Sequence[tuple[float, bool]]) -> float:
    good, bad = [c for c, well in regions if well], [c for c, well in regions if not well]
    won = sum((one > other) + 0.5 * (one == other) for one in good for other in bad)
    return won / (len(good) * len(bad)) if good and bad else 1.0


def _calibration_error(regions: Sequence[tuple[float, bool]], *, bins: int = 10) -> float:
    total = 0.0
    for number in range(bins):
        inside = [(c, well) for c, well in regions if min(int(c * bins), bins - 1) == number]
        total += abs(sum(c for c, _ in inside) - sum(well for _, well in inside))
    return total / len(regions)
