"""Lines of a test set -> the scores of a parser of utterances. Wordings that nothing was trained on decide.

The rows of the deciding figures are `unseen`: of paraphrase families that no training row has. `seen` wordings show
what a random split would have claimed.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import orjson

from ml_backend.context import Context
from ml_backend.models import error_index, registry
from ml_backend.models.kinds import ExploredLine, FigureTable, Line, Scored
from ml_backend.models.registry import Version
from ml_backend.nlu import loading
from training.evaluation import exposure
from training.scoring import alignment, intent_scores

READINGS = ("intents@1",)
UNSEEN, SEEN = "unseen", "seen"
Report = Callable[[float, str], None]


def score(context: Context, version: Version, lines: list[Line], report: Report) -> Scored:
    """Parse the test part with the serving engine."""
    parser = loading.load(registry.verified(context, version))
    learnt = exposure.by(context, version)
    rows: list[dict[str, Any]] = []
    times = []
    for number, line in enumerate(lines):
        began = time.process_time()
        found = parser.parse(line["text"])
        times.append(1000 * (time.process_time() - began))
        unseen = line.get("wording", UNSEEN) == UNSEEN and not learnt.has_family(line.get("family"))
        rows.append({
            "id": line["id"], "family": line.get("family"), "language": line["language"], "text": line["text"],
            "audio_sha256": line.get("audio_sha256"), "wording": UNSEEN if unseen else SEEN,
            "reference": {"intent": line["intent"], "entities": line["entities"]},
            "prediction": {
                "intent": found.intent, "best": found.best, "confidence": found.confidence,
                "in_scope": found.in_scope,
                "entities": [{"entity": e.entity, "start": e.start, "end": e.end} for e in found.entities],
            },
        })  # fmt: skip
        if number % 200 == 0:
            report(number / len(lines), f"{number:,} of {len(lines):,} utterances parsed")
    scope = parser.needs.fallback
    times.sort()
    found_scores = {
        name: intent_scores.scores([row for row in rows if row["wording"] == name], out_of_scope=scope)
        for name in (UNSEEN, SEEN)
    }
    money = list(parser.needs.money_intents)
    speed = {"median_cpu_ms": round(statistics.median(times), 3), "p99_cpu_ms": round(times[int(0.99 * len(times))], 3)}
    return Scored({**found_scores, "speed": speed, "money_intents": money, "out_of_scope_intent": scope}, rows)


def explored(
    context: Context, version: Version, rows: Sequence[dict[str, Any]], scores: dict[str, Any]
) -> Iterator[ExploredLine]:
    """Utterances for people who look at errors. A word of `counts` is the intent, its characters are the entities:
    those of the reference, and those missed or put in. Unseen wordings count, as in the deciding figures."""
    for row in rows:
        said, answered = row["reference"], row["prediction"]
        steps = [["=", said["intent"]] if said["intent"] == answered["intent"]
                 else ["S", said["intent"], answered["intent"]]]  # fmt: skip
        there, found = _entities(row, said), _entities(row, answered)
        steps += [["=", name] for span, name in there.items() if span in found]
        steps += [["D", name] for span, name in there.items() if span not in found]
        steps += [["I", name] for span, name in found.items() if span not in there]
        edits = alignment.edits_of(steps)
        yield ExploredLine(
            id=str(row["id"]), reference=row["text"], hypothesis=str(answered["intent"]),
            counts={READINGS[0]: (1, edits[0], len(there), edits[1] + edits[2])}, edits={READINGS[0]: edits},
            steps={READINGS[0]: steps}, words=frozenset(error_index.words_of(row["text"])),
            audio_sha256=row.get("audio_sha256") or None, language=row["language"], counted=row["wording"] == UNSEEN,
            slices={"language": row["language"] or "unknown", "wording": row["wording"], "intent": said["intent"]},
        )  # fmt: skip


def _entities(row: dict[str, Any], side: dict[str, Any]) -> dict[tuple[str, int, int], str]:
    """Span -> its type and text; the type alone where the text was erased."""
    return {
        (one["entity"], one["start"], one["end"]): f"{one['entity']}: {row['text'][one['start'] : one['end']]}".rstrip(
            " :"
        )
        for one in side.get("entities", ())
    }


def without_texts(
    rows: Sequence[dict[str, Any]], recordings: Collection[str], ids: Collection[str]
) -> list[dict[str, Any]]:
    return [
        _without_text(row) if row["id"] in ids or (row.get("audio_sha256") or "") in recordings else row for row in rows
    ]


def _without_text(row: dict[str, Any]) -> dict[str, Any]:
    places = [{name: one[name] for name in ("entity", "start", "end")} for one in row["reference"]["entities"]]
    return {**row, "text": "", "reference": {**row["reference"], "entities": places}}


def read_rows(data: bytes) -> tuple[dict[str, Any], ...]:
    return tuple(orjson.loads(line) for line in data.splitlines())


def write_rows(rows: Any) -> bytes:
    return b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)


def headline(scores: dict[str, Any]) -> str:
    value = scores[UNSEEN]["macro_f1"]
    return f"macro-F1 {100 * value:.1f} %" if value is not None else "no unseen wordings"


def figures(scores: dict[str, Any]) -> Iterator[str | FigureTable]:
    """Unseen wordings beside seen ones, then the intents and the pairs that are confused."""
    unseen, seen = scores[UNSEEN], scores[SEEN]
    yield f"{unseen['rows']:,} utterances of unseen wordings decide; {seen['rows']:,} of seen ones are for comparison"
    rows = [
        (title, _percent(unseen[name]), _percent(seen[name]))
        for title, name in (("macro-F1", "macro_f1"), ("accuracy", "accuracy"), ("calibration error", "ece"))
    ]
    rows.append(("entity F1", _percent(unseen["entities"]["f1"]), _percent(seen["entities"]["f1"])))
    for title, name in (("out-of-scope AUROC", "auroc"), ("accepted though out of scope", "false_accept_rate")):
        rows.append((title, _percent(unseen["out_of_scope"][name]), _percent(seen["out_of_scope"][name])))
    yield FigureTable(("score", "unseen wordings", "seen wordings"), tuple(rows))
    languages = unseen["slices"]["language"].items()
    yield FigureTable(
        ("language", "macro-F1", "utterances"),
        tuple((name, _percent(one["macro_f1"], few=True), f"{one['rows']:,}") for name, one in languages),
    )
    yield FigureTable(
        ("intent", "F1", "utterances"),
        tuple(
            (name, _percent(one["f1"]), f"{one['rows']:,}") for name, one in unseen["intents"].items() if one["rows"]
        ),
    )
    if unseen["confusion"]:
        said = ", ".join(f"{one['intent']} as {one['answered']} ({one['rows']})" for one in unseen["confusion"][:5])
        yield f"most often taken for another: {said}"
    speed = scores["speed"]
    yield f"{speed['median_cpu_ms']} ms of CPU for one utterance, 99 of 100 in {speed['p99_cpu_ms']}"


def _percent(value: float | None, *, few: bool = False) -> str:
    return ("too few to say" if few else "-") if value is None else f"{100 * value:.1f} %"
