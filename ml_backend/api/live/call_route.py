"""`/api/route`: which version answers a call, for systems that serve models themselves.

The choice is the one of drafts and of `/v1`: the champion, or an arm of a running experiment by the call's hash. It is
asked for once per call and component, so the aliases are read at most every `FRESH_S`; a promotion is seen within a
second. An answer has an ETag, so that a client may ask again at no cost.
"""

from __future__ import annotations

import time
from typing import Annotated

from flask import Response, request
from pydantic import Field

from ml_backend.api.requests import answer
from ml_backend.context import Context
from ml_backend.errors import InvalidInput
from ml_backend.models import kinds, routing
from ml_backend.serving import default_model
from ml_backend.views.queries import Query, one_of

FRESH_S = 0.4

_kind = one_of(
    kinds.KINDS,
    InvalidInput("bad-kind", "There is no such kind of model.", f"Use one of: {', '.join(kinds.KINDS)}."),
)


class RouteQuery(Query):
    """Of which call, and for which kind of model."""

    kind: Annotated[str, Field(description="asr, nlu or tts."), _kind] = kinds.ASR
    call: Annotated[str | None, Field(max_length=200, description="The call's id; without it, the champion.")] = None
    language: Annotated[str | None, Field(max_length=20, description="The call's language, where it is known.")] = None


class CallRoute:
    """The choice alone."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._read: dict[str, tuple[float, routing.Routes, frozenset[str]]] = {}

    def choose(self, query: RouteQuery) -> Response:
        """The version that answers a call: the champion's, or an experiment's by the call's id."""
        routes, languages = self._routes(query.kind)
        language = query.language if query.language in languages else None
        if query.call:
            route = routes.choose(query.call, language=language)
        else:
            route = routing.Route(routes.champion_of(language))
        response = answer(
            {
                "kind": query.kind, "call": query.call, "version": route.version.version,
                "location": route.version.location, "experiment_id": route.experiment_id, "arm": route.arm,
                "shadow": route.shadow.version if route.shadow is not None else None, "revision": routes.revision,
            }
        )  # fmt: skip
        response.headers["Cache-Control"] = "private, no-cache"
        response.set_etag(f"{routes.revision}-{route.version.version}")
        response.make_conditional(request)
        return response

    def _routes(self, kind: str) -> tuple[routing.Routes, frozenset[str]]:
        until, routes, languages = self._read.get(kind, (0.0, None, frozenset()))
        now = time.monotonic()
        if routes is None or now >= until:
            if routes is None:
                default_model.ensure(self._context, kind)  # a new deployment has no champion yet
            routes = routing.Routes(self._context, kind)
            routes.revision  # noqa: B018 - read now, with the experiments
            languages = routes.languages
            self._read[kind] = (now + FRESH_S, routes, languages)
        return routes, languages
