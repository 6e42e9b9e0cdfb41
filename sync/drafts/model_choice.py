"""Recording -> its route: the model version that transcribes it, by its call and its language."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend.models.routing import Route, Routes
from ml_backend.settings import Settings
from sync.drafts.decoding_choice import profile_for
from sync.recordings import recording_language


def route_of(
    connection: Connection, routes: Routes, settings: Settings, recording: sa.Row[Any], project: sa.Row[Any] | None
) -> Route:
    """All recordings of a call take one route; without a call the audio decides.

    The language is the one it is decoded in; where that is left to detection, what was detected or confirmed.
    """
    told = profile_for(connection, recording, project, settings).decoding.language
    language = told or recording_language.known(connection, recording)[0]
    return routes.choose(key_of(recording), language=recording_language.spoken(language))


def key_of(recording: sa.Row[Any]) -> str:
    """What decides on which side of an experiment a recording is."""
    return str(recording.call_sid or recording.sha256 or recording.source_identity)
