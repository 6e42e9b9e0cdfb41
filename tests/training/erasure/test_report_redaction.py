"""Who is erased leaves no words in evaluations and reports; what was counted stays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.context import Context
from ml_backend.errors import InvalidInput
from ml_backend.models import kinds, registry
from ml_backend.views import error_views
from ml_backend.views.error_views import ErrorsQuery, UtterancesQuery
from tests.training import candidates, spoken
from tests.training.candidates import Ear
from training.erasure import report_redaction
from training.evaluation import evaluation, explorer_rows
from training.promotion import judgements
from training.scoring.speech_measures import SpeechMeasures
from training.scoring.speech_scores import SpokenSentence


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    opened = spoken.opened(tmp_path / "data")
    yield opened
    opened.db.dispose()


def everything(context: Context) -> bytes:
    bucket = context.settings.audio_bucket
    paths = [context.store.open_local(bucket, one.key) for one in context.store.list(bucket, prefix="models/")]
    return b"".join(path.read_bytes() for path in paths) + in_database(context)


def in_database(context: Context) -> bytes:
    """Every row and every part of the index of every evaluation."""
    found = b""
    for table in (tables.evaluation_utterances, tables.evaluation_indexes):
        for row in context.db.rows(sa.select(table)):
            found += b"".join(v if isinstance(v, bytes) else str(v).encode() for v in row)
    return found


def sums_of(context: Context, evaluation_id: int) -> dict[str, int]:
    return error_views.errors(context, evaluation_id, ErrorsQuery())["sums"]


def test_the_words_of_an_erased_recording_are_nowhere_and_the_verdict_stands(context, tmp_path):
    dataset_id = candidates.blind_calls(context, tmp_path / "scratch")
    champion, good = (candidates.version(context, tmp_path, name) for name in ("champion", "good"))
    before = candidates.heard(context, champion, dataset_id, Ear())
    candidates.heard(context, good, dataset_id, Ear(0.02), seed=2)
    judged = judgements.judge(context, champion, good, dataset_id)
    gone = judged.body["examples"]["gains"][0]
    word = gone["reference"].split()[0].split("x")[0].encode() + b"x"
    assert everything(context).count(word) > 10
    assert in_database(context).count(word) > 10
    sums = sums_of(context, before.id)

    assert report_redaction.redact(context, {gone["audio_sha256"]}) == 3
    assert word not in everything(context)
    kept = judgements.read(context, judged.report_key)
    assert kept["verdict"] == judged.body["verdict"]
    assert kept["examples"]["gains"][0]["edits_before"] == gone["edits_before"]
    assert sums_of(context, before.id) == sums, "what was counted stays"
    again = evaluation.find(context, before.id)
    assert [one.tallies for one in again.utterances] == [one.tallies for one in before.utterances]
    assert report_redaction.redact(context, {gone["audio_sha256"]}) == 0, "asked again, there is nothing left to do"
    assert (
        judgements.judge(context, champion, good, dataset_id).verdict.body["verdict"] == judged.verdict.body["verdict"]
    )


def test_an_erasure_that_was_killed_halfway_is_finished_by_the_next_one(context, tmp_path, monkeypatch):
    dataset_id = candidates.blind_calls(context, tmp_path / "scratch", calls=12)
    found = candidates.heard(context, candidates.version(context, tmp_path, "one"), dataset_id, Ear())
    gone = found.utterances[0]
    word = gone.reference.split()[0].split("x")[0].encode() + b"x"

    def killed(*_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(report_redaction.explorer_rows, "list_evaluation", killed)
        with pytest.raises(RuntimeError):
            report_redaction.redact(context, {gone.audio_sha256})
    with pytest.raises(InvalidInput, match="evaluation-not-listed"):
        error_views.utterances(context, found.id, UtterancesQuery())
    report_redaction.redact(context, {gone.audio_sha256})
    assert word not in everything(context)
    shown = error_views.utterances(context, found.id, UtterancesQuery(sort="number"))["utterances"]
    assert [row["erased"] for row in shown] == [True, *[False] * 11]


def test_a_listing_that_read_before_an_erasure_is_made_again(context, tmp_path, monkeypatch):
    dataset_id = candidates.blind_calls(context, tmp_path / "scratch", calls=6)
    found = candidates.heard(context, candidates.version(context, tmp_path, "one"), dataset_id, Ear())
    gone = found.utterances[0]
    real, asked = explorer_rows.lines_of, []

    def read(context: Context, key: str) -> bytes:
        data = real(context, key)
        if not asked:  # the erasure runs between this reading and the writing of the rows
            asked.append(1)
            report_redaction.redact(context, {gone.audio_sha256})
        return data

    monkeypatch.setattr(explorer_rows, "lines_of", read)
    explorer_rows.list_evaluation(context, found.id)
    assert gone.reference.encode() not in everything(context)
    assert error_views.utterance(context, found.id, 1)["erased"]


def test_the_words_of_an_erased_caller_leave_the_evaluations_of_parsers_and_voices_too(context, tmp_path):
    """A parser's lines name the recording; those of a voice are known by the dataset's line."""
    dataset_id = candidates.blind_calls(context, tmp_path / "scratch", calls=2)
    first, second = evaluation.dataset.read(context, dataset_id, "test")
    parsed = [
        {"id": line["id"], "family": None, "language": "en", "text": f"bring it to {line['text'].split()[0]}",
         "audio_sha256": line["audio_sha256"], "wording": "unseen",
         "reference": {"intent": "refund", "entities": [
             {"entity": "city", "start": 12, "end": 20, "value": line["text"].split()[0]}]},
         "prediction": {"intent": "order", "best": "order", "confidence": 0.9, "in_scope": 0.9, "entities": []}}
        for line in (first, second)
    ]  # fmt: skip
    spoken_rows = [_sentence(line) for line in (first, second)]
    ids = []
    for kind, rows in ((kinds.NLU, parsed), (kinds.TTS, spoken_rows)):
        with context.db.transaction() as connection:
            values = {"version": f"a-{kind}", "kind": kind, "location": "x", "manifest": {}, "languages": ["en"]}
            connection.execute(sa.insert(tables.model_versions).values(**values))
        version = registry.find(context, f"a-{kind}", kind=kind)
        kept = evaluation.keep(context, version, context.db.row(tables.datasets, dataset_id), {"cer": None}, rows)
        ids.append(kept.id)
        (row, _) = error_views.utterances(context, kept.id, UtterancesQuery(sort="number"))["utterances"]
        assert row["word_edits"] + row["char_edits"] > 0
    confused = error_views.errors(context, ids[0], ErrorsQuery(kind="substitution"))["errors"]
    assert [(one["said"], one["written"], one["times"]) for one in confused] == [("refund", "order", 2)]
    word = first["text"].split()[0].encode()
    assert everything(context).count(word) > 4
    assert report_redaction.redact(context, {first["audio_sha256"]}) == 2
    assert word not in everything(context)
    assert second["text"].split()[0].encode() in everything(context)
    assert report_redaction.redact(context, {first["audio_sha256"]}) == 0


def _sentence(line: dict[str, object]) -> SpokenSentence:
    heard = SpeechMeasures(**{each.name: 1.0 for each in fields(SpeechMeasures)})
    text = str(line["text"])
    return SpokenSentence(
        str(line["id"]), text, "en", "asha", "neutral", f"{text} word", len(text), 5, None, len(text.split()), 0, 0,
        False, False, heard, None, None, None, None,
    )  # fmt: skip
