"""Number words of Hindi, Marathi and English, in both scripts, as people say them on the telephone.

One line is a number and its spellings. A word is looked up without nukta, with anusvara for candrabindu and with one ठ
for ट्ठ and ठ्ठ and लीस for लिस (`spelling`), so those variants are not listed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from decimal import Decimal
from types import MappingProxyType

HINDI = """
0 शून्य ज़ीरो सिफ़र|1 एक|2 दो|3 तीन|4 चार|5 पाँच|6 छह छः छ छै छे छ्ह|7 सात|8 आठ|9 नौ|10 दस|11 ग्यारह
12 बारह|13 तेरह|14 चौदह|15 पंद्रह पन्द्रह|16 सोलह|17 सत्रह सतरह|18 अठारह|19 उन्नीस|20 बीस|21 इक्कीस
22 बाईस बाइस|23 तेईस तेइस|24 चौबीस|25 पच्चीस पचीस|26 छब्बीस|27 सत्ताईस सत्ताइस|28 अठाईस अठाइस
29 उनतीस उन्तीस|30 तीस|31 इकतीस इकत्तीस|32 बत्तीस|33 तैंतीस तेंतीस तेतीस|34 चौंतीस चौतीस|35 पैंतीस
36 छत्तीस|37 सैंतीस|38 अड़तीस|39 उनतालीस उन्तालीस|40 चालीस|41 इकतालीस|42 बयालीस बियालीस
43 तैंतालीस तेंतालीस|44 चौवालीस चवालीस चौंवालीस चौआलीस|45 पैंतालीस|46 छियालीस|47 सैंतालीस
48 अड़तालीस|49 उनचास उन्चास|50 पचास|51 इक्यावन|52 बावन|53 तिरपन तिरेपन|54 चौवन चौअन|55 पचपन|56 छप्पन
57 सत्तावन|58 अठावन|59 उनसठ|60 साठ|61 इकसठ|62 बासठ|63 तिरसठ तिरेसठ|64 चौंसठ चौसठ|65 पैंसठ|66 छियासठ
67 सड़सठ सरसठ|68 अड़सठ|69 उनहत्तर|70 सत्तर|71 इकहत्तर|72 बहत्तर|73 तिहत्तर|74 चौहत्तर
75 पचहत्तर पिचहत्तर|76 छिहत्तर|77 सतहत्तर|78 अठहत्तर|79 उन्यासी उनासी उन्नासी|80 अस्सी|81 इक्यासी|82 बयासी
83 तिरासी|84 चौरासी|85 पचासी|86 छियासी|87 सत्तासी सतासी|88 अठासी|89 नवासी|90 नब्बे
91 इक्यानवे इक्यानबे|92 बानवे बानबे|93 तिरानवे तिरानबे|94 चौरानवे चौरानबे|95 पचानवे पंचानवे पंचानबे
96 छियानवे छियानबे|97 सत्तानवे सतानवे सत्तानबे|98 अठानवे अठानबे|99 निन्यानवे निन्यानबे
"""

MARATHI = """
0 शून्य|1 एक|2 दोन|3 तीन|4 चार|5 पाच|6 सहा|7 सात|8 आठ|9 नऊ|10 दहा|11 अकरा|12 बारा|13 तेरा|14 चौदा
15 पंधरा|16 सोळा|17 सतरा|18 अठरा|19 एकोणीस|20 वीस|21 एकवीस|22 बावीस|23 तेवीस|24 चोवीस|25 पंचवीस
26 सव्वीस|27 सत्तावीस|28 अठावीस|29 एकोणतीस|30 तीस|31 एकतीस|32 बत्तीस|33 तेहतीस तेहेतीस|34 चौतीस
35 पस्तीस|36 छत्तीस|37 सदतीस|38 अडतीस|39 एकोणचाळीस|40 चाळीस|41 एक्केचाळीस एकेचाळीस|42 बेचाळीस
43 त्रेचाळीस|44 चव्वेचाळीस|45 पंचेचाळीस|46 सेहेचाळीस शेहेचाळीस सेचाळीस|47 सत्तेचाळीस|48 अठेचाळीस
49 एकोणपन्नास|50 पन्नास|51 एक्कावन्न एकावन्न|52 बावन्न|53 त्रेपन्न|54 चोपन्न|55 पंचावन्न|56 छप्पन्न
57 सत्तावन्न|58 अठावन्न|59 एकोणसाठ|60 साठ|61 एकसष्ट|62 बासष्ट|63 त्रेसष्ट|64 चौसष्ट|65 पासष्ट
66 सहासष्ट|67 सदुसष्ट|68 अडुसष्ट|69 एकोणसत्तर|70 सत्तर|71 एक्काहत्तर एकाहत्तर|72 बाहत्तर
73 त्र्याहत्तर|74 चौऱ्याहत्तर|75 पंच्याहत्तर|76 शहात्तर|77 सत्याहत्तर सत्त्याहत्तर|78 अठ्याहत्तर
79 एकोणऐंशी|80 ऐंशी|81 एक्याऐंशी|82 ब्याऐंशी|83 त्र्याऐंशी|84 चौऱ्याऐंशी|85 पंच्याऐंशी|86 शहाऐंशी
87 सत्याऐंशी सत्त्याऐंशी|88 अठ्याऐंशी|89 एकोणनव्वद|90 नव्वद|91 एक्याण्णव|92 ब्याण्णव|93 त्र्याण्णव
94 चौऱ्याण्णव|95 पंच्याण्णव|96 शहाण्णव|97 सत्याण्णव सत्त्याण्णव|98 अठ्याण्णव
99 नव्याण्णव नव्व्याण्णव
"""

ENGLISH = """
0 zero|1 one|2 two|3 three|4 four|5 five|6 six|7 seven|8 eight|9 nine|10 ten|11 eleven|12 twelve
13 thirteen|14 fourteen|15 fifteen|16 sixteen|17 seventeen|18 eighteen|19 nineteen|20 twenty
30 thirty|40 forty fourty|50 fifty|60 sixty|70 seventy|80 eighty|90 ninety
"""

ENGLISH_IN_DEVANAGARI = """
1 वन|2 टू|3 थ्री|4 फोर फ़ोर|5 फाइव फाईव|6 सिक्स|7 सेवन सेव्हन|8 एट|9 नाइन नाईन|10 टेन
11 इलेवन इलेव्हन|12 ट्वेल्व|15 फिफ्टीन|20 ट्वेंटी|30 थर्टी|40 फोर्टी|50 फिफ्टी|60 सिक्सटी|70 सेवेंटी
80 एटी|90 नाइंटी
"""

HINDI_IN_ROMAN = """
0 shunya|1 ek|2 do|3 teen|4 char chaar|5 paanch panch|6 chhah chhe cheh chah|7 saat|8 aath|9 nau
10 das dus|11 gyarah|12 barah baarah|13 terah|14 chaudah|15 pandrah|16 solah|17 satrah
18 atharah athaarah|19 unnis|20 bees|21 ikkis|22 bais|23 teis|24 chaubis|25 pachis pachchis pachees
30 tees|35 paintis|40 chalis chaalis|45 paintalis|50 pachas pachaas|60 saath|70 sattar|75 pachhattar
80 assi|90 nabbe|99 ninyanve
"""

HINDI_NOT_OTHERWISE = frozenset({"तेरा", "सहा", "बारा"})  # Marathi numbers that mean something else in Hindi
ENGLISH_TOO = frozenset(
    {"do", "teen", "char", "das", "saath"}
)  # not numbers where English or another word is as likely

HUNDREDS = frozenset(["hundred", "सौ", "शे", "शें", "हंड्रेड", "हन्ड्रेड", "sau"])
SCALES_WRITTEN = {
    10**3: "thousand हज़ार हजार थाउजेंड थाउज़ैंड hazar hazaar hajar hajaar k",
    10**5: "lakh lakhs lac lacs लाख laakh",
    10**6: "million मिलियन",
    10**7: "crore crores करोड़ कोटी karod caror",
    10**9: "billion बिलियन अरब अब्ज arab",
}
WHOLE_HUNDRED = "शंभर"  # Marathi's word for a hundred alone
FRACTIONS_WRITTEN = {
    "1.5": "डेढ़ दीड dedh",
    "2.5": "ढाई अढ़ाई अडीच dhai dhaai adhai",
    "0.75": "पौन पाऊण पौना",
}
# before a number: its change to that number, and its own value if it can be alone
SHIFTS_WRITTEN = {
    "0.5": "साढ़े साडे सार्ध saadhe sadhe saade sade",
    "0.25": "सवा सव्वा sava savva",
    "-0.25": "पौने पावणे paune",
}
POINTS = frozenset(["point", "दशमलव", "दशांश", "पॉइंट", "पॉईंट", "पॉइन्ट", "प्वाइंट"])
DOUBLES = MappingProxyType({"double": 2, "डबल": 2, "triple": 3, "ट्रिपल": 3})
CURRENCY = MappingProxyType({"hi": "रुपये", "mr": "रुपये", "en": "rupees"})
PERCENT = MappingProxyType({"hi": "प्रतिशत", "mr": "टक्के", "en": "percent"})
_NUKTA = re.compile("(?<=[कखगजडढफ])\u093c")  # where people write one; elsewhere it is a mistake and stays
RUPEE_SIGNS = frozenset({"₹", "rs", "रु", "inr"})


def spelling(word: str) -> str:
    """A word's form in the tables."""
    if word.isascii():
        return word
    word = _NUKTA.sub("", unicodedata.normalize("NFD", word)).replace("\u0901", "\u0902")
    return word.replace("ट्ठ", "ठ").replace("ठ्ठ", "ठ").replace("लिस", "लीस")


def _numbers(table: str, without: Iterable[str] = ()) -> dict[str, Decimal]:
    left_out = set(map(spelling, without))
    entries = (entry.split() for line in table.split("\n") for entry in line.split("|") if entry)
    return {
        spelling(word): Decimal(number)
        for number, *words in entries
        for word in words
        if spelling(word) not in left_out
    }


def _inverted(table: dict[str, str]) -> dict[str, Decimal]:
    return {spelling(word): Decimal(value) for value, words in table.items() for word in words.split()}


ENGLISH_UNITS_AND_TENS = frozenset({**_numbers(ENGLISH), **_numbers(ENGLISH_IN_DEVANAGARI)})
SCALES = MappingProxyType(
    {spelling(word): Decimal(value) for value, words in SCALES_WRITTEN.items() for word in words.split()}
)
FRACTIONS, SHIFTS = MappingProxyType(_inverted(FRACTIONS_WRITTEN)), MappingProxyType(_inverted(SHIFTS_WRITTEN))

_EVERYWHERE = {**_numbers(MARATHI, HINDI_NOT_OTHERWISE), **_numbers(HINDI), **_numbers(ENGLISH)}
_INDIAN = {**_EVERYWHERE, **_numbers(ENGLISH_IN_DEVANAGARI)}
_ROMAN = _numbers(HINDI_IN_ROMAN, ENGLISH_TOO)
SMALL = MappingProxyType(
    {
        "en": _EVERYWHERE,
        "hi": {**_INDIAN, **_numbers(HINDI_IN_ROMAN)},
        "mr": {**_INDIAN, **_ROMAN, **_numbers(MARATHI)},
        "": {**_INDIAN, **_ROMAN},
    }
)
