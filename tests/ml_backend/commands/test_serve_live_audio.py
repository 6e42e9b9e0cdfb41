"""A real `serve`: what it was sent outlives it on the disk, and the next process brings it to its call."""

from __future__ import annotations

from pathlib import Path

import psutil
import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.asr import engine
from ml_backend.calls import live_spool, pseudonyms
from ml_backend.context import open_context
from tests.ml_backend.commands.test_serve import client, running
from tests.ml_backend.commands.test_web import some_settings
from tests.patience import until

NUMBER = "00000000102"


def test_audio_of_live_requests_outlives_a_store_that_is_away_and_a_process_that_is_killed(tmp_path: Path) -> None:
    settings = some_settings(tmp_path)
    db.upgrade(settings.database)
    context = open_context(settings)
    number = pseudonyms.pseudonym(NUMBER, pseudonyms.key_of(settings))
    values = {"pseudonym": number, "keeps_live_audio": True, "consent_purpose": "training"}
    with context.db.transaction() as connection:
        connection.execute(sa.insert(tables.company_numbers).values(**values))
    blocked = Path(settings.objects) / settings.recordings_bucket
    blocked.parent.mkdir(parents=True, exist_ok=True)
    blocked.write_text("the folder of the bucket cannot be made")

    def kept() -> list[str]:
        rows = context.db.rows(sa.select(tables.recordings.c.call_sid, tables.recordings.c.state))
        return [f"{row.call_sid} {row.state}" for row in rows]

    with running(tmp_path) as (port, process):
        asked = client(port, retries=5).audio.transcriptions

        def waits() -> bool:
            more = {"call": "c5d1", "number": NUMBER}
            assert asked.create(file=engine.CHECK, model="champion", language="en", extra_body=more).text
            return len(live_spool.waiting(settings)) > 0

        until(waits, "it waits on the disk", within_s=120)
        assert kept() == []
        psutil.Process(process.pid).children()[0].kill()
        blocked.unlink()
        until(lambda: kept() == ["c5d1 stored"], "the next process has brought it to its call", within_s=120)
        until(lambda: not live_spool.waiting(settings), "nothing waits", within_s=60)
    context.db.dispose()
