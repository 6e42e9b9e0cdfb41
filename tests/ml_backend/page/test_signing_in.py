"""A token opens a session, and nothing else does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from itsdangerous import URLSafeTimedSerializer

from ml_backend.page import page_shell
from tests.ml_backend.api.serving import BASIC, BEARER, TOKEN, Serving
from tests.ml_backend.page.visitors import API_TOKENS, HTML, visitor

A_PAGE = "/page/reports/live"


@pytest.fixture
def site(serve: Callable[..., Serving]) -> Serving:
    return serve(api_tokens=API_TOKENS)


def test_a_browser_is_led_to_the_page_and_label_studio_gets_json(site: Serving) -> None:
    client = site.app.test_client()
    assert client.get("/", headers=HTML).headers["Location"] == "/page/overview"
    assert client.get("/").get_json() == {"status": "UP"}
    assert client.get("/", headers=HTML | BASIC).get_json()["model_class"]


def test_a_stranger_is_led_to_the_sign_in_and_back_to_where_he_wanted_to_go(site: Serving) -> None:
    client = site.app.test_client()
    led = client.get(f"{A_PAGE}?x=1", headers=HTML)
    assert (led.status_code, led.headers["Location"]) == (303, "/page/sign-in?next=%2Fpage%2Freports%2Flive%3Fx%3D1")
    assert 'value="/page/reports/live?x=1"' in client.get(led.headers["Location"], headers=HTML).text
    answer = client.post("/page/sign-in", data={"token": TOKEN, "next": A_PAGE}, headers=HTML)
    assert answer.headers["Location"] == A_PAGE
    assert client.get(A_PAGE, headers=HTML).status_code == 200


@pytest.mark.parametrize(
    "next_page", ["https://elsewhere.example/", "//elsewhere.example", "/page/\\elsewhere", "/api"]
)
def test_signing_in_never_leads_to_another_host(site: Serving, next_page: str) -> None:
    answer = site.app.test_client().post("/page/sign-in", data={"token": TOKEN, "next": next_page}, headers=HTML)
    assert answer.headers["Location"] == "/page/overview"


def test_the_cookie_is_signed_and_out_of_reach_for_scripts_and_other_sites(serve: Callable[..., Serving]) -> None:
    answer = serve(api_tokens=API_TOKENS, public_url="https://kaan.example").app.test_client().post(
        "/page/sign-in", data={"token": TOKEN}
    )  # fmt: skip
    cookie = answer.headers["Set-Cookie"]
    assert all(part in cookie for part in ("HttpOnly", "SameSite=Lax", "Secure", "Path=/page"))
    assert TOKEN not in cookie


@pytest.mark.parametrize("token", ["", "wrong", "p" * 24, "ops", f"{TOKEN}x"])
def test_a_wrong_token_and_a_token_of_the_phone_system_open_nothing(site: Serving, token: str) -> None:
    client = site.app.test_client()
    answer = client.post("/page/sign-in", data={"token": token}, headers=HTML)
    assert answer.status_code in (401, 403)
    assert 'role="alert"' in answer.text
    assert "Set-Cookie" not in answer.headers
    assert client.get(A_PAGE).status_code == 401


def test_a_session_ends_when_its_token_changes(serve: Callable[..., Serving]) -> None:
    cookie = serve(api_tokens=API_TOKENS).app.test_client()
    cookie.post("/page/sign-in", data={"token": TOKEN})
    kept = cookie.get_cookie("kaan_session", path="/page")
    assert kept is not None
    changed = serve(api_tokens=API_TOKENS.replace(TOKEN, "n" * 24)).app.test_client()
    changed.set_cookie("kaan_session", kept.value, path="/page")
    assert changed.get(A_PAGE).status_code == 401
    same = serve(api_tokens=API_TOKENS).app.test_client()
    same.set_cookie("kaan_session", kept.value, path="/page")
    assert same.get(A_PAGE).status_code == 200


@pytest.mark.parametrize("value", ["", "x", "e30.x.y", "ÿ"])
def test_a_cookie_that_somebody_made_up_is_no_session(site: Serving, value: str) -> None:
    client = site.app.test_client()
    forged = URLSafeTimedSerializer(b"guess", salt="kaan page").dumps(["boss", "0" * 32, "csrf"])
    for each in (value, str(forged)):
        client.set_cookie("kaan_session", each, path="/page")
        assert client.get(A_PAGE).status_code == 401


def test_a_session_opens_no_api_and_a_bearer_token_opens_no_page(site: Serving) -> None:
    one = visitor(site)
    assert one.client.get("/api/jobs").status_code == 401
    assert site.get(A_PAGE, BEARER).status_code == 401


def test_a_form_needs_the_secret_of_its_session_and_a_browser_of_this_site(site: Serving) -> None:
    one, other = visitor(site), visitor(site, "operate")
    assert one.post("/page/sign-out", csrf=other.csrf()).status_code == 403
    assert one.post("/page/sign-out", csrf="").status_code == 403
    sent = {"csrf": one.csrf()}
    foreign = one.client.post("/page/sign-out", data=sent, headers={"Sec-Fetch-Site": "cross-site"})
    assert foreign.status_code == 403
    assert one.get(A_PAGE).status_code == 200
    assert one.post("/page/sign-out").headers["Location"] == "/page/sign-in"
    assert one.client.get(A_PAGE).status_code == 401


def test_every_page_forbids_scripts_styles_and_frames_of_others_and_is_not_kept(site: Serving) -> None:
    one = visitor(site)
    for path in (A_PAGE, "/page/sign-in", "/page/reports/none", "/page/static/page.js"):
        answer = one.get(path)
        assert answer.headers["Content-Security-Policy"] == page_shell.POLICY, path
        assert "unsafe" not in page_shell.POLICY
        assert answer.headers["X-Frame-Options"] == "DENY"
        if "static" not in path:
            assert answer.headers["Cache-Control"] == "no-store", path
            assert " style=" not in answer.text
            assert " onclick=" not in answer.text


def test_an_error_is_a_page_for_a_person_and_json_for_a_program(site: Serving) -> None:
    one = visitor(site)
    shown = one.get("/page/reports/none")
    assert (shown.status_code, shown.mimetype) == (404, "text/html")
    assert "There is no such report." in shown.text
    assert one.client.get("/page/reports/none").get_json()["code"] == "unknown-report"


def test_the_script_of_the_plots_comes_from_its_package_packed_and_by_its_content(site: Serving) -> None:
    client = site.app.test_client()
    plain = client.get("/page/static/plotly.js")
    packed = client.get("/page/static/plotly.js", headers={"Accept-Encoding": "gzip"})
    assert b"plotly" in plain.data[:300]
    assert len(packed.data) < len(plain.data) / 2
    again = client.get("/page/static/plotly.js", headers={"If-None-Match": plain.headers["ETag"]})
    assert again.status_code == 304


def test_the_cookie_is_for_the_address_that_people_open(
    serve: Callable[..., Serving],
) -> None:
    inside = "http://web.kaan.internal:9090"
    for page_url, secure in (("https://kaan.example", True), ("", False)):
        serving = serve(api_tokens=API_TOKENS, public_url=inside, page_url=page_url)
        assert serving.context.settings.page_address == (page_url or inside)
        answer = serving.app.test_client().post("/page/sign-in", data={"token": TOKEN})
        assert ("Secure" in answer.headers["Set-Cookie"]) is secure
