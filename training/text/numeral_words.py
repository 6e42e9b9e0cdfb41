"""The number words of number-canonical@2: those of `number_words`, and further ones that occur in calls.

Words are looked up by `word_key`: folded as in `spellings`, with one ठ for ट्ठ and ठ्ठ, लीस for लिस and ष्ट for ष्ठ, so
those variants are not listed. `number_words` itself never changes, because number-canonical@1 uses it.
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from types import MappingProxyType

from training.text import number_words as first
from training.text.spellings import fold
from training.text.writing import indic

HINDI = """
0 ज़ीरो जीरो सिफर|4 चार|11 ग्यारा|17 सत्तरह|19 उनीस|21 इकीस|26 छबीस|27 सताईस|28 अट्ठाईस|29 उनत्तीस
31 इकतिस इक्तीस|33 तैतीस|34 चौंतिस|35 पैतीस|37 सैतीस|39 उनचालीस|41 एकतालीस|42 ब्यालीस
43 तिरतालीस तेतालीस तैतालीस|44 चव्वालीस चौवालिस|45 पैतालीस|46 छयालीस छ्यालीस|47 सैतालीस|49 उनंचास
51 इकावन इक्कावन|53 तरेपन त्रेपन|54 चव्वन|57 सतावन|59 उन्सठ|61 इकसट|63 त्रेसठ तरेसठ|65 पैसठ|66 छासठ छ्यासठ
68 अरसठ|69 उन्हत्तर उनहतर|71 इखत्तर|73 तेहत्तर|75 पछत्तर|76 छियत्तर छहत्तर|77 सतत्तर|78 अठत्तर|79 उनआसी|81 इकासी
82 ब्यासी बियासी|85 पिचासी|86 छयासी|91 इकानवे|92 बयानवे|95 पिचानवे|96 छानवे|99 निन्नानवे निनानवे
"""
MARATHI = """
0 झिरो झीरो|17 सत्रा|19 एकोणविस|20 विस|21 एकविस|24 चौवीस|25 पंचविस|31 एकेतीस|33 तेत्तीस|37 सदोतीस सततीस
44 चवेचाळीस|46 सेहचाळीस शेचाळीस|67 सदसष्ट|68 अडसष्ट|74 चौर्याहत्तर|76 शाहत्तर|79 एकोणऐशी|80 ऐशी
81 एक्क्याऐंशी एक्यांशी|82 ब्यांशी|83 त्र्यांशी|84 चौऱ्यांशी चौर्याऐंशी|85 पंच्यांशी|86 शहांशी|87 सत्त्यांशी
88 अठ्ठ्यांशी|91 एक्क्याण्णव|94 चौर्याण्णव
"""
ENGLISH = "0 naught nought"
ENGLISH_IN_DEVANAGARI = """
2 टु|5 फ़ाइव|7 सेवेन|8 एइट|9 नाईन|11 एलेवन|13 थर्टीन|14 फोर्टीन फोरटीन|15 फिफटीन|16 सिक्सटीन सिक्स्टीन
17 सेवेंटीन सेवनटीन|18 एटीन एइटीन|19 नाइनटीन नाइंटीन|20 ट्वंटी टवेंटी ट्वेंटि|40 फॉर्टी|50 फिफटी|60 सिक्स्टी
70 सेवनटी सेव्हंटी|80 एट्टी एइटी|90 नाइनटी
"""
HINDI_IN_ROMAN = """
0 shoonya sifar|5 paach|6 chhai chhah|11 gyaarah gyara|15 pandra|16 solah|17 satrah|18 attharah|19 unnees
20 bees|21 ikkees|22 baees bayis|23 teis tayis|24 chaubees chobis|25 pachchees|26 chhabbis chabbis|27 sattais
28 atthais athais|29 untis unattis|31 ikattis iktis|32 battis battees|33 taintis tentis|34 chauntis
36 chhattis chattis|37 saintis|38 adtis|39 untalis|41 iktalis|42 bayalis|43 taintalis|44 chauvalis chavalis
46 chhiyalis|47 saintalis|48 adtalis|49 unchas|51 ikyavan|52 bavan|53 tirpan|54 chauvan|55 pachpan
56 chhappan chappan|57 sattavan|58 athavan|59 unsath|61 iksath|62 basath|63 tirsath|64 chaunsath|65 painsath
66 chhiyasath|67 sadsath|68 adsath|69 unhattar|71 ikhattar|72 bahattar|73 tihattar|74 chauhattar|75 pachattar
76 chhihattar|77 satahattar|78 athhattar|79 unyasi|81 ikyasi|82 bayasi|83 tirasi|84 chaurasi|85 pachasi
86 chhiyasi|87 sattasi|88 athasi|89 navasi|91 ikyanve|92 banve|93 tiranve|94 chauranve|95 panchanve pachanve
96 chhiyanve|97 sattanve|98 athanve|99 ninyanave
"""
MARATHI_IN_ROMAN = """
2 don|3 tin|5 pach paach|6 saha|9 naoo nav|10 daha|11 akra|12 bara|13 tera|14 chauda|15 pandhra|16 sola|17 satra
18 athra|19 ekonis|20 vis vees|25 panchvis|30 tis|40 chalis|50 pannas|70 sattar|80 ainshi|90 navvad
"""
# numbers only beside other numbers: do (give), teen, साथ written as saath
ONLY_IN_COMPANY = MappingProxyType(
    {
        "hi": frozenset({"saath"}),
        "mr": frozenset({"do", "teen", "char", "das", "saath", "don", "tin", "bara", "tera", "nav", "vis", "saha"}),
        "": frozenset({"do", "teen", "char", "das", "saath"}),
        "en": frozenset(),
    }
)
HUNDREDS = first.HUNDREDS | {"हंड्रेड", "हन्ड्रेड", "शेकडा", "hundreds"}
SCALES_WRITTEN = {
    10**3: "थाउसेंड थाउज़ंड hazaar hajaar thousands",
    10**5: "लक्ष lakhon laakhs lacks",
    10**6: "दशलक्ष millions",
    10**7: "क्रोर karor karore crores",
}
ONLY_AFTER_A_NUMBER = frozenset({"k", "लक्ष"})  # a letter; attention
FRACTIONS_WRITTEN = {"1.5": "डेढ देड़ derh", "2.5": "ढाइ आडीच dhaee", "0.75": "पाउण"}
SHIFTS_WRITTEN = {"0.5": "साड़े साढ़ें sadhe", "0.25": "सवा sawa savaa", "-0.25": "पाउणे पाऊणे pavne"}
POINTS = first.POINTS | {"पोइंट", "पॉइंट"}
TIMES = MappingProxyType(
    {**first.DOUBLES, "डब्बल": 2, "दबल": 2, "dabal": 2, "ट्रिपल": 3, "ट्रीपल": 3, "tripal": 3, "quadruple": 4}
)
ZEROS_BESIDE_DIGITS = frozenset({"oh", "o", "ओ", "ओह"})
RUPEES = frozenset({"₹", "rs", "रु", "रू", "inr", "rupee", "rupees", "rupaye", "rupaya", "rupay", "rupye", "rupaiya",
                    "रुपये", "रुपया", "रुपीज", "रुपी"})  # fmt: skip
PERCENTS = frozenset(
    {"%", "percent", "percentage", "प्रतिशत", "परसेंट", "पर्सेंट", "टक्के", "टक्का", "फीसदी", "फीसद", "pratishat"}
)
PLUS = frozenset({"+", "plus", "प्लस"})
BEFORE_NOON = frozenset({"am", "pm", "बजे", "baje", "वाजता", "वाजले", "vajta", "oclock", "एएम", "पीएम"})
BEFORE_A_TIME = frozenset({"at", "by", "till"})

ORDINALS = """
1 first pehla pehli pehle pahla pahli pahle pahila pahili पहला पहली पहले पहिला पहिली पहिले पहिल्या फर्स्ट
2 second dusra dusri dusre doosra doosri doosre दूसरा दूसरी दूसरे दुसरा दुसरी दुसरे दुसऱ्या सेकंड सेकेंड
3 third tisra tisri tisre teesra teesri teesre तीसरा तीसरी तीसरे तिसरा तिसरी तिसरे तिसऱ्या थर्ड
4 fourth chautha chauthi chauthe चौथा चौथी चौथे चौथ्या फोर्थ|5 fifth panchva paanchva paanchvi panchvi paanchwa
6 sixth chhatha chhathi छठा छठी छठे छठवां छठवीं छठवें सहावा|7 seventh|8 eighth
9 ninth नवां नवीं नवें नववा नववी नववे नवव्या|10 tenth dasva dasvi|11 eleventh|12 twelfth|13 thirteenth
14 fourteenth|15 fifteenth|16 sixteenth|17 seventeenth|18 eighteenth|19 nineteenth
20 twentieth विसावा विसावी विसावे विसाव्या|30 thirtieth तिसावा तिसावी तिसावे|40 fortieth|50 fiftieth|60 sixtieth
70 seventieth|80 eightieth|90 ninetieth|100 hundredth शंभरावा शंभरावी शंभरावे|1000 thousandth
"""
ORDINAL_ENDS = ("वां", "वीं", "वें", "वा", "वी", "वे", "व्या", "ावा", "ावी", "ावे", "ाव्या")
GLUED_ENDS = MappingProxyType(
    {
        **dict.fromkeys(("st", "nd", "rd", "th", *ORDINAL_ENDS), None),
        **dict.fromkeys(("ला", "ली", "ले", "ल्या"), (1,)),
        **dict.fromkeys(("रा", "री", "रे", "ऱ्या"), (2, 3)),
        **dict.fromkeys(("था", "थी", "थे", "थ्या"), (4,)),
        **dict.fromkeys(("ठा", "ठी", "ठे", "ठवां"), (6,)),
    }
)
ALSO_A_TIME = frozenset({"second", "सेकंड", "सेकेंड"})  # one second


@lru_cache(maxsize=65536)
def word_key(word: str) -> str:
    """A word's form in the tables."""
    if word.isascii():
        return word
    word = fold(word).replace("ट्ठ", "ठ").replace("ठ्ठ", "ठ").replace("ष्ठ", "ष्ट")
    return word.replace("लिस", "लीस")


def _numbers(*tables: str) -> dict[str, Decimal]:
    found = {}
    for table in tables:
        for entry in (entry.split() for line in table.split("\n") for entry in line.split("|") if entry):
            found.update({word_key(indic(word)): Decimal(entry[0]) for word in entry[1:]})
    return found


def _inverted(*tables: dict[str, str]) -> dict[str, Decimal]:
    return {
        word_key(indic(word)): Decimal(value)
        for table in tables
        for value, words in table.items()
        for word in words.split()
    }


def _without(numbers: dict[str, Decimal], words: frozenset[str]) -> dict[str, Decimal]:
    return {word: value for word, value in numbers.items() if word not in words}


def _keys(words: frozenset[str]) -> frozenset[str]:
    return frozenset(map(word_key, words))


_HINDI, _MARATHI = _numbers(first.HINDI, HINDI), _numbers(first.MARATHI, MARATHI)
_ENGLISH, _SPELLED = _numbers(first.ENGLISH, ENGLISH), _numbers(first.ENGLISH_IN_DEVANAGARI, ENGLISH_IN_DEVANAGARI)
_ROMAN = _numbers(first.HINDI_IN_ROMAN, HINDI_IN_ROMAN)
_EVERYWHERE = {**_without(_MARATHI, _keys(first.HINDI_NOT_OTHERWISE)), **_HINDI, **_ENGLISH}
SMALL = MappingProxyType(
    {
        "en": _EVERYWHERE,
        "hi": {**_EVERYWHERE, **_SPELLED, **_ROMAN},
        "mr": {**_EVERYWHERE, **_SPELLED, **_ROMAN, **_numbers(MARATHI_IN_ROMAN), **_MARATHI},
        "": {**_EVERYWHERE, **_SPELLED, **_ROMAN},
    }
)
ENGLISH_NUMBERS = MappingProxyType(_ENGLISH)
ENGLISH_WORDS = frozenset({**_ENGLISH, **_SPELLED})
HUNDRED_KEYS, POINT_KEYS = _keys(frozenset(map(indic, HUNDREDS))), _keys(frozenset(map(indic, POINTS)))
SCALES = MappingProxyType(
    {
        word_key(indic(word)): Decimal(value)
        for table in (first.SCALES_WRITTEN, SCALES_WRITTEN)
        for value, words in table.items()
        for word in words.split()
    }
)
FRACTIONS = MappingProxyType(_inverted(first.FRACTIONS_WRITTEN, FRACTIONS_WRITTEN))
SHIFTS = MappingProxyType(_inverted(first.SHIFTS_WRITTEN, SHIFTS_WRITTEN))
ORDINAL = MappingProxyType({word: int(value) for word, value in _numbers(ORDINALS).items()})
TIMES_KEYS = MappingProxyType({word_key(word): times for word, times in TIMES.items()})
RUPEE_KEYS, PERCENT_KEYS = _keys(RUPEES) | {"₹"}, _keys(PERCENTS)
