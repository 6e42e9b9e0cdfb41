"""A project row -> DecodingProfile: what a project's audio is decoded with, besides the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ml_backend.labelling import parameters, rules
from ml_backend.settings import Settings
from ml_backend.transcript import DecodingProfile


def decoding_of(project: Any, settings: Settings, *, language: str | None = None) -> DecodingProfile:
    """The wishes of its `extra_params`, and the words that people approved for it; of the settings alone for None.

    `language` is what a person set for this audio: it goes before the deployment's, after the project's own. The
    deployment's does not count in a project that takes calls by their language: that was detected.
    """
    rule = rules.routing(project.routing) if project is not None else None
    usual = "" if rule is not None and rule.language else settings.default_language
    language = language or usual or None
    if project is None:
        return DecodingProfile(language=language, beam_size=settings.asr_beam_size)
    wishes = parameters.read(project.extra_params)
    return DecodingProfile(
        language=(wishes.language or language or "").partition("-")[0] or None,  # no model has a code for Hinglish
        prompt=wishes.prompt or None,
        hotwords=wishes.hotwords,
        beam_size=wishes.beam_size or settings.asr_beam_size,
        learnt_words=_tuples(project.learnt, "words", 2),
        corrections=_tuples(project.learnt, "corrections", 3),
    )


def _tuples(learnt: Any, name: str, size: int) -> tuple[Any, ...]:
    """What `hotwords approve` left in the row."""
    rows = learnt.get(name) if isinstance(learnt, Mapping) else None
    return tuple(sorted(tuple(map(str, row)) for row in rows or () if len(row) == size))
