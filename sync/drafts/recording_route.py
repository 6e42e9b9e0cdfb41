"""Recording -> its project and its route: decided once, stored on its row, read by all later steps.

The project takes the recording's task; the route is the model version that transcribes it, with its side of an
experiment. Both are decided before the first transcription, or right after it where the language must be detected
first. Transcription, selection, drafting and redrafting then read the row.

Changes that cause a new decision, and where it is made:

    a routing rule       applies to undecided recordings: those not transcribed, and those that no project has taken
                         (`selection.take_up_waiting`)
    a detached project   takes nothing: the next step that needs the project chooses another, unless there are tasks
    an alias, an         `Routes.revision` changes, and with it every route: of open tasks in `redraft_project`, of all
    experiment           other recordings in the next step that needs the route
    a language           set or confirmed: the route as above; the project stays
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db
from ml_backend.models.routing import Route, Routes
from ml_backend.settings import Settings
from ml_backend.tables import projects, recordings, tasks
from sync.drafts.decoding_choice import profile_for
from sync.drafts.project_choice import Destination, destination
from sync.recordings import recording_language


@dataclass(frozen=True)
class RecordingRoute:
    """A recording's project and model version; `final` unless its language is still to be detected."""

    home: Destination
    route: Route
    language: str | None
    final: bool

    @property
    def version(self) -> str:
        return self.route.version.version


def decide(connection: Connection, routes: Routes, settings: Settings, recording: sa.Row[Any]) -> RecordingRoute:
    """The decision on a recording's row; made and stored now if there is no valid one."""
    found = chosen(connection, routes, settings, recording)
    keep(connection, routes, recording, found)
    return found


def chosen(connection: Connection, routes: Routes, settings: Settings, recording: sa.Row[Any]) -> RecordingRoute:
    """`decide` without storing it.

    All recordings of a call take one route; without a call the audio decides. The language is that of decoding; where
    it is detected, the detected or confirmed one.
    """
    home = home_of(connection, recording)
    given = profile_for(connection, recording, home.project, settings).decoding.language
    detected, looked = recording_language.known(connection, recording)
    language = recording_language.spoken(given or detected)
    key = str(recording.call_sid or recording.sha256 or recording.source_identity)
    route = routes.restored(recording.route, language=language) or routes.choose(key, language=language)
    return RecordingRoute(home, route, language, final=not home.undecided and (looked or given is not None))


def keep(connection: Connection, routes: Routes, recording: sa.Row[Any], found: RecordingRoute) -> None:
    """Store a final decision on the row."""
    if not found.final:
        return
    project_id = found.home.project.id if found.home.project is not None else None
    values = {"project_id": project_id, "route": routes.kept(found.route, language=found.language)}
    if (recording.project_id, recording.route) != (project_id, values["route"]):
        db.update(connection, recordings, recording.id, **values)


def home_of(connection: Connection, recording: sa.Row[Any]) -> Destination:
    """The project on the row, if attached; else the one with its tasks, else the one that accepts it."""
    attached = sa.and_(projects.c.id == recording.project_id, projects.c.state == "attached")
    project = connection.execute(sa.select(projects).where(attached)).first()
    if project is None:
        mine = sa.select(tasks.c.project_id).where(tasks.c.recording_id == recording.id)
        there = sa.select(projects).where(projects.c.id.in_(mine), projects.c.state != "detached")
        project = connection.execute(there.order_by(projects.c.id).limit(1)).first()
    return Destination(project) if project is not None else destination(connection, recording)
