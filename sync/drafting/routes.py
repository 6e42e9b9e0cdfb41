"""Recording -> its route: the model version that hears it, by its call and by the language of its project."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ml_backend.routing import Route, Routes
from ml_backend.settings import Settings
from sync.drafting.profiles import profile_of


def route_of(routes: Routes, settings: Settings, recording: sa.Row[Any], project: sa.Row[Any] | None) -> Route:
    """All recordings of a call take one route; without a call the audio decides."""
    language = profile_of(project, settings).decoding.language
    return routes.choose(key_of(recording), language=language)


def key_of(recording: sa.Row[Any]) -> str:
    """What decides on which side of an experiment a recording is."""
    return str(recording.call_sid or recording.sha256 or recording.source_identity)
