"""The controls of one label config, as values; `labelconfig` reads them, `rendering` fills them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Text:
    """A TextArea over the audio: for the whole file, or one per region."""

    name: str
    to_name: str
    per_region: bool


@dataclass(frozen=True)
class Labels:
    """The control that makes regions: `speech` for any segment, `agent` and `customer` if the channel is known."""

    name: str
    to_name: str
    options: tuple[str, ...]
    speech: str
    agent: str | None = None
    customer: str | None = None
    multiple: bool = False


@dataclass(frozen=True)
class Check:
    """The label for segments the model was unsure of: an option of the region control, or a control of its own."""

    name: str
    option: str


@dataclass(frozen=True)
class Choices:
    """One set of choices. Label Studio stores `options` and shows `shown`, in the same order."""

    name: str
    to_name: str
    options: tuple[str, ...]
    shown: tuple[str, ...]
    multiple: bool = False
    per_region: bool = False
    keys: tuple[str, ...] = ()  # the hotkey of each option, in the same order; empty if it has none

    def key(self, option: str) -> str:
        """The hotkey for an option, as shown to people: Shift+5."""
        key = dict(zip(self.options, self.keys, strict=False)).get(option, "")
        return "+".join(part.capitalize() for part in key.split("+"))

    def option(self, *wanted: str) -> str | None:
        """The stored option that matches one of the wanted words, ignoring case."""
        words = {w.casefold() for w in wanted}
        for stored, shown in zip(self.options, self.shown, strict=True):
            if stored.casefold() in words or shown.casefold() in words:
                return stored
        return None


@dataclass(frozen=True)
class Controls:
    """The controls of one label config. `problems` say what is wrong; `usable` says whether it can be used."""

    audio: str = ""  # name of the audio tag
    audio_key: str = ""  # the task data key its value comes from
    text: Text | None = None
    labels: Labels | None = None
    check: Check | None = None
    choices: Mapping[str, Choices] = field(default_factory=dict)
    # by role: quality, accent, emotion, language, script, reject, redraft
    other_labels: Mapping[str, Labels] = field(default_factory=dict)  # further region controls, by name
    other_choices: Mapping[str, Choices] = field(default_factory=dict)  # by name, roles unknown
    status_key: str | None = None  # data key of the line shown to annotators
    spoken_key: str | None = None  # data key of the text that was spoken, where people rate a voice
    beside_key: str | None = None  # data key of the second audio, where people choose between two
    utterance_key: str = ""  # data key of the text, where people say what a caller wants
    problems: tuple[str, ...] = ()
    well_formed: bool = True  # False: not XML that we accept

    @property
    def usable(self) -> bool:
        """Whether a transcript can be shown at all."""
        return bool(self.audio and self.audio_key and self.text)

    @property
    def rates(self) -> bool:
        """Whether people rate how a known text was spoken, instead of transcribing."""
        return bool(self.audio and self.audio_key and self.spoken_key and not self.text)

    @property
    def parses(self) -> bool:
        """Whether people mark the intent and the entities of a text, and there is no audio."""
        return bool(self.utterance_key and not self.audio)

    @property
    def data_key(self) -> str:
        """The data key of what a task is about: its audio, or its text."""
        return self.audio_key or self.utterance_key

    @property
    def pairs(self) -> bool:
        """Whether people choose between two voices that speak one text."""
        return self.rates and bool(self.beside_key)

    @property
    def by_regions(self) -> bool:
        """Whether the text is in regions."""
        return bool(self.text and self.text.per_region and self.labels)
