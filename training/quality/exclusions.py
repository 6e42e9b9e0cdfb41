"""Findings of the summary's job -> samples that are no reference: drafts accepted unread, and duplicate calls.

A dataset export renews the findings and then reads them here. They need the whole team and all calls, so a single
task's samples cannot have them.
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
    """Annotation ids with the reason, and ids of recordings whose twin stays."""

    annotations: Mapping[int, str] = field(default_factory=dict)
    recordings: frozenset[int] = frozenset()

    def objection(self, annotation_id: int, recording_id: int | None) -> str:
        """The reason code why a sample is left out; empty when it is used."""
        if annotation_id in self.annotations:
            return STAMPED
        return DUPLICATE if recording_id in self.recordings else ""


def read(connection: Connection) -> Verdicts:
    """The latest findings; empty before the job's first run."""
    body = connection.execute(sa.select(summaries.c.body).where(summaries.c.name == NAME)).scalar()
    if not isinstance(body, Mapping):
        return Verdicts()
    annotations = {int(key): str(why) for key, why in (body.get("annotations") or {}).items()}
    return Verdicts(annotations, frozenset(int(each) for each in body.get("recordings") or ()))
