"""Normalised audio -> pieces: a call longer than MAX_TASK_S as WAV files of its spans, cut at pauses.

A piece lies at `derived/{sha256 of the original}/{start_ms}-{end_ms}.wav` in our own bucket, with the same legs as the
call; `recordings.spans` lists them in order. Tasks play pieces, so a person works on minutes, not on hours.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ml_backend.audio import decoding, quality, spans
from ml_backend.context import Context
from ml_backend.errors import PermanentError

PIECE = "derived/{sha256}/{start_ms}-{end_ms}.wav"
Spans = list[list[Any]]  # [[start_s, end_s, key], ...], as the row keeps them


def cut(
    context: Context, wav: Path, measured: quality.Measured, *, sha256: str, duration_s: float, folder: Path
) -> Spans | None:
    """Store the pieces of a long call; gives their spans, or None for a call that stays whole. Safe to repeat."""
    most_s = context.settings.max_task_s
    if duration_s <= most_s:
        return None
    found = spans.spans(measured.speech, measured.powers, duration_s=duration_s, most_s=most_s)
    made: Spans = []
    for start_s, end_s in found:
        key = PIECE.format(sha256=sha256, start_ms=round(start_s * 1000), end_ms=round(end_s * 1000))
        piece = folder / "piece.wav"
        decoding.copy_part(wav, piece, start_s=start_s, end_s=end_s)
        try:
            context.store.put_file(context.settings.audio_bucket, key, piece)
        except PermanentError as error:
            if error.code != "object-exists":  # made by another release from the same original: as good
                raise
        made.append([start_s, end_s, key])
    return made
