"""A fourth, trivial kind of model: how polite a sentence is. Its model is one list of words, its score a share of
right answers. Samples are rows of `utterances` whose intent is polite or rude; the trainer is this file."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ml_backend.models import manifest, registry
from ml_backend.models.kinds import FigureTable, Kind, KindVerdict, Line, Scored
from ml_backend.serving import default_model
from ml_backend.tables import utterances

NAME = "polite"


def model(folder: Path, words: Sequence[str], trained_on: str = "nothing") -> manifest.Manifest:
    """A folder with a model that finds these words polite."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "words.json").write_text(json.dumps(sorted(words)))
    return manifest.write(
        folder, name="polite", languages=("en",), window=None, trained_on=trained_on, kind=NAME, needs={"lower": True}
    )


def answer(folder: Path, text: str) -> str:
    """The engine."""
    words = json.loads((folder / "words.json").read_text())
    return "polite" if set(text.lower().split()) & set(words) else "rude"


def _rows() -> sa.Select[Any]:
    return sa.select(utterances).where(utterances.c.origin == NAME).order_by(utterances.c.digest)


def new_samples(connection: Any, mark: Any) -> tuple[int, Any]:
    found = _rows().where(utterances.c.state == "accepted").subquery()
    later = found.c.accepted_at > mark.until if mark.until else sa.true()
    return tuple(connection.execute(sa.select(sa.func.count(), sa.func.max(found.c.accepted_at)).where(later)).one())


def lines(connection: Any, filters: Any) -> Iterator[Any]:
    from training.datasets.dataset_rows import EXCLUDED, LINE, ManifestLine

    for row in connection.execute(_rows()):
        body = {"id": row.digest[:20], "digest": row.digest, "text": row.text, "language": row.language,
                "script": row.script, "intent": row.intent, "source": row.source, "audio_sha256": None,
                "split": "test" if row.checked else "train"}  # fmt: skip
        yield ManifestLine(LINE, body) if row.state == "accepted" else ManifestLine(EXCLUDED, body, row.reason_code)


def render(context: Any, form: str, path: Path, folder: str, *, rows: int, report: Any) -> dict[str, Any]:
    context.store.put_file(context.settings.audio_bucket, f"{folder}/{form}.jsonl", path)
    return {"files": [{"split": "all", "key": f"{folder}/{form}.jsonl", "rows": rows}]}


class Options(dict[str, Any]):
    def to_json(self) -> dict[str, Any]:
        return dict(self)


def prepare(context: Any, row: Any, workspace: Any, note: Any) -> None:
    from training.datasets import dataset

    default_model.ensure(context, NAME)
    base = registry.champion(context, NAME)
    learnt = [line for line in dataset.read(context, row.dataset_id) if line["split"] == "train"]
    note(base_version=base.version, metrics={"train": len(learnt)})
    (workspace.folder / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in learnt))
    workspace.write_plan({"arguments": {}, "base": base.location, "base_version": base.version, "base_name": "polite",
                          "name": "polite", "languages": ["en"], "trained_on": f"run {row.id}"})  # fmt: skip


def require_worth(result: dict[str, Any]) -> None:
    assert result["parity"]["passed"]


def score(context: Any, version: Any, test: list[Line], report: Any) -> Scored:
    place = Path(registry.verified(context, version))
    found = [{"id": line["id"], "right": answer(place, line["text"]) == line["intent"]} for line in test]
    return Scored({"right": sum(one["right"] for one in found) / len(found), "rows": len(found)}, found)


def judge(
    context: Any, champion: Any, candidate: Any, before: Any, now: Any, language: str, report: Any
) -> KindVerdict:
    old, new = before.scores["right"], now.scores["right"]
    outcome = "better" if new > old else "equal" if new == old else "worse"
    return KindVerdict(outcome, (f"{new:.0%} right, {old:.0%} before: {outcome}.",), {"before": old, "now": new},
                       {"verdict": {"outcome": outcome}})  # fmt: skip


def figures(scores: dict[str, Any]) -> Iterator[str | FigureTable]:
    yield FigureTable(("score", "share"), (("right", f"{scores['right']:.0%}"),))


KIND = Kind(
    name=NAME, dataset="manners", new_samples=new_samples, why_none=lambda connection: "Nobody was polite yet.",
    lines=lines, order=lambda line: (line["digest"],), forms={"jsonl": "JSON lines"}, render=render,
    counted_by=("language", "intent"), trainer=__name__, options=Options, prepare=prepare,
    require_worth=require_worth, settings_prefix="polite_", threshold=lambda settings: 3, score=score,
    read_rows=json.loads, write_rows=lambda rows: json.dumps(rows).encode(), readings=("right@1",),
    conditions=lambda context: {}, judge=judge, figures=figures,
    headline=lambda scores: f"{scores['right']:.0%} right",
    page=lambda body: f"# {body['words'][0]}\n", plot=lambda body: b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    check=lambda settings, folder: None,
)  # fmt: skip


def main(folder: Path) -> None:
    """The trainer: every word of a polite sentence that no rude one has."""
    from training.runs.workspace import Workspace

    workspace, said = Workspace(folder), {"polite": set[str](), "rude": set[str]()}
    for line in map(json.loads, (folder / "rows.jsonl").read_text().splitlines()):
        said[line["intent"]] |= set(line["text"].lower().split())
    workspace.say(phase="training", step=1, steps=1, loss=0.5)
    for place in (workspace.weights, workspace.model):
        made = model(place, sorted(said["polite"] - said["rude"]), workspace.plan()["trained_on"])
    workspace.write_learnt({"words": len(said["polite"])})
    workspace.write_result({"state": "done", "model_version": made.model_version, "parity": {"passed": True}})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
