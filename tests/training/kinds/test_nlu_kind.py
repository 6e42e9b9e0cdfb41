"""The kind nlu goes the whole way on real parts: a table of utterances, a trained parser, a verdict, a promotion."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml_backend.commands import command_line
from ml_backend.context import Context
from ml_backend.models import registry
from tests.training.utterances import rows
from training.demo_intents import intent_corpus
from training.promotion import intent_gate
from training.scoring import intent_scores


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    opened = rows.open_in(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(opened.settings.data_dir))
    yield opened
    opened.db.dispose()


def told(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert command_line.main(list(words)) == code, capsys.readouterr().err
    return capsys.readouterr().out


@pytest.mark.xdist_group("nlu-kind")
def test_utterances_become_a_better_parser_that_is_promoted_and_parses(
    context: Context, tmp_path: Path, capsys
) -> None:
    table = []
    for domain in ("shop", "clinic"):
        for one in intent_corpus.utterances(domain, seed=5, human=6, auto=3):
            table.append({"id": one.id, "text": one.text, "intent": one.intent, "entities": list(one.entities),
                          "language": one.language, "source": one.source, "parent_id": one.parent or one.family,
                          "review_status": "approved"})  # fmt: skip
    told(capsys, "nlu", "import", str(rows.jsonl(tmp_path / "utterances.jsonl", table)))
    exported = json.loads(told(capsys, "export", "utterances", "--form", "parquet,rasa", "--json"))
    assert exported["kind"] == "nlu"
    assert exported["counts"]["splits"]["test"]["rows"] > 100
    assert set(exported["renderings"]) == {"parquet", "rasa"}

    run = json.loads(told(capsys, "train", "nlu", "--dataset", "utterances", "--steps", "250", "--json"))
    assert run["state"] == "done"
    made = run["version"]
    assert "unseen wordings" in told(capsys, "evaluate", made)
    said = told(capsys, "promote", made)
    assert "The candidate recognises more intents: macro-F1" in said
    assert registry.champion(context, "nlu").version == made
    assert "macro-F1" in told(capsys, "models", "list", "--kind", "nlu")
    found = json.loads(told(capsys, "parse", "I want to book an appointment with the doctor", "--json"))
    assert found["model_version"] == made, "the champion parses"
    assert found["intent"] in {one.intent for one in intent_corpus.utterances("clinic", seed=5)}


def answers(wrong: dict[str, float], *, languages: tuple[str, ...] = ("hi", "mr", "en"), each: int = 40) -> list[dict]:
    """Rows of three intents in each language; a share of one language's is answered wrongly."""
    found = []
    for language in languages:
        for number in range(each):
            intent = ("track", "cancel", "refund")[number % 3]
            bad = number % 20 < 20 * wrong.get(language, wrong.get("*", 0.0))
            answer = "greet" if bad else intent
            found.append({"id": f"{language}-{number}", "family": f"{language}-{number // 2}", "language": language,
                          "text": f"text {number}", "wording": "unseen", "audio_sha256": None,
                          "reference": {"intent": intent, "entities": []},
                          "prediction": {"intent": answer, "best": answer, "confidence": 0.9, "in_scope": 0.9,
                                         "entities": []}})  # fmt: skip
    return found


@pytest.mark.parametrize(
    ("old", "new", "parity", "outcome"),
    [
        ({"*": 0.4}, {"*": 0.1}, None, "better"),
        ({"*": 0.2}, {"*": 0.2}, None, "equal"),
        ({"*": 0.1}, {"*": 0.4}, None, "worse"),
        ({"*": 0.5, "mr": 0.1}, {"*": 0.0, "mr": 0.3}, None, "vetoed"),
        ({"*": 0.4}, {"*": 0.1}, {"passed": False, "difference": 0.2}, "vetoed"),
    ],
    ids=["good", "equal", "worse", "worse-on-marathi", "broken-conversion"],
)
def test_a_seeded_candidate_gets_the_right_verdict(old, new, parity, outcome) -> None:
    found = intent_gate.decide(answers(old), answers(new), parity=parity)
    assert found.outcome == outcome, found.words
    assert len(found.words) > 1 or outcome in ("better", "equal"), "what stands against it is said"
    page = intent_gate.page({**found.body, "words": found.words, "candidate": "b", "champion": "a", "dataset": "u@1"})
    assert page.startswith("# b against a\n")
    assert b"<svg" in intent_gate.plot(found.body)


def test_too_few_unseen_wordings_are_no_verdict() -> None:
    found = intent_gate.decide(answers({"*": 0.5}, each=6), answers({"*": 0.0}, each=6))
    assert found.outcome == "cannot-tell"
    assert found.words[0].startswith("Too few unseen wordings to decide: 18 of at least 50 checked utterances")


def test_an_intent_that_moves_money_is_vetoed_at_half_the_loss() -> None:
    old, new = answers({}), answers({})
    for row in old:  # the candidate gains on another intent
        if row["reference"]["intent"] == "track" and int(row["id"].split("-")[1]) % 2:
            row["prediction"]["intent"] = "greet"
    for row in [row for row in new if row["reference"]["intent"] == "refund"][:4]:
        row["prediction"]["intent"] = "greet"
    loss = intent_scores.intent_table(old)["refund"]["f1"] - intent_scores.intent_table(new)["refund"]["f1"]
    assert intent_gate.MONEY_LOSS < loss < intent_gate.INTENT_LOSS
    assert intent_gate.decide(old, new).outcome == "better"
    assert intent_gate.decide(old, new, money=frozenset({"refund"})).outcome == "vetoed"
