"""Who is erased leaves no words in evaluations and reports; what was counted stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ml_backend.context import Context
from tests.training import candidates, spoken
from tests.training.candidates import Ear
from training.erasure import report_redaction
from training.evaluation import evaluation
from training.promotion import judgements


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    opened = spoken.opened(tmp_path / "data")
    yield opened
    opened.db.dispose()


def everything(context: Context) -> bytes:
    bucket = context.settings.audio_bucket
    paths = [context.store.open_local(bucket, one.key) for one in context.store.list(bucket, prefix="models/")]
    return b"".join(path.read_bytes() for path in paths)


def test_the_words_of_an_erased_recording_are_nowhere_and_the_verdict_stands(context, tmp_path):
    dataset_id = candidates.blind_calls(context, tmp_path / "scratch")
    champion, good = (candidates.version(context, tmp_path, name) for name in ("champion", "good"))
    before = candidates.heard(context, champion, dataset_id, Ear())
    candidates.heard(context, good, dataset_id, Ear(0.02), seed=2)
    judged = judgements.judge(context, champion, good, dataset_id)
    gone = judged.body["examples"]["gains"][0]
    word = gone["reference"].split()[0].split("x")[0].encode() + b"x"
    assert everything(context).count(word) > 10

    assert report_redaction.redact(context, {gone["audio_sha256"]}) == 3
    assert word not in everything(context)
    kept = judgements.read(context, judged.report_key)
    assert kept["verdict"] == judged.body["verdict"]
    assert kept["examples"]["gains"][0]["edits_before"] == gone["edits_before"]
    again = evaluation.find(context, before.id)
    assert [one.tallies for one in again.utterances] == [one.tallies for one in before.utterances]
    assert report_redaction.redact(context, {gone["audio_sha256"]}) == 0, "asked again, there is nothing left to do"
    assert (
        judgements.judge(context, champion, good, dataset_id).verdict.body["verdict"] == judged.verdict.body["verdict"]
    )
