"""The app's routes -> an OpenAPI 3.1 document: who may call each, the filters it takes, and everything it answers.

spectree only describes; `requests.add_route` checks requests. Loaded when the document is requested.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from flask import Flask
from pydantic import BaseModel
from spectree import Response, SpecTree

from ml_backend.api import answers, training_answers
from ml_backend.api.auth import SECRET_HEADER
from ml_backend.api.call_routes import SatisfactionBody
from ml_backend.api.live import live_answers
from ml_backend.api.live.live_bodies import ParseBody, SpeechBody
from ml_backend.api.live.transcript_forms import CONTENT_TYPES, EVENTS
from ml_backend.api.live.transcription_form import TranscriptionBody
from ml_backend.api.report_routes import ADDRESS
from ml_backend.audio.encoding import FORMATS
from ml_backend.outcomes.outcome_reports import OutcomeReport
from ml_backend.reports.report_table import REPORTS

INTRODUCTION = (
    "Calls, annotations, datasets, models and jobs for other programs, and the routes that Label Studio, Exotel and "
    "the object store call. Every refusal and failure has a code, a sentence and the next step."
)
_SCHEMES: dict[str, dict[str, Any]] = {
    "token": {"type": "http", "scheme": "bearer", "description": "A token of API_TOKENS: read, operate, admin, live."},
    "label-studio": {"type": "http", "scheme": "basic", "description": "BASIC_AUTH_USER and BASIC_AUTH_PASS."},
    "webhook-secret": {
        "type": "apiKey", "name": SECRET_HEADER, "in": "header", "description": "LABEL_STUDIO_WEBHOOK_SECRET.",
    },
    "exotel-key": {
        "type": "apiKey", "name": "key", "in": "query",
        "description": "EXOTEL_WEBHOOK_SECRET, here or as the last part of the path.",
    },
}  # fmt: skip
_SECURITY: dict[str, list[dict[str, list[str]]]] = {
    "anyone": [{}],
    "protocol": [{"label-studio": []}],
    "webhook": [{"webhook-secret": []}, {"label-studio": []}],
    "exotel": [{"exotel-key": []}],
    "operator": [{"token": []}, {"label-studio": []}],
    "live": [{"token": ["live"]}],
}
_ERRORS = {
    400: "The request is wrong.", 401: "The credentials are missing or wrong.",
    403: "The token's role is not enough.", 404: "There is nothing of that name.",
    410: "The call was erased or has expired.",
    409: "Not in its present state: the code says why.", 413: "The body is too large.",
    415: "The body is of another type, or is compressed.", 429: "Too many at once; Retry-After says when.",
    503: "Not possible just now; Retry-After says when.",
}  # fmt: skip
_PATHS: dict[str, tuple[str, dict[str, Any]]] = {
    "what": ("A call's id, recording:12, task:34, object:bucket/key, or number: and a phone number.", {}),
    "call_sid": ("The call's id.", {}),
    "dataset_id": ("The version's number.", {"type": "integer", "minimum": 1}),
    "version": ("The version's name.", {}),
    "annotation_id": ("The annotation's number in Label Studio.", {"type": "integer", "minimum": 1}),
    "name": ("Its name.", {}),
    "evaluation_id": ("The evaluation's number.", {"type": "integer", "minimum": 1}),
    "number": ("The utterance's number in the evaluation, from 1.", {"type": "integer", "minimum": 1}),
    "clip_id": ("The clip's number.", {"type": "integer", "minimum": 1}),
    "job_id": ("The job's number.", {"type": "integer", "minimum": 1}),
    "secret": ("EXOTEL_WEBHOOK_SECRET.", {}),
    "model": ("champion, another alias, or a version.", {}),
}


@dataclass(frozen=True)
class Described:
    """The body and answers of one route, beside the errors that every route of its kind has."""

    tag: str
    answer: type[BaseModel] | None
    sent: type[BaseModel] | None = None
    statuses: tuple[int, ...] = ()  # errors of its own
    more: Mapping[int, type[BaseModel]] | None = None  # other successful answers
    error: type[BaseModel] = answers.ErrorAnswer
    of_get: tuple[int, ...] = ()  # errors of reading it


def _live(answer: type[BaseModel] | None, sent: type[BaseModel] | None = None) -> Described:
    """A route of the phone system: errors in OpenAI's form, and an unknown model is 404."""
    return Described("Live", answer, sent, (404, 409, *_BODY, 429), error=live_answers.OpenAiErrorAnswer)


_BODY = (413, 415)
_EVENT = Described("Webhooks", answers.Received, answers.EventBody, _BODY, {201: answers.Received})
_EXOTEL = Described("Webhooks", answers.Received, answers.CallEventBody, (404, *_BODY))
_HEALTH = Described("Label Studio", answers.Health)
ROUTES: dict[str, Described] = {
    "/": _HEALTH,
    "/health": _HEALTH,
    "/setup": Described("Label Studio", answers.SetupAnswer, answers.SetupBody, _BODY),
    "/predict": Described("Label Studio", answers.PredictAnswer, answers.PredictBody, _BODY),
    "/versions": Described("Label Studio", answers.VersionsAnswer, answers.VersionsBody, _BODY),
    "/webhook": _EVENT,
    "/webhooks/label-studio": _EVENT,
    "/webhooks/exotel/<secret>": _EXOTEL,
    "/api/nerve/exotel/recording-webhook": _EXOTEL,
    "/webhooks/objects": Described("Webhooks", answers.ScansAnswer, answers.ObjectEvents, _BODY),
    "/ready": Described("Operation", answers.Readiness, more={503: answers.Readiness}),
    "/metrics": Described("Operation", None),
    "/api/live": Described("Live", live_answers.LiveSummary),
    "/api/openapi.json": Described("Operation", answers.OpenApiDocument),
    "/api/jobs": Described("Jobs", answers.JobPage),
    "/api/jobs/<job_id>": Described("Jobs", answers.JobShape),
    "/api/calls": Described("Calls", answers.CallPage),
    "/api/calls/summary": Described("Calls", answers.CallSummary),
    "/api/calls/<path:what>": Described("Calls", answers.CallAnswer),
    "/api/calls/<path:what>/timeline": Described("Calls", answers.TimelineAnswer),
    "/api/recordings": Described("Calls", answers.RecordingPage),
    "/api/listenings": Described("Calls", answers.ListeningPage),
    "/api/calls/<call_sid>/satisfaction": Described("Calls", answers.SatisfactionAnswer, SatisfactionBody, _BODY),
    "/api/calls/<path:call_sid>/outcome": Described("Calls", answers.OutcomeStored, OutcomeReport, (410, *_BODY)),
    "/api/outcomes": Described("Calls", answers.OutcomesStored, answers.OutcomesBody, _BODY),
    "/api/datasets": Described("Training", training_answers.DatasetPage),
    "/api/datasets/<dataset_id>": Described("Training", training_answers.DatasetDetail),
    "/api/models": Described("Training", training_answers.VersionPage),
    "/api/models/<version>": Described("Training", training_answers.VersionDetail),
    "/api/training": Described("Training", training_answers.TrainingStatus),
    "/api/experiments": Described("Training", training_answers.ExperimentList),
    "/api/experiments/<name>": Described("Training", training_answers.ExperimentShape),
    "/api/evaluations": Described("Training", training_answers.EvaluationPage),
    "/api/evaluations/<evaluation_id>": Described("Training", training_answers.EvaluationDetail),
    "/api/evaluations/<evaluation_id>/errors": Described("Training", training_answers.ErrorPage, of_get=(409,)),
    "/api/evaluations/<evaluation_id>/utterances": Described("Training", training_answers.UtterancePage, of_get=(409,)),
    "/api/evaluations/<evaluation_id>/utterances/<number>": Described(
        "Training", training_answers.UtteranceDetail, of_get=(409,)
    ),
    "/api/evaluations/<evaluation_id>/utterances/<number>/review": Described(
        "Training", training_answers.ReviewAnswer, training_answers.ReviewBody, (409, *_BODY)
    ),
    "/api/annotations": Described("Annotations", answers.AnnotationPage),
    "/api/annotations/summary": Described("Annotations", answers.AnnotationSummary),
    "/api/annotations/<annotation_id>": Described("Annotations", answers.AnnotationDetail),
    "/api/route": Described("Training", training_answers.RouteAnswer),
    "/api/voices": Described("Voices", training_answers.ClipPage),
    "/api/voices/coverage": Described("Voices", training_answers.VoiceCoverage),
    "/api/voices/<clip_id>": Described("Voices", training_answers.ClipShape),
    "/api/ratings/summary": Described("Voices", training_answers.RatingsAnswer),
    "/v1/models": _live(live_answers.ServedModels),
    "/v1/models/<model>": _live(live_answers.ServedModel),
    "/v1/nlu/parse": _live(live_answers.ParseAnswer, ParseBody),
    "/v1/audio/speech": _live(None, SpeechBody),
    "/v1/audio/transcriptions": _live(None),
    "/v1/realtime": _live(None),  # a WebSocket: only its refusals are HTTP
    ADDRESS: Described("Reports", answers.ReportList),
    **{f"{ADDRESS}/{name}": Described("Reports", answers.ReportAnswer, of_get=(404,)) for name in REPORTS},
}
PAGES = "/page/"  # for people: no part of the document


def document(app: Flask) -> dict[str, Any]:
    """The OpenAPI document of an app. KeyError for a route that is not described above."""
    spec = SpecTree(
        "flask", title="Kaan", version="0.1.0", description=INTRODUCTION, annotations=False, mode="strict",
        path="-", page_templates={}, validation_error_status=400, validation_error_model=answers.ErrorAnswer,
        naming_strategy=lambda model: model.__name__, nested_naming_strategy=lambda parent, child: child,
    )  # fmt: skip
    described = Flask("described", static_folder=None)  # the same routes, with described views
    for rule in app.url_map.iter_rules():
        if rule.websocket or rule.rule.startswith(PAGES):  # OpenAPI has no words for a WebSocket
            continue
        guarded: Any = app.view_functions[rule.endpoint]
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            view = _described(spec, rule.rule, method, guarded, rule.arguments)
            described.add_url_rule(rule.rule, f"{method} {rule.rule}".replace(".", " "), view, methods=[method])
    with described.app_context():
        found: dict[str, Any] = spec.spec
    for path in found["paths"].values():
        for operation in path.values():
            for parameter in operation["parameters"]:
                if parameter["in"] == "path":
                    parameter["schema"] |= _PATHS[parameter["name"]][1]
    found["components"]["securitySchemes"] = _SCHEMES
    text = {"description": "Prometheus's text.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    found["paths"]["/metrics"]["get"]["responses"]["200"] = text
    sounds = {form.content_type: {"schema": {"type": "string", "format": "binary"}} for form in FORMATS.values()}
    said = {"description": "The sound, in the form that was asked for.", "content": sounds}
    found["paths"]["/v1/audio/speech"]["post"]["responses"]["200"] = said
    if "/" in found["paths"]:  # of the web app
        led = {"description": "A browser is led to the page.", "content": {}}
        found["paths"]["/"]["get"]["responses"]["303"] = led
    same = {"description": "The answer that the ETag names is still right.", "content": {}}
    if "/api/route" in found["paths"]:  # `serve` has none
        found["paths"]["/api/route"]["get"]["responses"]["304"] = same
    found["paths"]["/v1/audio/transcriptions"]["post"] |= _transcription(found)
    return found


def _transcription(found: dict[str, Any]) -> dict[str, Any]:
    """The form and the answers of the transcription route."""
    schemas = found["components"]["schemas"]
    for model in (TranscriptionBody, live_answers.TranscriptionAnswer):
        schemas[model.__name__] = model.model_json_schema(ref_template="#/components/schemas/{model}")
    fields = schemas["TranscriptionBody"]
    file = {"type": "string", "format": "binary", "description": "Audio of any usual format."}
    fields |= {"properties": {"file": file, **fields["properties"]}, "required": ["file"]}
    form = {"$ref": "#/components/schemas/TranscriptionBody"}
    text = {"schema": {"type": "string"}}
    types = {kind.partition(";")[0]: text for kind in (*CONTENT_TYPES.values(), EVENTS)}
    types["application/json"] = {"schema": {"$ref": "#/components/schemas/TranscriptionAnswer"}}
    said = {"description": "The text, in the form that was asked for.", "content": types}
    responses = found["paths"]["/v1/audio/transcriptions"]["post"]["responses"]
    return {
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}},
        "responses": {**responses, "200": said},
    }


def _described(spec: SpecTree, rule: str, method: str, guarded: Any, arguments: set[str]) -> Any:
    one, role = ROUTES[rule], _role(guarded.who)
    security = [{"token": [role]}] if role else _SECURITY[guarded.who.__name__]
    statuses = {400, 503, *one.of_get, *(one.statuses if method == "POST" or one is _EXOTEL else ())}
    statuses |= {401} if security != [{}] or one is _HEALTH else set()
    statuses |= {403} if role or guarded.who.__name__ in ("live", "operator") else set()
    statuses |= {404} if arguments else set()
    statuses |= {429} if guarded.who.__name__ == "live" else set()  # over its token's rate
    models: dict[int, Any] = {200: one.answer or answers.OpenApiDocument, **(one.more or {})}
    shown: dict[str, Any] = {f"HTTP_{status}": (one.error, _ERRORS[status]) for status in statuses}
    shown |= {f"HTTP_{status}": (model, model.__doc__ or "The answer.") for status, model in models.items()}
    return spec.validate(
        query=guarded.query if guarded.query is not None and guarded.query.model_fields else None,
        json=one.sent if method == "POST" else None,
        resp=Response(**shown),
        tags=[one.tag],
        security=security,
        path_parameter_descriptions={name: _PATHS[name][0] for name in arguments},
        skip_validation=True,
    )(guarded.view)


def _role(who: Any) -> str:
    """The role that a bearer check requires; empty for another kind of caller."""
    return str(inspect.getclosurevars(who).nonlocals.get("role", "")) if inspect.isfunction(who) else ""


def as_bytes(app: Flask) -> bytes:
    return orjson.dumps(document(app))
