"""The way in from the provider on PostgreSQL: one story over every statement that the two databases could see apart."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from ml_backend import db, tables
from ml_backend.jobs import enqueueing, job_kinds
from sync.exotel import account, lookups, reader_positions
from tests.servers import exotel, postgres
from tests.sync.provider import SPEECH, beside


def test_the_whole_story_on_postgresql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with postgres.running() as server:
        url = server.database()
        db.upgrade(url)
        with beside(tmp_path, monkeypatch, database_url=url) as here:
            # a callback with a recording, one without, and a call no callback told of
            here.told(here.provider.add(1, audio=SPEECH))
            here.told(here.provider.add(2))
            here.provider.add(3, audio=SPEECH + b"3", created=here.now() - timedelta(minutes=30))
            for hours in (2, 24):
                with here.context.db.transaction() as connection:
                    enqueueing.enqueue(connection, job_kinds.RECONCILE_CALLS, key=str(hours), hours=hours)
            here.run()
            here.later(minutes=3)
            assert sorted(call.state for call in here.rows(tables.calls)) == ["expected", "fetched", "fetched"]
            here.sound()

            # a refused key, and its end
            here.settings(exotel_api_token=SecretStr("a wrong token that nobody knows"))
            here.told(here.provider.add(4, audio=SPEECH + b"4"))
            here.run()
            assert [row for row in here.rows(tables.checkpoints) if row.state == "stopped"]
            here.settings(exotel_api_token=SecretStr(exotel.TOKEN))
            here.later(minutes=6)
            assert not [row for row in here.rows(tables.checkpoints) if row.state == "stopped"]

            # a job that is gone, a lease, the zone
            with here.context.db.transaction() as connection:
                connection.execute(tables.jobs.delete())
            here.later(hours=1)
            assert lookups.take_up(here.context) == 1
            with here.context.db.transaction() as connection:
                assert reader_positions.lease(connection, "a", "x@elsewhere:1:a")
                assert not reader_positions.lease(connection, "a", "x@elsewhere:2:a")
            assert account.zone_difference(here.context) is None
            here.sound()
