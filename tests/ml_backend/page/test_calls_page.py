"""Calls for people: lists, days, one call with its audio for those who may listen, and foreign text as text."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.calls import listenings
from ml_backend.page import call_audio
from ml_backend.reports import call_days, day_counts
from ml_backend.storage.s3_store import S3Store
from ml_backend.views import call_views
from tests.ml_backend.api.serving import BEARER, Serving
from tests.ml_backend.page.visitors import API_TOKENS, TOKENS, Visitor, visitor

AT = datetime(2024, 1, 15, 9, 0, tzinfo=UTC)
WAV = b"RIFF" + bytes(range(256)) * 400
HOSTILE = "<script>alert(1)</script>\u202eabc"
AUDIO, KEY = "/page/recordings/1/audio", "derived/x/audio.wav"
PAGES = ("/page/calls", "/page/calls/days", "/page/calls/s1", "/page/calls/recording:1", "/page/data")
FOR_LISTENERS = (AUDIO, "/page/calls/listenings")


def put(serving: Serving, table: sa.Table, **values: Any) -> int:
    with serving.context.db.transaction() as connection:
        return int(connection.execute(sa.insert(table).values(**values).returning(table.c.id)).scalar_one())


@pytest.fixture
def site(serve: Callable[..., Serving]) -> Serving:
    """One transcribed call with audio in the store, and one without a recording."""
    serving = serve(api_tokens=API_TOKENS)
    context = serving.context
    context.store.ensure_bucket(context.settings.audio_bucket)
    context.store.put_bytes(context.settings.audio_bucket, KEY, WAV)
    given = {"provider": "exotel", "seen_by": ["passthru"], "started_at": AT}
    kept = {"state": "kept", "reason_code": "good-enough", "reason": HOSTILE}
    call_id = put(serving, tables.calls, call_sid="s1", **kept, **given)
    busy = {"state": "no-recording", "reason_code": "no-conversation"}
    put(serving, tables.calls, call_sid="s2", **busy, **given)
    recording = put(
        serving, tables.recordings, source="object", source_identity="s3://b/k", call_id=call_id, state="ready",
        derived_key=KEY, duration_s=60.0, channels=2, language="hi", sha256="5" * 64, speech=[[1.0, 2.0, 1]],
    )  # fmt: skip
    with context.db.transaction() as connection:
        drawn = {"recording_id": recording, "channels": ["0z" * 120, "z0" * 120]}
        connection.execute(sa.insert(tables.waveforms).values(drawn))
    for version in ("v1", "v2"):
        segments = [{"start_s": 1.5, "end_s": 2.0, "channel": 1, "text": f"{HOSTILE} {version}"}]
        put(
            serving, tables.transcriptions, recording_id=recording, audio_sha256="a", model_version=version,
            decoding_hash="h", decoding={"language": "hi"}, text=f"{HOSTILE} {version}", language="hi",
            transcript={"segments": segments}, confidence=0.5, duration_s=60.0,
        )  # fmt: skip
    return serving


def plays(site: Serving) -> list[tuple[str, int]]:
    row = tables.listenings.c
    return [
        (each.who, each.requests) for each in site.context.db.rows(sa.select(row.who, row.requests).order_by(row.id))
    ]


def heard(visit: Visitor, **headers: str) -> Any:
    return visit.client.get(AUDIO, headers=headers)


def test_a_call_is_shown_with_its_story_and_every_transcript_and_foreign_text_stays_text(site: Serving) -> None:
    page = visitor(site).get("/page/calls/s1").text

    assert "<script>alert" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 4
    for part in ("v1", "v2", "polygon", 'aria-label="Loudness of recording 1', "What happened", "at=1.5"):
        assert part in page
    assert "<audio" not in page
    assert "Listening needs a token with role operate." in page
    assert "<audio" in visitor(site, "operate").get("/page/calls/s1?recording=1&at=1.5").text


@pytest.mark.parametrize("role", ["read", "operate", "admin", None])
def test_who_may_look_and_who_may_listen(site: Serving, role: str | None) -> None:
    client = visitor(site, role).client if role else site.app.test_client()
    looks = {path: client.get(path).status_code for path in PAGES}
    listens = {path: client.get(path).status_code for path in FOR_LISTENERS}
    assert set(looks.values()) == {200 if role else 401}
    assert set(listens.values()) == {401 if role is None else 403 if role == "read" else 200}
    assert plays(site) == ([] if role in (None, "read") else [({"operate": "shop", "admin": "boss"}[role or ""], 1)])


def test_a_bearer_token_opens_no_page(site: Serving) -> None:
    assert site.app.test_client().get(AUDIO, headers={"Authorization": f"Bearer {TOKENS['admin']}"}).status_code == 401


@pytest.fixture(params=["local", "s3"])
def listener(request: pytest.FixtureRequest, site: Serving) -> Visitor:
    """Who may listen, with the audio in either store."""
    if request.param == "s3":
        store = S3Store(
            request.getfixturevalue("moto_endpoint"), access_key="anyone", secret_key="not-checked-here", secure=False
        )
        bucket = site.context.settings.audio_bucket
        store.ensure_bucket(bucket)
        store.put_bytes(bucket, KEY, WAV)
        object.__setattr__(site.context, "store", store)
    return visitor(site, "operate")


def test_audio_comes_whole_in_parts_or_not_at_all_as_the_range_says(listener: Visitor) -> None:
    whole = heard(listener)
    assert (whole.status_code, whole.data, whole.mimetype) == (200, WAV, "audio/wav")
    assert whole.headers["Accept-Ranges"] == "bytes"
    assert "no-store" in whole.headers["Cache-Control"]
    size, etag = len(WAV), whole.headers["ETag"]
    for asked, part in (
        ("bytes=0-9", (0, 10)), ("bytes=100-199", (100, 200)), ("bytes=100-", (100, size)),
        ("bytes=-7", (size - 7, size)),
        ("bytes=0-999999999", (0, size)), (f"bytes={size - 1}-", (size - 1, size)),
    ):  # fmt: skip
        found = heard(listener, Range=asked)
        assert (found.status_code, found.data) == (206, WAV[slice(*part)]), asked
        assert found.headers["Content-Range"] == f"bytes {part[0]}-{part[1] - 1}/{size}"
        assert int(found.headers["Content-Length"]) == part[1] - part[0]
    for asked in (f"bytes={size}-", f"bytes={size + 5}-{size + 9}"):
        found = heard(listener, Range=asked)
        assert (found.status_code, found.headers["Content-Range"]) == (416, f"bytes */{size}")
    for asked in ("bytes=5-2", "seconds=0-9", "bytes=0-1,5-9", "bytes=x"):
        assert (heard(listener, Range=asked).status_code, heard(listener, Range=asked).data) == (200, WAV), asked
    assert heard(listener, Range="bytes=0-9", **{"If-Range": etag}).status_code == 206
    assert heard(listener, Range="bytes=0-9", **{"If-Range": '"other"'}).data == WAV
    assert heard(listener, **{"If-None-Match": etag}).status_code == 304
    head = listener.client.head(AUDIO)
    assert (head.status_code, head.data, int(head.headers["Content-Length"])) == (200, b"", size)


def test_a_range_without_an_end_holds_no_thread_for_longer_than_a_minute_of_audio(
    site: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_audio, "MOST_BYTES", 1000)
    found = heard(visitor(site, "operate"), Range="bytes=10-")
    assert (found.status_code, found.data) == (206, WAV[10:1010])
    assert found.headers["Content-Range"] == f"bytes 10-1009/{len(WAV)}"


def test_looking_at_the_headers_is_no_listening_and_a_play_in_parts_is_one(site: Serving) -> None:
    listener = visitor(site, "operate")
    listener.client.head(AUDIO)
    assert plays(site) == []
    for asked in ("bytes=0-1", "bytes=0-", "bytes=5000-"):
        assert heard(listener, Range=asked).status_code == 206
    assert plays(site) == [("shop", 3)]
    page = listener.get("/page/calls/listenings").text
    assert "shop" in page
    asked = site.get("/api/listenings", headers={"Authorization": f"Bearer {TOKENS['operate']}"})
    assert [each["who"] for each in asked.get_json()["listenings"]] == ["shop"]
    assert site.get("/api/listenings", headers=BEARER).status_code == 403


@pytest.mark.parametrize("state", ["erased", "expired"])
def test_audio_that_is_gone_is_gone_from_the_page_at_once(site: Serving, state: str) -> None:
    listener = visitor(site, "operate")
    site.context.db.update(tables.recordings, 1, state=state)
    answer = heard(listener)
    assert (answer.status_code, answer.get_json()["code"]) == (410, "recording-gone")
    page = listener.get("/page/calls/s1").text
    assert "<audio" not in page
    assert "polygon" not in page
    assert "v2</bdi>" not in page
    assert plays(site) == []


def test_who_listens_is_written_before_a_byte_is_sent(site: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("the database is away")

    monkeypatch.setattr(listenings, "note", refuse)
    answer = heard(visitor(site, "operate"))
    assert answer.status_code == 500
    assert WAV[:100] not in answer.data


@pytest.mark.parametrize("rare", [0, 2000])
def test_the_list_filters_pages_and_exports(site: Serving, rare: int, monkeypatch: pytest.MonkeyPatch) -> None:
    project = put(site, tables.projects, instance_url="u", ls_project_id=7)
    site.context.db.update(tables.recordings, 1, project_id=project)
    monkeypatch.setattr(call_views, "_RARE", rare)
    visit = visitor(site)
    assert "s1" in visit.get("/page/calls?state=kept").text
    for wanted, there in (
        ("state=kept", {"s1"}), ("reason_code=no-conversation", {"s2"}), ("language=hi", {"s1"}),
        ("language=mr", set()),
        ("day=2024-01-15", {"s1", "s2"}), ("day=2024-01-16", set()), ("language=hi&state=no-recording", set()),
        ("limit=1", {"s1", "s2"}), ("sort=id", {"s1", "s2"}), ("project=5", set()),
        ("project=7", {"s1"}), ("project=7&state=no-recording", set()), ("project=7&language=hi", {"s1"}),
    ):  # fmt: skip
        lines = visit.get(f"/page/calls?{wanted}&format=csv").text.splitlines()[1:]
        assert {line.split(",")[1] for line in lines} == there, wanted
    first = visit.get("/page/calls?limit=1&sort=id").text
    assert "s1" in first and "before=1" in first  # noqa: PT018
    assert "s2" in visit.get("/page/calls?limit=1&sort=id&before=1").text
    assert visit.get("/page/calls?sort=to").status_code == 400


def test_the_day_page_shows_the_figures_of_the_report(site: Serving) -> None:
    with site.context.db.reading() as connection:
        found = call_days.of_day(connection, AT.date(), zone="Asia/Kolkata")
    balance = {
        "day": "2024-01-15", "reported": 2, "listed": 0, "stored": 0, "explained": 0, "waiting": 0, "missing": 0,
        "tasked": 0, "balanced": True, "unexplained": [], "reasons": {"no-conversation": 1},
    }  # fmt: skip
    with site.context.db.transaction() as connection:
        day_counts.keep(connection, call_days.NAME, AT.date(), found.to_json() | {"balance": balance})
    visit, days = visitor(site), "since=2024-01-15&until=2024-01-15"
    told = site.get(f"/api/reports/call-funnel?{days}", headers=BEARER).get_json()
    page = visit.get(f"/page/calls/days?{days}").text
    assert told["calls"] == 2
    for step in told["steps"]:
        assert f"<strong>{step['calls']}</strong>" in page
        for why in step["fell_out"]:
            assert why["reason"] in page
    assert "2024-01-15" in visit.get(f"/page/calls/days?{days}&format=csv").text
    data = visit.get("/page/data").text
    for sentence in site.get("/api/reports/data-composition", headers=BEARER).get_json()["gaps"]:
        assert sentence.replace("'", "&#39;") in data


def test_a_dataset_is_shown_with_what_it_left_out_and_how_it_differs(site: Serving) -> None:
    for version, rows, out in ((1, 10, {"duplicate": 1}), (2, 25, {"duplicate": 1, HOSTILE: 3})):
        counts = {"rows": rows, "hours": rows / 10, "splits": {"train": {"rows": rows, "hours": rows / 10}}}
        put(
            site, tables.datasets, name="calls", version=version, manifest_sha256=str(version),
            counts={**counts, "excluded": out}, created_at=AT + timedelta(days=version),
        )  # fmt: skip
    visit = visitor(site)
    page = visit.get("/page/data/datasets/2").text
    assert "<script>alert" not in page
    for part in ("+15 rows", "+1.50 hours", "+3 left out", "calls@2"):
        assert part in page
    assert "/page/data/datasets/2" in visit.get("/page/data").text
    assert visit.get("/page/data/datasets/99").status_code == 404
    assert visit.get("/page/calls/nothing-of-that-name").status_code == 404


def test_audio_of_no_call_is_in_the_list_of_recordings_and_on_a_page_of_its_own(site: Serving) -> None:
    alone = put(
        site, tables.recordings, source="upload", source_identity="u/1", state="refused", reason_code="too-long",
        bucket="b", object_key="ivr/hi/=1+1.wav",
    )  # fmt: skip
    one = visitor(site)
    page = one.get("/page/recordings?state=refused").text
    assert f'<a href="/page/calls/recording:{alone}">' in page
    assert 'recording:1"' not in page
    assert one.get(f"/page/calls/recording:{alone}").status_code == 200
    assert "'=1+1.wav" in one.get("/page/recordings?format=csv").text
    answered = site.get("/api/recordings", BEARER).get_json()["recordings"]
    assert [each["id"] for each in answered] == [alone, 1]
    assert one.get("/page/recordings?state=x").status_code == 400
