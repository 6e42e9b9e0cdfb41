"""`training status`: the next model of each kind, for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.commands import command_line
from ml_backend.context import open_context
from ml_backend.models import kinds
from ml_backend.settings import load


def test_every_other_kind_has_a_line_with_its_new_samples_and_its_last_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("NLU_TRAINING_THRESHOLD", "300")
    db.upgrade(load().database)
    context = open_context(load())
    with context.db.transaction() as connection:
        for number in range(12):
            values = {"origin": "t", "external_id": str(number), "source": "table", "text": f"where is {number}",
                      "intent": "track", "language": "en", "digest": f"{number:064x}", "state": "accepted",
                      "accepted_at": tables.now()}  # fmt: skip
            connection.execute(sa.insert(tables.utterances).values(**values))
        run = {"kind": "nlu", "arguments": {}, "state": "failed", "who": "a test", "reason_code": "x",
               "reason": "It was lost.", "finished_at": tables.now()}  # fmt: skip
        connection.execute(sa.insert(tables.runs).values(**run))
    context.db.dispose()
    assert command_line.main(["training", "status"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert "12 of 300 new samples since the last run; run 1 failed" in lines["nlu"]
    assert "It was lost. [x]" in lines["nlu"]
    assert lines["tts"].endswith("new samples since the last run; no run yet")
    assert command_line.main(["training", "status", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["kinds"]
    assert set(told) == set(kinds.names()) - {kinds.ASR}
    assert (told["nlu"]["new"], told["nlu"]["threshold"], told["nlu"]["last_run"]["code"]) == (12, 300, "x")
    assert told["tts"]["why_none"].startswith("No recording with a text is here yet")
