"""Champion, candidate and their scores on utterances -> the verdict of the gate for parsers. Design D9.

Better means that the difference of macro-F1 on unseen wordings, paired and with whole paraphrase families drawn again,
lies above zero with 95 % confidence. Vetoes: an intent of at least 20 rows that loses more than 0.10 F1 (an intent that
moves money or cancels: 0.05, from 10 rows on), a language of at least 30 rows that loses more than 0.03, out-of-scope
rows that are accepted more often by more than 0.05, entity F1 that falls by more than 0.03, and a served form that is
not the trained one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ml_backend import languages
from ml_backend.context import Context
from ml_backend.models.kinds import KindVerdict
from ml_backend.models.registry import ANY_LANGUAGE, Version
from ml_backend.tables import model_versions
from training.evaluation import exposure, report_plot
from training.evaluation.evaluation import Evaluation
from training.evaluation.intent_scoring import UNSEEN
from training.scoring import intent_scores
from training.scoring.bootstrap import Interval

LEAST_ROWS, LEAST_FAMILIES = 50, 15
INTENT_ROWS, INTENT_LOSS = 20, 0.10
MONEY_ROWS, MONEY_LOSS = 10, 0.05
LANGUAGE_ROWS, LANGUAGE_LOSS = 30, 0.03
ACCEPT_LOSS, ENTITY_LOSS = 0.05, 0.03
_EXAMPLES = 10
Rows = Sequence[dict[str, Any]]


def judge(
    context: Context, champion: Version, candidate: Version, before: Evaluation, now: Evaluation, language: str,
    report: Callable[[float, str], None],
) -> KindVerdict:  # fmt: skip
    """The verdict on the rows that neither version was trained on."""
    learnt = exposure.by(context, champion) | exposure.by(context, candidate)
    answers = {row["id"]: row for row in now.utterances}
    old = [
        row for row in before.utterances
        if row["wording"] == UNSEEN and row["id"] in answers and answers[row["id"]]["wording"] == UNSEEN
        and language in (ANY_LANGUAGE, row["language"]) and not learnt.has_family(row["family"])
    ]  # fmt: skip
    new = [answers[row["id"]] for row in old]
    parity = context.db.row(model_versions, candidate.id).parity
    money = frozenset(now.scores["money_intents"]) | frozenset(before.scores["money_intents"])
    found = decide(old, new, money=money, out_of_scope=now.scores["out_of_scope_intent"], parity=parity)
    return KindVerdict(
        found.outcome, found.words, found.numbers, {**found.body, "left_out": len(before.utterances) - len(old)}
    )


def decide(
    old: Rows, new: Rows, *, money: frozenset[str] = frozenset(), out_of_scope: str = intent_scores.NONE_OF_THESE,
    parity: dict[str, Any] | None = None,
) -> KindVerdict:  # fmt: skip
    """The same rows as the champion and as the candidate answered them, in the same order. Pure."""
    families = len({intent_scores.family_of(row) for row in old})
    enough = len(old) >= LEAST_ROWS and families >= LEAST_FAMILIES
    overall = intent_scores.difference(old, new) if old else None
    before, now = intent_scores.macro_f1(old), intent_scores.macro_f1(new)
    slices = [_compared("language", name, *some) for name, some in _by_language(old, new)]
    slices += [_compared("intent", name, *some) for name, some in _by_intent(old, new)]
    objections = list(_objections(old, new, slices, money=money, out_of_scope=out_of_scope, parity=parity))
    outcome = _outcome(overall, objections, enough=enough)
    whole = {"kind": "all", "name": "all", "rows": len(old), "words": len(old), "before": before, "now": now,
             "difference": overall.to_json() if overall else None, "enough": enough}  # fmt: skip
    words = _words(outcome, before, now, overall, len(old), families)
    verdict = {
        "outcome": outcome, "passed": outcome == "better", "overall": whole, "slices": slices,
        "objections": objections,
    }  # fmt: skip
    numbers = {"before": before, "now": now, "difference": whole["difference"], "rows": len(old), "families": families}
    return KindVerdict(
        outcome, (words, *(one["sentence"] for one in objections)), numbers,
        {"verdict": verdict, "examples": _examples(old, new)},
    )  # fmt: skip


def _outcome(overall: Interval | None, objections: Sequence[dict[str, str]], *, enough: bool) -> str:
    if any(one["code"] == "parity" for one in objections):
        return "vetoed"
    if not enough or overall is None:
        return "cannot-tell"
    if overall.high < 0:
        return "worse"
    if overall.low <= 0:
        return "equal"
    return "vetoed" if objections else "better"


def _words(
    outcome: str, before: float | None, now: float | None, found: Interval | None, rows: int, families: int
) -> str:
    if outcome == "cannot-tell" or before is None or now is None or found is None:
        return (
            f"Too few unseen wordings to decide: {rows} of at least {LEAST_ROWS} checked utterances, of {families} of "
            f"at least {LEAST_FAMILIES} sentences."
        )
    said = {
        "better": "The candidate recognises more intents", "worse": "The candidate recognises fewer intents",
        "equal": "No difference beyond chance", "vetoed": "Better on the whole, but refused",
    }[outcome]  # fmt: skip
    return (
        f"{said}: macro-F1 {100 * now:.1f} % after {100 * before:.1f} % on {rows} utterances of {families} unseen "
        f"sentences; difference {100 * found.value:+.1f} points, with 95 % confidence between {100 * found.low:+.1f} "
        f"and {100 * found.high:+.1f}."
    )


def _objections(
    old: Rows, new: Rows, slices: Sequence[dict[str, Any]], *, money: frozenset[str], out_of_scope: str,
    parity: dict[str, Any] | None,
) -> Iterator[dict[str, str]]:  # fmt: skip
    if parity and not parity.get("passed", True):
        yield _objection("parity", f"The served form gives {100 * parity['difference']:.1f} % of texts another label.")
    for one in slices:
        moves = one["kind"] == "intent" and one["name"] in money
        loss = LANGUAGE_LOSS if one["kind"] == "language" else MONEY_LOSS if moves else INTENT_LOSS
        if (one["enough"] or (moves and one["rows"] >= MONEY_ROWS)) and one["before"] - one["now"] > loss:
            name = languages.name_of(one["name"]) if one["kind"] == "language" else one["name"]
            yield _objection(
                "slice",
                f"The {one['kind']} {name} loses {100 * (one['before'] - one['now']):.1f} points of F1, on "
                f"{one['rows']} utterances.",
            )
    rates = [intent_scores.false_accepts(rows, out_of_scope=out_of_scope)["false_accept_rate"] for rows in (old, new)]
    if rates[0] is not None and rates[1] is not None and rates[1] - rates[0] > ACCEPT_LOSS:
        yield _objection(
            "out-of-scope",
            f"{100 * (rates[1] - rates[0]):.1f} more utterances in 100 that are out of scope get an intent.",
        )
    spans = [intent_scores.entity_scores(rows)["f1"] for rows in (old, new)]
    if spans[0] is not None and (spans[1] or 0.0) < spans[0] - ENTITY_LOSS:
        yield _objection(
            "entities", f"Entities are found worse: F1 {100 * (spans[1] or 0):.1f} % after {100 * spans[0]:.1f} %."
        )


def _objection(code: str, sentence: str) -> dict[str, str]:
    return {"code": code, "sentence": sentence}


def _by_language(old: Rows, new: Rows) -> Iterator[tuple[str, tuple[Rows, Rows]]]:
    for name in sorted({str(row["language"] or "unknown") for row in old}):
        places = [n for n, row in enumerate(old) if str(row["language"] or "unknown") == name]
        yield name, ([old[n] for n in places], [new[n] for n in places])


def _by_intent(old: Rows, new: Rows) -> Iterator[tuple[str, tuple[Rows, Rows]]]:
    """All rows for each intent: F1 counts wrong answers too."""
    for name in sorted({str(row["reference"]["intent"]) for row in old}):
        yield name, (old, new)


def _compared(kind: str, name: str, old: Rows, new: Rows) -> dict[str, Any]:
    if kind == "intent":
        tables = [intent_scores.intent_table(rows)[name] for rows in (old, new)]
        rows, values = tables[0]["rows"], [one["f1"] for one in tables]
        enough = rows >= INTENT_ROWS
    else:
        rows, values = len(old), [intent_scores.macro_f1(old) or 0.0, intent_scores.macro_f1(new) or 0.0]
        enough = rows >= LANGUAGE_ROWS
    return {"kind": kind, "name": name, "rows": rows, "words": rows, "before": values[0], "now": values[1],
            "enough": enough, "difference": None}  # fmt: skip


def _examples(old: Rows, new: Rows) -> dict[str, list[dict[str, Any]]]:
    """Utterances that the candidate answers and the champion did not, and the other way round."""
    found: dict[str, list[dict[str, Any]]] = {"gains": [], "losses": []}
    for before, now in zip(old, new, strict=True):
        said = before["reference"]["intent"]
        right = [row["prediction"]["intent"] == said for row in (before, now)]
        if right[0] != right[1]:
            found["gains" if right[1] else "losses"].append({
                "id": now["id"], "audio_sha256": now.get("audio_sha256"), "language": now["language"],
                "reference": f"{now['text']} = {said}", "before": before["prediction"]["intent"],
                "now": now["prediction"]["intent"],
            })  # fmt: skip
    return {name: some[:_EXAMPLES] for name, some in found.items()}


def page(body: dict[str, Any]) -> str:
    """The report as Markdown."""
    first, *others = body["words"]
    parts = [f"# {body['candidate']} against {body['champion']}", "", first, ""]
    parts += [f"* {sentence}" for sentence in others] + [""]
    parts += [f"![F1 by language and intent, before and now]({report_plot.FILE})", "", "## Slices", ""]
    parts += ["| | utterances | F1 before | F1 now |", "|---|---|---|---|"]
    for one in (body["verdict"]["overall"], *body["verdict"]["slices"]):
        name = "all" if one["kind"] == "all" else f"{one['kind']}: {one['name']}"
        values = [f"{100 * one[arm]:.1f} %" if one["enough"] and one[arm] is not None else "too few to say"
                  for arm in ("before", "now")]  # fmt: skip
        parts.append(f"| {name} | {one['rows']:,} | {values[0]} | {values[1]} |")
    for title, name in (("Now right", "gains"), ("Now wrong", "losses")):
        if body["examples"][name]:
            parts += ["", f"## {title}", ""]
            parts += [f"* {one['reference']}: {one['before']} -> {one['now']}" for one in body["examples"][name]]
    parts += ["", f"Test set {body['dataset']}; rows of seen wordings have no part in this.", ""]
    return "\n".join(parts)


def plot(body: dict[str, Any]) -> bytes:
    return report_plot.svg(body["verdict"], better_is_more=True, axis="F1 in 100", unit="utterances")
