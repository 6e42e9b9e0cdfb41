"""Several people's pieces -> one reference per span. Pure.

A ground-truth annotation wins, else the designated reviewer's. Otherwise overlapping pieces of different people on one
channel are one span, and the text nearest to all others (fewest character edits, `indic`) is chosen; on a tie, the
latest.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from training.samples.sample_pieces import SamplePiece
from training.text import distance, readings

GROUND_TRUTH, REVIEWER, ONLY, MEDOID, LATEST = "ground-truth", "reviewer", "only", "medoid", "latest"
OVERLAP_S = 0.1
TOO_DIFFERENT = 0.5  # share of characters that differ between the chosen text and the nearest other


@dataclass(frozen=True)
class AnnotationVersion:
    """One annotation by Label Studio's id: annotator, time and pieces."""

    annotation_id: int
    annotator: int | None
    updated_at: datetime
    pieces: tuple[SamplePiece, ...]
    ground_truth: bool = False
    rejected: bool = False


@dataclass(frozen=True)
class Chosen:
    """One chosen piece, its annotation, and the rule that chose it."""

    annotation_id: int
    piece: SamplePiece
    by: str


def choose(works: Sequence[AnnotationVersion], reviewers: Collection[int] = ()) -> list[Chosen]:
    """One reference per span, in time order. The caller leaves out skipped annotations."""
    deciding, by = _deciding(works, reviewers)
    if not deciding:
        return []
    against = [work for work in deciding if work.rejected]
    if 2 * len(against) + _latest(deciding).rejected > len(deciding):  # the majority; of two, the latest decides
        length_s = max((piece.end_s for work in works for piece in work.pieces), default=0.0)
        whole = SamplePiece(0.0, length_s, 0, "", "rejected")
        return [Chosen(_latest(against).annotation_id, whole, by or (ONLY if len(deciding) == 1 else LATEST))]
    writing = [work for work in deciding if not work.rejected]
    if len(writing) == 1:
        found = [Chosen(writing[0].annotation_id, piece, by or ONLY) for piece in writing[0].pieces]
    else:
        found = [one for span in _spans(writing) for one in _of_span(span, writing, by)]
    return sorted(found, key=lambda one: (one.piece.start_s, one.piece.channel, one.piece.end_s))


def _deciding(works: Sequence[AnnotationVersion], reviewers: Collection[int]) -> tuple[list[AnnotationVersion], str]:
    truth = [work for work in works if work.ground_truth]
    if truth:
        return truth, GROUND_TRUTH
    reviewed = [work for work in works if work.annotator is not None and work.annotator in reviewers]
    return (reviewed, REVIEWER) if reviewed else (list(works), "")


def _latest(works: Sequence[AnnotationVersion]) -> AnnotationVersion:
    return max(works, key=lambda work: (work.updated_at, work.annotation_id))


def _spans(works: Sequence[AnnotationVersion]) -> list[dict[int, list[SamplePiece]]]:
    """Groups of overlapping pieces on one channel: annotation id -> its pieces, in time order."""
    placed = sorted(
        ((piece, work.annotation_id) for work in works for piece in work.pieces),
        key=lambda entry: (entry[0].channel, entry[0].start_s, entry[0].end_s),
    )
    spans: list[dict[int, list[SamplePiece]]] = []
    channel, end_s = None, 0.0
    for piece, annotation_id in placed:
        if channel != piece.channel or piece.start_s > end_s - OVERLAP_S:
            spans.append({})
            channel, end_s = piece.channel, piece.end_s
        spans[-1].setdefault(annotation_id, []).append(piece)
        end_s = max(end_s, piece.end_s)
    return spans


def _of_span(span: dict[int, list[SamplePiece]], works: Sequence[AnnotationVersion], by: str) -> list[Chosen]:
    """The pieces of the annotation whose text is nearest to the others'."""
    here = [work for work in works if any(piece.text for piece in span.get(work.annotation_id, ()))]
    if not here:
        last = _latest([work for work in works if work.annotation_id in span])
        return [Chosen(last.annotation_id, piece, by or LATEST) for piece in span[last.annotation_id]]
    texts = {
        work.annotation_id: readings.indic(" ".join(piece.text for piece in span[work.annotation_id])) for work in here
    }
    distances = {one: sum(_distance(texts[one], texts[other]) for other in texts if other != one) for one in texts}
    nearest = min(distances.values())
    best = [work for work in here if distances[work.annotation_id] == nearest]
    chosen = _latest(best)
    rule = by or (ONLY if len(here) == 1 else MEDOID if len(best) == 1 else LATEST)
    pieces = span[chosen.annotation_id]
    if rule in (MEDOID, LATEST) and len(here) > 1:
        mine = texts[chosen.annotation_id]
        others = [text for one, text in texts.items() if one != chosen.annotation_id]
        if min(_distance(mine, other) / max(1, len(mine), len(other)) for other in others) > TOO_DIFFERENT:
            pieces = [piece.but("low-agreement") for piece in pieces]
    return [Chosen(chosen.annotation_id, piece, rule) for piece in pieces]


def _distance(one: str, other: str) -> int:
    return distance.between(one, other)
