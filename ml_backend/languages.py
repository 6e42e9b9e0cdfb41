"""The language table: what is different about each language, once.

A language is offered to annotators when it has a key. A new one needs an entry here and its number words in
`training/text/number_words_of_languages.py`; tests name what an offered language still lacks. Entries without a key are
languages of foreign labelling configs and data sets.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

MIXED = "Mixed"  # script policy: the language's own script, and English words in Roman letters
LATIN = "Latn"


@dataclass(frozen=True)
class Script:
    """`code` is that of ISO 15924; `key` is pressed with Shift in the labelling config."""

    code: str
    name: str
    names: tuple[str, ...]  # in lower case, `name` among them
    letters: str  # the prefix of its letters' Unicode names
    key: str = ""
    letters_per_s: float = 28.0  # the fastest speech
    loans: str = ""  # English words as they sound, for the annotators' instructions
    # Accepted spellings: patterns that are replaced in order, then words that no rule covers; the first of a line
    # replaces the others. Differences that distinguish words are never removed.
    spelling_rules: tuple[tuple[str, str], ...] = ()
    spelling_variants: str = ""


@dataclass(frozen=True)
class Language:
    """`code` is what Whisper and the database call it; `key` and `redraft_key` are pressed with Shift."""

    code: str
    name: str
    own_name: str
    script: Script
    names: tuple[str, ...]  # in lower case: on screens, in settings and in data sets
    key: str = ""
    redraft_key: str = ""
    policy: str = MIXED  # of projects that we create
    option: str = ""  # what our labelling configs store and show for it, if not code and name
    label: str = ""
    parts: tuple[str, ...] = ()  # of a mixture: its languages; models transcribe it as the first
    examples: tuple[str, str, str] = ("", "", "")  # for the instructions: in its script, in Roman letters, in both
    spelling_rules: tuple[tuple[str, str], ...] = ()  # in addition to those of its script


_CONSONANT, _VOWEL, _SIGN, _VIRAMA = "\u0915-\u0939", "\u0905-\u0914", "\u093e-\u094c", "\u094d"

DEVANAGARI = Script(
    "Deva", "Devanagari", ("deva", "devanagari", "देवनागरी"), "DEVANAGARI", "d", 24.0, "ऑर्डर, डिलीवरी, कॅन्सल",
    spelling_rules=(
        # the nasal of the next consonant's class; न् also before ट and च in English words, म् in सम्मेलन, संमेलन
        (f"ङ{_VIRAMA}(?=[क-घ])|ञ{_VIRAMA}(?=[च-झ])|ण{_VIRAMA}(?=[ट-ढ])", "ं"),
        (f"न{_VIRAMA}(?=[क-घच-झट-ढत-धसशफव])|म{_VIRAMA}(?=[प-मव])", "ं"),
        ("ॅ", "ै"),  # Marathi writes English a so
        ("ॲ", "ऐ"),
        (f"(?<=[{_CONSONANT}{_VOWEL}{_SIGN}])य(?=[ेी])", "\ue001"),  # गये, गए; गयी, गई
        ("\ue001े", "ए"),
        ("\ue001ी", "ई"),
        (f"(?<=[{_SIGN}{_VOWEL}])ई(?=[{_CONSONANT}ए])", "इ"),  # मोबाईल, मोबाइल; आईए, आइए
        (f"(?<=[{_SIGN}{_VOWEL}])ऊ(?=ं?[{_CONSONANT}])", "उ"),  # अकाऊंट, अकाउंट
        ("(?<=र्)(?:त्(?=त)|द्(?=ध)|म्(?=म)|य्(?=य)|व्(?=व))", ""),  # अर्द्ध, अर्ध
        ("त्त्व", "त्व"),
        (f"(?<=[{_CONSONANT}{_SIGN}\u0902{_VIRAMA}])व्ह(?=[िी])", "व"),  # सर्व्हिस, सर्विस
        ("ः(?=.)", ""),  # दुःख, दुख
    ),
    spelling_variants="""
छह छः छ छे छै|रुपये रूपये|रुपया रूपया|शुरू शुरु|गुरु गुरू|जरूर जरुर|जरूरत जरुरत|जरूरी जरुरी|हिंदू हिंदु|अठारह अट्ठारह
बिलकुल बिल्कुल|गरमी गर्मी|गरम गर्म|सरदी सर्दी|कुरसी कुर्सी|बरतन बर्तन|परदा पर्दा|उलटा उल्टा|उलटी उल्टी|सत्रह सतरह
दोबारा दुबारा|दुकान दूकान|दुकानदार दूकानदार|इनकार इंकार|मोहल्ला मुहल्ला|मोहब्बत मुहब्बत|वापस वापिस|साहब साहिब
बहन बहिन|संन्यास सन्यास|चिह्न चिन्ह|उज्ज्वल उज्जवल|भैया भइया|तैयार तय्यार|कौआ कौवा|हुआ हुवा|पच्चीस पचीस|ओम ॐ
तनख्वाह तनखाह|अंतर्राष्ट्रीय अंतरराष्ट्रीय|दीवाली दिवाली|शाबाश शाबास|खर्च खरच|शर्म शरम|नर्म नरम|फुर्सत फुरसत|मर्जी मरजी
""",
)  # fmt: skip

ROMAN = Script(LATIN, "Roman", ("latn", "latin", "roman", "romanised", "romanized"), "LATIN", "o", 30.0)

TAMIL = Script(
    "Taml", "Tamil", ("taml", "tamil", "தமிழ்"), "TAMIL", "1", loans="ஆர்டர், டெலிவரி, கேன்சல்",
    spelling_rules=(
        ("ஶ்ரீ", "ஸ்ரீ"),  # looks the same, typed in two ways
        ("இலட்ச", "லட்ச"),  # written with and without the i that classical spelling puts before l
    ),
    spelling_variants="சதவீதம் சதவிகிதம்",
)  # fmt: skip

BENGALI = Script(
    "Beng", "Bengali", ("beng", "bengali", "bangla", "বাংলা"), "BENGALI", "2", loans="অর্ডার, ডেলিভারি, ক্যানসেল",
    spelling_rules=(
        # a consonant doubled after r, as before the reform of 1936: ধর্ম্ম, ধর্ম; অর্দ্ধ, অর্ধ
        ("(?<=র্)(?:ক্(?=ক)|চ্(?=চ)|জ্(?=জ)|ণ্(?=ণ)|ত্(?=ত)|দ্(?=[দধ])|ব্(?=ব)|ম্(?=ম)|য্(?=য))", ""),
        ("ঙ্(?=[কখগঘ])", "ং"),  # সঙ্গীত, সংগীত
        ("ঙ$", "ং"),  # রঙ, রং
        ("ত্$", "ৎ"),  # হঠাত্, হঠাৎ
    ),
    spelling_variants="""
বাড়ি বাড়ী|গাড়ি গাড়ী|শাড়ি শাড়ী|পাখি পাখী|সরকারি সরকারী|দেরি দেরী|বেশি বেশী|তৈরি তৈরী|চাকরি চাকরী|জরুরি জরুরী
কোম্পানি কোম্পানী|ইংরেজি ইংরেজী|দরকারি দরকারী|বাঙালি বাঙালী|ঘণ্টা ঘন্টা|ঠান্ডা ঠাণ্ডা|ভালো ভাল
""",
)  # fmt: skip


def _other(code: str, name: str, letters: str) -> Script:
    """A script that our configs do not offer."""
    return Script(code, name, (code.lower(), name.lower()), letters)


LANGUAGES: Mapping[str, Language] = MappingProxyType({language.code: language for language in (
    Language(
        "hi", "Hindi", "हिन्दी", DEVANAGARI, ("hi", "hin", "hindi", "हिन्दी", "हिंदी"), "h", "i",
        examples=("मुझे रिफंड चाहिए", "mujhe refund chahiye", "मुझे refund चाहिए"),
    ),
    Language("en", "English", "English", ROMAN, ("en", "eng", "english", "indian english"), "n", "l", policy=LATIN),
    Language(
        "mr", "Marathi", "मराठी", DEVANAGARI, ("mr", "mar", "marathi", "मराठी"), "m", "k",
        examples=("मला परतावा हवा आहे", "mala refund hava aahe", "मला refund हवा आहे"),
        # a last i or u is long, whatever the older spelling of the word
        spelling_rules=((r"^(.*[क-ह].*[क-ह].*)ि$", r"\1ी"), (r"^(.*[क-ह].*[क-ह].*)ु$", r"\1ू")),
    ),
    Language(
        "ta", "Tamil", "தமிழ்", TAMIL, ("ta", "tam", "tamil", "தமிழ்"), "t", "j",
        examples=("எனக்கு ரீஃபண்ட் வேண்டும்", "enakku refund vendum", "எனக்கு refund வேண்டும்"),
    ),
    Language(
        "bn", "Bengali", "বাংলা", BENGALI, ("bn", "ben", "bengali", "bangla", "বাংলা"), "v", "p",
        examples=("আমার রিফান্ড চাই", "amar refund chai", "আমার refund চাই"),
    ),
    Language(
        "hi-en", "Hindi and English", "Hinglish", DEVANAGARI,
        ("hinglish", "hi-en", "hi+en", "hindi-english", "hindi + english", "mixed", "code-mixed"),
        "x", option="mixed", label="Mixed", parts=("hi", "en"),
    ),
    Language("gu", "Gujarati", "ગુજરાતી", _other("Gujr", "Gujarati", "GUJARATI"), ("gu", "guj", "gujarati")),
    Language("kn", "Kannada", "ಕನ್ನಡ", _other("Knda", "Kannada", "KANNADA"), ("kn", "kan", "kannada")),
    Language("ml", "Malayalam", "മലയാളം", _other("Mlym", "Malayalam", "MALAYALAM"), ("ml", "mal", "malayalam")),
    Language("pa", "Punjabi", "ਪੰਜਾਬੀ", _other("Guru", "Gurmukhi", "GURMUKHI"), ("pa", "pan", "punjabi")),
    Language("te", "Telugu", "తెలుగు", _other("Telu", "Telugu", "TELUGU"), ("te", "tel", "telugu")),
    Language("ur", "Urdu", "اردو", _other("Arab", "Arabic", "ARABIC"), ("ur", "urd", "urdu")),
    Language("or", "Odia", "ଓଡ଼ିଆ", _other("Orya", "Odia", "ORIYA"), ("odia", "oriya")),
    Language("as", "Assamese", "অসমীয়া", BENGALI, ("assamese",)),
    Language("bho", "Bhojpuri", "भोजपुरी", DEVANAGARI, ("bho", "bh", "bhojpuri")),
    Language("ne", "Nepali", "नेपाली", DEVANAGARI, ("ne", "nep", "nepali")),
)})  # fmt: skip

USUAL = ("hi", "en", "mr")  # offered where LANGUAGES is empty
OFFERED = tuple(language for language in LANGUAGES.values() if language.key)
SCRIPTS: Mapping[str, Script] = MappingProxyType({one.script.code: one.script for one in OFFERED})

# Every name of a language, and of a script, in labelling configs and settings.
LANGUAGE_NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType({one.code: one.names for one in LANGUAGES.values()})
SCRIPT_NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {script.code: script.names for script in SCRIPTS.values()} | {MIXED: ("mixed", "both", "deva+latn")}
)
_CODES = {name: one.code for one in LANGUAGES.values() for name in (*one.names, one.code)}


def code_of(name: str) -> str:
    """`hi` for `hi`, `Hindi` or हिन्दी; an unknown name is returned in lower case."""
    return _CODES.get(name.strip().casefold(), name.strip().casefold())


def name_of(code: str) -> str:
    """The language's name; its code if the table lacks it."""
    return LANGUAGES[code].name if code in LANGUAGES else code


def transcribed_as(code: str) -> str:
    """The language that models use for it: Hinglish is transcribed as Hindi."""
    return code.partition("-")[0]


def offered(spoken: Iterable[str] = ()) -> tuple[Language, ...]:
    """The languages that annotators can choose: those of `spoken` with a key, else USUAL; mixtures last."""
    codes = set(spoken)
    found = [one for one in OFFERED if one.code in codes] or [one for one in OFFERED if one.code in USUAL]
    codes = {one.code for one in found}
    mixtures = [one for one in OFFERED if one.parts and one not in found and codes.issuperset(one.parts)]
    return (*(one for one in found if not one.parts), *(one for one in found if one.parts), *mixtures)


def scripts_in(text: str) -> frozenset[str]:
    """The scripts of a text's letters: those of the table that are offered, and Zzzz for all others."""
    return frozenset(found for found in map(script_of, text) if found)


@lru_cache(maxsize=4096)
def script_of(character: str) -> str:
    """Deva, Taml, …, Latn or Zzzz (any other) for a letter; empty for digits, signs, marks and spaces."""
    if not unicodedata.category(character).startswith("L"):
        return ""
    name = unicodedata.name(character, "")
    found = next((script.code for script in SCRIPTS.values() if name.startswith(script.letters)), None)
    return found or (LATIN if ROMAN.letters in name else "Zzzz")  # FULLWIDTH LATIN CAPITAL LETTER A


def scripts_of(found: Iterable[Language]) -> tuple[Script, ...]:
    """The scripts of these languages; Roman is always included, and last."""
    return (*dict.fromkeys(one.script for one in found if one.script != ROMAN), ROMAN)


def scripts_for(code: str, policy: str) -> frozenset[str] | None:
    """The scripts that a language may be written in under a policy (`Deva`, `Roman`, `Mixed`); None for any.

    Mixed is Devanagari and Roman letters for English, and for a language without an entry.
    """
    wanted = next((known for known, names in SCRIPT_NAMES.items() if policy.casefold() in names), None)
    if wanted == MIXED:
        own = LANGUAGES[code].script.code if code in LANGUAGES else LATIN
        return frozenset({DEVANAGARI.code if own == LATIN else own, LATIN})
    return None if wanted is None else frozenset({wanted})
