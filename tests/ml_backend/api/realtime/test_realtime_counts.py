"""Sessions that are open, and handshakes that are refused, are in the counts like every other request."""

from __future__ import annotations

from contextlib import ExitStack

import httpx2
import pytest
import sqlalchemy as sa
from websockets.exceptions import InvalidStatus

from ml_backend import db, tables
from tests.ml_backend.api.realtime.conftest import PLACES, READ, Line
from tests.patience import until as wait_until


def test_sessions_are_counted_while_they_are_open_and_refusals_with_their_reason(line: Line) -> None:
    database = db.Database(f"sqlite:///{line.folder}/kaan.db")

    def sessions() -> float:
        told = httpx2.get(f"http://127.0.0.1:{line.port}/metrics", headers={"Authorization": f"Bearer {READ}"}).text
        return float(next(one for one in told.splitlines() if one.startswith("kaan_live_sessions ")).split()[1])

    def refused(status: str) -> int:
        row = tables.live_totals.c
        mine = sa.select(row.body).where(row.route == "realtime", row.model_version == "")
        return sum(body["status"].get(status, 0) for body in database.scalars(mine))

    wait_until(lambda: sessions() == 0, "the sessions of other tests have ended", within_s=60)
    before = {status: refused(status) for status in ("401", "404", "429")}
    with ExitStack() as open_now:
        for _ in range(PLACES):
            open_now.enter_context(line.connect())
        wait_until(lambda: sessions() == PLACES, "all places are taken", within_s=60)
        with pytest.raises(InvalidStatus):
            line.connect("?intent=transcription&call=counted")
    wait_until(lambda: sessions() == 0, "all have ended", within_s=60)
    for query, token in (("?intent=transcription&model=nobody", ""), ("?intent=transcription", "w" * 24)):
        with pytest.raises(InvalidStatus):
            line.connect(query, **({"token": token} if token else {}))
    wait_until(
        lambda: all(refused(status) == number + 1 for status, number in before.items()), "each is counted", within_s=60
    )
    row = tables.outcomes.c
    assert database.scalars(sa.select(row.id).where(row.call_sid == "counted")) == [], "no version refused it"
    database.dispose()
