"""What evaluations got wrong, for commands, /api and the page: lists, utterances, errors, two versions side by side.

Everything is read from the index of an evaluation (`models/error_index.py`) and the rows of one page, so a page of
100,000 utterances costs what a page of a hundred does. Reads only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import Field

from ml_backend.context import Context
from ml_backend.errors import InvalidInput
from ml_backend.models import error_index
from ml_backend.models.error_index import DELETION, ERRORS, INSERTION, SORTS, SUBSTITUTION, ErrorIndex
from ml_backend.tables import (
    datasets,
    evaluation_indexes,
    evaluation_utterances,
    evaluations,
    model_versions,
    projects,
    recordings,
    tasks,
)
from ml_backend.views.queries import PagedQuery, Whole, one_of

OUTCOMES = ("better", "worse", "equal")
MOST_COMPARABLE = 20
_Sort = Annotated[
    str, one_of(SORTS, InvalidInput("bad-sort", "There is no such order.", f"Known: {', '.join(SORTS)}."))
]
_Outcome = Annotated[
    str, one_of(OUTCOMES, InvalidInput("bad-outcome", "There is no such outcome.", f"Known: {', '.join(OUTCOMES)}."))
]
_Error = Annotated[
    str, one_of(ERRORS, InvalidInput("bad-error-kind", "There is no such error.", f"Known: {', '.join(ERRORS)}."))
]


class EvaluationQuery(PagedQuery):
    """Which evaluations."""

    kind: Annotated[str | None, Field(description="Only of this kind of model, e.g. asr.")] = None
    version: Annotated[str | None, Field(description="Only of this model version.")] = None


class UtterancesQuery(PagedQuery):
    """Which utterances of an evaluation, and in which order; `before` is the `next` of the page before."""

    sort: Annotated[
        _Sort,
        Field(description="worst (highest word error rate), errors (most wrong words), characters, longest, number."),
    ] = "worst"
    reading: Annotated[str | None, Field(description="Count under this reading; by default the one that decides.")] = (
        None
    )
    slice: Annotated[tuple[str, ...], Field(description="Only of this slice, e.g. snr=10-20 dB; all must hold.")] = ()
    language: Annotated[str | None, Field(description="Only in this language, e.g. hi.")] = None
    word: Annotated[str | None, Field(description="Only where this word was said or written; several must all be.")] = (
        None
    )
    said: Annotated[str | None, Field(description="Only where this word was said and written wrongly or left out.")] = (
        None
    )
    written: Annotated[
        str | None, Field(description="Only where this was written instead of `said`; alone: where it was put in.")
    ] = None
    against: Annotated[Whole | None, Field(description="Compare with this evaluation, utterance by utterance.")] = None
    outcome: Annotated[
        _Outcome | None, Field(description="With `against`: only those where this version is better, worse or equal.")
    ] = None


class ErrorsQuery(PagedQuery):
    """Which errors of an evaluation, the most frequent first; `before` is the `next` of the page before."""

    reading: Annotated[str | None, Field(description="Count under this reading; by default the one that decides.")] = (
        None
    )
    kind: Annotated[
        _Error | None, Field(description="substitution (confused), deletion (missed) or insertion (invented).")
    ] = None
    word: Annotated[str | None, Field(description="Only errors with this word.")] = None


def every(context: Context, query: EvaluationQuery) -> list[dict[str, Any]]:
    """Evaluations, newest first, with the figure that stands for each."""
    statement = _evaluations().where(evaluations.c.details_key.is_not(None))
    if query.kind is not None:
        statement = statement.where(model_versions.c.kind == query.kind)
    if query.version is not None:
        statement = statement.where(model_versions.c.version == query.version)
    if query.before is not None:
        statement = statement.where(evaluations.c.id < query.before)
    rows = context.db.rows(statement.order_by(evaluations.c.id.desc()).limit(query.limit))
    return _listed(context, rows)


def one(context: Context, evaluation_id: int) -> dict[str, Any]:
    """One evaluation: its sums by reading, its slices, and the evaluations it can be compared with."""
    row = _row(context, evaluation_id)
    found = {**_listed(context, [row])[0], "scores": row.scores}
    same = _evaluations().where(
        evaluations.c.test_sha256 == row.test_sha256, evaluations.c.details_key.is_not(None),
        evaluations.c.id != row.id, model_versions.c.kind == row.kind,
    )  # fmt: skip
    others = context.db.rows(same.order_by(evaluations.c.id.desc()).limit(MOST_COMPARABLE))
    found["comparable"] = [{"evaluation": each.id, "version": each.version, "at": each.created_at} for each in others]
    return found


def errors(context: Context, evaluation_id: int, query: ErrorsQuery) -> dict[str, Any]:
    """The errors of an evaluation by how often they were made: confusions, missed and invented words."""
    index = index_of(context, evaluation_id)
    facts = index.facts
    reading = _reading(facts, query.reading)
    every_error = index.errors(reading)
    sums = dict.fromkeys(ERRORS, 0)
    for what, _, _, times, _ in every_error:
        sums[what] += times
    words = error_index.words_of(query.word) if query.word else []
    kept = [
        (place, each)
        for place, each in enumerate(every_error, 1)
        if (query.kind is None or each[0] == query.kind) and all(_has(each, word) for word in words)
    ]
    shown = [each for each in kept if each[0] > (query.before or 0)][: query.limit]
    return {
        "evaluation": evaluation_id, "reading": reading, "sums": sums, "total": len(kept),
        "errors": [
            {"kind": what, "said": said or None, "written": written or None, "times": times, "utterances": utterances,
             "erased": not (said or written), "place": place}
            for place, (what, said, written, times, utterances) in shown
        ],
        "next": shown[-1][0] if shown and shown[-1][0] != kept[-1][0] else None,
    }  # fmt: skip


def utterances(context: Context, evaluation_id: int, query: UtterancesQuery) -> dict[str, Any]:
    """One page of utterances, with the rates of everything that was selected."""
    row, index = _row(context, evaluation_id), index_of(context, evaluation_id)
    facts = index.facts
    reading = _reading(facts, query.reading)
    compared = _compared(context, row, index, query, reading) if query.against else None
    if query.outcome and compared is None:
        raise InvalidInput("no-against", "An outcome is that of a comparison.", "Name the other evaluation: against.")
    wanted = _selected(index, facts, query, reading)
    if compared is not None:
        there = compared.numbers(query.outcome)
        wanted = wanted if there is None else there if wanted is None else wanted & there
    order = index.order(reading, query.sort)
    if compared is not None and query.sort in ("worst", "errors"):
        order = compared.order()
    chosen = list(islice(error_index.some(order, wanted, after=query.before or 0), query.limit + 1))
    shown = chosen[: query.limit]
    places = {number: place for place, number in shown}
    rows = _rows(context, evaluation_id, list(places), reading)
    for each in rows:
        each["place"] = places[each["number"]]
    found: dict[str, Any] = {
        "evaluation": evaluation_id, "version": row.version, "reading": reading, "sort": query.sort,
        "selected": _sums(index, reading, wanted), "utterances": rows,
        "next": shown[-1][0] if len(chosen) > len(shown) else None,
    }  # fmt: skip
    if compared is not None:
        found["against"] = compared.shown(context, rows, wanted)
    return found


def utterance(context: Context, evaluation_id: int, number: int) -> dict[str, Any]:
    """One utterance with its texts under every reading."""
    row = _row(context, evaluation_id)
    index = index_of(context, evaluation_id)
    reading = _reading(index.facts, None)
    found = _rows(context, evaluation_id, [number], reading, every_reading=True)
    if not found:
        raise InvalidInput(
            "no-such-utterance", f"Evaluation {evaluation_id} has no utterance {number}.",
            f"Its utterances have numbers from 1 to {index.facts['utterances']}.", status=404,
        )  # fmt: skip
    return {"evaluation": evaluation_id, "version": row.version, **found[0]}


def index_of(context: Context, evaluation_id: int) -> ErrorIndex:
    """The index of an evaluation; InvalidInput 404 without such an evaluation, 409 while it is being made."""
    rows = evaluation_indexes.c

    def load(names: Collection[str]) -> Mapping[str, bytes]:
        mine = sa.select(rows.name, rows.body).where(rows.evaluation_id == evaluation_id, rows.name.in_(list(names)))
        return {row.name: row.body for row in context.db.rows(mine)}

    index = ErrorIndex(load)
    if not index.facts:
        _row(context, evaluation_id)
        raise InvalidInput(
            "evaluation-not-listed", f"The utterances of evaluation {evaluation_id} are not listed yet.",
            "A job lists them within the hour; `python -m ml_backend evaluations list-again` does it now.", status=409,
        )  # fmt: skip
    return index


@dataclass(frozen=True)
class _Comparison:
    """Another evaluation on the same utterances: of each number, its number there, and wrong words more than there."""

    evaluation_id: int
    version: str
    reading: str
    there: Sequence[int]  # by number here less one; 0: it is not there
    change: Sequence[int]  # wrong words here minus there: negative is better
    counted: Sequence[bool]

    def numbers(self, outcome: str | None) -> set[int] | None:
        """The utterances of this outcome that both have; None: all of them."""
        if outcome is None and all(self.there):
            return None
        each = zip(self.there, self.change, strict=True)
        return {
            number
            for number, (there, change) in enumerate(each, 1)
            if there and (outcome is None or outcome == _outcome(change))
        }

    def order(self) -> list[int]:
        """The largest change first, worse before better; then those without one, by number."""
        changed = [number for number, change in enumerate(self.change, 1) if change]
        changed.sort(key=lambda number: -2 * abs(self.change[number - 1]) - (self.change[number - 1] > 0))
        return changed + [number for number, change in enumerate(self.change, 1) if not change]

    def shown(
        self, context: Context, rows: Sequence[dict[str, Any]], wanted: Collection[int] | None
    ) -> dict[str, Any]:  # fmt: skip
        """The other side of these rows, which get their `outcome`; and how many are better and worse."""
        numbers = {row["number"]: self.there[row["number"] - 1] for row in rows}
        other = {row["number"]: row for row in _rows(context, self.evaluation_id, list(numbers.values()), self.reading)}
        for row in rows:
            row["outcome"] = _outcome(self.change[row["number"] - 1])
            row["against"] = other[numbers[row["number"]]]
        every = range(1, len(self.there) + 1) if wanted is None else wanted
        chosen = [self.change[number - 1] for number in every if self.counted[number - 1]]
        better, worse = sum(change < 0 for change in chosen), sum(change > 0 for change in chosen)
        return {
            "evaluation": self.evaluation_id, "version": self.version, "utterances": len(chosen), "better": better,
            "worse": worse, "equal": len(chosen) - better - worse, "word_edits": sum(chosen),
        }  # fmt: skip


def _outcome(change: int) -> str:
    return "better" if change < 0 else "worse" if change > 0 else "equal"


def _compared(
    context: Context, row: Any, index: ErrorIndex, query: UtterancesQuery, reading: str
) -> _Comparison:  # fmt: skip
    other = _row(context, query.against or 0)
    if other.kind != row.kind:
        raise InvalidInput("wrong-kind", "The two evaluations are of different kinds of model.", "Name another one.")
    theirs = index_of(context, other.id)
    _reading(theirs.facts, reading)
    mine, before = index.counts(reading)[1], theirs.counts(reading)[1]
    here, yonder = index.ids(), theirs.ids()
    there: Sequence[int] = range(1, len(here) + 1)
    if here != yonder:
        places = {line_id: number for number, line_id in enumerate(yonder, 1)}
        there = [places.get(line_id, 0) for line_id in here]
    counted, counted_there = index.counted(), theirs.counted()
    return _Comparison(
        other.id, other.version, reading, there,
        [wrong - before[number - 1] if number else 0 for wrong, number in zip(mine, there, strict=True)],
        [bool(counts and number and counted_there[number - 1]) for counts, number in zip(counted, there, strict=True)],
    )  # fmt: skip


def _selected(index: ErrorIndex, facts: Mapping[str, Any], query: UtterancesQuery, reading: str) -> set[int] | None:
    """The numbers that every filter lets through; None without a filter."""
    found: list[Iterable[int]] = []
    for each in query.slice:
        kind, equals, name = each.partition("=")
        if not equals or kind not in facts["slices"]:
            raise InvalidInput(
                "bad-slice", "There is no slice of this name.", f"Known: {', '.join(sorted(facts['slices']))}=…"
            )
        found.append(index.numbers_of_slice(kind, name))
    if query.language:
        found.append(index.numbers_of_slice("language", query.language))
    for word in error_index.words_of(query.word) if query.word else ():
        found.append(index.numbers_of_word(word))
    if query.said or query.written:
        what = SUBSTITUTION if query.said and query.written else DELETION if query.said else INSERTION
        said, written = _typed(query.said), _typed(query.written)
        found.append(index.numbers_of_error(reading, error_index.key_of(what, said, written)))
    if not found:
        return None
    return set(found[0]).intersection(*found[1:])


def _typed(word: str | None) -> str:
    """A word as an error names it, which is taken from the list of errors: as it is."""
    return " ".join((word or "").split())


def _sums(index: ErrorIndex, reading: str, wanted: Collection[int] | None) -> dict[str, Any]:
    """Counts and weighted rates of the selected utterances, of those that the scores count."""
    if wanted is None:
        facts = index.facts
        return _summed(facts["utterances"], facts["counted"], facts["sums"][reading], facts["weighted"][reading])
    counted, weights, counts = index.counted(), index.weights(), index.counts(reading)
    places = [number - 1 for number in wanted if counted[number - 1]]
    sums = [sum(column[place] for place in places) for column in counts]
    heavy = [sum(weights[place] * column[place] for place in places) for column in counts]
    return _summed(len(wanted), len(places), sums, heavy)


def _summed(utterances: int, counted: int, sums: Sequence[int], heavy: Sequence[float]) -> dict[str, Any]:
    return {
        "utterances": utterances, "counted": counted, "words": sums[0], "word_edits": sums[1], "chars": sums[2],
        "char_edits": sums[3], "wer": _rate(heavy[1], heavy[0]), "cer": _rate(heavy[3], heavy[2]),
    }  # fmt: skip


def _rate(errors: float, of: float) -> float | None:
    return round(errors / of, 6) if of else None


def _rows(
    context: Context, evaluation_id: int, numbers: Sequence[int], reading: str, *, every_reading: bool = False
) -> list[dict[str, Any]]:
    """The rows of these numbers in this order, each with its task and its recording."""
    each = evaluation_utterances
    mine = sa.select(each).where(each.c.evaluation_id == evaluation_id, each.c.number.in_(list(numbers)))
    rows = {row.number: row for row in context.db.rows(mine)}
    audio = _recordings(context, {row.audio_sha256 for row in rows.values() if row.audio_sha256})
    open_tasks = _tasks(context, {(row.ls_project_id or 0, row.ls_task_id or 0) for row in rows.values()})
    return [
        _utterance(rows[number], reading, audio, open_tasks, every_reading=every_reading)
        for number in numbers
        if number in rows
    ]


def _utterance(
    row: Any, reading: str, audio: Mapping[str, Any], of_task: Mapping[tuple[int, int], Any], *, every_reading: bool
) -> dict[str, Any]:
    words, word_edits, chars, char_edits = row.counts.get(reading, (0, 0, 0, 0))
    recording = audio.get(row.audio_sha256 or "")
    task = of_task.get((row.ls_project_id or 0, row.ls_task_id or 0))
    found = {
        "number": row.number, "line": row.line_id, "reference": row.reference, "hypothesis": row.hypothesis,
        "erased": not row.reference and not row.steps and bool(words), "steps": _steps(row, reading),
        "words": words, "word_edits": word_edits, "chars": chars, "char_edits": char_edits,
        "wer": _rate(word_edits, words), "cer": _rate(char_edits, chars), "edits": row.edits.get(reading),
        "duration_s": row.duration_s, "language": row.language or None, "detected_language": row.detected_language,
        "counted": bool(row.counted), "slices": row.slices, "audio_sha256": row.audio_sha256, "start_s": row.start_s,
        "end_s": row.end_s, "channel": row.channel, "recording": recording.id if recording else None,
        "call": recording.call_sid if recording else None,
        "task": {
            "task": task.id, "ls_task_id": row.ls_task_id, "state": task.state, "review_asked": task.review_asked,
            "url": f"{task.instance_url}/projects/{row.ls_project_id}/data?task={row.ls_task_id}",
        } if task else None,
    }  # fmt: skip
    if every_reading:
        found["readings"] = {
            name: {"words": one[0], "word_edits": one[1], "chars": one[2], "char_edits": one[3],
                   "edits": row.edits.get(name), "steps": _steps(row, name)}
            for name, one in row.counts.items()
        }  # fmt: skip
    return found


def _steps(row: Any, reading: str) -> list[list[str]]:
    """Those of the reading; where they are those of the deciding one, which comes first, only that has them."""
    found: list[list[str]] = row.steps.get(reading) or next(iter(row.steps.values()), [])
    return found


def _recordings(context: Context, shas: Collection[str]) -> dict[str, Any]:
    """Audio -> the recording that can be played, where it is still here."""
    each = recordings.c
    mine = sa.select(each.id, each.sha256, each.call_sid).where(each.sha256.in_(sorted(shas)), each.state == "ready")
    return {row.sha256: row for row in context.db.rows(mine.order_by(each.id.desc()))} if shas else {}


def _tasks(context: Context, wanted: Collection[tuple[int, int]]) -> dict[tuple[int, int], Any]:
    """(project, task), both as Label Studio numbers them -> our row."""
    each, project = tasks.c, projects.c
    mine = (
        sa.select(each.id, each.state, each.review_asked, each.ls_task_id, project.ls_project_id, project.instance_url)
        .join(projects, project.id == each.project_id)
        .where(project.ls_project_id.in_({pair[0] for pair in wanted}), each.ls_task_id.in_({p[1] for p in wanted}))
        .where(each.state != "deleted")
    )
    return {(row.ls_project_id, row.ls_task_id): row for row in context.db.rows(mine.order_by(each.id))}


def _evaluations() -> sa.Select[Any]:
    return (
        sa.select(
            evaluations, model_versions.c.version, model_versions.c.kind, datasets.c.name.label("dataset"),
            datasets.c.version.label("dataset_version"),
        )
        .join(model_versions, model_versions.c.id == evaluations.c.model_version_id)
        .outerjoin(datasets, datasets.c.id == evaluations.c.dataset_id)
    )  # fmt: skip


def _row(context: Context, evaluation_id: int) -> Any:
    rows = context.db.rows(
        _evaluations().where(evaluations.c.id == evaluation_id, evaluations.c.details_key.is_not(None))
    )
    if not rows:
        raise InvalidInput(
            "no-such-evaluation", f"There is no evaluation {evaluation_id} with utterances.",
            "List them with `python -m ml_backend evaluations list`.", status=404,
        )  # fmt: skip
    return rows[0]


def _only_facts(body: bytes, names: Collection[str]) -> dict[str, bytes]:
    return {"facts": body}


def _listed(context: Context, rows: Sequence[Any]) -> list[dict[str, Any]]:
    each = evaluation_indexes.c
    ids = [row.id for row in rows]
    bodies = context.db.rows(
        sa.select(each.evaluation_id, each.body).where(each.evaluation_id.in_(ids), each.name == "facts")
    )
    facts = {row.evaluation_id: ErrorIndex(partial(_only_facts, row.body)).facts for row in bodies}
    return [_evaluation(row, facts.get(row.id)) for row in rows]


def _evaluation(row: Any, facts: Mapping[str, Any] | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "evaluation": row.id, "at": row.created_at, "version": row.version, "kind": row.kind,
        "dataset": f"{row.dataset}@{row.dataset_version}" if row.dataset else None, "test_sha256": row.test_sha256,
        "listed": facts is not None, "reading": None, "utterances": None, "counted": None, "words": None,
        "word_edits": None, "wer": None, "cer": None, "slices": {}, "readings": [],
    }  # fmt: skip
    if facts is None:
        return found
    words, word_edits, chars, char_edits = facts["sums"][facts["main"]][:4]
    rates = ((row.scores or {}).get("rates") or {}).get(facts["main"]) or {}
    return {
        **found, "reading": facts["main"], "utterances": facts["utterances"], "counted": facts["counted"],
        "words": words, "word_edits": word_edits, "slices": facts["slices"], "readings": facts["readings"],
        "sums": facts["sums"], "wer": (rates.get("wer") or [_rate(word_edits, words)])[0],
        "cer": (rates.get("cer") or [_rate(char_edits, chars)])[0],
        "wer_interval": rates["wer"][1:] if rates.get("wer") else None,
    }  # fmt: skip


def _reading(facts: Mapping[str, Any], wanted: str | None) -> str:
    """The reading, with or without its version; InvalidInput lists those that the evaluation has."""
    if wanted is None:
        return str(facts["main"])
    for name in facts["readings"]:
        if wanted in (name, name.partition("@")[0]):
            return str(name)
    raise InvalidInput(
        "no-such-reading",
        "This evaluation was not counted under that reading.",
        f"Known: {', '.join(facts['readings'])}.",
    )


def _has(error: Sequence[Any], word: str) -> bool:
    return word in (*str(error[1]).split(), *str(error[2]).split())
