"""Seed -> sentences of callers and agents of an imaginary shop, in Hindi, English and Marathi.

Templates with slots, an optional opening, and a share of plain word lists. Without word lists, a small decoder
memorises whole phrases and ignores the audio. Sentences whose hash is in the held-out tenth never reach training, nor
does any sentence of the demonstration calls (`demo_script.py`).
"""

import hashlib
import random
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from training.demo_model import demo_script, wording

HELD_OUT_SHARE = 0.10
WORD_LIST_SHARE = 0.14
OPENING_SHARE = 0.30
FIXED_WEIGHT = 0.4
"""How often a sentence without slots is drawn, against one template with slots."""
MIX = {"en": 0.36, "hi": 0.38, "mr": 0.26}
CODE_MIXED_SHARE = 0.45
_SLOT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Sentence:
    text: str
    language: str
    code_mixed: bool = False

    @property
    def key(self) -> str:
        return sentence_key(self.text)


def tidy(text: str) -> str:
    """NFC and single spaces, so that the reference and the training text are byte-identical."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def sentence_key(text: str) -> str:
    """A key of the words in order, without case and punctuation."""
    kept = (c if unicodedata.category(c)[0] in "LMN" else " " for c in tidy(text).lower())
    return " ".join("".join(kept).split())


def is_held_out(text: str) -> bool:
    digest = hashlib.sha256(sentence_key(text).encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32 < HELD_OUT_SHARE


def demo_keys() -> frozenset[str]:
    """Sentences excluded from training: the calls, and the new patterns that the model is tested on."""
    spoken = [line.text for call in demo_script.CALLS for line in call.lines]
    return frozenset(
        sentence_key(text) for text in [*spoken, *(t for some in demo_script.NEW_PATTERNS.values() for t in some)]
    )


def training_sentences(seed: int, count: int) -> list[Sentence]:
    """Every fixed sentence once, then up to `count` in all; sentences may repeat, as in calls."""
    banned = demo_keys()
    fixed = [s for s in _fixed_sentences() if s.key not in banned]
    drawn = (s for s in _stream(seed) if s.key not in banned and not is_held_out(s.text))
    return (fixed + [next(drawn) for _ in range(max(0, count - len(fixed)))])[:count]


def held_out_sentences(seed: int, count: int) -> list[Sentence]:
    """Distinct sentences of the held-out tenth: from the same templates, never trained on."""
    banned = demo_keys() | {s.key for s in _fixed_sentences()}
    found: dict[str, Sentence] = {}
    for sentence in _stream(seed, word_lists=False):
        if is_held_out(sentence.text) and sentence.key not in banned:
            found.setdefault(sentence.key, sentence)
        if len(found) == count:
            return list(found.values())
    raise AssertionError("the stream is endless")


def _fixed_sentences() -> list[Sentence]:
    return [
        Sentence(tidy(template), language, mixed)
        for language, mixed, templates in _groups()
        for template in templates
        if "{" not in template
    ]


def _groups() -> list[tuple[str, bool, list[str]]]:
    return [
        ("en", False, wording.ENGLISH),
        ("hi", False, wording.HINDI),
        ("hi", True, wording.HINDI_MIXED),
        ("mr", False, wording.MARATHI),
    ]


def _stream(seed: int, *, word_lists: bool = True) -> Iterator[Sentence]:
    rng = random.Random(seed)
    vocabulary = {group[:2]: _words(group[2], group[0]) for group in _groups()}
    while True:
        language = rng.choices(list(MIX), list(MIX.values()))[0]
        mixed = language == "hi" and rng.random() < CODE_MIXED_SHARE
        templates = next(t for lang, m, t in _groups() if (lang, m) == (language, mixed))
        if word_lists and rng.random() < WORD_LIST_SHARE:
            words = rng.sample(vocabulary[language, mixed], rng.randint(2, 7))
            yield Sentence(tidy(" ".join(words)), language, mixed)
            continue
        text = filled(rng.choices(templates, [1.0 if "{" in t else FIXED_WEIGHT for t in templates])[0], language, rng)
        if rng.random() < OPENING_SHARE:
            text = f"{rng.choice(wording.OPENINGS[language])} {_lower_first(text)}"
        yield Sentence(tidy(text), language, mixed)


def filled(template: str, language: str, rng: random.Random) -> str:
    return _SLOT.sub(lambda match: _value(match[1], language, rng), template)


def _value(slot: str, language: str, rng: random.Random) -> str:
    if slot == "digits":
        return " ".join(rng.choice(wording.DIGITS[language]) for _ in range(rng.randint(3, 6)))
    if slot == "amount":
        return wording.amount(language, rng)
    return rng.choice(wording.SLOTS[slot][language])


def _lower_first(text: str) -> str:
    """`Where is my order?` after an opening -> `where is my order?`; `I` and names keep their capital."""
    first = text.split()[0]
    keep = first in ("I", "I'm") or first in wording.SLOTS["name"]["en"] or first in wording.SLOTS["city"]["en"]
    return text if keep else text[0].lower() + text[1:]


def _words(templates: list[str], language: str) -> list[str]:
    """All words of the templates, without punctuation; names and places keep their capitals."""
    words = {w.strip(".?।,") for t in templates for w in _SLOT.sub(" ", t).split()}
    words = {w if w in ("I", "OTP") else w[:1].lower() + w[1:] for w in words}
    words |= set(wording.DIGITS[language]) | set(wording.AMOUNT_WORDS[language])
    for values in wording.SLOTS.values():
        words |= {w for value in values[language] for w in value.split()}
    return sorted(word for word in words if word)
