"""Champion, candidate and their scores as voices -> the verdict of the gate. Design D9.

Figures can refuse a voice; only people can promote one. A candidate that no figure stands against is `better` when
people prefer it or score it higher (`voices.people_verdict`), and `cannot-tell` until enough of them have compared it,
unless TTS_PROMOTE_UNRATED says that figures are enough.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ml_backend.context import Context
from ml_backend.errors import InvalidInput
from ml_backend.models.kinds import KindVerdict
from ml_backend.models.registry import ANY_LANGUAGE, Version
from ml_backend.tables import model_versions
from training.evaluation import report_plot, speech_gate, speech_scoring
from training.evaluation.evaluation import Evaluation
from training.evaluation.speech_gate import SpeechJudgement
from training.scoring import speech_scores
from training.scoring.speech_scores import SpokenSentence
from training.voices import people_verdict, rating_rows
from training.voices.people_verdict import PeopleVerdict
from training.voices.rating_rows import RatingQuery

_OF_PEOPLE = {
    people_verdict.BETTER: "better", people_verdict.WORSE: "worse", people_verdict.UNDECIDED: "equal",
    people_verdict.PROVISIONAL: "cannot-tell", people_verdict.UNRATED: "cannot-tell",
}  # fmt: skip
Sentences = Sequence[SpokenSentence]


def judge(
    context: Context, champion: Version, candidate: Version, before: Evaluation, now: Evaluation, language: str,
    report: Callable[[float, str], None],
) -> KindVerdict:  # fmt: skip
    """Figures first; then what people said."""
    wanted = [one for one in now.utterances if language in (ANY_LANGUAGE, one.language)]
    old = [one for one in before.utterances if language in (ANY_LANGUAGE, one.language)]
    old_voices, voices = (set(one.manifest.get("needs", {}).get("voices", ())) for one in (champion, candidate))
    learnt = [one for one in wanted if one.voice in voices]
    found = speech_gate.judge(learnt, old, new_voice=not {one.voice for one in learnt} <= old_voices)
    parity = context.db.row(model_versions, candidate.id).parity
    try:
        compared = rating_rows.comparison(
            context.db, RatingQuery(), old=champion.version, new=candidate.version
        )  # fmt: skip
        people = people_verdict.decide(compared)
    except InvalidInput:  # no clip of one of them was ever rated
        people = PeopleVerdict(people_verdict.UNRATED, "Nobody has compared the two versions.")
    return decide(
        found, people, before=old, now=learnt, parity=parity,
        figures_are_enough=context.settings.tts_promote_unrated, recognisers=now.scores.get("recognisers", ()),
    )  # fmt: skip


def decide(
    figures: SpeechJudgement, people: PeopleVerdict, *, before: Sentences, now: Sentences,
    parity: dict[str, Any] | None = None, figures_are_enough: bool = False, recognisers: Sequence[str] = (),
) -> KindVerdict:  # fmt: skip
    """Pure."""
    objections = [{"code": one.code, "sentence": one.sentence} for one in figures.objections]
    if parity and not parity.get("passed", True):
        objections.append({"code": "parity", "sentence": "The served form speaks otherwise than the trained one."})
    outcome = _OF_PEOPLE[people.word]
    if outcome == "cannot-tell" and figures_are_enough:
        outcome = "better"
    if objections:
        outcome = "vetoed"
    cer = figures.figures["cer"]
    said = f"{100 * cer[0]:.1f} % of the characters are recognised wrongly" if cer else "nothing was recognised"
    first = {
        "better": f"The candidate may speak: {said}.", "worse": f"People prefer the present voice. {people.sentence}",
        "equal": f"No difference beyond chance. {people.sentence}",
        "cannot-tell": f"No figure stands against it ({said}), but only people can promote a voice. {people.sentence}",
        "vetoed": f"Refused: {objections[0]['sentence'] if objections else ''}",
    }[outcome]  # fmt: skip
    words = [first, *(one["sentence"] for one in objections[1:])]
    if outcome == "better":
        words.append(people.sentence if people.promotes else "People have not compared them (TTS_PROMOTE_UNRATED).")
    whole = {"kind": "all", "name": "all", **_compared(before, now), "difference": figures.figures.get("cer_change")}
    slices = [
        {"kind": kind, "name": name, "difference": None,
         **_compared([one for one in before if getattr(one, kind) == name],
                     [one for one in now if getattr(one, kind) == name])}
        for kind in speech_scores.SPEECH_SLICES for name in sorted({getattr(one, kind) for one in now})
    ]  # fmt: skip
    verdict = {
        "outcome": outcome, "passed": outcome == "better", "overall": whole, "slices": slices,
        "objections": objections, "figures": figures.to_json(), "people": people.word, "recognisers": list(recognisers),
    }  # fmt: skip
    numbers = {"before": whole["before"], "now": whole["now"], "sentences": len(now), "people": people.word}
    return KindVerdict(outcome, tuple(words), numbers, {"verdict": verdict})


def _compared(before: Sentences, now: Sentences) -> dict[str, Any]:
    rates = [speech_scores.character_errors(some) if some else None for some in (before, now)]
    return {
        "rows": len(now), "words": len(now), "enough": len(now) >= 10,
        "before": rates[0].value if rates[0] else None, "now": rates[1].value if rates[1] else None,
        "before_between": rates[0].to_json() if rates[0] else None,
        "now_between": rates[1].to_json() if rates[1] else None,
    }  # fmt: skip


def page(body: dict[str, Any]) -> str:
    """The report as Markdown."""
    first, *others = body["words"]
    found = body["verdict"]
    parts = [f"# {body['candidate']} against {body['champion']}", "", first, ""]
    parts += [f"* {sentence}" for sentence in others] + [""]
    parts += [f"![Characters wrong, before and now]({report_plot.FILE})", "", "## Slices", ""]
    parts += ["| | sentences | characters wrong before | now |", "|---|---|---|---|"]
    for one in (found["overall"], *found["slices"]):
        name = "all" if one["kind"] == "all" else f"{one['kind']}: {one['name']}"
        rates = [f"{100 * one[arm]:.1f} %" if one[arm] is not None else "-" for arm in ("before", "now")]
        parts.append(f"| {name} | {one['rows']:,} | {rates[0]} | {rates[1]} |")
    figures = found["figures"]["figures"]
    parts += ["", "## The voice", ""]
    for title, name in (
        ("distance to the recordings before", "distance_before"), ("distance to the recordings", "distance"),
        ("semitones from the recordings", "semitones"), ("length against the recordings", "duration_ratio"),
    ):  # fmt: skip
        if figures.get(name) is not None:
            parts.append(f"* {title}: {figures[name]:.2f}")
    if sentence := speech_scoring.second_sentence({**figures, "recognisers": found.get("recognisers", ())}):
        parts.append(f"* {sentence}")
    parts += ["", f"Test set {body['dataset']}; people: {found['people']}.", ""]
    return "\n".join(parts)


def plot(body: dict[str, Any]) -> bytes:
    drawn = [one for one in body["verdict"]["slices"] if one["before"] is not None and one["now"] is not None]
    return report_plot.svg(
        {**body["verdict"], "slices": drawn}, unit="sentences",
        axis="characters wrong in 100, and where they lie with 95 % confidence",
    )  # fmt: skip
