"""The utterance explorer: what is said and written is marked, shown as text, found, and sent to review."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.views import error_views
from ml_backend.views.error_views import ErrorsQuery, UtterancesQuery
from tests.ml_backend.api.serving import Serving
from tests.ml_backend.page.visitors import API_TOKENS, Visitor, visitor
from tests.training import candidates

HOSTILE = "=cmd() <script>alert(1)</script> \u202eevil"


@dataclass
class Explored:
    site: Serving
    before: int
    now: int


@pytest.fixture
def explored(serve: Callable[..., Serving], tmp_path: Path) -> Explored:
    """Two versions on one test set of 12 utterances; the first has a task. One text is hostile, one long."""
    site = serve(api_tokens=API_TOKENS)
    context = site.context
    dataset_id = candidates.blind_calls(context, tmp_path / "scratch", calls=12, words=6)
    said = {f"row-{n:03}": candidates.said(n, 6) for n in range(12)}
    ids = []
    for name, wrong in (("one", "yes"), ("two", "no")):
        written = {line: text.replace("word3x1", wrong) for line, text in said.items()}
        written |= {"row-001": HOSTILE, "row-002": "कब " * 20_000} if name == "two" else {}
        version = candidates.version(context, tmp_path, name)
        ids.append(candidates.wrote(context, version, dataset_id, written).id)
    with context.db.transaction() as connection:
        project = {"instance_url": "http://ls.example", "ls_project_id": 7, "title": "calls", "label_config": "<View/>"}
        made = sa.insert(tables.projects).values(**project).returning(tables.projects.c.id)
        task = {"ls_task_id": 70, "external_key": "k", "origin": "ours", "state": "annotated"}
        connection.execute(sa.insert(tables.tasks).values(project_id=connection.execute(made).scalar_one(), **task))
        rows = tables.evaluation_utterances
        mine = sa.update(rows).where(rows.c.line_id == "row-001")
        connection.execute(mine.values(ls_project_id=7, ls_task_id=70))
    return Explored(site, ids[0], ids[1])


def number_of(explored: Explored, line: str) -> int:
    found = error_views.utterances(explored.site.context, explored.now, UtterancesQuery())["utterances"]
    return next(row["number"] for row in found if row["line"] == line)


def test_the_list_leads_to_the_errors_and_they_are_marked_for_eyes_and_ears(explored: Explored) -> None:
    reader = visitor(explored.site)
    assert f'href="/page/errors/{explored.now}"' in reader.get("/page/errors").text
    page = reader.get(f"/page/errors/{explored.now}?said=word3x1&written=no").text
    assert re.search(
        r'<del><span class="sr">said </span><bdi>word3x1</bdi></del>'
        r'<ins><span class="sr"> written </span><bdi>no</bdi></ins>',
        page,
    )
    assert "1 utterances, 6 words, 1 wrong" in page
    assert "style=" not in page
    assert "onclick" not in page


def test_the_numbers_are_those_of_the_command_and_of_api(explored: Explored) -> None:
    found = error_views.one(explored.site.context, explored.now)
    page = visitor(explored.site).get(f"/page/errors/{explored.now}").text
    assert f"<strong>{100 * found['wer']:.1f} %</strong>" in page
    sums = error_views.errors(explored.site.context, explored.now, ErrorsQuery())["sums"]
    for title, kind in (("Confused", "substitution"), ("Missed", "deletion"), ("Invented", "insertion")):
        assert f"<h3>{title} ({sums[kind]:,})</h3>" in page


def test_two_versions_stand_side_by_side(explored: Explored) -> None:
    page = visitor(explored.site).get(f"/page/errors/{explored.now}?against={explored.before}&sort=worst").text
    assert "0 better, 2 worse, 10 equal" in page
    worse = visitor(explored.site).get(f"/page/errors/{explored.now}?against={explored.before}&outcome=worse").text
    assert worse.count("<tr>\n<td") == 2


def test_a_hostile_text_is_text_and_a_long_one_is_short_in_the_list(explored: Explored) -> None:
    reader = visitor(explored.site)
    page = reader.get(f"/page/errors/{explored.now}")
    assert "<script>alert" not in page.text
    assert len(page.data) < 200_000
    assert "all of it" in page.text
    one = reader.get(f"/page/errors/{explored.now}/{number_of(explored, 'row-001')}").text
    assert "<script>alert" not in one
    assert "=cmd() &lt;script&gt;alert(1)&lt;/script&gt; \u202eevil</bdi>" in one
    csv.field_size_limit(2_000_000)
    for address in (f"/page/errors/{explored.now}?format=csv", f"/page/errors/{explored.now}/words?format=csv"):
        rows = list(csv.reader(io.StringIO(reader.get(address).text)))
        assert len(rows) > 12
        assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "@"))]


def test_pages_of_csv_and_of_the_page_hold_every_utterance_once(explored: Explored) -> None:
    reader, numbers, address = visitor(explored.site), [], f"/page/errors/{explored.now}?limit=5&sort=longest"
    while address:
        page = reader.get(address).text
        numbers += re.findall(rf'<td class="number"><a href="/page/errors/{explored.now}/(\d+)">', page)
        following = re.search(r'rel="next" href="([^"]+)"', page)
        address = following[1].replace("&amp;", "&") if following else ""
    assert sorted(map(int, numbers)) == list(range(1, 13))
    text = reader.get(f"/page/errors/{explored.now}?format=csv").text
    assert len(list(csv.reader(io.StringIO(text)))) == 13


def test_who_may_operate_sends_an_utterance_to_review_and_nobody_else(explored: Explored) -> None:
    place = f"/page/errors/{explored.now}/{number_of(explored, 'row-001')}"
    reader, operator = visitor(explored.site), visitor(explored.site, "operate")
    assert "http://ls.example/projects/7/data?task=70" in reader.get(place).text
    assert f'action="{place}/review"' not in reader.get(place).text
    assert f'action="{place}/review"' in operator.get(place).text
    assert reader.post(f"{place}/review", reason="wrong city").status_code == 403
    assert operator.post(f"{place}/review", csrf="x", reason="wrong city").status_code == 403
    assert operator.post(f"{place}/review", reason=" ").status_code == 400
    assert operator.post(f"{place}/review", reason="the wrong city").status_code == 400, "it is not confirmed"
    assert not jobs(explored)
    answer = operator.post(f"{place}/review", reason="the wrong city", sure="yes")
    assert answer.status_code == 303
    assert "It was sent to review" in operator.get(answer.headers["Location"]).text
    assert 'Asked by <bdi dir="auto">shop</bdi>' in operator.get(place).text
    assert jobs(explored) == ["review-again"]


def test_who_may_listen_plays_the_span_of_an_utterance_and_others_are_told(explored: Explored) -> None:
    context = explored.site.context
    place = f"/page/errors/{explored.now}/{number_of(explored, 'row-001')}"
    found = error_views.utterance(context, explored.now, number_of(explored, "row-001"))
    assert "Its audio is not here" in visitor(explored.site, "operate").get(place).text
    recording = {"source": "object", "source_identity": "s3://a/b", "sha256": found["audio_sha256"], "state": "ready"}
    with context.db.transaction() as connection:
        made = sa.insert(tables.recordings).values(**recording, call_sid="a-call").returning(tables.recordings.c.id)
        recording_id = connection.execute(made).scalar_one()
    heard = visitor(explored.site, "operate").get(place).text
    assert f'src="/page/recordings/{recording_id}/audio#t={found["start_s"]:.2f},{found["end_s"]:.2f}"' in heard
    assert 'href="/page/calls/a-call"' in heard
    assert "<audio" not in visitor(explored.site).get(place).text


def jobs(explored: Explored) -> list[str]:
    return explored.site.context.db.scalars(sa.select(tables.jobs.c.name))


def test_an_evaluation_that_is_not_there_or_not_listed_says_what_to_do(explored: Explored) -> None:
    reader = visitor(explored.site)
    assert reader.get("/page/errors/999").status_code == 404
    assert reader.get("/page/errors/x").status_code == 400
    with explored.site.context.db.transaction() as connection:
        parts = tables.evaluation_indexes
        connection.execute(sa.delete(parts).where(parts.c.evaluation_id == explored.now, parts.c.name == "facts"))
    waiting = reader.get(f"/page/errors/{explored.now}")
    assert (waiting.status_code, "list-again" in waiting.text) == (409, True)
    assert reader.get("/page/errors").status_code == 200


def test_a_stranger_is_led_to_the_sign_in(explored: Explored) -> None:
    stranger = Visitor(explored.site.app.test_client())
    for place in ("/page/errors", f"/page/errors/{explored.now}", f"/page/errors/{explored.now}/words"):
        assert stranger.get(place).headers["Location"].startswith("/page/sign-in")
