"""Stored evaluations -> the verdicts on a version, slice by slice with reasons, and any two versions beside each other.

Nothing is scored here. Two versions are comparable where they were scored on the same test set under the same readings;
how sure a difference is, only a verdict says, because it compares them on the same utterances: `models compare` makes
one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import Field

from ml_backend import languages
from ml_backend.context import Context
from ml_backend.errors import InvalidInput
from ml_backend.models import kinds, registry
from ml_backend.tables import evaluations, model_versions
from ml_backend.views.queries import Query

MOST = 20  # verdicts of one version
_MAIN = "indic@1"  # the reading that decides
MEASURES = {
    kinds.ASR: ("wrong words in 100", "words", False), kinds.NLU: ("F1 in 100", "utterances", True),
    kinds.TTS: ("wrong characters in 100", "sentences", False),
}  # fmt: skip


class VerdictQuery(Query):
    """Of which version."""

    version: Annotated[str | None, Field(description="A model version, champion or newest.")] = None
    against: Annotated[str | None, Field(description="Only against this version.")] = None


class VersionPairQuery(Query):
    """Which two versions."""

    a: Annotated[
        str | None, Field(description="The version that is measured against; by default what transcribes now.")
    ] = None
    b: Annotated[
        str | None, Field(description="The version that would take its place; by default the newest of that kind.")
    ] = None


def of(context: Context, query: VerdictQuery) -> dict[str, Any]:
    """The verdicts on a version, newest first, each with its slices, reasons and rules."""
    version = _found(context, query.version) if query.version is not None else _newest(context)
    if version is None:
        return {"version": None, "kind": None, "verdicts": [], "why_none": "There is no model version yet."}
    mine = sa.select(evaluations).where(
        evaluations.c.model_version_id == version.id, evaluations.c.against_version.is_not(None)
    )
    if query.against is not None:
        mine = mine.where(evaluations.c.against_version == _found(context, query.against).version)
    rows = context.db.rows(mine.order_by(evaluations.c.id.desc()).limit(MOST))
    return {
        "version": version.version, "kind": version.kind, "verdicts": [_verdict(row, version.kind) for row in rows],
        "why_none": None if rows else f"No verdict on {version.version} yet: `models compare` or `promote` makes one.",
    }  # fmt: skip


def compare(context: Context, query: VersionPairQuery) -> dict[str, Any]:
    """Two versions by their latest scores on one test set, slice by slice; and the newest verdict on the pair."""
    first = _found(context, query.a) if query.a is not None else registry.aliased(context)
    second = _found(context, query.b) if query.b is not None else _newest(context, first.kind if first else "")
    if first is None or second is None:
        return {
            "a": None, "b": None, "kind": None, "measure": None, "unit": None, "better_is_more": None,
            "comparable": False, "why_not": "No version serves yet: name two.", "evaluations": [], "slices": [],
            "verdict": None,
        }  # fmt: skip
    if first.kind != second.kind:
        raise InvalidInput(
            "wrong-kind", f"{first.version} is of kind {first.kind}, {second.version} of {second.kind}.",
            "Name two versions of one kind.",
        )  # fmt: skip
    measure, unit, better_is_more = MEASURES[first.kind]
    scored = {each.id: _scored(context, each.id) for each in (first, second)}
    one, other, comparable = _same_conditions(scored[first.id], scored[second.id])
    slices = _beside(dict(_figures(one, first.kind)), dict(_figures(other, first.kind))) if one and other else []
    pair = {first.version, second.version}
    judged = sa.select(evaluations, model_versions.c.version).join(
        model_versions, model_versions.c.id == evaluations.c.model_version_id
    )
    judged = judged.where(
        evaluations.c.model_version_id.in_((first.id, second.id)), evaluations.c.against_version.in_(pair)
    )
    rows = context.db.rows(judged.order_by(evaluations.c.id.desc()).limit(1))
    return {
        "a": _named(first), "b": _named(second), "kind": first.kind, "measure": measure, "unit": unit,
        "better_is_more": better_is_more, "comparable": comparable,
        "why_not": None if comparable else _why_not(first, one, second, other),
        "evaluations": [_short(each) for each in (one, other) if each is not None], "slices": slices,
        "verdict": {**_verdict(rows[0], first.kind), "of": rows[0].version} if rows else None,
    }  # fmt: skip


def lines(found: dict[str, Any]) -> list[str]:
    """Verdicts for a terminal."""
    said = [found["why_none"]] if found["why_none"] else []
    for one in found["verdicts"]:
        said.append(f"{one['at']:%Y-%m-%d %H:%M} against {one['against']}: {one['outcome']}")
        said += [f"  {sentence}" for sentence in one["words"]]
        said += [f"  {_line(each, one['unit'])}" for each in one["slices"]]
    return said


def comparison_lines(found: dict[str, Any]) -> list[str]:
    """Two versions for a terminal."""
    if found["a"] is None:
        return [found["why_not"]]
    said = [f"{found['a']['version']} and {found['b']['version']}: {found['measure']}"]
    if found["why_not"]:
        said.append(found["why_not"])
    said += [_line(each, found["unit"]) for each in found["slices"]]
    if verdict := found["verdict"]:
        said += [f"Verdict on {verdict['of']}: {verdict['outcome']}", *(f"  {each}" for each in verdict["words"])]
    return said


def _line(one: Mapping[str, Any], unit: str) -> str:
    before, now = (f"{100 * one[arm]:.1f}" if one[arm] is not None else "-" for arm in ("before", "now"))
    between = f" ({100 * one['low']:.1f} to {100 * one['high']:.1f})" if one["low"] is not None else ""
    few = "" if one["enough"] else ", too few to judge"
    return f"{one['title']}: {before} -> {now}{between}, {one['count']:,} {unit}{few}"


def _found(context: Context, name: str) -> Any:
    """A registered version, by name, alias or `newest`; one that is rolled back too."""
    if name.rpartition(":")[2] in (registry.CHAMPION, registry.NEWEST):
        return registry.find(context, name)
    rows = context.db.rows(sa.select(model_versions).where(model_versions.c.version == name.replace("\x00", "")))
    if not rows:
        raise InvalidInput(
            "no-such-model", f"There is no model version {name[:60]!r}.", registry.known(context), status=404
        )
    return rows[0]


def _newest(context: Context, kind: str = "") -> Any:
    """The version that was registered last, of a kind or of any; None where there is none."""
    rows = sa.select(model_versions).order_by(model_versions.c.id.desc()).limit(1)
    found = context.db.rows(rows.where(model_versions.c.kind == kind) if kind else rows)
    return found[0] if found else None


def headline(kind: str, scores: Mapping[str, Any]) -> dict[str, Any]:
    """The one figure of an evaluation's scores that stands for a version: value, low, high and count."""
    return next((one for _, one in _of_scores(scores, kind)), _figure(None, 0))


def _named(row: Any) -> dict[str, Any]:
    return {"version": row.version, "kind": row.kind}


def _verdict(row: Any, kind: str) -> dict[str, Any]:
    scores = dict(row.scores or {})
    body = dict(scores.get("verdict") or {})
    measure, unit, better_is_more = MEASURES[kind]
    parts = [body["overall"], *body.get("slices", ())] if body.get("overall") else []
    return {
        "evaluation": row.id, "at": row.created_at, "against": row.against_version, "outcome": row.verdict,
        "passed": bool(body.get("passed")), "words": list(scores.get("words_said") or ()),
        "objections": list(body.get("objections") or ()), "missing": body.get("missing") or {},
        "rules": body.get("rules") or {}, "dataset_id": row.dataset_id, "test_sha256": row.test_sha256,
        "report_key": row.report_key, "measure": measure, "unit": unit, "better_is_more": better_is_more,
        "slices": [_slice(each) for each in parts],
    }  # fmt: skip


def _slice(one: Mapping[str, Any]) -> dict[str, Any]:
    """A slice before and now. `low` and `high` bound the figure now, at 95 %: its own interval, else what the interval
    of the difference leaves; None where there is none."""
    before, now, difference = one.get("before"), one.get("now"), one.get("difference")
    between = one.get("now_between")
    low = high = None
    if between and between[1] < between[2]:
        low, high = between[1], between[2]
    elif difference and before is not None and difference[1] < difference[2]:
        low, high = before + difference[1], before + difference[2]
    earlier = one.get("before_between")
    return {
        "kind": one["kind"], "name": one["name"], "title": title_of(one["kind"], one["name"]), "before": before,
        "now": now, "before_low": earlier[1] if earlier else None, "before_high": earlier[2] if earlier else None,
        "low": low, "high": high, "difference": difference[0] if difference else None,
        "difference_low": difference[1] if difference else None,
        "difference_high": difference[2] if difference else None,
        "count": int(one.get("words") or 0), "calls": one.get("calls"), "enough": bool(one.get("enough")),
    }  # fmt: skip


def title_of(kind: str, name: str) -> str:
    """A slice for people."""
    if kind == "all":
        return "all"
    return f"{kind}: {languages.name_of(name) if kind == 'language' else name}"


def _scored(context: Context, version_id: int) -> list[Any]:
    """The plain evaluations of a version, newest first."""
    mine = sa.select(evaluations).where(
        evaluations.c.model_version_id == version_id, evaluations.c.against_version.is_(None)
    )
    return list(context.db.rows(mine.order_by(evaluations.c.id.desc()).limit(MOST)))


def _same_conditions(first: list[Any], second: list[Any]) -> tuple[Any, Any, bool]:
    """The newest pair on one test set under equal readings, else the newest of each."""
    for one in first:
        for other in second:
            if one.test_sha256 == other.test_sha256 and one.normalisers == other.normalisers:
                return one, other, True
    return next(iter(first), None), next(iter(second), None), False


def _why_not(first: Any, one: Any, second: Any, other: Any) -> str:
    missing = [each.version for each, row in ((first, one), (second, other)) if row is None]
    if missing:
        return f"There are no scores yet of {' and '.join(missing)}: `evaluate` scores a version."
    return "They were scored on different test sets: `models compare` scores both on one."


def _short(row: Any) -> dict[str, Any]:
    return {"evaluation": row.id, "at": row.created_at, "dataset_id": row.dataset_id, "test_sha256": row.test_sha256}


def _figures(row: Any, kind: str) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
    """(kind of slice, name) -> value, low, high and count, of an evaluation's row; the whole first."""
    return _of_scores(dict(row.scores or {}), kind)


def _of_scores(scores: Mapping[str, Any], kind: str) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
    if kind == kinds.NLU:
        unseen = dict(scores.get("unseen") or {})
        yield ("all", "all"), _figure(unseen.get("macro_f1"), unseen.get("rows"))
        for name, one in ((unseen.get("slices") or {}).get("language") or {}).items():
            yield ("language", name), _figure(one.get("macro_f1"), one.get("rows"))
        for name, one in (unseen.get("intents") or {}).items():
            yield ("intent", name), _figure(one.get("f1"), one.get("rows"))
        return
    if kind == kinds.TTS:
        rate, counted, whole = "cer", "sentences", scores
    else:
        rate, counted, whole = "wer", "words", (scores.get("rates") or {}).get(_MAIN) or {}
    yield ("all", "all"), _figure(whole.get(rate), whole.get(counted))
    for sort, some in (scores.get("slices") or {}).items():
        for name, one in some.items():
            yield (sort, name), _figure(one.get(rate), one.get(counted))


def _figure(value: Any, count: Any) -> dict[str, Any]:
    interval = list(value) if isinstance(value, list | tuple) else [value, None, None]
    return {"value": interval[0], "low": interval[1], "high": interval[2], "count": int(count or 0)}


def _beside(
    first: dict[tuple[str, str], dict[str, Any]], second: dict[tuple[str, str], dict[str, Any]]
) -> list[dict[str, Any]]:
    nothing = _figure(None, 0)
    return [
        {
            "kind": kind, "name": name, "title": title_of(kind, name), "before": one["value"], "now": other["value"],
            "before_low": one["low"], "before_high": one["high"], "low": other["low"], "high": other["high"],
            "count": other["count"] or one["count"], "enough": other["low"] is not None or kind == "all",
        }
        for kind, name in dict.fromkeys((*first, *second))
        for one, other in ((first.get((kind, name), nothing), second.get((kind, name), nothing)),)
    ]  # fmt: skip
