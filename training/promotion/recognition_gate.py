"""Champion, candidate and their scores on recognition -> the verdict of the gate, with what a reader wants to see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ml_backend.context import Context
from ml_backend.models.kinds import KindVerdict
from ml_backend.models.registry import ANY_LANGUAGE, Version
from ml_backend.tables import model_versions
from training.evaluation import exposure, fitness, report_page, report_plot, verdict
from training.evaluation.evaluation import Evaluation
from training.evaluation.gate_rules import Rules
from training.evaluation.verdict import Verdict
from training.promotion import latency_comparison
from training.scoring import alignment
from training.scoring.scores import MAIN, Utterance

_EXAMPLES = 10
Report = Callable[[float, str], None]
Pairs = list[tuple[Utterance, Utterance]]


def judge(
    context: Context, champion: Version, candidate: Version, before: Evaluation, now: Evaluation, language: str,
    report: Report,
) -> KindVerdict:  # fmt: skip
    """The verdict on pairs of utterances; the latency comparison, which takes minutes, only when it can change it."""
    rules = Rules.of(context.settings)
    pairs, left_out = _pairs(context, champion, candidate, before, now, language)
    row = context.db.row(model_versions, candidate.id)

    def judged(paced: dict[str, Any] | None) -> Verdict:
        others = fitness.objections(
            before.scores, now.scores, row.parity, rules=rules, trained=row.run_id is not None, pace=paced
        )
        return verdict.judge(pairs, others, rules=rules)

    found, paced = judged(latency_comparison.NOT_RUN), None
    if found.passed:
        paced = latency_comparison.compare(
            context, champion, candidate, now.dataset_id, least_s=rules.speed_audio_s,
            real_time_factor=before.scores["speed"]["real_time_factor"],
            report=lambda fraction, note: report(1.0, note),
        )  # fmt: skip
        found = judged(paced)
    overall = found.overall
    numbers = {
        "before": overall.before, "now": overall.now,
        "difference": overall.difference.to_json() if overall.difference else None, "calls": overall.calls,
        "callers": overall.callers, "words": overall.words,
    }  # fmt: skip
    body = {"verdict": found.to_json(), "examples": _examples(pairs), "left_out": left_out, "pace": paced}
    return KindVerdict(found.outcome, tuple(report_page.sentences(found)), numbers, body, detail=found)


def plot(body: dict[str, Any]) -> bytes:
    return report_plot.svg(body["verdict"])


def _pairs(
    context: Context, champion: Version, candidate: Version, before: Evaluation, now: Evaluation, language: str
) -> tuple[Pairs, int]:
    """(utterances that both transcribed and neither was trained on, in one language or all; rows left out)."""
    learnt = exposure.by(context, champion) | exposure.by(context, candidate)
    by_id = {one.id: one for one in now.utterances}
    wanted = [one for one in before.utterances if language in (ANY_LANGUAGE, one.language)]
    pairs = [
        (one, by_id[one.id])
        for one in wanted
        if one.id in by_id and not learnt.has(audio_sha256=one.audio_sha256, call=one.call, caller=one.caller)
    ]
    rows = {one.id for one in wanted} | {one.id for one in now.utterances if language in (ANY_LANGUAGE, one.language)}
    return pairs, len(rows) - len(pairs)


def _examples(pairs: Sequence[tuple[Utterance, Utterance]]) -> dict[str, list[dict[str, Any]]]:
    """The utterances with the largest changes, better and worse."""
    changed = [(now.tallies[MAIN][1] - before.tallies[MAIN][1], before, now) for before, now in pairs]
    changed.sort(key=lambda each: (each[0], each[1].id))
    gains = [_example(before, now) for by, before, now in changed[:_EXAMPLES] if by < 0]
    losses = [_example(before, now) for by, before, now in reversed(changed[-_EXAMPLES:]) if by > 0]
    return {"gains": gains, "losses": losses}


def _example(before: Utterance, now: Utterance) -> dict[str, Any]:
    return {
        "id": now.id, "audio_sha256": now.audio_sha256, "language": now.language, "words": now.tallies[MAIN][0],
        "edits_before": before.tallies[MAIN][1], "edits_now": now.tallies[MAIN][1], "reference": now.reference,
        "before": before.hypothesis, "now": now.hypothesis,
        "alignment": alignment.aligned(now.reference, now.hypothesis),
    }  # fmt: skip
