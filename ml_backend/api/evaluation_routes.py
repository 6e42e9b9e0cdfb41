"""/api/evaluations: what model versions got wrong, utterance by utterance, and the request for another review."""

from __future__ import annotations

from flask import Response, g

from ml_backend.api.requests import answer, json_object, page
from ml_backend.context import Context
from ml_backend.errors import InvalidInput
from ml_backend.labelling import review_requests
from ml_backend.views import error_views
from ml_backend.views.queries import whole_number

WAIT_S = 5.0  # a request cannot wait longer for its turn to write


class Evaluations:
    """The evaluations with utterances as JSON, newest first."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def list(self, query: error_views.EvaluationQuery) -> Response:
        """One page of evaluations."""
        return page("evaluations", error_views.every(self._context, query), query, key="evaluation")

    def show(self, evaluation_id: str) -> Response:
        """One with its scores, its slices, and the evaluations that it can be compared with."""
        return answer(error_views.one(self._context, _number(evaluation_id)))

    def errors(self, evaluation_id: str, query: error_views.ErrorsQuery) -> Response:
        """The errors by how often they were made: words confused, missed and invented."""
        return answer(error_views.errors(self._context, _number(evaluation_id), query))

    def utterances(self, evaluation_id: str, query: error_views.UtterancesQuery) -> Response:
        """One page of utterances, with the rates of everything that the filters let through."""
        return answer(error_views.utterances(self._context, _number(evaluation_id), query))

    def utterance(self, evaluation_id: str, number: str) -> Response:
        """One utterance under every reading."""
        return answer(error_views.utterance(self._context, _number(evaluation_id), whole_number(number, "number")))

    def review(self, evaluation_id: str, number: str) -> Response:
        """`{"reason": "..."}`: one more person gets the utterance's task."""
        reason = json_object().get("reason")
        if not isinstance(reason, str):
            raise InvalidInput("no-reason", "A reason is missing.", "Send a reason.")
        with self._context.db.transaction(wait_s=WAIT_S) as connection:
            asked = review_requests.ask(
                connection, _number(evaluation_id), whole_number(number, "number"), who=g.caller, why=reason
            )
        return answer(asked)


def _number(evaluation_id: str) -> int:
    return whole_number(evaluation_id, "evaluation id")
