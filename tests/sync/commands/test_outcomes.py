"""`calls outcomes`: files of how calls went come in whatever a spreadsheet made of them, and go out again."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.calls import tombstones
from ml_backend.calls.pseudonyms import key_of
from tests.sync.conftest import Service

TEXT = (
    "Call SID,success,satisfaction,satisfaction_scale,automated,intent,tags,latency_asr_s,reported_at,agent name\n"
    "c1,true,4,1-5,no,order_status,vip;campaign=diwali,0.21,2026-01-31T09:00:00+05:30,Asha\n"
    'c2,0,,,1,"a, b","{""k"": ""v""}",,,\n'
)


def outcomes(service: Service) -> dict[str, Any]:
    rows = service.context.db.rows(sa.select(tables.outcomes).where(tables.outcomes.c.kind == "call"))
    return {row.call_sid: row for row in rows}


def brought_in(kaan: Any, path: Path, code: int = 0) -> dict[str, Any]:
    given, printed = kaan("calls", "outcomes", "import", str(path), "--json")
    assert given == code, printed
    return json.loads(printed)


def written(folder: Path, text: str | bytes, *, encoding: str = "utf-8") -> Path:
    path = folder / "outcomes.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_file_comes_in_as_spreadsheets_save_it(
    service: Service, kaan: Any, tmp_path: Path, encoding: str, separator: str, ending: str
) -> None:
    rows = list(csv.reader(TEXT.splitlines()))
    path = tmp_path / "outcomes.csv"
    with path.open("w", encoding=encoding, newline="") as stream:
        csv.writer(stream, delimiter=separator, lineterminator=ending).writerows(rows)
    done = brought_in(kaan, path)
    assert (done["read"], done["changed"], done["bad"], done["columns_not_read"]) == (2, 2, [], ["agent_name"])
    found = outcomes(service)
    assert (found["c1"].success, found["c1"].satisfaction, found["c1"].automated) == (True, 0.75, False)
    assert (found["c1"].tags, found["c1"].latencies) == ({"campaign": "diwali", "vip": ""}, {"asr": 0.21})
    assert (found["c2"].success, found["c2"].automated, found["c2"].intent) == (False, True, "a, b")
    assert brought_in(kaan, path)["unchanged"] == 2


def test_bad_rows_are_named_with_their_line_and_good_ones_are_kept(service: Service, kaan: Any, tmp_path: Path) -> None:
    with service.context.db.transaction() as connection:
        tombstones.mark_erased(connection, "call", "gone", key=key_of(service.context.settings))
    lines = [
        b"call,success,satisfaction,reported_at", b"good,true,,", b",true,,", b"bad1,perhaps,,", b"", b"bad2,true,1,",
        b"gone,true,,", b"bad3,true,,yesterday", b"bad4,\xff,,", b"bad5,true,,,,too,many", b"x" * 201 + b",true,,",
        b'"more\nlines",true,,', b"short", b"good2,no",
    ]  # fmt: skip
    done = brought_in(kaan, written(tmp_path, b"\r\n".join(lines)))
    assert [(row["line"], row["code"]) for row in done["bad"]] == [
        (3, "bad-call-id"), (4, "bad-outcome"), (6, "satisfaction-scale"), (7, "call-erased"), (8, "bad-outcome"),
        (9, "row-unreadable"), (10, "row-unreadable"), (11, "bad-call-id"), (12, "bad-call-id"),
        (14, "empty-outcome"),
    ]  # fmt: skip
    assert set(outcomes(service)) == {"good", "good2"}
    code, printed = kaan("calls", "outcomes", "import", str(tmp_path / "outcomes.csv"))
    assert code == 0
    assert "line 6" in printed


def test_a_file_of_which_nothing_can_be_used_ends_with_1(service: Service, kaan: Any, tmp_path: Path) -> None:
    assert len(brought_in(kaan, written(tmp_path, "call,success\nx,maybe\n"), code=1)["bad"]) == 1


@pytest.mark.parametrize(
    "data", [b"", b"a,b\n1,2\n", b"call\nx\n", b"success,intent\n1,2\n", b"PK\x03\x04rest", b"call,call_sid,success\n"]
)
def test_what_is_no_file_of_outcomes_is_refused(service: Service, kaan: Any, tmp_path: Path, data: bytes) -> None:
    code, _ = kaan("calls", "outcomes", "import", str(written(tmp_path, data)))
    assert code != 0
    assert kaan("calls", "outcomes", "import", str(tmp_path / "nowhere.csv"))[0] != 0
    assert outcomes(service) == {}


def test_what_goes_out_comes_in_again_and_runs_nothing_in_a_spreadsheet(
    service: Service, kaan: Any, tmp_path: Path
) -> None:
    texts = ["=1+1", "+cmd", "-2", "@sum", "'quoted", "'=x", "कॉल", "a;b,c", 'say "no"']
    path = tmp_path / "first.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        file = csv.writer(stream)
        file.writerow(["call", "intent", "tags", "satisfaction", "satisfaction_scale", "latency_asr_s"])
        for number, text in enumerate(texts):
            plain = f"'{text}" if text[0] in "=+-@'" else text
            file.writerow([f"call {number}", plain, json.dumps({"t": text}), 3, "1 to 5", 0.25])
    assert brought_in(kaan, path)["bad"] == []
    before = {call: (row.intent, row.tags, row.satisfaction, row.latencies) for call, row in outcomes(service).items()}
    assert [before[f"call {number}"][0] for number in range(len(texts))] == texts
    out = tmp_path / "out.csv"
    assert kaan("calls", "outcomes", "export", str(out))[0] == 0
    for cells in csv.reader(out.read_text(encoding="utf-8-sig").splitlines()):
        assert not any(cell[:1] in tuple("=+-@\t\r") for cell in cells if cell)
    assert brought_in(kaan, out)["unchanged"] == len(texts)
    after = {call: (row.intent, row.tags, row.satisfaction, row.latencies) for call, row in outcomes(service).items()}
    assert after == before


def test_outcomes_are_listed_and_shown(service: Service, kaan: Any, tmp_path: Path) -> None:
    assert "Nothing was reported" in kaan("calls", "outcomes", "list")[1]
    assert kaan("calls", "outcomes", "show", "c1")[0] != 0
    brought_in(kaan, written(tmp_path, TEXT))
    values = {
        "call_sid": "c1",
        "kind": "asr",
        "model_version": "small-1",
        "requests": 2,
        "latency_s": 0.2,
        "arm": "champion",
    }
    with service.context.db.transaction() as connection:
        connection.execute(sa.insert(tables.outcomes).values(**values))
    said = kaan("calls", "outcomes", "list")[1]
    assert "success yes" in said
    assert [one["call"] for one in json.loads(kaan("calls", "outcomes", "list", "--json")[1])["outcomes"]] == [
        "c2",
        "c1",
    ]
    assert "small-1" in kaan("calls", "outcomes", "list", "--kind", "asr")[1]
    said = kaan("calls", "outcomes", "show", "c1")[1]
    assert "satisfaction 0.75" in said
    assert "asr small-1: 2 requests, 200 ms on average" in said
    assert json.loads(kaan("calls", "outcomes", "show", "c1", "--json")[1])["outcome"]["success"] is True
    assert kaan("calls", "outcomes", "list", "--kind", "x")[0] != 0
