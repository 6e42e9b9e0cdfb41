"""Project row -> DecodingProfile: the decoding options of a project's audio."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ml_backend.asr.transcript import DecodingProfile
from ml_backend.labelling import parameters, project_rules
from ml_backend.languages import transcribed_as
from ml_backend.settings import Settings

CONTEXT_CUT = "context-cut"  # reason code of a project whose prompt and hotwords are longer than its model can hold


def decoding_of(project: Any, settings: Settings, *, language: str | None = None) -> DecodingProfile:
    """The project's `extra_params` and its approved words; for None, the settings alone.

    `language` is what a person set for this audio: it overrides the deployment's language, and the project's overrides
    both. The deployment's does not apply to a project that takes calls by their detected language.
    """
    if project is None:
        return of_settings(settings, language=language)
    rule = project_rules.routing(project.routing)
    usual = "" if rule is not None and rule.language else settings.default_language
    wishes = parameters.read(project.extra_params)
    language_given, among = spoken(wishes.language or language, wishes.languages, usual, settings.spoken)
    return DecodingProfile(
        language=language_given,
        languages=among,
        prompt=wishes.prompt or None,
        hotwords=wishes.hotwords,
        beam_size=wishes.beam_size or settings.asr_beam_size,
        learnt_words=_tuples(project.learnt, "words", 2),
        corrections=_tuples(project.learnt, "corrections", 3),
    )


def of_settings(settings: Settings, *, language: str | None = None) -> DecodingProfile:
    """The profile for audio without a project."""
    language_given, among = spoken(language, (), settings.default_language, settings.spoken)
    return DecodingProfile(language=language_given, languages=among, beam_size=settings.asr_beam_size)


def spoken(
    language: str | None, languages: tuple[str, ...], usual: str, usually: tuple[str, ...]
) -> tuple[str | None, tuple[str, ...]]:
    """(the language, or None to detect it; the languages to choose among, () for all that the model knows).

    The first two arguments come from the project or a person and override the deployment's. A single language needs no
    detection. No model has a code for Hinglish.
    """
    language = language or (usual if not languages else None)
    among = () if language else tuple(dict.fromkeys(transcribed_as(code) for code in languages or usually))
    if len(among) == 1:
        return among[0], ()
    return transcribed_as(language or "") or None, among


def _tuples(learnt: Any, name: str, size: int) -> tuple[Any, ...]:
    """The values that `hotwords approve` stored in the row."""
    rows = learnt.get(name) if isinstance(learnt, Mapping) else None
    return tuple(sorted(tuple(map(str, row)) for row in rows or () if len(row) == size))
