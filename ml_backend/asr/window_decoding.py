"""Windows -> DecodedWindows: encode, detect the language, decode, align. The only file that calls CTranslate2.

Every window is encoded exactly once: language detection, beam search, retries at higher temperatures and word
alignment all read the same encoder output. In one CTranslate2 batch every prompt must have its start token at the same
position, and every member is padded to the longest, so callers group by prompt length and sort by duration.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import ctranslate2
import numpy as np
import numpy.typing as npt
from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import get_suppressed_tokens, merge_punctuations

from ml_backend.asr import guards, prompting
from ml_backend.asr.transcript import Word
from ml_backend.asr.windows import Samples
from ml_backend.models import manifest
from ml_backend.models.manifest import WindowPolicy

LADDER = (0.2, 0.4, 0.6, 0.8, 1.0)  # temperatures for the few windows that fail the quality test, as in Whisper
_BEST_OF = 5
_GOES_ON_S = 0.15  # a word that reaches this far into a phrase was said in it
_LEAST_TRY = 48  # the fewest tokens that a retry may use
_FRAMES_PER_S, _STEPS_PER_S = 100, 50  # of the input, and of the encoder's output
_FRAMES_AT_ONCE = 3000
_BEFORE, _AFTER = "\"'“¿([{-", "\"'.。,，!！?？:：”)]}、।"
UNSPACED = ("zh", "ja", "th", "lo", "my", "yue")  # written without spaces between words


@dataclass(frozen=True)
class DecodedWindow:
    """The decoder's output for one window. Word times count from its start; word texts keep their leading space."""

    tokens: tuple[int, ...]
    text: str
    avg_logprob: float
    no_speech_probability: float
    words: tuple[Word, ...] = ()
    word_tokens: tuple[tuple[float, ...], ...] = ()  # token probabilities per word, punctuation excluded
    temperature: float = 0.0
    full: bool = False  # stopped by the length limit: the end of the window is missing from the text


@dataclass(frozen=True)
class Encoded:
    """A batch after the encoder. `frames` counts each member's own frames, without padding."""

    output: ctranslate2.StorageView
    frames: tuple[int, ...]

    def row(self, index: int) -> ctranslate2.StorageView:
        """One member alone."""
        return self.rows([index])

    def rows(self, indices: Sequence[int]) -> ctranslate2.StorageView:
        """Some members, in this order."""
        if list(indices) == list(range(len(self.frames))):
            return self.output
        return ctranslate2.StorageView.from_array(np.ascontiguousarray(np.asarray(self.output)[list(indices)]))


@dataclass(frozen=True)
class Prompt:
    """Everything before the first word: context tokens, then the task tokens with the language."""

    language: str
    tokens: tuple[int, ...]


class Decoder:
    """A loaded Whisper with its window policy."""

    def __init__(
        self,
        model: WhisperModel,
        policy: WindowPolicy,
        *,
        temperatures: tuple[float, ...] = LADDER,
        confidence: str = manifest.WEAKEST,
    ) -> None:
        self.model = model
        self.confidence = confidence
        self.policy = policy
        self.temperatures = temperatures
        self.word_times = True  # if False, times come only from the stretches of speech
        self._tokenizers: dict[str, Tokenizer] = {}
        self._suppressed: tuple[int, ...] | None = None

    # --- tokens

    def tokenizer(self, language: str) -> Tokenizer:
        """The tokenizer set to one language."""
        if language not in self._tokenizers:
            self._tokenizers[language] = Tokenizer(
                self.model.hf_tokenizer, self.model.model.is_multilingual, task="transcribe", language=language
            )
        return self._tokenizers[language]

    def prompt(self, language: str, *, prompt: str | None, hotwords: Sequence[str]) -> Prompt:
        """A prompt without timestamp tokens: times come from alignment."""
        tokenizer = self.tokenizer(language)
        before = self.context(language, prompt=prompt, hotwords=hotwords).tokens
        mark = (tokenizer.sot_prev,) if before else ()
        return Prompt(language, (*mark, *before, *tokenizer.sot_sequence, tokenizer.no_timestamps))

    def context(self, language: str, *, prompt: str | None, hotwords: Sequence[str]) -> prompting.PromptContext:
        """Prompt and hotwords as tokens, and what does not fit into the limit."""
        tokenizer, limit = self.tokenizer(language), self.model.max_length // 2 - 1

        def encode(text: str) -> list[int]:
            return [token for token in tokenizer.encode(text) if token < tokenizer.eot]  # `<|en|>` is not a word

        return prompting.fit(encode, prompt, hotwords, limit=limit)

    # --- encoder

    def features(self, samples: Samples) -> npt.NDArray[np.float32]:
        """Log-mel frames [mels, frames] of a window, without padding."""
        return np.asarray(self.model.feature_extractor(samples)[..., :-1], dtype=np.float32)

    def encode(self, features: Sequence[npt.NDArray[np.float32]]) -> Encoded:
        """One pass of the encoder over windows of similar length; padding follows the policy."""
        frames = tuple(f.shape[-1] for f in features)
        if self.policy.pad_to_s is not None:
            width = int(self.policy.pad_to_s * _FRAMES_PER_S)
        else:
            width = max(frames) + int(self.policy.margin_s * _FRAMES_PER_S)
            width += width % 2
            if width // 2 == features[0].shape[0]:  # CTranslate2 would mistake the encoder output for features
                width += 2
        batch = np.zeros((len(features), features[0].shape[0], width), dtype=np.float32)
        for row, member in zip(batch, features, strict=True):
            row[:, : min(width, member.shape[-1])] = member[:, :width]
        output = self._encoded(batch)
        return Encoded(output, tuple(min(f, width) for f in frames))

    def _encoded(self, batch: npt.NDArray[np.float32]) -> ctranslate2.StorageView:
        """Encode a few thousand frames at a time on a CPU: more misses its caches and costs up to a third more."""
        model = self.model.model
        if model.device == "cuda":
            output = model.encode(ctranslate2.StorageView.from_array(batch), to_cpu=True)  # rows are picked there
            known = output.dtype != ctranslate2.DataType.bfloat16  # unknown to numpy
            return output if known else output.to(ctranslate2.DataType.float32)
        step = max(1, _FRAMES_AT_ONCE // batch.shape[-1])
        parts = [batch[start : start + step] for start in range(0, len(batch), step)]
        outputs = [model.encode(ctranslate2.StorageView.from_array(part)) for part in parts]
        if len(outputs) == 1:
            return outputs[0]
        return ctranslate2.StorageView.from_array(np.concatenate([np.asarray(output) for output in outputs]))

    def languages(self, encoded: Encoded) -> list[dict[str, float]]:
        """Probability of each language, per member: one decoder step on the encoder output."""
        found = self.model.model.detect_language(encoded.output)
        return [{token[2:-2]: float(probability) for token, probability in member} for member in found]

    # --- decoder

    def decode(
        self,
        encoded: Encoded,
        prompts: Sequence[Prompt],
        *,
        beam_size: int,
        again: bool = True,
        begins_s: Sequence[Sequence[float]] = (),
    ) -> list[DecodedWindow]:
        """Beam search for all members, retries at higher temperatures for those that fail, word times for all.

        `begins_s` are the seconds at which the phrases of each member begin: no word spans such a time.
        """
        results = self._generate(encoded.output, [list(p.tokens) for p in prompts], beam_size=beam_size, patience=1.0)
        answers = []
        for index, (result, prompt) in enumerate(zip(results, prompts, strict=True)):
            best = self._read(result, prompt)
            if again and guards.failed(best.text, best.avg_logprob, best.no_speech_probability):
                best = self._again(encoded.row(index), prompt, best)
            answers.append(best)
        begins_s = begins_s or [()] * len(prompts)
        return self._aligned(encoded, prompts, answers, begins_s) if self.word_times else answers

    def _again(self, alone: ctranslate2.StorageView, prompt: Prompt, first: DecodedWindow) -> DecodedWindow:
        """Raise the temperature until the quality test passes, else take the most probable text without repetition.

        The retries together may cost as many tokens as the first decoding. A repetitive text fills the window, so all
        temperatures are tried; a text that is improbable because the language is wrong gets about one retry.
        """
        tried = [first]
        longest = max(_LEAST_TRY, 2 * len(first.tokens))
        spent = 0
        for temperature in self.temperatures:
            if spent >= len(first.tokens) > 0:
                break
            ctranslate2.set_random_seed(len(tried))  # the same window gives the same text every time
            result = self._generate(
                alone,
                [list(prompt.tokens)],
                beam_size=1,
                num_hypotheses=_BEST_OF,
                sampling_topk=0,
                sampling_temperature=temperature,
                max_length=min(self.model.max_length, max(2 * longest, longest + len(prompt.tokens))),
            )[0]
            spent += _length(result)
            tried.append(replace(self._read(result, prompt, longest=longest), temperature=temperature))
            if not guards.failed(tried[-1].text, tried[-1].avg_logprob, tried[-1].no_speech_probability):
                return tried[-1]
        calm = [one for one in tried if guards.compression(one.text) <= guards.MOST_COMPRESSION]
        return max(calm or tried, key=lambda one: one.avg_logprob)

    def _generate(self, features: ctranslate2.StorageView, prompts: list[list[int]], **how: Any) -> list[Any]:
        limits = {"max_length": self.model.max_length, **how}
        return list(
            self.model.model.generate(
                features,
                prompts,
                return_scores=True,
                return_no_speech_prob=True,
                suppress_tokens=list(self.suppressed()),
                **limits,
            )
        )

    def suppressed(self) -> tuple[int, ...]:
        """Tokens that are never generated: brackets, music notes and the like."""
        if self._suppressed is None:
            some = self.tokenizer("en")
            self._suppressed = tuple(get_suppressed_tokens(some, [-1]) or ())
        return self._suppressed

    def _read(self, result: Any, prompt: Prompt, *, longest: int = 0) -> DecodedWindow:
        tokens = tuple(result.sequences_ids[0])
        limit = min(self.model.max_length // 2, self.model.max_length - len(prompt.tokens))  # CTranslate2's own rule
        return DecodedWindow(
            tokens=tokens,
            text=self.tokenizer(prompt.language).decode(list(tokens)).strip(),
            avg_logprob=float(result.scores[0]) * len(tokens) / (len(tokens) + 1),
            no_speech_probability=float(result.no_speech_prob),
            full=len(tokens) >= min(limit, longest or limit),
        )

    def _aligned(
        self,
        encoded: Encoded,
        prompts: Sequence[Prompt],
        answers: list[DecodedWindow],
        begins_s: Sequence[Sequence[float]],
    ) -> list[DecodedWindow]:
        """Word times by cross-attention; one batch per language, whose members share the start tokens."""
        for language in sorted({p.language for p in prompts}):
            chosen = [i for i, p in enumerate(prompts) if p.language == language and answers[i].text]
            if not chosen:
                continue
            tokenizer = self.tokenizer(language)
            texts = [[token for token in answers[i].tokens if token < tokenizer.eot] for i in chosen]
            found = self.model.model.align(
                encoded.rows(chosen), list(tokenizer.sot_sequence), texts, [encoded.frames[i] for i in chosen]
            )
            for index, tokens, one in zip(chosen, texts, found, strict=True):
                pieces = _pieces(tokenizer, tokens, one)
                words = whole(pieces, spaced=language not in UNSPACED, begins_s=begins_s[index])
                answers[index] = replace(
                    answers[index],
                    words=tuple(word for word, _ in words),
                    word_tokens=tuple(probabilities for _, probabilities in words),
                )
        return answers


def _length(result: Any) -> int:
    """The cost of a generation: the tokens of its longest hypothesis."""
    return max(map(len, result.sequences_ids))


def level_dbfs(samples: Samples) -> float:
    """Root mean square against full scale, in dB."""
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-12)) if samples.size else -120.0


_Piece = tuple[Word, tuple[float, ...]]  # a word, or a part of one, and its tokens' probabilities


def _pieces(tokenizer: Tokenizer, tokens: list[int], aligned: Any) -> list[_Piece]:
    """The words of a text; each lasts from its first token to that of the next word on the attention path."""
    path = np.asarray(aligned.alignments or [(0, 0)], dtype=np.int64)
    entered = path[np.diff(path[:, 0], prepend=-1) > 0]  # the first frame of each token, the end token's too
    probabilities = [float(p) for p in aligned.text_token_probs]
    texts, parts = tokenizer.split_to_word_tokens([*tokens, tokenizer.eot])
    found: list[dict[str, Any]] = []
    first = 0
    for text, part in zip(texts[:-1], parts[:-1], strict=True):
        last = first + len(part)
        own = probabilities[first:last]
        start_s, end_s = (float(entered[min(place, len(entered) - 1), 1]) / _STEPS_PER_S for place in (first, last))
        telling = own if _has_letters(text) else []  # the probability of punctuation says nothing about the words
        mean = float(np.mean(own))
        found.append({"word": text, "tokens": telling, "start": start_s, "end": end_s, "probability": mean})
        first = last
    merge_punctuations(found, _BEFORE, _AFTER)
    return [(_word(one), tuple(one["tokens"])) for one in found if one["word"]]


def _has_letters(text: str) -> bool:
    return any(letter.isalnum() or unicodedata.combining(letter) for letter in text)


def _word(found: dict[str, Any]) -> Word:
    start, end = found["start"], found["end"]
    return Word(round(start, 2), round(max(start, end), 2), str(found["word"]), found["probability"])


def whole(pieces: Sequence[_Piece], *, spaced: bool, begins_s: Sequence[float] = ()) -> list[_Piece]:
    """Join pieces that follow without a space to the word before: `50` and `%`, `24` and `/7`.

    Pieces with a pause between them stay apart: numbers said seconds apart are written `15.16.14.`, and one word would
    give them all the time of the last. The punctuation between them stays with the piece before.
    """
    whole: list[_Piece] = []
    for word, tokens in pieces:
        if whole and spaced and not word.text.startswith(" "):
            last, others = whole[-1]
            said = word.text.lstrip("".join(mark for mark in word.text if not _has_letters(mark)))
            if said and any(last.end_s <= begin_s < word.end_s - _GOES_ON_S for begin_s in begins_s):
                mark = word.text[: len(word.text) - len(said)]
                whole[-1] = replace(last, text=last.text + mark), others
                whole.append((replace(word, text=f" {said}"), tokens))
                continue
            probability = min(last.probability, word.probability)
            longer = Word(last.start_s, max(last.end_s, word.end_s), last.text + word.text, probability)
            whole[-1] = longer, (*others, *tokens)
        elif word.text.strip():
            whole.append((word, tokens))
    return whole
