"""Every address of the page and who may open it, in one table. A page's views are in the file of its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from importlib import resources

from flask import Response, request

from ml_backend.context import Context
from ml_backend.errors import InvalidInput
from ml_backend.page import models_page, page_shell, plots, work_page
from ml_backend.page.annotating.annotation_page import AnnotationTeamPage
from ml_backend.page.annotating.my_day_page import MyDayPage
from ml_backend.page.call_audio import CallAudio
from ml_backend.page.calls_page import CallsPage
from ml_backend.page.data_page import DataPage
from ml_backend.page.errors_page import ErrorsPages
from ml_backend.page.experiments_page import ExperimentsPage
from ml_backend.page.models_page import ModelsPage
from ml_backend.page.overview_page import OverviewPage
from ml_backend.page.report_pages import ReportPages
from ml_backend.page.signing_in import SIGN_IN, Sessions
from ml_backend.page.work_page import WorkPage
from ml_backend.page.worth_page import WorthPage

PREFIX = "/page/"
START = "/page/overview"
FILES = {"page.css": "text/css", "page.js": "text/javascript", "plotly.js": "text/javascript"}
View = Callable[..., Response]
Who = Callable[..., str]


@dataclass(frozen=True)
class PageRule:
    """One address."""

    address: str
    view: View
    who: Who
    methods: tuple[str, ...] = ("GET",)


def rules(context: Context, sessions: Sessions) -> list[PageRule]:
    """All of them. Default deny: an address is here with the role that it needs, or it is not there."""
    entrance = Entrance(sessions)
    errors = ErrorsPages(context)
    reports, read = ReportPages(context), sessions.needs("read")
    overview, annotation, my_day = OverviewPage(context), AnnotationTeamPage(context), MyDayPage(context, sessions)
    calls, data = CallsPage(context), DataPage(context)
    models, experiments, work = ModelsPage(context), ExperimentsPage(context), WorkPage(context)
    operate, admin = (sessions.needs(role, changes=True) for role in ("operate", "admin"))
    open_to_all = [
        PageRule(SIGN_IN, entrance.form, sessions.anyone),
        PageRule(SIGN_IN, entrance.sign_in, sessions.anyone, ("POST",)),
        PageRule("/page/static/<name>", static_file, sessions.anyone),
    ]
    looks: list[tuple[str, View, Who]] = [
        ("/page/overview", overview.show, read),
        ("/page/metrics/<name>", overview.metric, read),
        ("/page/annotation", annotation.show, read),
        ("/page/annotation/lists/<name>", annotation.one_list, read),
        ("/page/my-day", my_day.show, my_day.annotator),
        ("/page/my-day/<link>", my_day.follow, my_day.signed_link),
        ("/page/calls", calls.listed, read),
        ("/page/calls/days", calls.days, read),
        ("/page/recordings", calls.recordings, read),
        ("/page/calls/listenings", calls.listened, sessions.needs("operate")),
        ("/page/calls/<path:what>", calls.show, read),
        ("/page/recordings/<recording_id>/audio", CallAudio(context).play, sessions.needs("operate")),
        ("/page/worth", WorthPage(context).show, read),
        ("/page/data", data.show, read),
        ("/page/data/datasets/<dataset_id>", data.dataset, read),
        ("/page/errors", errors.listed, read),
        ("/page/errors/<evaluation_id>", errors.show, read),
        ("/page/errors/<evaluation_id>/words", errors.words, read),
        ("/page/errors/<evaluation_id>/<number>", errors.utterance, read),
        (models_page.MODELS, models.show, read),
        (models_page.COMPARE, models.compare, read),
        ("/page/models/<version>", models.version, read),
        ("/page/models/<version>/slices", models.slices, read),
        (models_page.RUNS, models.runs, read),
        ("/page/runs/<run_id>", models.run, read),
        ("/page/experiments", experiments.show, read),
        ("/page/experiments/<name>", experiments.experiment, read),
        ("/page/work", work.show, read),
        (work_page.JOBS, work.jobs, read),
        ("/page/work/<part>", work.part, read),
        ("/page/work/jobs/<job_id>", work.job, read),
        ("/page/reports/<name>", reports.show, read),
    ]
    changes: list[tuple[str, View, Who]] = [
        ("/page/sign-out", entrance.sign_out, sessions.needs("read", changes=True)),
        # overview, my day, annotation
        # calls, data
        ("/page/errors/<evaluation_id>/<number>/review", errors.review, operate),
        (models_page.COMPARE, models.judge, operate),
        ("/page/models/<version>/promote", models.promote, admin),
        ("/page/models/<version>/roll-back", models.roll_back, admin),
        ("/page/experiments/<name>/end", experiments.end, operate),
        ("/page/work/jobs/<job_id>/retry", work.retry, operate),
        ("/page/work/jobs/<job_id>/cancel", work.cancel, operate),
    ]
    return [
        *open_to_all,
        *(PageRule(address, view, who) for address, view, who in looks),
        *(PageRule(address, view, who, ("POST",)) for address, view, who in changes),
    ]


def front(health: View) -> View:
    """`/`: the page for a browser, the health answer for Label Studio and everybody else."""

    def front_door() -> Response:
        if "text/html" in request.headers.get("Accept", "") and "Authorization" not in request.headers:
            return page_shell.go_to(START)
        return health()

    front_door.__doc__ = health.__doc__
    return front_door


class Entrance:
    """Signing in and out."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def form(self) -> Response:
        """The form for a token."""
        return page_shell.render("sign_in.html", title="Sign in", next_page=_next(request.args.get("next", "")))

    def sign_in(self) -> Response:
        """A token opens a session, for twelve hours; then to the page that was asked for."""
        response = page_shell.go_to(_next(request.form.get("next", "")))
        try:
            self._sessions.open(request.form.get("token", ""), response)
        except InvalidInput as error:
            if "text/html" not in request.headers.get("Accept", ""):
                raise
            return page_shell.render(
                "sign_in.html", title="Sign in", status=error.status, error=error,
                next_page=_next(request.form.get("next", "")),
            )  # fmt: skip
        return response

    def sign_out(self) -> Response:
        """The session ends."""
        response = page_shell.go_to(SIGN_IN)
        self._sessions.end(response)
        return response


def static_file(name: str) -> Response:
    """The style sheet, the script and plotly's script, from their packages; a browser keeps them by their content."""
    if name not in FILES:
        raise InvalidInput("no-such-file", "There is no such file.", f"Known: {', '.join(FILES)}.", status=404)
    plain, packed = plots.script() if name == "plotly.js" else (_ours(name), b"")
    if not plain:
        raise InvalidInput(
            "no-such-file", "The package plotly is not installed.", "Run `make environment-demo`.", status=404
        )
    response = Response(mimetype=FILES[name])
    response.set_etag(sha256(plain).hexdigest()[:32])
    response.headers["Cache-Control"] = "private, max-age=3600"
    response.headers["Vary"] = "Accept-Encoding"
    if packed and "gzip" in request.headers.get("Accept-Encoding", ""):
        response.set_data(packed)
        response.headers["Content-Encoding"] = "gzip"
    else:
        response.set_data(plain)
    made: Response = response.make_conditional(request)  # type: ignore[assignment]
    return page_shell.with_headers(made)


def _ours(name: str) -> bytes:
    return (resources.files("ml_backend.page") / "static" / name).read_bytes()


def _next(path: str) -> str:
    """Where to go after signing in: a page of ours, never another host."""
    return path if path.startswith(PREFIX) and "\\" not in path and not path.startswith(SIGN_IN) else START
