"""Text -> Parse: intent, calibrated confidence and entities, by an encoder with two heads in one ONNX file.

The encoder reads at most `max_tokens` tokens: a longer text is parsed by its beginning and the parse says so. Entities
are whole words of the tokenizer, tagged by their first token (BIO), and their offsets are code points of the text as it
was given. The confidence is the softmax of the intent logits over the temperature that the manifest states.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Encoding, Tokenizer

from ml_backend.models.manifest import Manifest
from ml_backend.nlu import utterance_text

MODEL_FILE, TOKENIZER_FILE = "model.onnx", "tokenizer.json"
NONE_OF_THESE = "none_of_these"
MOST_CHARACTERS = 10_000  # read of one text; the rest cannot reach the encoder anyway
_RANKED = 3
_MOST_OF_PREFIX = 200  # characters

Numbers = npt.NDArray[np.float32]
Network = Callable[[npt.NDArray[np.int64], npt.NDArray[np.int64]], tuple[Numbers, Numbers]]
"""Token ids and attention mask, both [1, T] -> intent logits [1, intents] and tag logits [1, T, tags]."""


@dataclass(frozen=True)
class ParserNeeds:
    """What a parser's manifest says of it, under `needs`."""

    intents: tuple[str, ...]
    entities: tuple[str, ...] = ()
    out_of_scope: str | None = None  # the intent that means "not for me", if it was trained
    max_tokens: int = 64
    temperature: float = 1.0
    threshold: float = 0.5
    lower_case: bool = False
    prefix: str = ""  # before every text, as the encoder was trained; the offsets do not count it
    money_intents: tuple[str, ...] = ()

    @property
    def tags(self) -> tuple[str, ...]:
        """O, then B- and I- of each entity: the columns of the tag logits."""
        return ("O", *(f"{place}-{name}" for name in self.entities for place in "BI"))

    @property
    def fallback(self) -> str:
        """The answer below the threshold."""
        return self.out_of_scope or NONE_OF_THESE

    def to_json(self) -> dict[str, Any]:
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> ParserNeeds:
        """Raises ValueError, KeyError or TypeError where the manifest is not one of a parser."""
        lists = {name: _names(raw.get(name, ()), name) for name in ("intents", "entities", "money_intents")}
        scope, tokens, prefix = raw.get("out_of_scope"), raw.get("max_tokens", 64), raw.get("prefix", "")
        numbers = {name: float(raw.get(name, default)) for name, default in (("temperature", 1.0), ("threshold", 0.5))}
        if not lists["intents"] or (scope is not None and scope not in lists["intents"]):
            raise ValueError("intents or out_of_scope")
        if isinstance(tokens, bool) or not isinstance(tokens, int) or not 3 <= tokens <= 100_000:
            raise ValueError("max_tokens")
        if not isinstance(prefix, str) or len(prefix) > _MOST_OF_PREFIX:
            raise ValueError("prefix")
        if not 0 < numbers["temperature"] < 1e6 or not 0 <= numbers["threshold"] <= 1:
            raise ValueError("temperature or threshold")
        return cls(
            intents=lists["intents"], entities=lists["entities"], out_of_scope=scope, max_tokens=tokens,
            temperature=numbers["temperature"], threshold=numbers["threshold"],
            lower_case=bool(raw.get("lower_case", False)), prefix=prefix, money_intents=lists["money_intents"],
        )  # fmt: skip


@dataclass(frozen=True)
class EntitySpan:
    """`start` and `end` are code points of the text; `value` is what stands there."""

    entity: str
    start: int
    end: int
    value: str
    confidence: float = 1.0


@dataclass(frozen=True)
class Parse:
    """`intent` is the answer; `ranking` the most likely intents, before the threshold. `confidence` is that of the
    first of the ranking, `in_scope` that of the best intent other than the out-of-scope one."""

    intent: str
    confidence: float
    entities: tuple[EntitySpan, ...]
    model_version: str
    in_scope: float = 0.0
    ranking: tuple[tuple[str, float], ...] = ()
    truncated: bool = False

    @property
    def best(self) -> str:
        return self.ranking[0][0] if self.ranking else self.intent

    def to_json(self) -> dict[str, Any]:
        """Probabilities are rounded to four digits."""
        return {
            "intent": self.intent, "confidence": round(self.confidence, 4),
            "entities": [{**asdict(each), "confidence": round(each.confidence, 4)} for each in self.entities],
            "model_version": self.model_version, "truncated": self.truncated, "in_scope": round(self.in_scope, 4),
            "ranking": [[intent, round(share, 4)] for intent, share in self.ranking],
        }  # fmt: skip


@dataclass(frozen=True)
class Words:
    """The words of a text as the tokenizer sees them: spans in code points, and the place of each one's first token."""

    starts: list[int]
    ends: list[int]
    tokens: list[int]

    @classmethod
    def of(cls, encoding: Encoding, after: int = 0) -> Words:
        """Of the text behind its first `after` characters, which are the encoder's prefix."""
        starts: list[int] = []
        ends: list[int] = []
        tokens: list[int] = []
        last, place = None, -1
        for word, (start, end) in zip(encoding.word_ids, encoding.offsets, strict=True):
            place += 1
            if word is None or start == end or end <= after:
                continue
            if word == last:
                ends[-1] = end - after if end - after > ends[-1] else ends[-1]
                continue
            last = word
            starts.append(start - after if start > after else 0)
            ends.append(end - after)
            tokens.append(place)
        return cls(starts, ends, tokens)


class Parser:
    """Loaded once per process; `parse` may be called from several threads."""

    def __init__(self, network: Network, tokenizer: Tokenizer, needs: ParserNeeds, model_version: str) -> None:
        self.needs, self.model_version = needs, model_version
        self._network, self._tokenizer = network, tokenizer
        self._in_scope = np.array([intent != needs.out_of_scope for intent in needs.intents])
        tokenizer.no_padding()
        tokenizer.enable_truncation(needs.max_tokens)

    @classmethod
    def load(cls, folder: Path, described: Manifest, needs: ParserNeeds) -> Parser:
        """The served form. `loading.load` reads and checks the manifest."""
        tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
        return cls(onnx_network(folder / MODEL_FILE), tokenizer, needs, described.model_version)

    def encoded(self, text: str) -> Encoding:
        return self._tokenizer.encode(self.needs.prefix + utterance_text.readable(text[:MOST_CHARACTERS]))

    def words(self, encoding: Encoding) -> Words:
        return Words.of(encoding, len(self.needs.prefix))

    def parse(self, text: str) -> Parse:
        """Any text has a parse; an empty one is out of scope, with confidence 0."""
        encoding = self.encoded(text)
        words = self.words(encoding)
        if not words.tokens:
            return Parse(self.needs.fallback, 0.0, (), self.model_version)
        intent_logits, tag_logits = self._logits(encoding)
        shares = softmax(intent_logits[0] / self.needs.temperature)
        order = (-shares).argsort(kind="stable")[:_RANKED].tolist()
        best = order[0]
        refused = not self._in_scope[best] or shares[best] < self.needs.threshold
        return Parse(
            intent=self.needs.fallback if refused else self.needs.intents[best],
            confidence=float(shares[best]),
            entities=tuple(self._entities(text, words, tag_logits[0])),
            model_version=self.model_version,
            in_scope=float(shares[self._in_scope].max(initial=0.0)),
            ranking=tuple((self.needs.intents[n], float(shares[n])) for n in order),
            truncated=len(text) > MOST_CHARACTERS or bool(encoding.overflowing),
        )

    def intent_logits(self, text: str) -> Numbers | None:
        """Before the temperature, for fitting it; None for a text without words."""
        encoding = self.encoded(text)
        return self._logits(encoding)[0][0] if self.words(encoding).tokens else None

    def parse_all(self, texts: Iterable[str]) -> list[Parse]:
        return [self.parse(text) for text in texts]

    def _logits(self, encoding: Encoding) -> tuple[Numbers, Numbers]:
        ids = np.array([encoding.ids], dtype=np.int64)
        return self._network(ids, np.ones_like(ids))

    def _entities(self, text: str, words: Words, logits: Numbers) -> Iterable[EntitySpan]:
        mine = logits[words.tokens]
        if not self.needs.entities or not mine.argmax(axis=-1).any():
            return
        shares = softmax(mine)
        for entity, first, last, confidence in spans(shares, self.needs.entities):
            start, end = utterance_text.whole_span(text, words.starts[first], words.ends[last])
            if start < end:
                yield EntitySpan(entity, start, end, text[start:end], confidence)


def spans(shares: Numbers, entities: Sequence[str]) -> Iterable[tuple[str, int, int, float]]:
    """Probabilities [words, tags] -> (entity, first word, last word, mean probability). An I alone begins one."""
    found: list[list[Any]] = []
    previous = 0
    for place, tag in enumerate(shares.argmax(axis=-1).tolist() if len(entities) else ()):
        share = float(shares[place, tag])
        if tag == 0:
            previous = 0
            continue
        name, inside = (tag - 1) // 2, (tag - 1) % 2 == 1
        if inside and previous and (previous - 1) // 2 == name:
            found[-1][2] = place
            found[-1][3].append(share)
        else:
            found.append([entities[name], place, place, [share]])
        previous = tag
    for entity, first, last, each in found:
        yield entity, first, last, sum(each) / len(each)


def onnx_network(path: Path) -> Network:
    """One thread and no spinning: many requests share the processor, and a parse takes under a millisecond."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(ids: npt.NDArray[np.int64], mask: npt.NDArray[np.int64]) -> tuple[Numbers, Numbers]:
        intents, tags = session.run(None, {"input_ids": ids, "attention_mask": mask})
        return intents, tags

    return run


def softmax(logits: Numbers) -> Numbers:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), dtype=np.float32)


def _names(raw: Any, what: str) -> tuple[str, ...]:
    if not isinstance(raw, list | tuple) or not all(isinstance(name, str) and name for name in raw):
        raise ValueError(what)
    if len(set(raw)) != len(raw):
        raise ValueError(f"{what} twice")
    return tuple(raw)
