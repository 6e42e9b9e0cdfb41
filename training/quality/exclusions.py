"""What the summary's job found -> which samples are no reference: drafts accepted unread, calls that are in it twice.

A dataset asks here while it is made, after having the verdicts renewed: they look at the whole team and all calls,
which no single task can.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend.tables import summaries

NAME = "stamped"
STAMPED, DUPLICATE = "stamped", "duplicate"


@dataclass(frozen=True)
class Verdicts:
    """Rows of annotations with the reason, and rows of recordings whose twin stays."""

    annotations: Mapping[int, str] = field(default_factory=dict)
    recordings: frozenset[int] = frozenset()

    def objection(self, annotation_id: int, recording_id: int | None) -> str:
        """The reason code why a sample is left out; empty when it may go in."""
        if annotation_id in self.annotations:
            return STAMPED
        return DUPLICATE if recording_id in self.recordings else ""


def read(connection: Connection) -> Verdicts:
    """The latest; none before the job ran for the first time."""
    body = connection.execute(sa.select(summaries.c.body).where(summaries.c.name == NAME)).scalar()
    if not isinstance(body, Mapping):
        return Verdicts()
    annotations = {int(key): str(why) for key, why in (body.get("annotations") or {}).items()}
    return Verdicts(annotations, frozenset(int(each) for each in body.get("recordings") or ()))
