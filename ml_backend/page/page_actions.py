"""What a person may change on the page: with a reason, a confirmation, and a name in the history.

What lives above the kernel (promotion, experiments) is asked for as a job by its name; the job writes who and why.
"""

from __future__ import annotations

from typing import Any

from flask import Response, g, request

from ml_backend import log, quantities
from ml_backend.context import Context
from ml_backend.errors import InvalidInput
from ml_backend.jobs import enqueueing
from ml_backend.jobs.job_kinds import WAITED_FOR, JobKind
from ml_backend.page import page_shell

REASON_CHARS = range(3, 181)  # what a job's arguments can hold
_log = log.get("page")


def reason() -> str:
    """Why, as the form of this request says it; InvalidInput without one, and without the box that says `sure`."""
    told = " ".join(request.form.get("reason", "").split())
    if len(told) not in REASON_CHARS:
        raise InvalidInput(
            "no-reason", "This needs a reason of 3 to 180 characters.", "Say why; it is kept in the history."
        )
    if request.form.get("sure") != "yes":
        raise InvalidInput("not-confirmed", "The box that confirms it is not ticked.", "Go back and tick it.")
    return told


def field(name: str, most: int = 120) -> str:
    """A hidden or chosen field of the form."""
    return quantities.shortened(request.form.get(name, ""), most)


def ask_for(context: Context, kind: JobKind, *, key: str, **arguments: Any) -> Response:
    """Insert the job of an action, and show it: its page says how it went."""
    with context.db.transaction() as connection:
        job_id = enqueueing.enqueue(connection, kind, key=key, priority=WAITED_FOR, **arguments)
    note(kind.name, key, who=g.caller, why=str(arguments.get("why", "")))
    return page_shell.go_to(page_shell.link_to("job", job_id))


def note(what: str, of: str, *, who: str, why: str) -> None:
    """One line of the access log."""
    _log.info("changed on the page", what=what, of=of, who=who, why=why)
