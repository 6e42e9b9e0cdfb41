"""Text -> the language that it is in, by its letters and its most frequent words. Pure.

Letters decide between most languages. Hindi and Marathi share one script, and both are written in Roman letters too,
so there words decide: pronouns, verbs and particles, which every utterance has, and never the words of a trade. Words
that are also English, such as `kal` or `do`, count only where half of a text consists of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ml_backend import languages
from ml_backend.languages import DEVANAGARI, LATIN
from training.text import hinglish

_WORDS = re.compile(r"[^\W\d_]+(?:[\u0900-\u097f]*)", re.UNICODE)
_LEAST_SHARE = 0.2  # of Roman words that are Hindi or Marathi; below it they are loans in an English sentence

_HINDI_ONLY = """
है हैं हूँ हूं हो था थी थे मैं में मुझे मेरा मेरी मेरे हमें हमारा हमारी आप आपका आपकी आपके आपको क्या क्यों कैसे कब कहाँ कहां कितना
कितनी कितने नहीं का के को से ने और लेकिन पर भी ही तो करना करो करें कीजिए दीजिए बताइए बताओ रहा रही रहे गया गई गए हुआ हुई
चाहिए चाहता चाहती वाला वाली अभी कुछ कोई साथ लिए तक वापस पैसे दो कर दिया किया मिला मिली होगा जाएगा आएगा
"""
_MARATHI_ONLY = """
आहे आहेत आहात नाही नाहीत मला माझा माझी माझे माझं माझ्या तुम्ही तुमचा तुमची तुमचे तुमच्या आम्ही आम्हाला काय कधी कुठे किती कसा कशी
कसे कसं पाहिजे हवे हवा हवी हवं झाला झाली झाले झालं करा करायचा करायची करायचे करायचं करून द्या सांगा आणि पण होय बरं खूप उद्या
आता नको मध्ये साठी आला आली आले आलं येईल होईल शकता शकतो मिळेल मिळाला मिळाली मिळाले गेला गेली गेले त्याचा त्यांना हे ते ही तो
अजून लवकर परत केला केली केले केलं
"""
_ROMAN_MARATHI = """
majha majhi majhe majhya maza mazi tumhi tumcha tumchi amhi aahe aahet ahe naahi pahije hava havi kadhi kuthe kiti kasa
kashi zala zali jhala jhali karaycha karaychi karaychay sanga dya ani nako yeil hoil milel aala aali parat madhe sathi
"""
_ROMAN_HINDI = (
    "kar kardo krdo kro kariye karwana karvana dedo dena bhai bhaiya yaar kidhar idhar udhar wapis karunga karungi"
)
_PLAIN_ENGLISH = (
    "am ha ham he her him his ho hum i in is it iss main me no of on or pan par pin to the that this use we you"
)
_ENDINGS = ("ायचं", "ायचा", "ायची", "ायचे", "च्या", "ांना", "मध्ये", "साठी", "ळे")


def _set(table: str) -> frozenset[str]:
    return frozenset(table.split())


_SHARED = _set(_HINDI_ONLY) & _set(_MARATHI_ONLY)
_HINDI, _MARATHI = _set(_HINDI_ONLY) - _SHARED, _set(_MARATHI_ONLY) - _SHARED
_ROMAN_MR = _set(_ROMAN_MARATHI) | {
    roman for roman, deva in hinglish.DEVANAGARI_OF.items() if deva in _MARATHI and deva not in _HINDI
}
_ROMAN_HI = (frozenset(hinglish.DEVANAGARI_OF) | _set(_ROMAN_HINDI)) - _ROMAN_MR
_ENGLISH = _set(_PLAIN_ENGLISH)


def language_of(text: str, spoken: Iterable[str] = ()) -> str | None:
    """`hi`, `mr`, `en` …, or None for a text without letters and for a script that no known language has.

    `spoken` are the languages of the company, the most important first: they decide what words leave open.
    """
    found = languages.scripts_in(text)
    known = tuple(spoken) or languages.USUAL
    words = [word.casefold() for word in _WORDS.findall(text)]
    if not found:
        return None
    if DEVANAGARI.code in found:
        hindi = sum(word in _HINDI for word in words)
        marathi = sum(word in _MARATHI or word.endswith(_ENDINGS) or "ळ" in word for word in words)
        if hindi != marathi:
            return "mr" if marathi > hindi else "hi"
        return _first(known, DEVANAGARI.code) or "hi"
    if other := next((code for code in sorted(found) if code not in (LATIN, "Zzzz")), None):
        return _first(known, other) or _first(languages.LANGUAGES, other)
    return _roman(words) if LATIN in found and "Zzzz" not in found else None


def _roman(words: list[str]) -> str:
    marathi = [word for word in words if word in _ROMAN_MR]
    hindi = [word for word in words if word in _ROMAN_HI and word not in _ENGLISH]
    sure = [word for word in (*marathi, *hindi) if word not in hinglish.ENGLISH_OR_NAMES]
    enough = len(sure) >= _LEAST_SHARE * len(words) if sure else 0 < len(words) <= 2 * len(marathi + hindi)
    if not enough:
        return "en"
    return "mr" if len(set(marathi) & set(sure)) > len(set(hindi) & set(sure)) else "hi"


def _first(codes: Iterable[str], script: str) -> str | None:
    return next((code for code in codes if code in languages.LANGUAGES
                 and languages.LANGUAGES[code].script.code == script), None)  # fmt: skip
