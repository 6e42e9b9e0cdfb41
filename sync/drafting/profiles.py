"""A project -> how its audio is decoded and its drafts are rendered.

`extra_params` are typed into Label Studio by hand. What is wrong in them is listed in plain sentences and the rest is
used, so that a slip never stops a project; the sentences are kept as the project's reason.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from ml_backend.errors import InvalidInput
from ml_backend.labelling import parameters
from ml_backend.settings import Settings
from ml_backend.transcript import DecodingProfile


@dataclass(frozen=True)
class Profile:
    """`decoding` decides the text and is part of a transcription's key; the rest is rendering."""

    decoding: DecodingProfile
    minimum_confidence: float = 0.0
    script_policy: Mapping[str, str] = field(default_factory=dict)

    def script(self, language: str | None) -> str | None:
        """The script annotators write a language in, when the project says so."""
        return self.script_policy.get(language or "")


def profile_of(project: sa.Row[Any] | None, settings: Settings) -> Profile:
    """The profile of a project row; of the settings alone when there is no project."""
    if project is None:
        decoding = DecodingProfile(language=settings.default_language or None, beam_size=settings.asr_beam_size)
        return Profile(decoding)
    wishes = parameters.read(project.extra_params)
    decoding = DecodingProfile(
        language=wishes.language or project.language or settings.default_language or None,
        prompt=wishes.prompt or None,
        hotwords=wishes.hotwords,
        beam_size=wishes.beam_size or settings.asr_beam_size,
        learnt_words=_tuples(project.learnt, "words", 2),
        corrections=_tuples(project.learnt, "corrections", 3),
    )
    policy = project.script_policy if isinstance(project.script_policy, Mapping) else {}
    stated = project.extra_params.get("script_policy") if isinstance(project.extra_params, Mapping) else None
    if isinstance(stated, Mapping):
        policy = {**policy, **stated}
    return Profile(decoding, wishes.minimum_confidence, {str(k): str(v) for k, v in policy.items()})


def _tuples(learnt: Any, name: str, size: int) -> tuple[Any, ...]:
    """What people approved for this project (`hotwords approve`), as the decoding takes it."""
    rows = learnt.get(name) if isinstance(learnt, Mapping) else None
    return tuple(sorted(tuple(map(str, row)) for row in rows or () if len(row) == size))


def problems_of(stored: Any) -> tuple[dict[str, Any], str | None]:
    """(what can be kept of `extra_params` as Label Studio stores them, what is wrong with them in one sentence)."""
    try:
        return parameters.accept(stored) or {}, None
    except InvalidInput as error:
        if isinstance(stored, str):
            try:
                stored = json.loads(stored)
            except (ValueError, RecursionError):
                stored = {}
        return dict(stored) if isinstance(stored, Mapping) else {}, error.sentence
