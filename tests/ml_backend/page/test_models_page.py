"""Models, runs and experiments on the page: what the reports say, and changes that keep who and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.context import Context
from tests.ml_backend.api.serving import BEARER, Serving
from tests.ml_backend.page.visitors import API_TOKENS, Visitor, visitor

HOSTILE = "<script>alert(1)</script>"
SLICES = [
    {"kind": "language", "name": "hi", "before": 0.2, "now": 0.1, "before_between": [0.2, 0.18, 0.22],
     "now_between": [0.1, 0.08, 0.12], "difference": [-0.1, -0.12, -0.08], "words": 900, "calls": 50, "enough": True},
    {"kind": "language", "name": "mr", "before": 0.3, "now": 0.25, "before_between": None, "now_between": None,
     "difference": None, "words": 12, "calls": 2, "enough": False},
]  # fmt: skip
VERDICT = {"outcome": "better", "passed": True, "overall": {**SLICES[0], "kind": "all", "name": "all"},
           "slices": SLICES, "objections": [], "missing": {}, "rules": {}}  # fmt: skip
OUTCOME = {
    "primary": "success", "observations": 60, "difference": 0.05, "interval": [-0.1, 0.2], "alpha": 0.05,
    "course": [[n, 0.05, 0.05 - 5 / n, 0.05 + 5 / n] for n in range(2, 61)], "would_end": ["About 900 more calls."],
    "measures": {
        "success": {"champion": {"calls": 30, "value": 0.8, "low": 0.7, "high": 0.9},
                    "challenger": {"calls": 30, "value": 0.85, "low": 0.75, "high": 0.95}, "not_measured": None},
        "wer": {"champion": None, "challenger": None, "not_measured": "no draft of it was annotated yet"},
    },
    "guards": [{"measure": "latency", "margin": 0.1, "alpha": 0.05, "observations": 60, "harmed": False}],
    "shadowed": None, "at": "2026-11-30T10:00:00+00:00",
}  # fmt: skip


def put(context: Context, table: sa.Table, **values: Any) -> int:
    with context.db.transaction() as connection:
        return int(connection.execute(sa.insert(table).values(**values).returning(table.c.id)).scalar_one())


@pytest.fixture
def shop(serve: Any) -> Serving:
    """Two versions of a run, a verdict, a running experiment."""
    serving: Serving = serve(api_tokens=API_TOKENS)
    context = serving.context
    common = {"kind": "asr", "location": "hub:x", "manifest": {}, "languages": ["hi"]}
    old = put(context, tables.model_versions, version="old-1", **common)
    data = put(
        context, tables.datasets, name="calls", version=1, manifest_sha256="0" * 64,
        counts={"rows": 90, "hours": 2.0, "splits": {"train": {"rows": 90}}, "excluded": {HOSTILE: 4}},
    )  # fmt: skip
    curve = {"loss": [[1, 2.0], [9, 0.5]], "learning_rate": [[1, 1e-4], [9, 1e-5]], "wer": [[0, 0.4], [9, 0.2]]}
    run = put(
        context, tables.runs, kind="asr", arguments={}, dataset_id=data, base_version="old-1", who="asha",
        why=HOSTILE, state="done", progress={"phase": "training", "step": 9, "steps": 9, "curve": curve},
    )  # fmt: skip
    new = put(
        context, tables.model_versions, version="new-2", run_id=run, lineage={"base": "old-1", "dataset_id": data},
        **common,
    )  # fmt: skip
    for row_id, rate in ((old, 0.2), (new, 0.1)):
        scores = {"rates": {"indic@1": {"wer": [rate, rate - 0.02, rate + 0.02], "words": 900}}, "slices": {}}
        put(context, tables.evaluations, model_version_id=row_id, scores=scores, test_sha256="t")
    put(
        context, tables.evaluations, model_version_id=new, against_version="old-1", verdict="better",
        scores={"words_said": ["Of 100 words 20 were wrong before, 10 now."], "verdict": VERDICT},
    )  # fmt: skip
    with context.db.transaction() as connection:
        connection.execute(
            sa.insert(tables.aliases).values(kind="asr", language="*", alias="champion", model_version_id=old)
        )
    put(
        context, tables.experiments, name="try", champion="old-1", challenger="new-2", traffic_share=0.5,
        outcome=OUTCOME,
    )  # fmt: skip
    return serving


def jobs(shop: Serving, name: str) -> list[Any]:
    return list(shop.context.db.rows(sa.select(tables.jobs).where(tables.jobs.c.name == name)))


def get(shop: Serving, path: str, role: str = "read") -> str:
    answer = visitor(shop, role).get(path)
    assert answer.status_code == 200, answer.text
    assert HOSTILE not in answer.text
    return str(answer.text)


def test_versions_of_every_kind_are_listed_with_score_verdict_and_what_serves(shop: Serving) -> None:
    page = get(shop, "/page/models")
    assert '<a href="/page/models/new-2">new-2</a>' in page
    assert "champion *" in page
    assert "10.0 %" in page
    csv = visitor(shop).get("/page/models?format=csv&kind=asr").text
    assert [line.split(",")[0] for line in csv.splitlines()[1:]] == ["new-2", "old-1"]


def test_a_version_shows_its_lineage_and_its_verdict_slice_by_slice_with_thin_slices_grey(shop: Serving) -> None:
    page = get(shop, "/page/models/new-2")
    for step in ("94 annotated samples", "calls@1", "run 1", "Of 100 words 20 were wrong before, 10 now."):
        assert step in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page, "a foreign reason is text"
    assert '"now (thin)"' in page
    assert "#888888" in page
    assert "too few to judge" in page
    assert visitor(shop).get("/page/models/never").status_code == 404
    assert visitor(shop).get("/page/models/never/slices").status_code == 404
    csv = visitor(shop).get("/page/models/new-2/slices?sort=-before&format=csv").text.splitlines()
    assert [line.split(",")[0] for line in csv[1:]] == ["language: Marathi", "all", "language: Hindi"]


def test_two_versions_stand_beside_each_other(shop: Serving) -> None:
    page = get(shop, "/page/models/compare?a=old-1&b=new-2")
    assert "Verdict on new-2: better" in page
    assert "Stored scores, before and now" in page
    told = shop.get("/api/reports/version-comparison?a=old-1&b=new-2", BEARER).get_json()
    figures = [told["slices"][0][name] for name in ("before", "now", "low", "high")]
    assert figures == pytest.approx([0.2, 0.1, 0.08, 0.12])


def test_a_run_shows_its_curves_as_drawings_and_as_tables(shop: Serving) -> None:
    page = get(shop, "/page/runs/1")
    for title in ("Loss in training", "Learning rate", "Word error rate on validation rows"):
        assert f"{title} as a table" in page
    assert '<a href="/page/models/new-2">new-2</a>' in page
    assert "/page/runs/1" in get(shop, "/page/runs")


def test_an_experiment_shows_both_sides_its_boundary_and_what_would_end_it(shop: Serving) -> None:
    page = get(shop, "/page/experiments/try")
    for said in ("About 900 more calls.", "upper bound", "80.0 %", "85.0 %", "not measured: no draft", "not harmed"):
        assert said in page
    assert "/page/experiments/try" in get(shop, "/page/experiments")
    assert visitor(shop).get("/page/experiments/never").status_code == 404


ACTIONS = (
    ("/page/models/new-2/promote", "admin", "promote-version", {}),
    ("/page/models/old-1/roll-back", "admin", "roll-back", {"language": "*"}),
    ("/page/models/compare", "operate", "compare-versions", {"first": "old-1", "second": "new-2"}),
    ("/page/experiments/try/end", "operate", "end-experiment", {}),
)


@pytest.mark.parametrize(("path", "role", "job", "fields"), ACTIONS, ids=[each[2] for each in ACTIONS])
def test_a_change_needs_its_role_a_reason_and_a_tick_and_becomes_a_job_with_the_tokens_name(
    shop: Serving, path: str, role: str, job: str, fields: dict[str, str]
) -> None:
    def post(one: Visitor, **more: str) -> int:
        return int(one.post(path, **fields, **more).status_code)

    less = visitor(shop, {"admin": "operate", "operate": "read"}[role])
    assert post(less, reason="it is better", sure="yes") == 403
    one = visitor(shop, role)
    assert post(one, reason="  ", sure="yes") == 400
    assert post(one, reason="x" * 181, sure="yes") == 400
    assert post(one, reason="it is better") == 400
    assert jobs(shop, job) == []
    answer = one.post(path, reason="it is <b>better</b>", sure="yes", **fields)
    assert answer.status_code == 303, answer.text
    [row] = jobs(shop, job)
    assert answer.location == f"/page/work/jobs/{row.id}"
    asked_by = {"admin": "boss", "operate": "shop"}[role]
    assert (row.arguments["who"], row.arguments["why"]) == (asked_by, "it is <b>better</b>")
    assert row.priority == 0
    assert "it is &lt;b&gt;better" in get(shop, answer.location)


def test_a_version_that_does_not_serve_cannot_be_rolled_back(shop: Serving) -> None:
    answer = visitor(shop, "admin").post("/page/models/new-2/roll-back", reason="too slow", sure="yes", language="*")
    assert answer.status_code == 409
    assert jobs(shop, "roll-back") == []


def test_what_a_role_may_not_do_is_not_offered(shop: Serving) -> None:
    assert "Promote</button>" in get(shop, "/page/models/new-2", "admin")
    assert "Promote</button>" not in get(shop, "/page/models/new-2", "operate")
    assert "End it</button>" in get(shop, "/page/experiments/try", "operate")
    assert "End it</button>" not in get(shop, "/page/experiments/try", "read")


def test_the_pages_of_an_empty_deployment_say_so(serve: Any, tmp_path: Path) -> None:
    empty: Serving = serve(api_tokens=API_TOKENS)
    for path in ("/page/models", "/page/models/compare", "/page/runs", "/page/experiments", "/page/work"):
        get(empty, path)
