"""A project -> how its audio is decoded and its drafts are rendered.

`extra_params` are typed into Label Studio by hand. Mistakes in them are listed in plain sentences, stored as the
project's reason; the rest is used, so that a mistake never stops a project.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend.asr.transcript import DecodingProfile
from ml_backend.errors import InvalidInput
from ml_backend.labelling import parameters
from ml_backend.labelling.decoding_profile import decoding_of
from ml_backend.settings import Settings
from sync.recordings import recording_language


@dataclass(frozen=True)
class Profile:
    """`decoding` decides the text and is part of a transcription's key; the rest is rendering."""

    decoding: DecodingProfile
    minimum_confidence: float = 0.0
    script_policy: Mapping[str, str] = field(default_factory=dict)

    def script(self, language: str | None) -> str | None:
        """The script in which annotators write a language, if the project sets one."""
        return self.script_policy.get(language or "")


def profile_of(
    project: sa.Row[Any] | None, settings: Settings, *, language: str | None = None, asked: str | None = None
) -> Profile:
    """The profile of a project row; of the settings alone without a project.

    `language` is that of the recording's company number (`languages.of_number`). `asked` is the language that an
    annotator asked for; it overrides all others.
    """
    decoding = decoding_of(project, settings, language=recording_language.spoken(language))
    if asked:
        decoding = replace(decoding, language=recording_language.spoken(asked), languages=())
    if project is None:
        return Profile(decoding)
    wishes = parameters.read(project.extra_params)
    policy = project.script_policy if isinstance(project.script_policy, Mapping) else {}
    policy = {**policy, **(wishes.script_policy or {})}
    return Profile(decoding, wishes.minimum_confidence, {str(k): str(v) for k, v in policy.items()})


def profile_for(
    connection: Connection, recording: sa.Row[Any], project: sa.Row[Any] | None, settings: Settings
) -> Profile:
    """The profile that decodes a recording for a project."""
    number = recording_language.of_number(connection, recording)
    return profile_of(project, settings, language=number, asked=recording.language_asked)


def detecting(settings: Settings) -> Profile:
    """The profile of a recording that needs its language for routing: always detect it."""
    profile = profile_of(None, settings)
    among = settings.spoken if len(settings.spoken) > 1 else ()
    return replace(profile, decoding=replace(profile.decoding, language=None, languages=among))


def problems_of(stored: Any) -> tuple[dict[str, Any], str | None]:
    """(the valid part of `extra_params` as Label Studio stores them, their mistakes in one sentence)."""
    try:
        return parameters.accept(stored) or {}, None
    except InvalidInput as error:
        if isinstance(stored, str):
            try:
                stored = json.loads(stored)
            except (ValueError, RecursionError):
                stored = {}
        return dict(stored) if isinstance(stored, Mapping) else {}, error.sentence
