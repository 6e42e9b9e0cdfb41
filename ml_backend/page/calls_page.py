"""Calls: the list, the days with their balance and funnel, one call with its story, and who listened.

Everything comes from the views and reports that commands and `/api` use. The waveform is drawn here, from letters that
ingest kept, so that neither numpy nor a script is needed; a segment's time is a link that opens the player there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import quote

from flask import Response, request

from ml_backend.audio import envelope
from ml_backend.calls.states import STATES
from ml_backend.context import Context
from ml_backend.outcomes import call_outcomes
from ml_backend.page import page_lists, page_shell, plots
from ml_backend.page.page_lists import Column, Row
from ml_backend.reports import call_funnel
from ml_backend.reports.call_funnel import FunnelQuery
from ml_backend.views import call_timeline, call_views, recording_views
from ml_backend.views.call_views import CallQuery
from ml_backend.views.recording_views import ListeningQuery, RecordingQuery

WIDTH, BAND = 1000.0, 60.0  # of the drawing, and of each channel in it
MOST_SHOWN = 20  # calls of one name; transcripts side by side are the newest
SIDE_BY_SIDE = 4


def call_address(row: Row) -> str | None:
    """The page of the call in this row."""
    sid = row.get("call_sid")
    return f"/page/calls/{quote(str(sid), safe='')}" if sid else None


LIST = (
    Column("id", "number", "number", sortable=True),
    Column("call_sid", "call", link=call_address),
    Column("started_at_utc", "began", "time"),
    Column("state", "state"),
    Column("reason_code", "reason"),
    Column("next_action", "next"),
    Column("due_at", "due", "time"),
    Column("status", "status"),
    Column("direction", "direction"),
    Column("talk_seconds", "talked", "seconds"),
    Column("from", "from"),
    Column("to", "to"),
)
RECORDINGS = (
    Column("id", "recording", link=lambda row: f"/page/calls/recording:{row['id']}"),
    Column("created_at", "came in", "time"),
    Column("source", "source"),
    Column("call_sid", "call", link=call_address),
    Column("file", "file"),
    Column("duration_s", "length", "seconds"),
    Column("language", "language"),
    Column("project", "project"),
    Column("state", "state"),
    Column("reason_code", "reason"),
)
LISTENINGS = (
    Column("began_at", "began", "time"),
    Column("who", "who"),
    Column("recording_id", "recording", link=lambda row: f"/page/calls/recording:{row['recording_id']}"),
    Column("call_sid", "call", link=call_address),
    Column("last_at", "last heard", "time"),
    Column("requests", "requests", "number"),
)
BALANCE = (
    Column("day", "day", link=lambda row: f"/page/calls?day={row['day']}", sortable=True),
    Column("reported", "reported", "number", sortable=True),
    Column("listed", "listed", "number", sortable=True),
    Column("stored", "stored", "number", sortable=True),
    Column("explained", "explained", "number", sortable=True),
    Column("waiting", "waiting", "number", sortable=True),
    Column("missing", "missing", "number", sortable=True),
    Column("tasked", "tasks", "number", sortable=True),
    Column("balanced", "balanced"),
    Column("reasons", "not stored because"),
)


class CallsPage:
    """What the operator looks at."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def listed(self) -> Response:
        """Calls, newest first, with filters."""
        query = page_lists.asked(CallQuery)
        if sort := request.args.get("sort"):
            query = CallQuery(**{**query.model_dump(exclude_unset=True), "sort": sort})
        if page_lists.wants_csv():
            return page_lists.to_csv("calls", query, self._find, LIST)
        choices = {"state": tuple(STATES)}
        listing = page_lists.of(query, self._find, LIST, caption="Calls, newest first", choices=choices)
        return page_shell.render("calls.html", title="Calls", active="calls", listing=listing)

    def recordings(self) -> Response:
        """Every recording, those from a bucket or an upload too, which belong to no call; newest first."""
        query, find = page_lists.asked(RecordingQuery), partial(recording_views.find, self._context.db)
        if page_lists.wants_csv():
            return page_lists.to_csv("recordings", query, find, RECORDINGS)
        listing = page_lists.of(query, find, RECORDINGS, caption="Recordings, newest first")
        return page_shell.render("calls.html", title="Recordings", active="calls", listing=listing)

    def days(self) -> Response:
        """The ledger's balance by day, and the funnel from callback to dataset."""
        query = page_lists.asked(FunnelQuery)
        found = call_funnel.of(self._context, query)
        rows = found["days"]
        if page_lists.wants_csv():
            return page_lists.to_csv("days", query, lambda _: rows, BALANCE)
        balance = page_lists.of(query, lambda _: rows, BALANCE, caption="The ledger's balance by day")
        return page_shell.render(
            "call_days.html", title="Calls by day", active="calls", found=found, balance=balance,
            funnel=_funnel_plot(found), says=call_funnel.NEXT_STEPS,
        )  # fmt: skip

    def show(self, what: str) -> Response:
        """One call, or the recording, task or object of that name; several are a list."""
        database = self._context.db
        key = call_outcomes.key_of(self._context)
        found = recording_views.look_up(database, what, key=key, most=MOST_SHOWN)
        if len(found) > 1:
            listing = page_lists.plain_listing([each for each in LIST if not each.sortable], found, "Calls")
            return page_shell.render("calls.html", title=what, active="calls", listing=listing)
        (call,) = found
        ids = [each["id"] for each in call["recordings"]]
        if call["call_sid"] is None:
            story = call_timeline.of_recordings(database, ids)
        else:
            story = call_timeline.of_call(database, call["id"])
        address = f"/page/calls/{quote(what, safe='')}"
        return page_shell.render(
            "call.html", title=f"Call {call['call_sid']}" if call["call_sid"] else call["name"].capitalize(),
            active="calls", call=call, story=story, address=address, at=_at(), part=request.args.get("recording", ""),
            drawings={each["recording_id"]: _drawing(each, story["transcripts"]) for each in story["waveforms"]},
            side_by_side=SIDE_BY_SIDE,
        )  # fmt: skip

    def listened(self) -> Response:
        """Who listened to which recording."""
        query = page_lists.asked(ListeningQuery)

        def find(asked: ListeningQuery) -> list[dict[str, Any]]:
            return recording_views.listened(self._context.db, asked)

        if page_lists.wants_csv():
            return page_lists.to_csv("listenings", query, find, LISTENINGS)
        listing = page_lists.of(query, find, LISTENINGS, caption="Plays, newest first")
        return page_shell.render("calls.html", title="Who listened", active="calls", listing=listing)

    def _find(self, query: CallQuery) -> list[dict[str, Any]]:
        return call_views.find(self._context.db, query, zone=self._context.settings.exotel_time_zone)


def _at() -> float:
    """The second at which the player begins."""
    try:
        return max(0.0, min(float(request.args.get("at", "0")), 1e6))
    except ValueError:
        return 0.0


def _funnel_plot(found: Mapping[str, Any]) -> plots.Plot:
    points = [plots.Point("calls", found["calls"])]
    for step in found["steps"]:
        share = f"{100 * step['share']:.1f} % of the step before" if step["share"] is not None else ""
        points.append(plots.Point(step["step"], step["calls"], note=share))
    return plots.bars("From callback to dataset", "step", "calls", series=[plots.Series("calls", points)])


def _drawing(wave: Mapping[str, Any], transcripts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Points and boxes of an SVG: a band for each channel, stretches of speech under it, segments over it."""
    duration = float(wave["duration_s"] or 0.0)
    channels, speech = list(wave["channels"]), wave["speech"] or ()
    bands = max(1, len(channels), 1 + max((int(span[2]) for span in speech), default=0))
    scale = WIDTH / duration if duration else 0.0
    newest = next((each for each in transcripts if each["recording_id"] == wave["recording_id"]), None)
    segments = [
        {
            "x": round(segment["start_s"] * scale, 1), "y": (segment["channel"] or 0) * BAND,
            "width": round(max(1.0, ((segment["end_s"] or 0) - segment["start_s"]) * scale), 1),
            "title": f"{clock(segment['start_s'])} to {clock(segment['end_s'])}",
        }
        for segment in (newest or {}).get("segments", ())
        if segment["start_s"] is not None and (segment["channel"] or 0) < bands
    ]  # fmt: skip
    return {
        "height": bands * BAND,
        "channels": [
            envelope.outline(text, width=WIDTH, height=BAND - 12, top=place * BAND + 4)
            for place, text in enumerate(channels)
        ],
        "speech": [
            {
                "x": round(start * scale, 1),
                "y": int(channel) * BAND + BAND - 6,
                "width": round((end - start) * scale, 1),
            }
            for start, end, channel in speech
        ],
        "segments": segments,
        "ticks": [
            {"x": round(WIDTH * place / 4, 1), "label": clock(duration * place / 4)} for place in range(5) if duration
        ],
    }


def clock(seconds: float | None) -> str:
    """A moment of a recording: 1:05.2."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds, 1), 60)
    return f"{int(minutes)}:{rest:04.1f}"
