"""An annotator sees their own day with a personal link, and never anybody else's."""

from __future__ import annotations

import html
from collections.abc import Callable
from datetime import timedelta

import pytest
from werkzeug.test import Client

from ml_backend import tables
from ml_backend.calls.events import zone_of
from ml_backend.page.annotating import personal_links
from ml_backend.page.annotating.personal_links import PERSON, PROJECT, PersonalLink, PersonalLinks
from ml_backend.reports.annotating import my_day
from ml_backend.reports.annotating.my_day import MyDayQuery
from tests.ml_backend.api.serving import BEARER, Serving
from tests.ml_backend.page.visitors import API_TOKENS, HTML, visitor
from tests.ml_backend.reports.day_rows import annotation, project, put, task

DRAFT = {"text": "kan order <b>delivry</b>, kan"}


@pytest.fixture
def team(serve: Callable[..., Serving], monkeypatch: pytest.MonkeyPatch) -> Serving:
    """Two people with work today and before; it is noon where they are."""
    site = serve(api_tokens=API_TOKENS, public_url="http://kaan.example", label_studio_url="http://ls.example")
    context = site.context
    noon = tables.now().astimezone(zone_of("Asia/Kolkata")).replace(hour=12, minute=0, second=0, microsecond=0)
    monkeypatch.setattr(tables, "now", lambda: noon)
    mine = project(context, title="Support", ls_project_id=901, script_policy={"hi": "Deva"})
    put(
        context, tables.hotwords, project_id=mine, language="hi", word="Kaan", state="approved",
        heard=[{"form": "kan", "times": 5, "said": 5}],
    )  # fmt: skip
    put(context, tables.hotwords, project_id=mine, language="hi", word="Secret", state="suggested")
    for number in range(12):
        at = noon - timedelta(days=1 + number % 5)
        annotation(context, mine, task(context, mine, at), at, annotator=7, lead_time_s=120.0 if number % 2 else 60.0)
    for who, seconds in ((7, 90.0), (7, 30.0), (8, 600.0)):
        at = noon - timedelta(hours=2)
        text = "Kaan order delivery, Kaan" if who == 7 else "private eight"
        annotation(
            context, mine, task(context, mine, at), at, annotator=who, lead_time_s=seconds, text=text, draft=DRAFT
        )
    with context.db.transaction() as connection:
        connection.execute(tables.summaries.insert().values(name="people", body={"names": {"7": "Asha", "8": "Ravi"}}))
    return site


def by_link(site: Serving, link: PersonalLink) -> tuple[Client, str]:
    """A browser that followed a link, and the page where it ended."""
    client = site.app.test_client()
    answer = client.get(PersonalLinks(site.context).path(link), headers=HTML, follow_redirects=True)
    assert answer.status_code == 200
    return client, html.unescape(answer.text)


def test_today_is_counted_against_the_own_median_and_the_words_corrected_most_come_first(team: Serving) -> None:
    found = my_day.of(team.context, MyDayQuery(annotator=7))
    assert (found["name"], found["annotations"], found["audio_min"], found["worked_min"]) == ("Asha", 2, 2.0, 2.0)
    assert (found["median_pace"], found["timed"], found["own_median_pace"], found["own_timed"]) == (1.0, 2, 1.5, 12)
    assert next((one["draft"], one["text"], one["times"]) for one in found["corrected"]) == ("kan", "kaan", 4)
    assert found["glossary"] == [{"word": "Kaan", "language": "hi", "instead_of": ["kan"]}]
    assert found["spellings"] == [{"language": "hi", "name": "Hindi", "script": "Devanagari"}]


def test_a_personal_link_opens_ones_own_day_and_no_question_opens_anothers(team: Serving) -> None:
    client, page = by_link(team, PersonalLink(PERSON, 7))
    assert "My day: Asha" in page
    assert "Kaan" in page
    assert "Ravi" not in page
    assert "private" not in page
    again = client.get("/page/my-day?annotator=8", headers=HTML).text
    assert "My day: Asha" in again
    assert "Ravi" not in again
    for elsewhere in ("/page/annotation", "/page/overview", "/page/reports/my-day?annotator=8", "/api/reports/my-day"):
        assert client.get(elsewhere).status_code == 401, elsewhere


def test_the_cookie_goes_to_this_page_only_and_out_of_reach_of_scripts(team: Serving) -> None:
    answer = team.app.test_client().get(PersonalLinks(team.context).path(PersonalLink(PERSON, 7)), headers=HTML)
    assert answer.headers["Location"] == "/page/my-day", "the link itself does not stay in the address"
    cookie = answer.headers["Set-Cookie"]
    assert all(part in cookie for part in ("HttpOnly", "SameSite=Lax", "Path=/page/my-day"))


def test_the_link_of_a_project_opens_the_glossary_and_nobodys_figures(team: Serving) -> None:
    client, page = by_link(team, PersonalLink(PROJECT, 901))
    assert "Kaan" in page
    assert "Secret" not in page
    assert "Done today" not in page
    assert client.get("/page/my-day", headers=HTML).status_code == 303, "it is no sign-in"
    person, _ = by_link(team, PersonalLink(PERSON, 7))
    again = person.get(PersonalLinks(team.context).path(PersonalLink(PROJECT, 901)), headers=HTML)
    assert again.headers["Location"] == "/page/my-day", "a browser that is known goes on to its own day"


def test_a_link_that_was_changed_or_is_of_another_deployment_or_too_old_opens_nothing(
    team: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    links = PersonalLinks(team.context)
    mine = links.sign(PersonalLink(PERSON, 7))
    for wrong in (mine[:-2] + "xx", mine.replace(".", "", 1), "7", links.sign(PersonalLink("everybody", 7))):
        assert team.app.test_client().get(f"/page/my-day/{wrong}").status_code == 401, wrong
    client = team.app.test_client()
    client.set_cookie(personal_links.COOKIE, "7", path="/page/my-day")
    assert client.get("/page/my-day").status_code == 401
    client.set_cookie(personal_links.COOKIE, links.sign(PersonalLink(PROJECT, 7)), path="/page/my-day")
    assert client.get("/page/my-day").status_code == 401, "a project is nobody"
    monkeypatch.setitem(personal_links.LASTS_S, PERSON, -1)
    assert links.read(mine) is None


def test_whoever_signed_in_chooses_a_person_and_only_operators_see_the_links(team: Serving) -> None:
    reads, operates = visitor(team), visitor(team, "operate")
    assert "Asha</option>" in reads.get("/page/my-day").text
    assert "My day: Ravi" in reads.get("/page/my-day?annotator=8").text
    assert "/page/my-day/" not in reads.get("/page/annotation?annotator=7").text
    shown = operates.get("/page/annotation?annotator=7").text
    assert 'value="http://kaan.example/page/my-day/' in shown
    told = team.app.test_client().get("/api/reports/my-day?annotator=7", headers=BEARER).get_json()
    assert told["annotations"] == 2


def test_a_draft_with_markup_is_shown_as_text(team: Serving) -> None:
    _, page = by_link(team, PersonalLink(PERSON, 7))
    raw = visitor(team).get("/page/my-day?annotator=7").text
    assert "<b>delivry" not in raw
    assert "<b>delivry</b>" in page


def test_few_annotations_give_no_median_to_compare_with(team: Serving) -> None:
    found = my_day.of(team.context, MyDayQuery(annotator=8))
    assert (found["annotations"], found["own_median_pace"], found["own_timed"]) == (1, None, 0)
    assert "Too early for a median of your own" in visitor(team).get("/page/my-day?annotator=8").text
