"""Phrases of one window -> the decoder's input and labels, in Whisper's token layout."""

from dataclasses import dataclass

from transformers import WhisperTokenizer

from training.trainers.asr.features import Array

IGNORED = -100
TIMESTAMP_STEP_S = 0.02
MAX_PREVIOUS_TOKENS = 64


@dataclass(frozen=True)
class TimedPhrase:
    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Example:
    """One window: log-mel (frames, 80), its phrases (none: no speech), and the decoder's prompt options."""

    mel: Array
    language: str
    phrases: tuple[TimedPhrase, ...] = ()
    timestamped: bool = False
    previous_text: str = ""

    @property
    def text(self) -> str:
        return " ".join(phrase.text for phrase in self.phrases)


class Targets:
    """Targets by one tokenizer; `of(example)` returns (decoder input, labels) of equal length."""

    def __init__(self, tokenizer: WhisperTokenizer, *, teaches_language: bool = True) -> None:
        self._tokenizer = tokenizer
        self.teaches_language = teaches_language  # off for a single language: the model would forget the others
        self._ids = tokenizer.get_vocab()
        self.end = self._ids["<|endoftext|>"]
        self.first_timestamp = self._ids["<|notimestamps|>"] + 1  # some published tokenizers do not list them by name
        self._nospeech = self._ids["<|nospeech|>" if "<|nospeech|>" in self._ids else "<|nocaptions|>"]  # older name

    def of(self, example: Example) -> tuple[list[int], list[int]]:
        start = self._ids["<|startoftranscript|>"]
        if not example.phrases:
            return [start, self._nospeech], [self._nospeech, self.end]
        asked = [start, self._ids[f"<|{example.language}|>"], self._ids["<|transcribe|>"]]
        # The task and the notimestamps token are always part of the prompt, never labels.
        answers = [asked[1] if self.teaches_language else IGNORED, IGNORED]
        if not example.timestamped:
            asked.append(self._ids["<|notimestamps|>"])
            answers.append(IGNORED)
        body = self._timed(example) if example.timestamped else self._text(example.text)
        before = self._before(example.previous_text)
        return before + asked + body, [IGNORED] * len(before) + answers + body + [self.end]

    def prompt(self, language: str) -> list[int]:
        """The decoder's prompt for plain text."""
        names = ("<|startoftranscript|>", f"<|{language}|>", "<|transcribe|>", "<|notimestamps|>")
        return [self._ids[name] for name in names]

    def knows(self, language: str) -> bool:
        return f"<|{language}|>" in self._ids

    def length(self, text: str) -> int:
        """The number of a text's tokens, without special tokens."""
        return len(self._text(text))

    def _timed(self, example: Example) -> list[int]:
        body: list[int] = []
        for phrase in example.phrases:
            body += [self._time(phrase.start_s), *self._text(phrase.text), self._time(phrase.end_s)]
        return body

    def _time(self, second: float) -> int:
        return int(self.first_timestamp + min(1500, max(0, round(second / TIMESTAMP_STEP_S))))

    def _text(self, text: str) -> list[int]:
        return list(self._tokenizer(" " + text, add_special_tokens=False).input_ids)

    def _before(self, text: str) -> list[int]:
        if not text:
            return []
        return [self._ids["<|startofprev|>"], *self._text(text)[-MAX_PREVIOUS_TOKENS:]]
