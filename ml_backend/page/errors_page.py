"""/page/errors: the evaluations, every utterance of one with its errors marked, and one utterance.

Errors are marked with <del> and <ins> and with words that a screen reader reads, never by colour alone. The texts are
those that people said and models wrote: they are shown as text, whatever is in them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from flask import Response, g, request

from ml_backend.context import Context
from ml_backend.labelling import review_requests
from ml_backend.models.error_index import DELETION, INSERTION, SORTS, SUBSTITUTION
from ml_backend.page import page_actions, page_lists, page_shell
from ml_backend.page.page_lists import Column
from ml_backend.views import error_views, queries
from ml_backend.views.error_views import OUTCOMES, ErrorsQuery, EvaluationQuery, UtterancesQuery
from ml_backend.views.queries import whole_number

MOST_FREQUENT = 10
LONGEST_TEXT = 1500  # characters of one utterance in a list; its own page shows all
WAIT_S = 3.0
_TITLES = {SUBSTITUTION: "confused", DELETION: "missed", INSERTION: "invented"}
_SORT_NAMES = dict(zip(SORTS, ("highest error rate", "most errors", "characters", "longest", "number"), strict=True))
_UNITS = {
    "asr": ("words", "words wrong", "characters wrong"),
    "nlu": ("utterances", "intents wrong", "entities missed or invented"),
    "tts": ("words", "words left out", "characters wrong"),
}


class ErrorsPages:
    """The utterance explorer."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def listed(self) -> Response:
        """The evaluations, newest first."""
        query = page_lists.asked(EvaluationQuery)
        columns = [
            Column("evaluation", "evaluation", "number", link=_link("evaluation")),
            Column("version", "version", link=_link("version")),
            Column("kind", "kind"), Column("dataset", "test set"), Column("utterances", "utterances", "number"),
            Column("wer", "words wrong", "share"), Column("cer", "characters wrong", "share"),
            Column("at", "made at", "time"),
        ]  # fmt: skip
        if page_lists.wants_csv():
            return page_lists.to_csv("evaluations", query, self._every, columns, key="evaluation")
        listing = page_lists.of(query, self._every, columns, key="evaluation", caption="Evaluations")
        return page_shell.render("errors.html", title="Errors", active="errors", listing=listing)

    def show(self, evaluation_id: str) -> Response:
        """The utterances of an evaluation; with `against`, two versions side by side."""
        number, query = _evaluation(evaluation_id), _asked(UtterancesQuery)
        if page_lists.wants_csv():
            return self._utterances_csv(number, query)
        found, evaluation = error_views.utterances(self._context, number, query), error_views.one(self._context, number)
        units, path = _UNITS.get(evaluation["kind"], _UNITS["asr"]), f"/page/errors/{number}"
        given = _arguments()
        frequent = []
        for kind, title in _TITLES.items():
            wanted = ErrorsQuery(kind=kind, reading=query.reading, limit=MOST_FREQUENT)
            most = error_views.errors(self._context, number, wanted)
            frequent.append((title, kind, most["sums"][kind], [_linked(path, each, query) for each in most["errors"]]))
        return page_shell.render(
            "errors_of_evaluation.html", title=f"Errors of {found['version']}", active="errors", found=found,
            evaluation=evaluation, units=units, frequent=frequent, query=query, path=path,
            rows=[_shortened(row) for row in found["utterances"]], sorts=_SORT_NAMES, outcomes=OUTCOMES,
            slices=_slices(evaluation["slices"]), whole_path=_with(path, given),
            next_page=_with(path, {**given, "before": str(found["next"])}) if found["next"] else None,
            first_page=_with(path, given) if query.before else None, csv=_with(path, {**given, "format": "csv"}),
        )  # fmt: skip

    def words(self, evaluation_id: str) -> Response:
        """Every error of an evaluation with how often it was made."""
        number, query = _evaluation(evaluation_id), _asked(ErrorsQuery)
        path = f"/page/errors/{number}"

        def find(asked: ErrorsQuery) -> list[dict[str, Any]]:
            found = error_views.errors(self._context, number, asked)["errors"]
            return [{**each, "error": _TITLES[each["kind"]]} for each in found]

        def link(row: Mapping[str, Any]) -> str | None:
            address: str | None = _linked(path, row, UtterancesQuery(reading=query.reading))["address"]
            return address

        columns = [
            Column("error", "error"), Column("said", "said"), Column("written", "written"),
            Column("times", "times", "number"), Column("utterances", "utterances", "number", link=link),
        ]  # fmt: skip
        if page_lists.wants_csv():
            return page_lists.to_csv(f"errors-{number}", query, find, columns, key="place")
        listing = page_lists.of(query, find, columns, key="place", caption="Errors, the most frequent first")
        version = error_views.one(self._context, number)["version"]
        return page_shell.render(
            "errors_words.html", title=f"Words of {version}", active="errors", listing=listing, path=path
        )

    def utterance(self, evaluation_id: str, number: str) -> Response:
        """One utterance under every reading, with its audio, its task, and the request for another review."""
        found = error_views.utterance(self._context, _evaluation(evaluation_id), whole_number(number, "number"))
        path = f"/page/errors/{found['evaluation']}"
        return page_shell.render(
            "errors_utterance.html", title=f"Utterance {found['number']} of {found['version']}", active="errors",
            found=found, path=path, asked="asked" in request.args,
        )  # fmt: skip

    def review(self, evaluation_id: str, number: str) -> Response:
        """One more person gets the utterance's task."""
        evaluation, place, why = _evaluation(evaluation_id), whole_number(number, "number"), page_actions.reason()
        with self._context.db.transaction(wait_s=WAIT_S) as connection:
            review_requests.ask(connection, evaluation, place, who=g.caller, why=why)
        page_actions.note("review-again", f"{evaluation}/{place}", who=g.caller, why=why)
        return page_shell.go_to(f"/page/errors/{evaluation}/{place}?asked=yes")

    def _every(self, query: EvaluationQuery) -> list[dict[str, Any]]:
        return error_views.every(self._context, query)

    def _utterances_csv(self, number: int, query: UtterancesQuery) -> Response:
        def find(asked: UtterancesQuery) -> list[dict[str, Any]]:
            rows: list[dict[str, Any]] = error_views.utterances(self._context, number, asked)["utterances"]
            for row in rows:
                row["slices"] = ", ".join(f"{kind} {name}" for kind, name in row["slices"].items())
                row["other"] = (row.get("against") or {}).get("hypothesis")
            return rows

        names = ["number", "reference", "hypothesis", "words", "word_edits", "wer", "cer", "duration_s", "language",
                 "counted", "slices", "call"]  # fmt: skip
        columns = [Column(name, name) for name in names]
        if query.against:
            columns += [Column("outcome", "outcome"), Column("other", f"hypothesis of evaluation {query.against}")]
        return page_lists.to_csv(f"utterances-{number}", query, find, columns, key="place")


def _link(kind: str) -> Callable[[Mapping[str, Any]], str | None]:
    return lambda row: page_shell.link_to(kind, row[kind])


def _evaluation(evaluation_id: str) -> int:
    return whole_number(evaluation_id, "evaluation id")


def _asked(model: Any) -> Any:
    """The query of this request, its order too; a field of a form that was left empty is no filter."""
    given = {
        name: kept
        for name, values in request.args.to_dict(flat=False).items()
        if name != "format" and (kept := [value for value in values if value != ""])
    }
    return queries.from_arguments(model, given)


def _arguments() -> dict[str, Any]:
    """What a link to another page of this list keeps."""
    given = request.args.to_dict(flat=False)
    return {name: [v for v in values if v] for name, values in given.items() if name not in ("before", "format")}


def _with(path: str, arguments: Mapping[str, Any]) -> str:
    given = {name: value for name, value in arguments.items() if value}
    return f"{path}?{urlencode(given, doseq=True)}" if given else path


def _linked(path: str, error: Mapping[str, Any], query: UtterancesQuery) -> dict[str, Any]:
    """An error with the address of its utterances."""
    given = {"said": error["said"] or "", "written": error["written"] or "", "reading": query.reading or ""}
    return {**error, "address": None if error["erased"] else page_lists.address(path, given)}


def _slices(slices: Mapping[str, Mapping[str, list[int]]]) -> list[tuple[str, int]]:
    return [(f"{kind}={name}", counts[0]) for kind, some in slices.items() for name, counts in sorted(some.items())]


def _shortened(row: dict[str, Any]) -> dict[str, Any]:
    """A row whose texts fit into a list; `cut` says that its page shows more."""
    found = {**row, "against": _shortened(row["against"]) if row.get("against") else None}
    left, steps = LONGEST_TEXT, []
    for tag, *texts in row["steps"]:
        if left <= 0:
            break
        steps.append([tag, *(text if len(text) <= left else f"{text[:left]}…" for text in texts)])
        left -= sum(map(len, texts))
    return {**found, "steps": steps, "cut": left < 0 or len(steps) < len(row["steps"])}
