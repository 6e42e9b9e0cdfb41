"""A kind is a set of plain functions: a fourth one goes the whole way, from samples to a served, promoted version."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ml_backend import tables
from ml_backend.commands import command_line
from ml_backend.context import Context, JobContext
from ml_backend.errors import PermanentError
from ml_backend.models import kinds, registry
from ml_backend.serving import default_model
from tests.training import spoken
from tests.training.kinds import polite_kind
from training.promotion import judgements, promotion
from training.schedule import threshold, training_request

SAID = [
    ("please send the saree", "polite"), ("thank you so much", "polite"), ("kindly wait", "polite"),
    ("send the saree", "rude"), ("so what", "rude"), ("wait there", "rude"),
]  # fmt: skip
TESTED = [("please wait", "polite"), ("kindly send it", "polite"), ("send it", "rude"), ("what saree", "rude")]


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    monkeypatch.setitem(kinds.KINDS, polite_kind.NAME, f"{polite_kind.__name__}:KIND")
    polite_kind.model(tmp_path / "shipped", ["hello"])
    monkeypatch.setitem(kinds.BUNDLED, polite_kind.NAME, tmp_path / "shipped")
    opened = spoken.opened(tmp_path / "data")
    yield opened
    opened.db.dispose()


def test_a_fourth_kind_goes_from_samples_to_a_served_promoted_version(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, (text, intent) in enumerate(SAID + TESTED):
        row = {"origin": "polite", "external_id": str(number), "source": "human", "text": text, "intent": intent,
               "language": "en", "script": "Latn", "checked": number >= len(SAID), "digest": f"{number:064x}",
               "state": "accepted", "accepted_at": tables.now()}  # fmt: skip
        with context.db.transaction() as connection:
            connection.execute(tables.utterances.insert().values(**row))
    job = JobContext(context.settings, context.db, context.store)
    threshold.check_training(job)  # ten samples are more than three
    run = context.db.rows(tables.runs.select().where(tables.runs.c.kind == "polite"))[0]
    for _ in training_request.STEPS:
        training_request.train_requested(job, run_id=run.id)
    run = context.db.row(tables.runs, run.id)
    assert (run.state, run.step) == ("done", "done"), run.reason
    made = context.db.rows(tables.model_versions.select().where(tables.model_versions.c.run_id == run.id))[0]
    assert made.kind == "polite"
    assert made.manifest["needs"] == {"lower": True}
    assert registry.champion(context, "polite").version != made.version, "nothing is promoted by training"

    monkeypatch.setenv("DATA_DIR", str(context.settings.data_dir))
    assert command_line.main(["promote", made.version, "--why", "it knows please"]) == 0
    assert "100% right, 50% before: better." in capsys.readouterr().out
    serving = registry.champion(context, "polite")
    assert serving.version == made.version
    assert polite_kind.answer(Path(registry.verified(context, serving)), "Please hurry") == "polite"

    assert command_line.main(["evaluate", "polite:champion"]) == 0
    assert "100%" in capsys.readouterr().out
    assert command_line.main(["models", "list", "--kind", "polite"]) == 0
    assert "100% right" in capsys.readouterr().out
    assert command_line.main(["datasets", "show", "manners"]) == 0
    assert command_line.main(["rollback", "--kind", "polite", "--why", "too polite"]) == 0
    assert registry.champion(context, "polite").version != made.version
    assert command_line.main(["evaluate", "polite:champion", "--dataset", "manners"]) == 0


def test_a_version_of_one_kind_never_takes_the_place_of_another(context: Context) -> None:
    default_model.ensure_every(context)
    recogniser, polite = registry.champion(context), registry.champion(context, "polite")
    with pytest.raises(PermanentError, match="wrong-kind"):
        judgements.judge(context, recogniser, polite, dataset_id=1)
    with pytest.raises(PermanentError, match="wrong-kind"):
        promotion.rollback(context, who="a test", why="a wrong name", kind="polite", to=recogniser.version)
    assert registry.champion(context, "polite").version == polite.version


def test_an_unknown_kind_is_named_with_the_known_ones(context: Context, capsys, monkeypatch) -> None:
    monkeypatch.setenv("DATA_DIR", str(context.settings.data_dir))
    assert command_line.main(["models", "list", "--kind", "ocr"]) == 1
    assert "There is no kind of model 'ocr'. [unknown-kind]" in capsys.readouterr().err
