"""The number words of Tamil and Bengali.

One entry per language, keyed by its code in the language table; `number_lexicon` adds the English words, which occur in
every language. A line is a number and its spellings. Hindi, Marathi and English are in `number_words` and
`numeral_words`, which two versions of number-canonical read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True)
class NumberWords:
    """The number words of one language. Spaces separate words; | or a new line separates numbers."""

    small: str  # 0 to 99, and other numbers of one word
    hundreds: str
    scales: Mapping[int, str]
    rupees: str  # the first replaces the others
    percents: str
    english: str = ""  # English numbers in its script
    hundred_ends: str = ""  # a hundred that is joined to its number, and means one only after a number
    after_a_number: str = ""  # hundreds and scales that alone are other words
    doubtful: str = ""  # numbers that alone are other words
    ones: str = ""  # one, which is a number only before a hundred or a thousand
    fractions: Mapping[str, str] = field(default_factory=dict)
    shifts: Mapping[str, str] = field(default_factory=dict)  # before a number: its change to that number
    points: str = ""
    times: Mapping[int, str] = field(default_factory=dict)
    ordinals: str = ""
    glued_ordinals: Mapping[str, tuple[int, ...] | None] = field(default_factory=dict)  # 2nd: the ends of 2
    # Agglutination. `stems`: a number's form at the start of a longer one (இருபத்த in இருபத்தைந்து). The rest's first
    # vowel becomes the sign of the stem's last consonant; a stem with its own vowel stays separate (இருபத்தி ஐந்து).
    stems: str = ""
    vowels: Mapping[str, str] = field(default_factory=dict)  # sign -> letter
    inherent: str = ""  # the vowel of a consonant without a sign
    silent: str = ""  # the sign of a consonant without a vowel
    links: str = ""  # the vowels that may end a stem
    glide: str = ""  # the consonant between such a vowel and the next
    dropped: str = ""  # the vowel that a number loses before `joined_scales` and `joined_ordinals`
    joined_scales: Mapping[str, str] = field(default_factory=dict)
    joined_numbers: Mapping[str, str] = field(default_factory=dict)  # irregular before `joined_scales`
    joined_ordinals: tuple[str, ...] = ()


TAMIL = NumberWords(
    small="""
0 பூஜ்ஜியம் பூஜ்யம் பூச்சியம் சுழியம் சைபர்|1 ஒன்று ஒண்ணு ஒன்னு|2 இரண்டு ரெண்டு|3 மூன்று மூணு|4 நான்கு நாலு|5 ஐந்து அஞ்சு
6 ஆறு|7 ஏழு|8 எட்டு|9 ஒன்பது ஒம்பது|10 பத்து|11 பதினொன்று பதினொண்ணு பதினொன்னு
12 பன்னிரண்டு பனிரண்டு பன்னிரெண்டு பனிரெண்டு பன்னெண்டு|13 பதின்மூன்று பதிமூன்று பதிமூணு|14 பதினான்கு பதினாலு
15 பதினைந்து பதினஞ்சு|16 பதினாறு|17 பதினேழு|18 பதினெட்டு|19 பத்தொன்பது பத்தொம்பது|20 இருபது|30 முப்பது|40 நாற்பது
50 ஐம்பது அம்பது|60 அறுபது|70 எழுபது|80 எண்பது|90 தொண்ணூறு தொன்னூறு|200 இருநூறு|300 முந்நூறு முன்னூறு|400 நானூறு
500 ஐந்நூறு ஐநூறு|600 அறுநூறு|700 எழுநூறு|800 எண்ணூறு|900 தொள்ளாயிரம்
""",
    hundreds="நூறு",
    scales={
        10**3: "ஆயிரம் ஆயிரத்து ஆயிரத்தி", 10**5: "லட்சம் லட்சத்து லட்சத்தி", 10**6: "மில்லியன்", 10**7: "கோடி கோடியே",
        10**9: "பில்லியன்",
    },
    rupees="ரூபாய் ரூபா ரூ",
    percents="சதவீதம் பர்சென்ட் பெர்சன்ட்",
    english="0 ஜீரோ|1 ஒன் வன்|2 டூ|3 த்ரீ|4 ஃபோர்|5 ஃபைவ்|6 சிக்ஸ்|7 செவன்|8 எயிட் எய்ட்|9 நைன்|10 டென்",
    ones="ஒரு",
    fractions={
        "0.75": "முக்கால்", "1.5": "ஒன்றரை", "2.5": "இரண்டரை ரெண்டரை", "3.5": "மூன்றரை மூணரை",
        "4.5": "நான்கரை நாலரை", "5.5": "ஐந்தரை அஞ்சரை", "6.5": "ஆறரை", "7.5": "ஏழரை", "8.5": "எட்டரை", "9.5": "ஒன்பதரை",
        "10.5": "பத்தரை", "11.5": "பதினொன்றரை", "12.5": "பன்னிரண்டரை", "1.25": "ஒன்றேகால்", "2.25": "இரண்டேகால்",
        "3.25": "மூன்றேகால்", "4.25": "நாலேகால்", "5.25": "ஐந்தேகால்", "1.75": "ஒன்றேமுக்கால்", "2.75": "இரண்டேமுக்கால்",
        "3.75": "மூன்றேமுக்கால்", "4.75": "நாலேமுக்கால்", "5.75": "ஐந்தேமுக்கால்",
    },
    points="புள்ளி பாயிண்ட் பாயின்ட்",
    times={2: "டபுள்", 3: "டிரிபிள் ட்ரிபிள்"},
    ordinals="1 முதலாவது",
    glued_ordinals={"வது": None, "ஆவது": None, "ம்": None, "ஆம்": None},
    stems="""
20 இருபத்த|30 முப்பத்த|40 நாற்பத்த|50 ஐம்பத்த அம்பத்த|60 அறுபத்த|70 எழுபத்த|80 எண்பத்த|90 தொண்ணூற்ற தொன்னூற்ற
100 நூற்ற|200 இருநூற்ற|300 முந்நூற்ற முன்னூற்ற|400 நானூற்ற|500 ஐந்நூற்ற ஐநூற்ற|600 அறுநூற்ற|700 எழுநூற்ற|800 எண்ணூற்ற
900 தொள்ளாயிரத்த
""",
    vowels={"ா": "ஆ", "ி": "இ", "ு": "உ", "ூ": "ஊ", "ெ": "எ", "ே": "ஏ", "ை": "ஐ", "ொ": "ஒ", "ோ": "ஓ"},
    inherent="அ", silent="்", links="ிு", glide="ய", dropped="ு",
    joined_scales={"ாயிரம்": "ஆயிரம்", "ாயிரத்து": "ஆயிரத்து", "ாயிரத்தி": "ஆயிரத்தி"},
    joined_numbers={"மூவ": "மூன்று", "ஐய": "ஐந்து"},
    joined_ordinals=("ாவது", "ாம்"),
)  # fmt: skip

BENGALI = NumberWords(
    small="""
0 শূন্য|1 এক|2 দুই|3 তিন|4 চার|5 পাঁচ|6 ছয়|7 সাত|8 আট|9 নয়|10 দশ|11 এগারো এগার|12 বারো|13 তেরো তের|14 চোদ্দো চোদ্দ চৌদ্দ
15 পনেরো পনের|16 ষোলো ষোল|17 সতেরো সতের|18 আঠারো আঠার|19 উনিশ ঊনিশ|20 কুড়ি বিশ|21 একুশ|22 বাইশ|23 তেইশ|24 চব্বিশ
25 পঁচিশ|26 ছাব্বিশ|27 সাতাশ|28 আটাশ আঠাশ|29 উনত্রিশ ঊনত্রিশ|30 ত্রিশ তিরিশ|31 একত্রিশ|32 বত্রিশ|33 তেত্রিশ|34 চৌত্রিশ
35 পঁয়ত্রিশ|36 ছত্রিশ|37 সাঁইত্রিশ|38 আটত্রিশ|39 উনচল্লিশ ঊনচল্লিশ|40 চল্লিশ|41 একচল্লিশ|42 বিয়াল্লিশ|43 তেতাল্লিশ
44 চুয়াল্লিশ|45 পঁয়তাল্লিশ|46 ছেচল্লিশ|47 সাতচল্লিশ|48 আটচল্লিশ|49 উনপঞ্চাশ ঊনপঞ্চাশ|50 পঞ্চাশ|51 একান্ন
52 বায়ান্ন বাহান্ন|53 তিপ্পান্ন|54 চুয়ান্ন|55 পঞ্চান্ন|56 ছাপ্পান্ন|57 সাতান্ন|58 আটান্ন|59 উনষাট ঊনষাট|60 ষাট
61 একষট্টি|62 বাষট্টি|63 তেষট্টি|64 চৌষট্টি|65 পঁয়ষট্টি|66 ছেষট্টি|67 সাতষট্টি|68 আটষট্টি|69 উনসত্তর ঊনসত্তর|70 সত্তর
71 একাত্তর|72 বাহাত্তর|73 তিয়াত্তর|74 চুয়াত্তর|75 পঁচাত্তর|76 ছিয়াত্তর|77 সাতাত্তর|78 আটাত্তর|79 উনআশি ঊনআশি|80 আশি
81 একাশি|82 বিরাশি|83 তিরাশি|84 চুরাশি|85 পঁচাশি|86 ছিয়াশি|87 সাতাশি|88 আটাশি অষ্টাশি|89 উননব্বই ঊননব্বই|90 নব্বই
91 একানব্বই|92 বিরানব্বই|93 তিরানব্বই|94 চুরানব্বই|95 পঁচানব্বই|96 ছিয়ানব্বই|97 সাতানব্বই|98 আটানব্বই|99 নিরানব্বই
200 দুশো দুশ|600 ছশো ছশ|900 নশো নশ
""",
    hundreds="শো শ শত",
    scales={10**3: "হাজার", 10**5: "লাখ লক্ষ", 10**6: "মিলিয়ন", 10**7: "কোটি", 10**9: "বিলিয়ন"},
    rupees="টাকা ৳ রুপি",
    percents="শতাংশ পার্সেন্ট পারসেন্ট",
    english="0 জিরো|1 ওয়ান|2 টু|3 থ্রি|4 ফোর|5 ফাইভ|6 সিক্স|7 সেভেন|8 এইট|9 নাইন|10 টেন",
    hundred_ends="শো শত শ",
    after_a_number="শো শ শত লক্ষ",  # show, hundreds of, attention
    doubtful="নয়",  # is not
    fractions={"1.5": "দেড়", "2.5": "আড়াই"},
    shifts={"0.5": "সাড়ে", "0.25": "সোয়া সওয়া", "-0.25": "পৌনে"},
    points="দশমিক পয়েন্ট",
    times={2: "ডাবল ডবল", 3: "ট্রিপল"},
    ordinals="""
1 প্রথম পয়লা পহেলা|2 দ্বিতীয় দোসরা|3 তৃতীয় তেসরা|4 চতুর্থ চৌঠা|5 পঞ্চম|6 ষষ্ঠ|7 সপ্তম|8 অষ্টম|9 নবম|10 দশম
""",
    glued_ordinals={
        "ম": (1, 5, 7, 8, 9, 10), "য়": (2, 3), "র্থ": (4,), "ষ্ঠ": (6,), "তম": None, "লা": (1,), "রা": (2, 3), "ঠা": (4,),
        "ই": tuple(range(5, 19)), "শে": tuple(range(19, 32)),
    },
)  # fmt: skip

NUMBER_WORDS: Mapping[str, NumberWords] = MappingProxyType({"ta": TAMIL, "bn": BENGALI})
