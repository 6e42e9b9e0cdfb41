"""What somebody typed -> the letters a voice is asked to say, as training and serving both read them.

Letters stand for themselves, in lower case and composed (NFC). A handful of marks that change how a sentence is said
stay; all others become a pause or a space. The text begins and ends with a space: the silence before and after speech.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container, Iterator

PAUSES = ",.?!"
_SAME = str.maketrans({
    "।": ".", "॥": ".", "…": ".", "。": ".", "’": "'", "‘": "'", "`": "'", "ʼ": "'", ";": ",", ":": ",",
    "\u200b": "", "\u200e": "", "\u200f": "", "\ufeff": "", "\u00ad": "", "\u200c": "", "\u200d": "",
})  # fmt: skip
_NEAREST = {  # a letter that a voice has not learnt, as the letters that sound like it
    "उ": "ु", "ओ": "ो", "ऋ": "रि", "ङ": "न", "ञ": "न", "ढ": "ड", "ष": "श", "ः": "ह", "ऑ": "ॉ", "ऍ": "ॅ", "ृ": "ि",
    "ौ": "ो", "ऐ": "ए", "औ": "ो", "ळ": "ल", "ण": "न", "ँ": "ं", "q": "k", "x": "ks", "z": "s",
}  # fmt: skip
_REPEATED = re.compile(r"([,.?! ])\1+")
_SENTENCE = re.compile(r"[^.?!]+[.?!]*")


def normalised(text: str) -> str:
    """The letters and marks to say, with single spaces, without the outer ones."""
    composed = unicodedata.normalize("NFC", text).lower().translate(_SAME)
    kept = "".join(letter if _kept(letter) else " " for letter in composed)
    return _REPEATED.sub(r"\1", " ".join(kept.split())).strip()


def sayable(normal: str, known: Container[str]) -> str:
    """With letters that the voice has not learnt written as ones it has, where there are any that sound alike."""
    return "".join(
        near if letter not in known and (near := _NEAREST.get(letter, "")) and all(one in known for one in near)
        else letter
        for letter in normal
    )  # fmt: skip


def framed(normal: str) -> str:
    """With the silence around it."""
    return f" {normal} "


def says_something(normal: str) -> bool:
    return any(unicodedata.category(letter)[0] in "LN" for letter in normal)


def sentences(normal: str, *, longest: int) -> Iterator[str]:
    """Whole sentences of at most `longest` characters; a longer one is cut at a comma, else at a space."""
    for match in _SENTENCE.finditer(normal):
        rest = match.group().strip()
        while len(rest) > longest:
            cut = max(rest.rfind(",", 1, longest) + 1, 0) or rest.rfind(" ", 1, longest) + 1 or longest
            if piece := rest[:cut].strip():
                yield piece
            rest = rest[cut:].strip()
        if says_something(rest):
            yield rest


def _kept(letter: str) -> bool:
    """Letters of any script with their marks, digits, pauses and the apostrophe."""
    return unicodedata.category(letter)[0] in "LMN" or letter in PAUSES or letter == "'"
