"""Two evaluations, parity record -> objections to serving a candidate that are not about word errors. Pure."""

from __future__ import annotations

from typing import Any

from training.evaluation.gate_rules import Rules
from training.evaluation.verdict import GateObjection

_QUIET = "quiet"


def objections(
    champion: dict[str, Any],
    candidate: dict[str, Any],
    parity: dict[str, Any] | None,
    *,
    rules: Rules,
    trained: bool,
    pace: dict[str, Any] | None = None,
) -> list[GateObjection]:
    """`champion` and `candidate` are scores of evaluations. A version trained here must have a parity record.

    `pace` is how both did in turns; without it the speeds of the evaluations are compared.
    """
    return [
        *_self_check(candidate),
        *_silence(champion.get("silence") or {}, candidate.get("silence") or {}),
        *_parity(parity, trained=trained),
        *(_speed(champion, candidate, rules) if pace is None else _pace(pace["ratio"], rules)),
    ]


def _self_check(candidate: dict[str, Any]) -> list[GateObjection]:
    trouble = candidate.get("self_check")
    return [GateObjection("self-check", str(trouble))] if trouble else []


def _silence(before: dict[str, Any], now: dict[str, Any]) -> list[GateObjection]:
    """Quiet clips must stay empty. Of the other clips, no more may have words than with the champion."""
    clips = now.get("clips") or []
    quiet = [one["clip"] for one in clips if one["kind"] == _QUIET and one["words"]]
    if quiet:
        return [GateObjection("silence", f"It writes words for {', '.join(quiet)}.")]
    if now.get("with_words", 0) > before.get("with_words", 0):
        names = ", ".join(one["clip"] for one in clips if one["words"])
        return [
            GateObjection(
                "silence",
                f"It writes words for {now['with_words']} of {now['of']} clips without speech ({names}); "
                f"the champion for {before.get('with_words', 0)}.",
            )
        ]
    return []


def _parity(parity: dict[str, Any] | None, *, trained: bool) -> list[GateObjection]:
    if parity is None:
        return [GateObjection("parity", "Its served form was never compared with the trained one.")] if trained else []
    if parity.get("passed"):
        return []  # too few words to judge is no objection: the test set scores the served form itself
    return [
        GateObjection(
            "parity",
            f"Its served form transcribes {100 * parity.get('difference', 1.0):.1f} % of words otherwise than the "
            f"trained one; {100 * parity.get('bound', 0.0):.1f} % are allowed.",
        )
    ]


def _speed(champion: dict[str, Any], candidate: dict[str, Any], rules: Rules) -> list[GateObjection]:
    """Compares CPU time on a CPU, otherwise wall-clock time. Short test sets are skipped: they cannot show speed."""
    before, now = champion.get("speed") or {}, candidate.get("speed") or {}
    if min(before.get("audio_s", 0.0), now.get("audio_s", 0.0)) < rules.speed_audio_s:
        return []
    device = (candidate.get("conditions") or {}).get("device")
    name = "real_time_factor" if device == "cuda" else "cpu_per_audio_s"
    return _pace(now[name] / max(before[name], 1e-6), rules)


def _pace(ratio: float, rules: Rules) -> list[GateObjection]:
    if ratio <= rules.speed_ratio:
        return []
    return [GateObjection("speed", f"It takes {ratio:.1f} times as long; {rules.speed_ratio:.1f} times is allowed.")]
