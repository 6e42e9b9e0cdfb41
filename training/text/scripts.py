"""Words -> the same words in one script, so that नमस्ते and namaste are one word. Pure.

Two steps, because Roman Hindi merges words that Devanagari distinguishes ("kam" is कम and काम):

`key`       one text by itself: Devanagari letter by letter in Roman letters, so exact that two Devanagari words never
            become one (a dropped vowel sign stays an error), except listed spellings of one English word. Roman words
            that are listed in `hinglish` get their Devanagari word's key.
`agree`     two texts together: a word in one script takes the key of the word in the other script that it is aligned
            with, when people write that word so (`_pattern`). Words in the same script are never brought together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from ml_backend.languages import scripts_in
from training.text import hinglish
from training.text.writing import VIRAMA, ascii_digits, indic

NUKTA, ANUSVARA, CANDRABINDU, VISARGA = "\u093c", "\u0902", "\u0901", "\u0903"


def _table(pairs: str) -> dict[str, str]:
    entries = ((pair.split()[0], pair.split()[1]) for pair in pairs.split("|"))
    return dict(entries)


_CONSONANTS = _table(
    "क k|ख kh|ग g|घ gh|ङ G|च ch|छ chh|ज j|झ jh|ञ J|ट T|ठ Th|ड D|ढ Dh|ण N|त t|थ th|द d|ध dh|न n|प p|फ ph|ब b|भ bh|म m"
    "|य y|र r|ल l|व v|श sh|ष S|स s|ह h|ळ L|ऱ R|ऩ F|ऴ Z"
)
_VOWELS = _table("अ a|आ aa|इ i|ई ii|उ u|ऊ uu|ऋ Q|ए e|ऐ ai|ओ o|औ au|ऑ O|ऍ E|ॲ A")
_SIGNS = _table("ा aa|ि i|ी ii|ु u|ू uu|ृ Q|े e|ै ai|ो o|ौ au|ॉ O|ॅ E")
_MARKS = {NUKTA: ".", ANUSVARA: "M", CANDRABINDU: "~", VISARGA: "H"}

# How people write a letter in Roman, doubled consonants counting once.
_WRITTEN = {
    "क": "k|c|q|ck", "ख": "kh", "ग": "g", "घ": "gh", "ङ": "n|ng", "च": "ch|c", "छ": "ch", "ज": "j|z|g", "झ": "jh|z|j",
    "ञ": "n|ny", "ट": "t", "ठ": "th", "ड": "d", "ढ": "dh", "ण": "n", "त": "t", "थ": "th", "द": "d", "ध": "dh", "न": "n",
    "प": "p", "फ": "ph|f", "ब": "b", "भ": "bh", "म": "m", "य": "y", "र": "r", "ल": "l", "व": "v|w", "श": "sh",
    "ष": "sh|s", "स": "s|c", "ह": "h", "ळ": "l", "ऱ": "r", "ऩ": "n", "ऴ": "l|zh",
}  # fmt: skip
_WITH_NUKTA = {"क": "q|k", "ख": "kh", "ग": "g|gh", "ज": "z|j", "ड": "r|d|rd", "ढ": "rh|dh|r", "फ": "f|ph"}
_CLUSTERS = {"क्ष": "ksh|x|sh", "ज्ञ": "gy|gny|dny|jn|gn"}
_VOWELS_WRITTEN = {
    "a": "a|u", "aa": "aa?|ah", "i": "ee|i|e|y", "ii": "ee?|ii?|ie|y", "u": "oo|u|o", "uu": "oo|uu?", "Q": "ri|ru|r",
    "e": "e|ai|ay|ey", "ai": "ai|ei|ae|ay|e", "o": "o|oh", "au": "au|ou|ow|aw|o", "O": "o|au|aw|a", "E": "a|e|ae",
    "A": "a|e|ae",
}  # fmt: skip
_PAIRS = {"क": "ख", "ग": "घ", "च": "छ", "ज": "झ", "ट": "ठ", "ड": "ढ", "त": "थ", "द": "ध", "प": "फ", "ब": "भ"}
_NARROWEST_BAND = 8  # words
LONGEST_WORD = 100  # letters of a word that people say; a longer one is compared as it is
_FAR = 10**9  # edits, of places outside the band
_DOUBLED = re.compile(r"([b-df-hj-np-tv-z])\1+")


def key(text: str, language: str | None) -> str:
    """Each word of `text` (as `indic` leaves it) by its key."""
    return " ".join([_key(word, language == "en") for word in text.split()])


def agree(reference: str, hypothesis: str, language: str | None) -> tuple[str, str]:
    """Both texts by their keys; a word that differs only in script has the key of the reference's word."""
    expected, recognised = reference.split(), hypothesis.split()
    keys = [_key(word, language == "en") for word in expected], [_key(word, language == "en") for word in recognised]
    if len(scripts_in(reference) | scripts_in(hypothesis)) > 1 and keys[0] != keys[1]:
        for here, there in align(expected, recognised, keys, same_word):
            keys[1][there] = keys[0][here]
    return " ".join(keys[0]), " ".join(keys[1])


def same_word(one: str, other: str) -> bool:
    """Whether two words in different scripts may be one word."""
    if one.isascii() == other.isascii():
        return False
    deva, roman = (other, one) if one.isascii() else (one, other)
    if len(deva) > LONGEST_WORD:
        return False
    return _pattern(deva).fullmatch(_DOUBLED.sub(r"\1", roman)) is not None


def align(
    expected: Sequence[str],
    recognised: Sequence[str],
    keys: tuple[Sequence[str], Sequence[str]],
    same_word: Callable[[str, str], bool],
) -> list[tuple[int, int]]:
    """Places of words that are one word, by their keys or by `same_word`, in the alignment with the fewest edits.

    An alignment of n edits never leaves the diagonal by more than n words. So a band around it is enough, and gives the
    alignment that the whole table would: texts that are nearly equal take time in proportion to their length.
    """
    known: dict[tuple[str, str], bool] = {}

    def same(i: int, j: int) -> bool:
        if keys[0][i] == keys[1][j]:
            return True
        pair = expected[i], recognised[j]
        if (found := known.get(pair)) is None:
            found = known[pair] = same_word(*pair)
        return found

    i, j = len(expected), len(recognised)
    band = max(abs(i - j), _NARROWEST_BAND)
    while (costs := _costs(i, j, same, band))[i][j - max(0, i - band)] > band:
        band *= 8

    def cost(i: int, j: int) -> int:
        at = j - max(0, i - band)
        return costs[i][at] if 0 <= at < len(costs[i]) else _FAR

    found = []
    while i and j:
        equal = same(i - 1, j - 1)
        if cost(i, j) == cost(i - 1, j - 1) + (not equal):
            i, j = i - 1, j - 1
            if equal:
                found.append((i, j))
        elif cost(i, j) == cost(i - 1, j) + 1:
            i -= 1
        else:
            j -= 1
    return found


def _costs(rows: int, columns: int, same: Callable[[int, int], bool], band: int) -> list[list[int]]:
    """The fewest edits up to each pair of places; row i has only the columns from i - band to i + band."""
    costs = [list(range(min(columns, band) + 1))]
    for i in range(1, rows + 1):
        first, last = max(0, i - band), min(columns, i + band)
        above = costs[-1][first - max(0, i - 1 - band) :]  # of column `first` and those after it
        diagonal = costs[-1][0] if first else i - 1
        row: list[int] = [] if first else [i]
        left = _FAR if first else i
        for j in range(max(first, 1), last + 1):
            over = above[j - first] if j - first < len(above) else _FAR
            left = min(left + 1, over + 1, diagonal + (not same(i - 1, j - 1)))
            diagonal = over
            row.append(left)
        costs.append(row)
    return costs


@lru_cache(maxsize=65536)
def _key(word: str, english: bool) -> str:
    word = ascii_digits(word)
    if word in _ENGLISH_OF:
        return _ENGLISH_OF[word]
    if not english and word in _DEVANAGARI_OF:
        word = _DEVANAGARI_OF[word]
    return word if word.isascii() else letters(word)


def letters(word: str) -> str:
    """Letter by letter, reversible: `'` before a vowel inside a word, `^` where a virama separates letters that would
    read as one."""
    out = []
    for place, letter in enumerate(word):
        before, following = word[place - 1 : place], word[place + 1 : place + 2]  # nothing before the first
        on_consonant = before in _CONSONANTS or before == NUKTA
        if letter in _CONSONANTS:
            out.append(_CONSONANTS[letter] + ("" if _goes_on(following) else "a" * bool(following)))
        elif letter in _VOWELS:
            out.append(("'" if place else "") + _VOWELS[letter])
        elif letter in _SIGNS:
            out.append(("" if on_consonant else "_") + _SIGNS[letter])
        elif letter == VIRAMA:
            out.append("" if on_consonant and following not in ("", "ह", VIRAMA) else "^")
        elif letter == NUKTA:
            out.append(_MARKS[letter] + ("a" if following and not _goes_on(following) else ""))
        elif letter in _MARKS:
            out.append(("a" if on_consonant else "") + _MARKS[letter])
        else:
            out.append(letter)
    return "".join(out)


def _goes_on(following: str) -> bool:
    """Whether a sign follows the consonant: then it has no vowel a, or not yet."""
    return following in _SIGNS or following == VIRAMA or (following in _MARKS and bool(following))


@lru_cache(maxsize=16384)
def _pattern(word: str) -> re.Pattern[str]:
    """The Roman spellings of a Devanagari word."""
    parts: list[str] = []
    place = 0
    while place < len(word):
        letter, after_vowel = word[place], bool(parts) and parts[-1].endswith("#")
        cluster = next((c for c in _CLUSTERS if word.startswith(c, place)), "")
        if cluster or letter in _WRITTEN:
            place += len(cluster or letter)
            written = _CLUSTERS.get(cluster) or _WRITTEN[letter]
            if word[place : place + 1] == NUKTA:
                written, place = _WITH_NUKTA.get(letter, written), place + 1
            following = word[place : place + 1]
            nasal = following in (ANUSVARA, CANDRABINDU)
            if following == VIRAMA:
                optional = word[place + 1 : place + 2] in (letter, _PAIRS.get(letter, ""))
                parts.append(f"(?:{written}){'?' if optional else ''}")
                place += 1
            elif following in _SIGNS and following:
                parts.append(f"(?:{written}){'?' if letter == 'य' and after_vowel else ''}")
            elif following:
                schwa = "[aeou]" if not nasal else "[aeu]"
                parts += [f"(?:{written})", f"{schwa}{'' if nasal else '?'}#"]
            else:
                parts.append(f"(?:{written})[ae]?")
        elif letter in _VOWELS or letter in _SIGNS:
            written = _VOWELS_WRITTEN[_VOWELS.get(letter) or _SIGNS[letter]]
            parts.append(f"{'[yw]?' if letter in _VOWELS and parts else ''}(?:{written})#")
            place += 1
        elif letter in (ANUSVARA, CANDRABINDU):
            following = word[place + 1 : place + 2]
            parts.append("[nm]?#" if letter == CANDRABINDU or following in ("", "न", "म") else "[nm]")
            place += 1
        else:
            parts.append("h?" if letter == VISARGA else "" if letter in (VIRAMA, NUKTA, "ऽ") else re.escape(letter))
            place += 1
    return re.compile("".join(part.removesuffix("#") for part in parts))


_ENGLISH_OF = {indic(deva): english for deva, english in hinglish.ENGLISH_OF.items()}
_DEVANAGARI_OF = {roman: indic(deva) for roman, deva in hinglish.DEVANAGARI_OF.items()}
