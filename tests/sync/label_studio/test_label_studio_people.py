"""People are named as in Label Studio; no address of theirs is kept."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend.context import JobContext
from ml_backend.errors import PermanentError
from ml_backend.reports.annotating import annotation_figures
from ml_backend.tables import summaries
from sync.label_studio import label_studio_people
from tests.sync.conftest import Service


def job(service: Service, said: list[str]) -> JobContext:
    context = service.context
    return JobContext(
        context.settings, context.db, context.store, kept=context.kept, report=lambda fraction, note: said.append(note)
    )


def test_the_job_keeps_the_names_of_label_studios_users_and_not_their_addresses(service: Service) -> None:
    said: list[str] = []
    label_studio_people.keep_people(job(service, said))
    users = service.client.call("GET", "/api/users/")
    known = annotation_figures.names_of(service.context.db)
    assert said == []
    assert set(known) == {user["id"] for user in users}
    assert all(known.values())
    body = service.context.db.rows(sa.select(summaries.c.body).where(summaries.c.name == "people"))[0].body
    assert "@" not in json.dumps(body)


def test_where_users_may_not_be_listed_ids_are_shown_and_the_job_says_so(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(method: str, path: str, **options: Any) -> Any:
        raise PermanentError("forbidden", "Label Studio refuses this.", "Give the token's user more rights.")

    monkeypatch.setattr(label_studio_people.client_of(service.context), "call", refused)
    said: list[str] = []
    label_studio_people.keep_people(job(service, said))
    assert said == ["Names are not known: Label Studio refuses this."]
    assert annotation_figures.called(7, {}) == "annotator 7"


def test_a_name_is_first_and_last_name_else_the_user_name_else_the_start_of_the_address() -> None:
    users = [
        {"id": 1, "first_name": "Asha", "last_name": "Rao", "username": "asha"},
        {"id": 2, "first_name": "", "last_name": None, "username": "ravi"},
        {"id": 3, "first_name": "", "last_name": "", "username": "", "email": "mira@shop.example"},
        {"id": 4, "first_name": "", "last_name": "", "username": "om@shop.example", "email": "om@shop.example"},
        {"id": 5, "first_name": "", "last_name": "", "username": "", "email": None},
        {"first_name": "No id"},
    ]
    assert label_studio_people.names(users) == {"1": "Asha Rao", "2": "ravi", "3": "mira", "4": "om"}
