"""Words -> one spelling for all accepted spellings of a word: what script-neutral@2 compares. Pure.

Several spellings of a word may be right: हिन्दी and हिंदी, गये and गए, ज़रूरत and जरूरत. `fold` makes them equal, by the
spelling rules of the language table. It keeps every difference between words: vowel signs and their length (में, मैं;
दिन, दीन; कल, काल), consonants, nasal vowels (कहा, कहाँ), aspiration (बड़ा, बढ़ा).

Some words differ only by a mark that writers often omit: हँस and हंस (laugh, swan), राज़ and राज (secret, rule). Such a
difference costs nothing here and one edit in `indic`.

ऑ in English words is also written आ or ओ, but हॉल and हाल are two words. So it is compared in pairs (`same_loan`), in
words with at least three consonants.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from types import MappingProxyType

from ml_backend import languages
from ml_backend.languages import scripts_in
from training.text import hinglish
from training.text.scripts import align, letters, same_word
from training.text.writing import ascii_digits, indic

# English words in Devanagari, in addition to those of `hinglish`.
ENGLISH = """
doctor डॉक्टर डाक्टर डोक्टर|office ऑफिस आफिस ओफिस|college कॉलेज कालेज कोलेज|hospital हॉस्पिटल हास्पिटल होस्पिटल
online ऑनलाइन आनलाइन|offline ऑफलाइन आफलाइन|offer ऑफर आफर|problem प्रॉब्लम प्राब्लम प्रोब्लम|product प्रोडक्ट प्राडक्ट
bottle बॉटल बाटल बोटल|confirm कन्फर्म कनफर्म|complaint कंप्लेंट कंपलेंट|cancel कैंसिल कैंसल|recharge रिचार्ज रीचार्ज
replace रिप्लेस रीप्लेस|return रिटर्न रीटर्न|receive रिसीव रीसीव|refund रिफंड रीफंड|tv टीवी टीव्ही|movie मूवी मूव्ही
video वीडियो विडियो व्हिडिओ|whatsapp व्हाट्सएप व्हाट्सऐप वॉट्सऐप व्हॉट्सऐप व्हॉट्सएप वाट्सएप वॉट्सएप|september सितंबर
address एड्रेस अड्रेस ऐड्रेस|account अकाउंट एकाउंट अकौंट|app ऐप एप|email ईमेल इमेल|message मैसेज मेसेज मेसेज
battery बैटरी बैट्री|bank बैंक बंक
delivery डिलीवरी डिलिवरी डेलिवरी डेलीवरी|verification वेरिफिकेशन वेरीफिकेशन|technician टेक्नीशियन टेक्निशियन
""".replace("\n", "|")
_NOT_ENGLISH = {"काल"}  # a word of Hindi and of Marathi; `hinglish` has it for कॉल

_LOOKS_THE_SAME = {
    "अा": "आ", "अो": "ओ", "अौ": "औ", "एे": "ऐ", "आॅ": "ऑ", "अॉ": "ऑ", "अॅ": "ॲ", "ऍ": "ॲ", "ाॅ": "ॉ", "ाे": "ो",
    "ाै": "ौ", "ॆ": "े", "ॊ": "ो", "ऎ": "ए", "ऒ": "ओ", "ऽ": "", "\u093c": "", "ऩ": "न", "ँ": "ं",
}  # fmt: skip
_ALIKE = re.compile("|".join(sorted(_LOOKS_THE_SAME, key=len, reverse=True)))
_RULES = tuple((re.compile(old), new) for script in languages.SCRIPTS.values() for old, new in script.spelling_rules)
_RULES_OF_LANGUAGE = {
    code: tuple((re.compile(old), new) for old, new in one.spelling_rules)
    for code, one in languages.LANGUAGES.items()
    if one.spelling_rules
}
_TOLD_APART_BY_VISARGA = frozenset({"अंतः", "नमः"})  # अंत and नम are other words
_COLON = re.compile("(?<![\u0900-\u097f])(दु|नि|अंत|अन्त|प्रात|पुन|अध|मन|चतु|छ):(?=[\u0900-\u097f])")  # typed for visarga
_WITHOUT = re.compile("[ॉऑाआोओ]")
_LONG_LOAN = 3  # consonants


def text_of(text: str) -> str:
    """`indic`, which keeps colons that were typed for a visarga."""
    return indic(_COLON.sub(r"\1ः", text) if ":" in text else text)


def key(text: str, language: str | None) -> str:
    """The key of each word of `text` (the output of `text_of`): its folded spelling, in one script."""
    return " ".join([_key(word, language or "") for word in text.split()])


def agree(reference: str, hypothesis: str, language: str | None) -> tuple[str, str]:
    """Both texts by their keys; a word that differs only in script or spelling has the key of the reference's word."""
    tongue = language or ""
    expected, recognised = reference.split(), hypothesis.split()
    keys = [_key(word, tongue) for word in expected], [_key(word, tongue) for word in recognised]
    together = reference + hypothesis
    if keys[0] != keys[1] and (len(scripts_in(together)) > 1 or "ॉ" in together or "ऑ" in together):
        for here, there in align(expected, recognised, keys, _same):
            keys[1][there] = keys[0][here]
    return " ".join(keys[0]), " ".join(keys[1])


def _same(one: str, other: str) -> bool:
    return same_word(one, other) or same_loan(one, other)


def same_loan(one: str, other: str) -> bool:
    """Whether one word has ऑ where the other has आ or ओ: डॉक्टर, डाक्टर; not बॉल and बाल."""
    if one.isascii() or other.isascii():
        return False
    one, other = fold(one), fold(other)
    if len(one) != len(other) or _WITHOUT.sub("", one) != _WITHOUT.sub("", other):
        return False
    if sum("क" <= letter <= "ह" for letter in one) < _LONG_LOAN or one.endswith("कर") or other.endswith("कर"):
        return False  # होकर (having been) is not हॉकर
    signs, alone = {"ॉा", "ाॉ", "ॉो", "ोॉ"}, {"ऑआ", "आऑ", "ऑओ", "ओऑ"}
    return all(a == b or a + b in signs or a + b in alone for a, b in zip(one, other, strict=True))


@lru_cache(maxsize=65536)
def fold(word: str, language: str = "") -> str:
    """One spelling for all accepted spellings of a word; words in Roman letters stay unchanged."""
    if word.isascii():
        return word
    folded = _ALIKE.sub(lambda found: _LOOKS_THE_SAME[found[0]], word)
    for pattern, by in _RULES:
        folded = pattern.sub(by, folded)
    if folded not in _TOLD_APART_BY_VISARGA:
        folded = folded.removesuffix("ः")
    for pattern, by in _RULES_OF_LANGUAGE.get(language, ()):
        folded = pattern.sub(by, folded)
    return _VARIANTS.get(folded, folded) or word


@lru_cache(maxsize=65536)
def _key(word: str, language: str) -> str:
    word = ascii_digits(word)
    if language != "en" and word in _DEVANAGARI_OF:
        word = _DEVANAGARI_OF[word]
    folded = fold(word, language)
    if folded in _ENGLISH_OF:
        return _ENGLISH_OF[folded]
    return folded if folded.isascii() else letters(folded)


def _lines(table: str) -> Iterator[list[str]]:
    yield from (entry.split() for entry in table.split("|") if entry)


_VARIANTS: dict[str, str] = {}
for _script in languages.SCRIPTS.values():
    for _first, *_others in _lines(_script.spelling_variants.replace("\n", "|")):
        _VARIANTS.update({fold(indic(_each)): fold(indic(_first)) for _each in _others})
fold.cache_clear()
_ENGLISH_OF = MappingProxyType(
    {fold(indic(deva)): english for deva, english in hinglish.ENGLISH_OF.items() if deva not in _NOT_ENGLISH}
    | {fold(indic(deva)): english for english, *spellings in _lines(ENGLISH) for deva in spellings}
)
_DEVANAGARI_OF = MappingProxyType({roman: indic(deva) for roman, deva in hinglish.DEVANAGARI_OF.items()})
