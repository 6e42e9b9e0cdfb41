"""Settings, plugin -> web app. Every route and who may call it, in one table."""

from __future__ import annotations

import importlib
from typing import Any

from flask import Flask

from ml_backend.api import report_routes, requests
from ml_backend.api.annotation_routes import Annotations
from ml_backend.api.auth import Gate
from ml_backend.api.call_routes import BalanceQuery, Calls, Outcomes
from ml_backend.api.live import live_routes, live_tally
from ml_backend.api.live.call_route import CallRoute, RouteQuery
from ml_backend.api.operator_routes import Jobs, Operations, count_requests
from ml_backend.api.protocol import Protocol
from ml_backend.api.training_routes import DatasetQuery, Datasets, Evaluations, Experiments, Models, Training
from ml_backend.api.voice_routes import Voices
from ml_backend.api.webhooks.exotel_webhook import Exotel
from ml_backend.api.webhooks.label_studio_webhook import Webhooks
from ml_backend.api.webhooks.object_webhook import Objects
from ml_backend.context import Context, open_context
from ml_backend.errors import ConfigurationError
from ml_backend.page import page_routes, page_shell
from ml_backend.page.signing_in import Sessions
from ml_backend.settings import Settings
from ml_backend.views import error_views, voice_views
from ml_backend.views.annotation_views import AnnotationQuery
from ml_backend.views.call_views import CallQuery
from ml_backend.views.job_views import JobQuery
from ml_backend.views.queries import Query
from ml_backend.views.recording_views import ListeningQuery, RecordingQuery
from ml_backend.views.version_views import VersionQuery


def create_app(settings: Settings, plugin: type[Any], *, context: Context | None = None, processes: int = 1) -> Flask:
    """A WSGI app. `plugin` is a class with the interface of label-studio-ml 2.x, such as `model.SpeechModel`."""
    context = context or open_context(settings)
    bound = type(plugin.__name__, (plugin,), {"context": context, "__module__": plugin.__module__})
    gate = Gate(settings, processes=processes)
    protocol, webhooks = Protocol(context, bound, gate), Webhooks(context, bound, gate)
    operations, jobs = Operations(context), Jobs(context)
    exotel, calls = Exotel(context), Calls(context)
    annotations, experiments, voices = Annotations(context), Experiments(context), Voices(context)
    evaluations = Evaluations(context)

    app = Flask("ml_backend", static_folder=None, template_folder="page/templates")
    requests.install(app, int(settings.max_body_mb * 1_000_000))
    count_requests(app, context)
    post = ("POST",)
    for rule, view, who, methods in (
        ("/", page_routes.front(protocol.health), gate.anyone, ("GET",)),
        ("/health", protocol.health, gate.anyone, ("GET",)),
        ("/setup", protocol.setup, gate.protocol, post),
        ("/predict", protocol.predict, gate.protocol, post),
        ("/versions", protocol.versions, gate.protocol, ("GET", "POST")),
        ("/webhook", webhooks.label_studio, gate.webhook, post),
        ("/webhooks/label-studio", webhooks.label_studio, gate.webhook, post),
        ("/webhooks/exotel/<secret>", exotel.call_event, gate.exotel, ("GET", "POST")),
        ("/api/nerve/exotel/recording-webhook", exotel.call_event, gate.exotel, ("GET", "POST")),
        ("/webhooks/objects", Objects(context).changed, gate.bearer("operate"), post),
        ("/ready", operations.ready, gate.anyone, ("GET",)),
        ("/metrics", operations.metrics, gate.operator, ("GET",)),
        (
            "/api/evaluations/<evaluation_id>/utterances/<number>/review",
            evaluations.review,
            gate.bearer("operate"),
            post,
        ),
        ("/api/calls/<call_sid>/satisfaction", calls.satisfied, gate.bearer("operate"), post),
    ):
        requests.add_route(app, rule, view, who=who, methods=methods, keeps_query=who == gate.exotel)
    _add_outcomes(app, context, gate)
    reads: tuple[tuple[str, requests.View, type[Query]], ...] = (  # all for the role `read`
        ("/api/calls", calls.list, CallQuery),
        ("/api/calls/summary", calls.summary, BalanceQuery),
        ("/api/calls/<path:what>", calls.show, Query),
        ("/api/calls/<path:what>/timeline", calls.timeline, Query),
        ("/api/recordings", calls.recordings, RecordingQuery),
        ("/api/datasets", Datasets(context).list, DatasetQuery),
        ("/api/datasets/<dataset_id>", Datasets(context).show, Query),
        ("/api/models", Models(context).list, VersionQuery),
        ("/api/models/<version>", Models(context).show, Query),
        ("/api/training", Training(context).status, Query),
        ("/api/annotations", annotations.list, AnnotationQuery),
        ("/api/annotations/summary", annotations.summary, Query),
        ("/api/annotations/<annotation_id>", annotations.show, Query),
        ("/api/evaluations", evaluations.list, error_views.EvaluationQuery),
        ("/api/evaluations/<evaluation_id>", evaluations.show, Query),
        ("/api/evaluations/<evaluation_id>/errors", evaluations.errors, error_views.ErrorsQuery),
        ("/api/evaluations/<evaluation_id>/utterances", evaluations.utterances, error_views.UtterancesQuery),
        ("/api/evaluations/<evaluation_id>/utterances/<number>", evaluations.utterance, Query),
        ("/api/experiments", experiments.list, Query),
        ("/api/experiments/<name>", experiments.show, Query),
        ("/api/route", CallRoute(context).choose, RouteQuery),
        ("/api/voices", voices.list, voice_views.ClipQuery),
        ("/api/voices/coverage", voices.coverage, Query),
        ("/api/voices/<clip_id>", voices.show, Query),
        ("/api/ratings/summary", voices.ratings, voice_views.RatingsQuery),
        ("/api/live", operations.live, Query),
        ("/api/jobs", jobs.list, JobQuery),
        ("/api/jobs/<job_id>", jobs.show, Query),
        ("/api/openapi.json", operations.openapi, Query),
    )
    for rule, view, query in reads:
        requests.add_route(app, rule, view, who=gate.bearer("read"), query=query)
    listened = gate.bearer("operate")
    requests.add_route(app, "/api/listenings", calls.listenings, who=listened, query=ListeningQuery)
    report_routes.install(app, context, gate.bearer("read"))
    _add_pages(app, context, gate)
    live_routes.install(app, context, gate, most_waiting=max(1, settings.web_threads // 2), transcribes=False)
    return app


def create_live_app(settings: Settings, *, context: Context, processes: int = 1) -> Flask:
    """The WSGI app of `serve`: /v1 with transcriptions, and what operators ask. No webhooks, no Label Studio.

    `processes` of them are behind one port.
    """
    gate, operations = Gate(settings, processes=processes), Operations(context)
    app = Flask("ml_backend.live", static_folder=None)
    requests.install(app, int(settings.max_body_mb * 1_000_000))
    count_requests(app, context)
    requests.add_route(app, "/health", operations.alive, who=gate.anyone)
    requests.add_route(app, "/metrics", operations.metrics, who=gate.operator)
    live_routes.install(app, context, gate, most_waiting=settings.live_most_waiting, transcribes=True)
    live_tally.of(context).serves()
    from ml_backend.api.realtime import realtime_route  # numpy: not in the process of the webhooks

    realtime_route.install(app, context, gate)
    _add_outcomes(app, context, gate)
    return app


def _add_pages(app: Flask, context: Context, gate: Gate) -> None:
    """What people look at: behind a session, which a token opens."""
    for rule in page_routes.rules(context, Sessions(gate, secure=context.settings.page_address.startswith("https:"))):
        requests.add_route(
            app, rule.address, rule.view, who=rule.who, methods=rule.methods, keeps_query=False
        )  # fmt: skip
    requests.use_error_page(app, page_routes.PREFIX, page_shell.error_page)


def _add_outcomes(app: Flask, context: Context, gate: Gate) -> None:
    """How calls went: where the phone system asks for models, it reports too."""
    outcomes = Outcomes(context)
    for rule, view in (
        ("/api/calls/<path:call_sid>/outcome", outcomes.report),
        ("/api/outcomes", outcomes.report_many),
    ):
        requests.add_route(app, rule, view, who=gate.live, methods=("POST",))


def load_plugin(path: str) -> type[Any]:
    """The class at `module:Class`, or a ConfigurationError that says what is wrong with the setting."""
    module, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(
            "no-plugin", f"PLUGIN {path[:80]!r} cannot be loaded ({error}).", "Set PLUGIN=model:SpeechModel."
        ) from error
    if not isinstance(found, type):
        raise ConfigurationError("no-plugin", f"PLUGIN {path[:80]!r} is not a class.", "Set PLUGIN=model:SpeechModel.")
    return found
