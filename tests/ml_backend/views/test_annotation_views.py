"""From two people's annotations to the summary that `/api` shows, through the real jobs, on both databases."""

from __future__ import annotations

from ml_backend.context import Context
from ml_backend.jobs import enqueueing, job_kinds, runner
from ml_backend.views import annotation_views as reading
from tests.training.quality.rows import Rows

DRAFT = "मेरा ऑडर कल आने वाला था अभी तक नहीं आया"
RIGHT = "मेरा ऑर्डर कल आने वाला था अभी तक नहीं आया"
CONFIG = """<View><Audio name="audio" value="$audio"/>
  <TextArea name="transcription" toName="audio"/>
  <Choices name="quality" toName="audio"><Choice value="good"/><Choice value="poor"/></Choices></View>"""


def chose(quality: str) -> list[dict[str, object]]:
    value = {"choices": [quality]}
    return [{"id": "q", "from_name": "quality", "to_name": "audio", "type": "choices", "value": value}]


def test_edits_and_agreement_are_counted_by_one_job_and_summed_up_by_another(context: Context) -> None:
    rows = Rows(context.db, label_config=CONFIG)
    common = {"draft": {"text": DRAFT, "confidence": 0.6}, "measures": None, "language": "hi"}
    for task_id in range(1, 25):
        rows.task(task_id)
        careful, careless = 2 * task_id, 2 * task_id + 1
        rows.annotation(careful, task_id, text=RIGHT, edited="edited", quality="good", result=chose("good"), **common)
        rows.annotation(
            careless, task_id, annotator=2, text=DRAFT, quality="poor", result=chose("poor" if task_id > 4 else "good"),
            **common,
        )  # fmt: skip
    with context.db.transaction() as connection:
        for task_id in range(1, 25):
            enqueueing.enqueue(connection, job_kinds.SAMPLE_TASK, key=str(task_id), task_id=task_id)
    assert not runner.run_due(context, queues=["sync"]).failed
    with context.db.transaction() as connection:
        enqueueing.enqueue(connection, job_kinds.SUMMARISE_ANNOTATIONS, key="all")
    assert not runner.run_due(context, queues=["sync"]).failed

    kept = reading.kept_summary(context.db)["summary"]
    (version,) = kept["drafts"]
    assert (version["edit_rate"]["part"], version["edit_rate"]["of"]) == (24, 480)  # one of ten words, by one of two
    assert version["accepted_unchanged"]["value"] == 0.5
    between = kept["agreement"]["drafted"]
    assert (between["pairs"], between["wer"]["part"], between["wer"]["of"]) == (24, 24, 240)
    assert between["choices"]["quality"] == {**between["choices"]["quality"], "part": 4, "of": 24}
    assert kept["alpha"]["all"]["quality"]["value"] < 0
    found = reading.find(context.db, reading.AnnotationQuery(annotator=1, limit=3))
    assert [one["measures"]["word_edits"] for one in found] == [1, 1, 1]
    assert reading.show(context.db, 4)["agreements"][0]["counts"]["word_edits"] == 1
