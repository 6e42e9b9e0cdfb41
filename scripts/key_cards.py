"""Labelling configs -> the key cards of docs/annotators, in English, Hindi and Marathi.

Keys and names on the screen come from the configs, so a card cannot show a key that is not there. Only what they mean
is written here, once per language; a test fails when a value has no meaning in one of them.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple
from xml.etree import ElementTree

from ml_backend.labelling import labelconfig


class Meaning(NamedTuple):
    """One text in each language of the cards."""

    en: str
    hi: str
    mr: str


class Row(NamedTuple):
    """One key: what to press, what the screen calls it, what it means."""

    config: str
    control: str
    key: str
    shown: str
    meaning: Meaning


# Label Studio's own keys. `instructions.html` explains the same ones, and a test compares the two.
EDITOR: Mapping[str, Meaning] = {
    "Ctrl+P": Meaning(
        "play or pause, also while you type; with a region chosen, only that region",
        "चलाएँ या रोकें, लिखते समय भी; हिस्सा (region) चुना हो तो सिर्फ़ वही चलता है",
        "चालू करा किंवा थांबवा, लिहितानाही; भाग (region) निवडला असेल तर फक्त तोच वाजतो",
    ),
    "Alt+.": Meaning("next region", "अगला हिस्सा", "पुढचा भाग"),
    "Enter": Meaning(
        "into the text of the region; in the text: done", "हिस्से के टेक्स्ट में जाएँ; टेक्स्ट में: पूरा हुआ",
        "भागाच्या मजकुरात जा; मजकुरात असताना: झाले",
    ),
    "Esc": Meaning(
        "out of the text; once more: no region chosen", "टेक्स्ट से बाहर; एक बार और: कोई हिस्सा चुना नहीं",
        "मजकुरातून बाहेर; पुन्हा एकदा: कोणताही भाग निवडलेला नाही",
    ),
    "Ctrl+Enter": Meaning(
        "submit; inside a text press it twice", "सबमिट; टेक्स्ट के अंदर हों तो दो बार दबाएँ",
        "सबमिट; मजकुरात असाल तर दोनदा दाबा",
    ),
    "Ctrl+Space": Meaning("skip this task", "यह टास्क छोड़ें", "हे टास्क वगळा"),
}  # fmt: skip

HEADS: Mapping[str, Meaning] = {
    "role": Meaning("Who speaks", "कौन बोल रहा है", "कोण बोलत आहे"),
    "check": Meaning("Unsure", "शंका", "शंका"),
    "language": Meaning("Language", "भाषा", "भाषा"),
    "script": Meaning("Script", "लिपि", "लिपी"),
    "quality": Meaning("Quality of the sound", "आवाज़ की गुणवत्ता", "आवाजाची गुणवत्ता"),
    "accent": Meaning("Accent", "बोलने का लहजा", "बोलण्याची ढब"),
    "emotion": Meaning("Emotion", "भाव", "भावना"),
    "reject": Meaning("Reject: nothing to write", "रिजेक्ट: लिखने को कुछ नहीं", "नाकारा: लिहिण्यासारखे काही नाही"),
    "redraft": Meaning("Draft again in another language", "दूसरी भाषा में नया ड्राफ़्ट", "दुसऱ्या भाषेत नवा मसुदा"),
    "transcription": Meaning("In the text", "टेक्स्ट में", "मजकुरात"),
    "wrong_word": Meaning("Wrong word", "गलत शब्द", "चुकीचा शब्द"),
    "naturalness": Meaning("Naturalness", "स्वाभाविकता", "सहजता"),
    "pronunciation": Meaning("Pronunciation", "उच्चारण", "उच्चार"),
    "faults": Meaning("Faults", "खामियाँ", "दोष"),
}
BLOCKS: Mapping[str, Meaning] = {
    "editor": Meaning("Play, move, submit", "चलाना, आगे जाना, सबमिट", "वाजवणे, पुढे जाणे, सबमिट"),
    "calls": Meaning("Transcribe calls", "कॉल लिखना", "कॉल लिहिणे"),
    "original": Meaning(
        "Only in projects with one text for the whole call", "सिर्फ़ उन प्रोजेक्ट में जहाँ पूरी कॉल का एक टेक्स्ट है",
        "फक्त संपूर्ण कॉलचा एकच मजकूर असलेल्या प्रोजेक्टमध्ये",
    ),
    "tts": Meaning("Rate a voice", "आवाज़ को अंक देना", "आवाजाला गुण देणे"),
}  # fmt: skip
_NAMES = {
    "hi": Meaning("Hindi", "हिंदी", "हिंदी"),
    "en": Meaning("English", "अंग्रेज़ी", "इंग्रजी"),
    "mr": Meaning("Marathi", "मराठी", "मराठी"),
    "ta": Meaning("Tamil", "तमिल", "तमिळ"),
    "bn": Meaning("Bengali", "बांग्ला", "बंगाली"),
}
_SCRIPTS = {
    "Devanagari": Meaning("मुझे रिफंड चाहिए", "देवनागरी", "देवनागरी"),
    "Roman": Meaning("mujhe refund chahiye", "रोमन", "रोमन"),
    "Tamil": Meaning("எனக்கு ரீஃபண்ட் வேண்டும்", "तमिल लिपि", "तमिळ लिपी"),
    "Bengali": Meaning("আমার রিফান্ড চাই", "बांग्ला लिपि", "बंगाली लिपी"),
    "mixed": Meaning("मुझे refund चाहिए", "दोनों: मुझे refund चाहिए", "दोन्ही: मला refund हवा आहे"),
}
_STEPS = (
    Meaning("bad", "खराब", "वाईट"), Meaning("poor", "कमज़ोर", "कमी दर्जाचे"), Meaning("fair", "ठीक-ठाक", "ठीक"),
    Meaning("good", "अच्छा", "चांगले"), Meaning("excellent", "बहुत अच्छा", "उत्तम"),
)  # fmt: skip
MEANINGS: Mapping[tuple[str, str], Meaning] = {
    ("role", "Agent"): Meaning("works for the company", "कंपनी की ओर से बोलने वाला", "कंपनीच्या वतीने बोलणारी व्यक्ती"),
    ("role", "Customer"): Meaning("the customer", "ग्राहक", "ग्राहक"),
    ("role", "Speech"): Meaning("you cannot tell who", "पता नहीं कौन है", "कोण ते कळत नाही"),
    ("check", "check"): Meaning(
        "listen again; on or off", "दोबारा सुनें; लगाएँ या हटाएँ", "पुन्हा ऐका; लावा किंवा काढा"
    ),
    **{("language", code): name for code, name in _NAMES.items()},
    ("language", "mixed"): Meaning(
        "really switches", "भाषा सचमुच बदलती रहती है", "भाषा खरोखर बदलत राहते"
    ),
    **{("script", value): name for value, name in _SCRIPTS.items()},
    ("quality", "excellent"): Meaning("no noise at all", "बिल्कुल साफ़", "अगदी स्वच्छ"),
    ("quality", "good"): Meaning("clear", "साफ़", "स्वच्छ"),
    ("quality", "fair"): Meaning("noisy, but clear enough", "शोर है, पर समझ आता है", "गोंगाट आहे, पण समजते"),
    ("quality", "poor"): Meaning("hard to understand", "समझना मुश्किल", "समजणे कठीण"),
    ("accent", "standard"): Meaning("standard", "मानक", "प्रमाण"),
    ("accent", "rural"): Meaning("of the country", "ग्रामीण", "ग्रामीण"),
    ("accent", "urban"): Meaning("of the city", "शहरी", "शहरी"),
    ("accent", "code-mixed"): Meaning("mixes languages", "भाषाएँ मिलाकर", "भाषा मिसळून"),
    ("emotion", "calm"): Meaning("calm", "शांत", "शांत"),
    ("emotion", "happy"): Meaning("happy", "खुश", "आनंदी"),
    ("emotion", "urgent"): Meaning("in a hurry", "जल्दी में", "घाईत"),
    ("emotion", "angry"): Meaning("angry", "गुस्से में", "रागात"),
    ("reject", "no-speech"): Meaning(
        "silence or noise only", "सिर्फ़ सन्नाटा या शोर", "फक्त शांतता किंवा गोंगाट"
    ),
    ("reject", "unintelligible"): Meaning(
        "you understand less than half", "आधे से कम समझ आता है", "निम्म्याहून कमी समजते"
    ),
    ("reject", "other-language"): Meaning(
        "mostly another language", "ज़्यादातर कोई दूसरी भाषा", "बहुतेक वेळ दुसरीच भाषा"
    ),
    ("reject", "machine-only"): Meaning(
        "hold music, ring tone, announcement", "होल्ड म्यूज़िक, रिंगटोन, रिकॉर्डेड घोषणा",
        "होल्ड म्युझिक, रिंगटोन, रेकॉर्डेड घोषणा",
    ),
    ("reject", "private"): Meaning(
        "card, password, OTP, or “do not record”", "कार्ड, पासवर्ड, OTP, या “रिकॉर्ड मत करो”",
        "कार्ड, पासवर्ड, OTP किंवा “रेकॉर्ड करू नका”",
    ),
    ("reject", "broken-audio"): Meaning(
        "does not play, or drops out", "चलता नहीं, या बार-बार कटता है", "चालत नाही किंवा सारखा तुटतो"
    ),
    **{
        ("redraft", code): Meaning(f"new draft in {name.en}", f"{name.hi} में नया ड्राफ़्ट", f"{name.mr} भाषेत नवा मसुदा")
        for code, name in _NAMES.items()
    },
    ("transcription", "[unclear]"): Meaning(
        "words you cannot make out", "जो शब्द समझ न आएँ", "न समजलेले शब्द"
    ),
    ("wrong_word", "wrong word"): Meaning(
        "press, then mark the words", "दबाएँ, फिर शब्द चुनें", "दाबा, मग शब्द निवडा"
    ),
    **{
        (control, str(n)): step
        for control in ("naturalness", "pronunciation", "emotion")
        for n, step in enumerate(_STEPS, 1)
    },
    ("faults", "words-missing"): Meaning("not all is spoken", "कुछ शब्द छूट गए", "काही शब्द राहिले"),
    ("faults", "words-added"): Meaning("more is spoken", "ज़्यादा शब्द बोले", "जास्त शब्द बोलले"),
    ("faults", "noise"): Meaning("noise, clicks", "शोर, खट-खट", "गोंगाट, खटखट"),
    ("faults", "wrong-language"): Meaning("read as another language", "दूसरी भाषा जैसा पढ़ा", "दुसऱ्या भाषेसारखे वाचले"),
    ("faults", "broken-audio"): Meaning("does not play", "चलता नहीं", "चालत नाही"),
}  # fmt: skip

STYLE = """<style>
.kaan-card { columns: 3 15rem; column-gap: 1.2rem; font-size: .64rem; line-height: 1.35; }
.kaan-card h2 { margin: 0 0 .3rem; padding: .1rem .4rem; font-size: .78rem; background: #1f6f8b; color: #fff; }
.kaan-card section { break-inside: avoid; margin: 0 0 .5rem; }
.kaan-card h3 { margin: 0; font-size: .68rem; }
.kaan-card table { width: 100%; font-size: inherit; border-collapse: collapse; }
.kaan-card td { padding: .06rem .35rem .06rem 0; border-bottom: 1px solid rgba(120,120,130,.25); vertical-align: top; }
.kaan-card td:first-child { width: 3.4rem; white-space: nowrap; }
.kaan-card td:nth-child(2) { width: 5.6rem; font-weight: 600; }
.kaan-card section.editor td:nth-child(2) { display: none; }
.kaan-card section.editor td:first-child { width: 4.6rem; }
@media print {
  @page { size: A4 landscape; margin: 7mm; }
  .md-header, .md-tabs, .md-sidebar, .md-footer, .md-top, .headerlink { display: none !important; }
  .md-main__inner, .md-content__inner { margin: 0 !important; padding: 0 !important; }
  .md-content__inner::before { display: none !important; }
  .md-typeset h1 { margin: 0; font-size: 13pt; }
  .md-typeset h1 + p { margin: 0 0 1mm; font-size: 8pt; }
  .kaan-card { columns: 4; column-gap: 5mm; font-size: 9.4pt; line-height: 1.28; }
  .kaan-card h2, .kaan-card h3 { font-size: 10pt; font-weight: 700; }
  .kaan-card section { margin-bottom: 2mm; }
  .kaan-card td { padding: .2mm 1mm .2mm 0; }
}
</style>"""


def rows(config: str, spoken: Iterable[str] = ()) -> Iterator[Row]:
    """Every key of a config, in its order; KeyError for a value without a meaning."""
    for control in ElementTree.fromstring(labelconfig.read(config, spoken)).iter():  # noqa: S314 - our own file
        for each in control:
            if (key := each.get("hotkey")) and control.get("name"):
                shown = re.sub(r"\s*<kbd>.*?</kbd>", "", each.get("html") or each.get("value") or "")
                name, value = str(control.get("name")), str(each.get("value"))
                yield Row(config, name, pressed(key), shown, MEANINGS[name, value])


def pressed(key: str) -> str:
    """`shift+h` as it is printed on the screen: ⇧H."""
    *others, last = key.split("+")
    return "".join("⇧" if other == "shift" else f"{other.capitalize()}+" for other in others) + last.upper()


def card(language: str) -> str:
    """One sheet: the editor's keys, those of `calls` and of what `original` has beside them, and those of `tts`."""
    calls = list(rows("calls"))
    keys = {row.key for row in calls}
    groups = [
        _group(
            "editor", getattr(BLOCKS["editor"], language), [(key, "", each) for key, each in EDITOR.items()], language
        )
    ]
    groups += _groups("calls", calls, language)
    groups += _groups("original", [row for row in rows("original") if row.key not in keys], language)
    groups += _groups("tts", list(rows("tts")), language)
    return f'{STYLE}\n<div class="kaan-card" lang="{language}">\n' + "\n".join(groups) + "\n</div>"


def _groups(config: str, found: list[Row], language: str) -> list[str]:
    title = getattr(BLOCKS[config], language)
    made = [f'<h2 class="{config}">{html.escape(title)}</h2>'] if found else []
    for control in dict.fromkeys(row.control for row in found):
        some = [(row.key, row.shown, row.meaning) for row in found if row.control == control]
        made.append(_group(config, getattr(HEADS[control], language), some, language))
    return made


def _group(config: str, title: str, some: list[tuple[str, str, Meaning]], language: str) -> str:
    lines = "".join(
        f"<tr><td><kbd>{html.escape(key)}</kbd></td><td>{html.escape(shown)}</td>"
        f"<td>{html.escape(getattr(meaning, language))}</td></tr>"
        for key, shown, meaning in some
    )
    return f'<section class="{config}"><h3>{html.escape(title)}</h3><table class="keys">{lines}</table></section>'


def card_en() -> str:
    """The card in English."""
    return card("en")


def card_hi() -> str:
    """The card in Hindi."""
    return card("hi")


def card_mr() -> str:
    """The card in Marathi."""
    return card("mr")
