"""Which synthetic speakers are used for what. No speaker is in two groups; families (iven, iven2 ...) stay together.

Whisper and croak voices and the Scottish and Caribbean accents are left out on purpose: they are the unknown speakers
that fine-tuning is tried on.
"""

import random
from dataclasses import dataclass

TRAINING = (
    "",
    "m1",
    "m2",
    "m3",
    "m4",
    "m5",
    "m6",
    "m7",
    "f1",
    "f2",
    "f3",
    "f4",
    "klatt",
    "klatt2",
    "klatt3",
    "klatt4",
    "Andy",
    "Annie",
    "AnxiousAndy",
    "Denis",
    "Diogo",
    "Hugo",
    "Jacky",
    "Lee",
    "Marco",
    "Mario",
    "Michael",
    "Nguyen",
    "RicishayMax",
    "RicishayMax2",
    "RicishayMax3",
    "adam",
    "anika",
    "announcer",
    "antonio",
    "benjamin",
    "boris",
    "caleb",
    "ed",
    "edward",
    "edward2",
    "gustave",
    "iven",
    "iven2",
    "iven3",
    "iven4",
    "john",
    "kaukovalta",
    "linda",
    "marcelo",
    "max",
    "michel",
    "miguel",
    "norbert",
    "pablo",
    "paul",
    "pedro",
    "quincy",
    "sandro",
    "shelby",
    "steph",
    "steph2",
    "steph3",
    "travis",
    "zac",
)
HELD_OUT = ("f5", "m8", "Alex", "Gene", "Gene2", "Henrique", "Mike", "grandma", "rob", "robert")
DEMONSTRATION = ("Alicia", "Andrea", "belinda", "david", "victor")
RESERVED_FOR_FINE_TUNING = ("croak", "whisper", "whisperf")

ACCENTS = {
    "en": ("en-us", "en-gb", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-us-nyc"),
    "hi": ("hi",),
    "mr": ("mr",),
}


@dataclass(frozen=True)
class Voice:
    """One way to speak: espeak-ng's voice with variant, speed in words per minute, pitch 0..99."""

    name: str
    speed_wpm: int
    pitch: int

    @property
    def variant(self) -> str:
        return self.name.partition("+")[2]


def draw(language: str, variants: tuple[str, ...], rng: random.Random) -> Voice:
    accents = ACCENTS[language]
    accent = rng.choices(accents, [3] * min(3, len(accents)) + [1] * max(0, len(accents) - 3))[0]
    variant = rng.choice(variants)
    return Voice(f"{accent}+{variant}" if variant else accent, rng.randint(130, 195), rng.randint(20, 80))
