"""Consent purposes by CSV: all rows or none, and every bad row by its number."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.calls import pseudonyms
from ml_backend.errors import InvalidInput
from sync.privacy import consents
from tests.sync.persons import ANNA, COMPANY, People


@pytest.fixture
def people(tmp_path: Path) -> Iterator[People]:
    world = People(tmp_path)
    world.call("anna1", ANNA)
    yield world
    world.context.db.dispose()


def bring(people: People, text: str | bytes, folder: Path) -> dict[str, int]:
    file = folder / "consent.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    about, said = consents.read(file, key=people.key)
    with people.context.db.transaction() as connection:
        return consents.state(connection, about, said)


def purpose(people: People, sid: str = "anna1") -> str | None:
    found: str | None = people.rows(tables.calls, call_sid=sid)[0].consent_purpose
    return found


def test_a_company_numbers_purpose_is_that_of_its_calls_before_and_after(people: People, tmp_path: Path) -> None:
    counts = bring(people, f"company_number,purpose,name\n{COMPANY},training,Support line\n", tmp_path)
    assert counts == {"numbers": 1, "calls": 1}
    assert purpose(people) == "training"
    people.call("anna2", ANNA)
    assert purpose(people, "anna2") == "training"
    [row] = people.rows(tables.company_numbers)
    assert (row.consent_purpose, row.name) == ("training", "Support line")


def test_every_way_to_write_a_company_number_means_the_same_one(people: People, tmp_path: Path) -> None:
    bring(people, f"company_number,purpose\n+91 {COMPANY[1:]},review\n", tmp_path)
    assert [row.pseudonym for row in people.rows(tables.company_numbers)] == [pseudonyms.pseudonym(COMPANY, people.key)]


def test_a_single_calls_purpose_goes_before_its_numbers(people: People, tmp_path: Path) -> None:
    bring(people, "call_sid,purpose\nanna1,none\n", tmp_path)
    bring(people, f"company_number,purpose\n{COMPANY},training\n", tmp_path)
    assert purpose(people) == "none"


def test_a_file_from_a_spreadsheet_with_bom_capitals_and_empty_lines_is_read(people: People, tmp_path: Path) -> None:
    text = "\ufeffCall_SID , Purpose\r\nanna1, Training \r\n\r\n,\r\n"
    bring(people, text, tmp_path)
    assert purpose(people) == "training"


def test_bad_rows_are_listed_by_number_and_nothing_is_imported(people: People, tmp_path: Path) -> None:
    text = f"company_number,purpose\n{COMPANY},training\nhello,training\n{COMPANY}9,maybe\n{COMPANY},service\n1,2,3\n"
    with pytest.raises(InvalidInput) as refused:
        bring(people, text, tmp_path)
    for number in (3, 4, 5, 6):
        assert f"row {number}:" in refused.value.sentence
    assert "row 2:" not in refused.value.sentence
    assert COMPANY not in refused.value.sentence
    assert purpose(people) is None


def test_a_call_nobody_knows_is_a_bad_row_and_nothing_is_imported(people: People, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no call nobody1"):
        bring(people, "call_sid,purpose\nanna1,training\nnobody1,training\n", tmp_path)
    assert purpose(people) is None


NO_LISTS = (
    b"",
    b"a,b\n1,2\n",
    b"call_sid\nanna1\n",
    "call_sid,purpose\nनमस्ते".encode("utf-16"),
    b'call_sid,purpose\n"anna1,x\n',
)


@pytest.mark.parametrize("text", NO_LISTS)
def test_a_file_that_is_no_such_list_is_refused_whole(people: People, text: bytes, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        bring(people, text, tmp_path)
    assert purpose(people) is None


def test_what_a_file_takes_back_leaves_the_samples_of_those_calls_out(people: People, tmp_path: Path) -> None:
    with people.context.db.transaction() as connection:
        project = people.project(connection)
        [recording] = connection.execute(sa.select(tables.recordings)).all()
        common = {"project_id": project.id, "recording_id": recording.id}
        task = sa.insert(tables.tasks).values(**common, external_key="k", origin="ours")
        task_id = connection.execute(task).inserted_primary_key[0]
        written = {"project_id": project.id, "task_id": task_id, "ls_annotation_id": 1, "result": []}
        annotation = sa.insert(tables.annotations).values(**written, ls_updated_at=tables.now())
        annotation_id = connection.execute(annotation).inserted_primary_key[0]
        sample = {
            **common, "task_id": task_id, "annotation_id": annotation_id, "number": 0, "start_s": 0.0, "end_s": 1.0,
            "text": "namaste", "digest": "d", "state": "accepted",
        }  # fmt: skip
        connection.execute(sa.insert(tables.samples).values(**sample))
    bring(people, "call_sid,purpose\nanna1,none\n", tmp_path)
    assert [(row.state, row.reason_code) for row in people.rows(tables.samples)] == [("excluded", "consent")]
