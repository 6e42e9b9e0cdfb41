"""Sentences -> the recordings beside which people rate the bundled voice in `make learn`, with their list.

They stand for a person's: another synthetic speaker, with the full sound of the synthesiser. They ship as recordings
because the machine that plays them may have no synthesiser. No sentence is in the bundled voice's training.
"""

from __future__ import annotations

import csv
from pathlib import Path

import soundfile

from ml_backend.tts.speaking import BUNDLED
from training.demo_model import voices
from training.demo_model.corpus import Sentence
from training.demo_model.voices import SyntheticVoice

FOLDER = BUNDLED.parent / "rating"
LIST = "list.csv"
VOICE = "meera"
_VARIANT, _SPEED_WPM, _PITCH = "f5", 145, 50
SENTENCES = (
    Sentence("Sir your order will arrive on Tuesday in the morning.", "en"),
    Sentence("आपकी delivery गुरुवार को दोपहर में होगी।", "hi"),
    Sentence("माफ करा तुमचं सामान रविवारी दुपारी येईल।", "mr"),
    Sentence("Sorry please deliver it to Nashik.", "en"),
)


def render(folder: Path = FOLDER) -> int:
    """Write every recording and the list; the same espeak-ng gives the same speech. Returns how many."""
    voices.require_espeak()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LIST).open("w", encoding="utf-8", newline="") as stream:
        written = csv.writer(stream, lineterminator="\n")
        written.writerow(("file", "text", "language", "voice"))
        for number, one in enumerate(SENTENCES, 1):
            wave = voices.speak(one.text, SyntheticVoice(f"{one.language}+{_VARIANT}", _SPEED_WPM, _PITCH))
            name = f"{number}-{one.language}.ogg"
            soundfile.write(folder / name, wave, voices.RATE_HZ, format="OGG", subtype="OPUS")
            written.writerow((name, one.text, one.language, VOICE))
    return len(SENTENCES)
