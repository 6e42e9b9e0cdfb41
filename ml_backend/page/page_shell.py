"""A template and its values -> an HTML answer, with the headers that keep a foreign script out.

The policy allows scripts, styles and pictures of this host only, none inline: a transcript that got into the page as
markup could still not run. Pages are never kept by a browser or a proxy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import quote

import orjson
from flask import Response, g, render_template, request
from markupsafe import Markup, escape
from werkzeug.urls import iri_to_uri

from ml_backend.page.signing_in import CSRF_FIELD, SIGN_IN, Session

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; "
    "connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
MENU = (
    ("overview", "Overview", "/page/overview"),
    ("calls", "Calls", "/page/calls"),
    ("annotation", "Annotation", "/page/annotation"),
    ("data", "Data", "/page/data"),
    ("errors", "Errors", "/page/errors"),
    ("models", "Models", "/page/models"),
    ("work", "Work", "/page/work"),
    ("my-day", "My day", "/page/my-day"),
)
LINKS = {
    "call": "/page/calls/", "job": "/page/work/jobs/", "version": "/page/models/", "experiment": "/page/experiments/",
    "run": "/page/runs/", "evaluation": "/page/errors/", "dataset": "/page/data/datasets/",
}  # fmt: skip


def render(template: str, *, title: str, active: str = "", status: int = 200, **values: Any) -> Response:
    """One page. `active` is its place in the menu."""
    html = render_template(
        template, title=title, active=active, menu=MENU, session=_session(), csrf_field=CSRF_FIELD, shown=shown,
        link_to=link_to, json_of=_json, coded=coded, **values,
    )  # fmt: skip
    return with_headers(Response(html, status=status, mimetype="text/html"))


def with_headers(response: Response) -> Response:
    """The security headers of everything under /page."""
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["X-Frame-Options"] = "DENY"
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def go_to(path: str) -> Response:
    """After a form: the browser loads another page of ours."""
    return with_headers(Response(status=303, headers={"Location": iri_to_uri(path)}))


def error_page(status: int, error: dict[str, str]) -> Response | None:
    """An error for a person; None for a program, which gets JSON. A stranger is led to the sign-in."""
    if "text/html" not in request.headers.get("Accept", ""):
        return None
    if status == 401 and request.method == "GET" and request.path != SIGN_IN:
        return go_to(f"{SIGN_IN}?next={quote(request.full_path.rstrip('?'), safe='')}")
    return render("error.html", title="That did not work", status=status, error=error)


def link_to(kind: str, name: Any) -> str:
    """The address of a thing by its id."""
    return LINKS[kind] + quote(str(name), safe="")


def shown(value: Any, kind: str = "text") -> str:
    """A value as people read it; an absent one is a dash."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
    if isinstance(value, date):
        return value.isoformat()
    if kind == "time" and isinstance(value, str):
        return value[:16].replace("T", " ")
    if isinstance(value, float) and not math.isfinite(value):
        return "–"
    if kind == "share" and isinstance(value, int | float):
        return f"{100 * value:.1f} %"
    if kind == "seconds" and isinstance(value, int | float):
        return _duration(float(value))
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {shown(each)}" for name, each in value.items()) or "–"
    if isinstance(value, list | tuple):
        return ", ".join(shown(each) for each in value) or "–"
    return str(value)


def coded(sentence: str) -> Markup:
    """A sentence of ours in which what stands between backticks is code."""
    parts = [escape(part) for part in (sentence or "").split("`")]
    parts[1::2] = [Markup("<code>{}</code>").format(part) for part in parts[1::2]]
    return Markup("").join(parts)


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} days"


def _session() -> Session | None:
    found: Session | None = g.get("session")
    return found


def _json(value: Any) -> Markup:
    """JSON inside a script element: nothing in it can end the element."""
    text = orjson.dumps(value).decode()
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - every character with a meaning in HTML is an escape now
