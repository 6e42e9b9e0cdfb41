"""Scores of a voice -> the objections to it. Pure; figures and no ears.

Objective figures can refuse a voice, and never promote one: whether it sounds well is for people (`training.voices`).
A good spectrum proves nothing: a voice tuned on wrongly measured letters is near its target and not understood. So
every check stands alone, and a candidate must pass all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from training.evaluation.verdict import GateObjection
from training.scoring import speech_scores
from training.scoring.speech_scores import SpokenSentence


@dataclass(frozen=True)
class SpeechRules:
    """`most_cer` is absolute, and the upper end of the rate's interval must keep it, as the lower end of a MOS must.
    `goal_cer` is how far the rate may lie above the reference recordings' own, reported and not enforced. Shares and
    rates in 0..1."""

    least_sentences: int = 60
    most_cer: float = 0.15
    goal_cer: float = 0.03
    most_semitones: float = 1.0
    least_duration: float = 0.9
    most_duration: float = 1.1
    least_fall: float = 0.6  # of the distance, where a new voice is learnt
    most_wrong_script: float = 0.1
    most_wrong_language: float = 0.1
    most_left_out: float = 0.15  # of the words
    most_repeated: float = 0.05
    most_flatness: float = 0.15  # above the reference's
    most_silent: float = 0.6
    most_clipped: float = 0.001
    least_dbfs: float = -40.0


@dataclass(frozen=True)
class SpeechJudgement:
    """`goal_met` is None without reference recordings."""

    objections: tuple[GateObjection, ...]
    figures: dict[str, Any]
    goal_met: bool | None
    rules: SpeechRules

    @property
    def passed(self) -> bool:
        return not self.objections

    def to_json(self) -> dict[str, Any]:
        return {
            "passed": self.passed, "objections": [asdict(one) for one in self.objections], "figures": self.figures,
            "goal_met": self.goal_met, "rules": asdict(self.rules),
        }  # fmt: skip


def judge(
    now: Sequence[SpokenSentence], before: Sequence[SpokenSentence] = (), *, new_voice: bool = False,
    rules: SpeechRules | None = None,
) -> SpeechJudgement:  # fmt: skip
    """`before` is what the version in service, or the base, says of the same sentences; a new voice must come nearer
    to its recordings by `least_fall`, a known one must not go away from them."""
    rules = rules or SpeechRules()
    figures = speech_scores.summary(now)
    objections = [*_understood(now, figures, rules), *_sounds(figures, rules), *_alike(figures, rules)]
    if before:
        change = speech_scores.distance_change(before, now)
        first = speech_scores.summary(before)["distance"]
        figures = {
            **figures, "distance_before": first, "distance_change": change.to_json() if change else None,
            "cer_change": _json(speech_scores.against_version(before, now)),
        }  # fmt: skip
        objections += _nearer(figures, rules, new_voice=new_voice)
    against = figures["cer_against_reference"]
    return SpeechJudgement(tuple(objections), figures, None if against is None else against[0] <= rules.goal_cer, rules)


def _understood(now: Sequence[SpokenSentence], figures: dict[str, Any], rules: SpeechRules) -> list[GateObjection]:
    found = []
    if len(now) < rules.least_sentences:
        found.append(
            GateObjection("too-few-sentences", f"{len(now)} sentences were judged; {rules.least_sentences} are needed.")
        )
    cer = figures["cer"]
    if cer is None or _at_worst(cer) > rules.most_cer:
        wrong = (
            f"{_percent(cer[0])} of the characters, perhaps {_percent(_at_worst(cer))}," if cer else "The characters"
        )
        found.append(
            GateObjection(
                "not-understood", f"{wrong} are recognised wrongly (surely at most {_percent(rules.most_cer)})."
            )
        )
    for name, most, sentence in (
        ("left_out", rules.most_left_out, "of the words are left out"),
        ("repeated", rules.most_repeated, "of the words are said twice"),
        ("wrong_script", rules.most_wrong_script, "of the sentences are recognised in the other script"),
        ("wrong_language", rules.most_wrong_language, "of the sentences are recognised as another language"),
    ):
        share = figures[name]["share"]
        if share is not None and share > most:
            found.append(
                GateObjection(name.replace("_", "-"), f"{_percent(share)} {sentence} (at most {_percent(most)}).")
            )
    return found


def _at_worst(interval: Sequence[float]) -> float:
    """The upper end of [value, low, high]."""
    return interval[2]


def _sounds(figures: dict[str, Any], rules: SpeechRules) -> list[GateObjection]:
    found = []
    if figures["level_dbfs"] is None or figures["level_dbfs"] < rules.least_dbfs:
        found.append(GateObjection("too-quiet", f"Its speech is below {rules.least_dbfs:g} dBFS, or there is none."))
    flatness, reference = figures["flatness"], figures["reference_flatness"]
    if flatness is not None and reference is not None and flatness > reference + rules.most_flatness:
        found.append(
            GateObjection("noisy", f"Its spectrum is noise-like: {flatness:.2f}, the recordings' {reference:.2f}.")
        )
    if (figures["silent_share"] or 0.0) > rules.most_silent:
        found.append(GateObjection("silent", f"{_percent(figures['silent_share'])} of its audio is silence."))
    if (figures["clipped_share"] or 0.0) > rules.most_clipped:
        found.append(GateObjection("clipped", f"{_percent(figures['clipped_share'])} of its samples are clipped."))
    return found


def _alike(figures: dict[str, Any], rules: SpeechRules) -> list[GateObjection]:
    found = []
    semitones, ratio = figures["semitones"], figures["duration_ratio"]
    if semitones is not None and abs(semitones) > rules.most_semitones:
        found.append(
            GateObjection("wrong-pitch", f"It speaks {semitones:+.1f} semitones from the recordings of this voice.")
        )
    if ratio is not None and not rules.least_duration <= ratio <= rules.most_duration:
        found.append(
            GateObjection("wrong-tempo", f"It takes {ratio:.2f} times as long as the recordings of this voice.")
        )
    return found


def _nearer(figures: dict[str, Any], rules: SpeechRules, *, new_voice: bool) -> list[GateObjection]:
    before, change = figures["distance_before"], figures["distance_change"]
    if before is None or change is None:
        return []
    fall = -change[0] / before if before else 0.0
    if new_voice and fall < rules.least_fall:
        return [
            GateObjection(
                "not-this-voice",
                f"It came nearer to the new voice by {_percent(fall)} (at least {_percent(rules.least_fall)}).",
            )
        ]
    if not new_voice and change[1] > 0:
        return [
            GateObjection("further-from-voice", f"It went away from the recordings of its voice by {change[0]:.2f}.")
        ]
    return []


def _json(interval: Any) -> list[float] | None:
    return interval.to_json() if interval else None


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
