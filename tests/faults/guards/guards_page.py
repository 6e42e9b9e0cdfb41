"""Guards of what people look at: who may listen, that it is noted, and that what is gone cannot be heard."""

from __future__ import annotations

from typing import Any

from tests.faults.guards.guards import guard, module


@guard("who-listens-is-noted")
def _noted() -> None:
    """Audio is sent and nobody knows to whom."""
    module("ml_backend.calls.listenings").note = lambda context, audio, *, who, from_start: None


@guard("a-play-that-begins-in-the-middle-is-noted")
def _noted_in_the_middle() -> None:
    """Only requests for the beginning are noted, so whoever leaves it out is not."""
    log = module("ml_backend.calls.listenings")
    real = log.note

    def note(context: Any, audio: Any, *, who: str, from_start: bool) -> None:
        if from_start:
            real(context, audio, who=who, from_start=from_start)

    log.note = note


@guard("erased-audio-is-not-played")
def _gone() -> None:
    """A recording whose object is still in the store can be heard after its erasure."""
    module("ml_backend.calls.listenings")._erased = lambda context, row: False


@guard("only-roles-that-may-listen-listen")
def _may_listen() -> None:
    """Whoever may look may listen."""
    sessions = module("ml_backend.page.signing_in").Sessions
    real = sessions.needs

    def needs(self: Any, role: str, *, changes: bool = False) -> Any:
        return real(self, "read", changes=changes)

    sessions.needs = needs


@guard("a-range-holds-no-thread-for-long")
def _short_parts() -> None:
    """A range without an end is answered to the end of the recording."""
    audio = module("ml_backend.page.call_audio")
    real = audio._part

    def to_the_end(playable: Any, etag: str) -> Any:
        audio.MOST_BYTES = playable.size_bytes
        return real(playable, etag)

    audio._part = to_the_end


@guard("a-change-on-the-page-needs-a-reason")
def _needs_a_reason() -> None:
    """A click promotes, and the history does not say why."""
    module("ml_backend.page.page_actions").reason = lambda: "no reason"


@guard("a-repeated-rollback-goes-back-once")
def _back_once() -> None:
    """A job that is repeated goes back one champion further each time."""
    promotion = module("training.promotion.promotion")

    def roll_back(context: Any, model_kind: str, language: str, to: str, left: str, who: str, why: str) -> None:
        promotion.rollback(context, who=who, why=why, kind=model_kind, language=language, to=to)

    promotion.roll_back = roll_back


@guard("curves-are-bounded")
def _bounded() -> None:
    """A run of a million steps writes a million points into its row every second."""
    module("training.runs.trainer_process")._thinned = lambda points: [list(point) for point in points]


@guard("an-erasure-reaches-the-listed-errors")
def _listed_again() -> None:
    """An erasure empties the lines of an evaluation, and what was listed of them stays."""
    rows = module("training.evaluation.explorer_rows")
    real = rows.list_evaluation
    rows.hide = lambda context, evaluation_id: None

    def list_once(context: Any, evaluation_id: int) -> None:
        if not rows.is_listed(context, evaluation_id):
            real(context, evaluation_id)

    rows.list_evaluation = list_once


@guard("a-listing-notices-an-erasure")
def _lines_read_once() -> None:
    """The rows are those of the lines as they were when the listing began."""
    rows = module("training.evaluation.explorer_rows")
    real, known = rows.lines_of, dict[str, bytes]()
    rows.lines_of = lambda context, key: known.setdefault(key, real(context, key))
