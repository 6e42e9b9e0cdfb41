"""The public corpora that can be named: title, licence and attribution, for the card of a dataset that uses them.

The licences are those the publishers stated when this was written. Check them again before publishing anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class PublicCorpus:
    """`language` is that of a corpus whose rows do not name one."""

    title: str
    licence: str
    attribution: str
    language: str = ""


_AI4BHARAT = "AI4Bharat, IIT Madras"
CORPORA = {
    "fleurs": PublicCorpus("FLEURS", "CC-BY-4.0", "Google; Conneau et al. 2022, arXiv 2205.12446"),
    "rasa": PublicCorpus("Rasa", "CC-BY-4.0", f"{_AI4BHARAT}; Rasa, Interspeech 2024"),
    "indictts": PublicCorpus(
        "IndicTTS", "as the copy states", "Indic TTS consortium, SPRING Lab and DONLab, IIT Madras"
    ),
    "rural_women": PublicCorpus(
        "Rural Women (SRUTI)", "as the copy states", f"{_AI4BHARAT}; Joshi et al. 2025, arXiv 2506.09653"
    ),
    "globe": PublicCorpus(
        "GLOBE", "CC0-1.0", "Wang et al. 2024, arXiv 2406.14875, from Mozilla Common Voice", language="en"
    ),
    "limmits": PublicCorpus("LIMMITS (SYSPIN)", "CC-BY-4.0", "SPIRE Lab, Indian Institute of Science, Bengaluru"),
}


def card_lines(sources: Iterable[str]) -> list[str]:
    """Markdown about the corpora among `sources`, empty when there is none."""
    used = [CORPORA[name] for name in sorted(set(sources) & CORPORA.keys())]
    if not used:
        return []
    rows = (f"| {one.title} | {one.licence} | {one.attribution} |" for one in used)
    return [
        "## Licences of the public corpora", "", "They are in the training rows only.", "",
        "| corpus | licence | attribution |", "| --- | --- | --- |", *rows,
    ]  # fmt: skip
