"""Text -> Parse: intent, calibrated confidence and entities, by an encoder with two heads in one ONNX file.

The encoder reads at most `max_tokens` tokens: a longer text is parsed by its beginning and the parse says so. Entities
are whole words of the tokenizer, tagged by their first token (BIO), and their offsets are code points of the text as it
was given. The confidence is the softmax of the intent logits over the temperature that the manifest states.

What follows the network is plain Python over a dozen numbers: each call of numpy on arrays this small costs more than
the whole softmax (together they cost half as much again as the bundled network).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from math import exp
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
        last = None
        for place, word, (start, end) in zip(count(), encoding.word_ids, encoding.offsets):
            if word is None or start == end or end <= after:
                continue
            if word == last:
                if end - after > ends[-1]:
                    ends[-1] = end - after
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
        self._outside = needs.intents.index(needs.out_of_scope) if needs.out_of_scope else -1
        self._mask = np.ones((1, needs.max_tokens), dtype=np.int64)
        tokenizer.no_padding()
        tokenizer.enable_truncation(needs.max_tokens)
        self._special_tokens = tokenizer.num_special_tokens_to_add(False)

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
        if self._is_empty(encoding, text):
            return Parse(self.needs.fallback, 0.0, (), self.model_version)
        intent_logits, tag_logits = self._logits(encoding)
        needs = self.needs
        ranked = ranking(intent_logits[0].tolist(), needs.temperature)
        best, confidence = ranked[0]
        refused = best == self._outside or confidence < needs.threshold
        return Parse(
            intent=needs.fallback if refused else needs.intents[best],
            confidence=confidence,
            entities=self._entities(text, encoding, tag_logits[0]) if needs.entities else (),
            model_version=self.model_version,
            in_scope=confidence if best != self._outside else ranked[1][1] if len(ranked) > 1 else 0.0,
            ranking=tuple([(needs.intents[place], share) for place, share in ranked]),
            truncated=len(text) > MOST_CHARACTERS or (len(encoding) == needs.max_tokens and bool(encoding.overflowing)),
        )

    def intent_logits(self, text: str) -> Numbers | None:
        """Before the temperature, for fitting it; None for a text without words."""
        encoding = self.encoded(text)
        return None if self._is_empty(encoding, text) else self._logits(encoding)[0][0]

    def parse_all(self, texts: Iterable[str]) -> list[Parse]:
        return [self.parse(text) for text in texts]

    def _is_empty(self, encoding: Encoding, text: str) -> bool:
        """Whether the text has no letter that the tokenizer keeps."""
        if self.needs.prefix:
            return not self.words(encoding).tokens
        return len(encoding) <= self._special_tokens or text.isspace()

    def _logits(self, encoding: Encoding) -> tuple[Numbers, Numbers]:
        ids = np.array([encoding.ids], dtype=np.int64)
        return self._network(ids, self._mask[:, : ids.shape[1]])

    def _entities(self, text: str, encoding: Encoding, logits: Numbers) -> tuple[EntitySpan, ...]:
        best = logits.argmax(-1).tolist()
        if not any(tag and word is not None for tag, word in zip(best, encoding.word_ids, strict=True)):
            return ()  # nearly half of what callers say
        words = self.words(encoding)
        tags = [best[token] for token in words.tokens]
        found = []
        for entity, first, last in spans(tags, self.needs.entities):
            start, end = utterance_text.whole_span(text, words.starts[first], words.ends[last])
            if start < end:
                sure = [_share(logits[words.tokens[at]].tolist(), tags[at]) for at in range(first, last + 1)]
                found.append(EntitySpan(entity, start, end, text[start:end], sum(sure) / len(sure)))
        return tuple(found)


def spans(tags: Sequence[int], entities: Sequence[str]) -> list[tuple[str, int, int]]:
    """The tag of each word -> (entity, first word, last word). An I alone begins one."""
    found: list[tuple[str, int, int]] = []
    previous = 0
    for place, tag in enumerate(tags):
        if tag:
            name, inside = (tag - 1) // 2, (tag - 1) % 2 == 1
            if inside and previous and (previous - 1) // 2 == name:
                found[-1] = (*found[-1][:2], place)
            else:
                found.append((entities[name], place, place))
        previous = tag
    return found


def onnx_network(path: Path) -> Network:
    """One thread and no spinning: many requests share the processor, and a parse takes under a millisecond."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    outputs = [each.name for each in session.get_outputs()]

    def run(ids: npt.NDArray[np.int64], mask: npt.NDArray[np.int64]) -> tuple[Numbers, Numbers]:
        intents, tags = session.run(outputs, {"input_ids": ids, "attention_mask": mask})
        return intents, tags

    return run


def ranking(logits: Sequence[float], temperature: float) -> list[tuple[int, float]]:
    """The softmax over the temperature: the places of the largest, largest first, each with its share."""
    highest = max(logits)
    powers = [exp((each - highest) / temperature) for each in logits]
    total = sum(powers)
    found = []
    for _ in range(min(_RANKED, len(powers))):
        power = max(powers)
        place = powers.index(power)
        powers[place] = -1.0
        found.append((place, power / total))
    return found


def _share(logits: Sequence[float], largest: int) -> float:
    """The softmax of the largest logit."""
    highest = logits[largest]
    return 1.0 / sum([exp(each - highest) for each in logits])


def _names(raw: Any, what: str) -> tuple[str, ...]:
    if not isinstance(raw, list | tuple) or not all(isinstance(name, str) and name for name in raw):
        raise ValueError(what)
    if len(set(raw)) != len(raw):
        raise ValueError(f"{what} twice")
    return tuple(raw)
