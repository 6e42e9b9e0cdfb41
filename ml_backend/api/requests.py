"""HTTP in and out: bodies that are safe to parse, and errors that are always the same JSON.

Any client may reach this port. Every bad request gets 4xx with a code, a sentence and a next step; the traceback stays
in the log under the request id.
"""

from __future__ import annotations

import logging
import re
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson
from flask import Blueprint, Flask, Request, Response, current_app, g, request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import HTTPException

from ml_backend import log, quantities
from ml_backend.errors import InvalidInput, KaanError, RetryableError
from ml_backend.views import queries
from ml_backend.views.queries import PagedQuery, Query

_log = logging.getLogger(__name__)
_NEXT_STEPS = {
    404: "Check the address: docs/reference/http-api.md lists the routes.",
    405: "Use one of the methods in the Allow header.",
    413: "Send less at once, or raise MAX_BODY_MB.",
    414: "Send a shorter address.",
}
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]|\xc2[\x80-\x9f]")  # of ASCII, and of Latin-1 in UTF-8
Who = Callable[[Request], str]
View = Callable[..., Response]
_LIKE_A_NUMBER = re.compile(r"\d{6}")


def add_route(
    app: Flask | Blueprint,
    rule: str,
    view: View,
    *,
    who: Who,
    methods: tuple[str, ...] = ("GET",),
    query: type[Query] | None = None,
    keeps_query: bool = False,
    websocket: bool = False,
) -> None:
    """Register a view behind its guard; every route goes through here.

    `websocket`: it takes handshakes too, which Flask's router keeps apart from other requests.
    `query`: the only filters it takes; without it, the query string is ignored.
    `keeps_query`: the query is a message that is stored even when refused, so the view checks it.
    """

    def guarded(**arguments: Any) -> Response:
        g.caller = who(request)
        if query is not None:
            filters = queries.from_arguments(query, request.args.to_dict(flat=False))
            if query.model_fields:
                arguments["query"] = filters
        return view(**arguments)

    described = {"view": view, "who": who, "query": query, "keeps_query": keeps_query}
    vars(guarded).update(described)  # read by the OpenAPI document and the tests
    endpoint = f"{view.__module__}.{view.__qualname__} {rule}".replace(".", "/")
    app.add_url_rule(rule, endpoint, guarded, methods=list(methods), provide_automatic_options=False)
    if websocket:
        app.add_url_rule(
            rule, f"{endpoint} websocket", guarded, methods=list(methods), websocket=True,
            provide_automatic_options=False,
        )  # fmt: skip


def json_object() -> dict[str, Any]:
    """The body as a JSON object, strictly: UTF-8, no NaN, no infinity, no depth over 1024."""
    return parse_object(body())


def body() -> bytes:
    """The body of a request whose content type is JSON."""
    if request.mimetype != "application/json" or request.mimetype_params.get("charset", "utf-8").lower() != "utf-8":
        raise InvalidInput("not-json", "The content type is not application/json.", "Send JSON in UTF-8.", status=415)
    if request.content_encoding not in (None, "", "identity"):
        raise InvalidInput("encoded-body", "The body is compressed.", "Send it without Content-Encoding.", status=415)
    return read_body()


def read_body() -> bytes:
    """The bytes of a body; InvalidInput for a truncated or badly chunked one."""
    try:
        return request.get_data(cache=False)
    except (ParseException, OSError) as error:
        _log.info("request %s: the body could not be read (%s)", request_id(), type(error).__name__)
        raise unreadable() from None


def unreadable() -> InvalidInput:
    return InvalidInput("unreadable-body", "The body ended early or is badly chunked.", "Send it whole.")


def parse_object(data: bytes) -> dict[str, Any]:
    """Bytes -> JSON object, or InvalidInput."""
    try:
        value = orjson.loads(data)
    except ValueError as error:
        why = quantities.shortened(str(error).partition(":")[0], 60)
        raise InvalidInput("bad-json", f"The body is not JSON ({why}).", "Send one JSON object in UTF-8.") from None
    if not isinstance(value, dict):
        raise InvalidInput("bad-body", "The body is not a JSON object.", "Send one JSON object.")
    return value


def answer(value: Any, status: int = 200) -> Response:
    """A JSON answer; bytes are sent as they are."""
    data = value if isinstance(value, bytes) else orjson.dumps(value)
    return Response(data, status=status, mimetype="application/json")


def page(name: str, found: list[dict[str, Any]], query: PagedQuery, *, key: str = "id") -> Response:
    """One page of a list; `next` is the `before` of the next one."""
    return answer({name: found, "next": found[-1][key] if len(found) == query.limit else None})


def install(app: Flask, max_body_bytes: int) -> None:
    """Limits, request ids and error answers for a whole app."""
    app.config["MAX_CONTENT_LENGTH"] = max_body_bytes
    app.config["MAX_FORM_PARTS"] = 0
    app.url_map.merge_slashes = False  # it would redirect before authentication, to any host in the request
    app.before_request(_name_request)
    app.before_request(_refuse_control_characters)
    app.after_request(_finish)
    app.teardown_request(lambda error: log.end_request())
    app.register_error_handler(KaanError, _kaan_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unforeseen)


def _name_request() -> None:
    g.request_id = new_id()
    log.begin_request(g.request_id)


def new_id() -> str:
    """The id of one request: in its answer, and in its log lines."""
    made = uuid.uuid4().hex[:16]
    while _LIKE_A_NUMBER.search(made):  # the log would mask a part of it as a phone number
        made = uuid.uuid4().hex[:16]
    return made


def _refuse_control_characters() -> None:
    """Refuse control characters in the URL, raw or escaped: databases refuse some, logs and terminals obey others."""
    view = current_app.view_functions.get(request.endpoint or "")
    path = request.path.encode("utf-8", "replace")
    query = b"" if getattr(view, "keeps_query", False) else unquote_to_bytes(request.query_string)
    if _CONTROL.search(path) or _CONTROL.search(query):
        raise InvalidInput(
            "control-characters", "The address has control characters in it.", "Send the address without them."
        )


def _finish(response: Response) -> Response:
    response.headers["X-Request-Id"] = request_id()
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def request_id() -> str:
    """The id of this request, also in its log lines."""
    return str(g.get("request_id", ""))


ErrorForm = Callable[[int, dict[str, str], str | None], dict[str, Any]]
"""(status, our error, the wrong field where one is known) -> the body in another form."""


def use_error_form(app: Flask, prefix: str, form: ErrorForm) -> None:
    """Errors of addresses that begin with `prefix` are answered in this form."""
    app.config.setdefault("ERROR_FORMS", {})[prefix] = form


ErrorPage = Callable[[int, dict[str, str]], Response | None]
"""(status, our error) -> a page for people; None where the asker is a program."""


def use_error_page(app: Flask, prefix: str, form: ErrorPage) -> None:
    """Errors of addresses that begin with `prefix` are answered with a page."""
    app.config.setdefault("ERROR_PAGES", {})[prefix] = form


def _error(status: int, code: str, sentence: str, next_step: str, *, field: str | None = None) -> Response:
    body: dict[str, Any] = {"code": code, "message": sentence, "next_step": next_step, "request_id": request_id()}
    pages: dict[str, ErrorPage] = current_app.config.get("ERROR_PAGES", {})
    for prefix, page_of in pages.items():
        if request.path.startswith(prefix) and (shown := page_of(status, body)) is not None:
            return shown
    for prefix, form in current_app.config.get("ERROR_FORMS", {}).items():
        if request.path.startswith(prefix):
            body = form(status, body, field)
    return answer(body, status)


def _kaan_error(error: KaanError) -> Response:
    g.error_code = error.code
    if error.status >= 500:
        _log.error("request %s failed: %s", request_id(), error)
    else:
        _refused(error.status, error.code)
    response = _error(
        error.status, error.code, error.sentence, error.next_step, field=error.field
    )  # fmt: skip
    if scheme := getattr(error, "scheme", None):
        response.headers["WWW-Authenticate"] = f'{scheme} realm="Kaan"'
    if isinstance(error, RetryableError):
        response.headers["Retry-After"] = str(int(error.after_s or 5))
    return response


def _http_error(error: HTTPException) -> Response:
    """Werkzeug's own refusals. Its descriptions are fixed sentences that never quote the request."""
    status = error.code or 500
    if status < 400:  # a redirect of the router
        return Response(status=404)
    name = (error.name or "error").lower()
    _refused(status, name.replace(" ", "-"))
    response = _error(status, name.replace(" ", "-"), f"The request was refused: {name}.", _NEXT_STEPS.get(status, ""))
    if allowed := getattr(error, "valid_methods", None):
        response.headers["Allow"] = ", ".join(sorted(allowed))
    return response


class _Refusals:
    """Limits the log lines per minute, so that a flood of refused requests cannot fill the disk."""

    def __init__(self, most: int = 30, every_s: float = 60.0) -> None:
        self._most, self._every_s, self._lock = most, every_s, threading.Lock()
        self._since, self._said, self._kept_back = float("-inf"), 0, 0

    def may_say(self) -> tuple[bool, int]:
        """(whether to log this one, how many were suppressed before it)."""
        with self._lock:
            now = time.monotonic()
            if now - self._since >= self._every_s:
                kept_back, self._since, self._said, self._kept_back = self._kept_back, now, 1, 0
                return True, kept_back
            self._said += 1
            if self._said <= self._most:
                return True, 0
            self._kept_back += 1
            return False, 0


_refusals = _Refusals()


def _refused(status: int, code: str) -> None:
    rule = request.url_rule.rule if request.url_rule is not None else "no route"
    log_refusal(request_id(), status, code, f"{request.method} {rule} from {request.remote_addr}")


def log_refusal(refused_id: str, status: int, code: str, what: str) -> None:
    """Log a refused request: its id, reason and route, never its URL, which may hold secrets."""
    said, kept_back = _refusals.may_say()
    if kept_back:
        _log.warning("%d more requests were refused in the minutes before", kept_back)
    if said:
        _log.warning("request %s refused: %d %s, %s", refused_id, status, code, what)


def _unforeseen(error: Exception) -> Response:
    _log.exception("request %s failed unexpectedly", request_id())
    return _error(500, "internal-error", "Something went wrong here.", "Look for the request id in the log.")
