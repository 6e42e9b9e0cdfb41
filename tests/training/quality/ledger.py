"""Made-up calls over the real tables: which are the same call twice, and which caller has two numbers, is known.

Calls of a shop are alike: one of a few scripts opens and closes each, and in between somebody says something of their
own, out of a small vocabulary. A twin is the same call converted again: other bytes, up to 0.2 s longer, and written
down by another person, who hears a word in twelve differently.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from ml_backend import tables
from ml_backend.db import Database
from tests.training.quality import team

_SAID = """नमस्ते मेरा ऑर्डर अभी तक नहीं आया है पैसे वापस कब मिलेंगे दुकान से बोल रहा हूँ कल सुबह फोन करना ठीक
कुर्सी टूटी हुई निकली पता बदलना था बिल गलत है दो किलो आटा और चावल भेज दीजिए माझी ऑर्डर कुठे आहे मला परत पाहिजे
where is my order please send it again the chair was broken refund kab milega address change karna hai
number galat hai delivery boy nahi aaya payment fail ho gaya discount chahiye coupon lagao size chhota hai"""
WORDS = _SAID.split()
OPENINGS = [
    "नमस्ते कान स्टोर में आपका स्वागत है मैं आपकी क्या सहायता कर सकती हूँ",
    "thank you for calling kaan store this call may be recorded for quality how can I help you",
    "नमस्कार कान स्टोअर मध्ये आपले स्वागत आहे बोला मी काय मदत करू शकतो",
]
CLOSINGS = ["धन्यवाद आपका दिन शुभ हो", "thank you for calling have a nice day", "धन्यवाद पुन्हा फोन करा"]


@dataclass
class Ledger:
    """What was planted."""

    twins: set[tuple[int, int]] = field(default_factory=set)
    copies: set[tuple[int, int]] = field(default_factory=set)  # the same bytes
    calls: int = 0


def fill(database: Database, *, seed: int, calls: int = 400, twins: int = 30, copies: int = 10) -> Ledger:
    """Ready recordings with one or two accepted samples each."""
    draw = random.Random(seed)
    project_id = team.project(database)
    rows = [_call(draw, number) for number in range(1, calls + 1)]
    ledger = Ledger()
    for one in draw.sample(range(1, calls + 1), twins + copies):
        number, old = len(rows) + 1, rows[one - 1]
        if len(ledger.twins) < twins:
            again = [_said_by_another(draw, text) for text in old["texts"]]
            length = old["duration_s"] + draw.uniform(0, 0.2)
            rows.append({**old, "number": number, "sha256": _sha(number), "duration_s": length, "texts": again})
            ledger.twins.add((one, number))
        else:
            rows.append({**old, "number": number})
            ledger.copies.add((one, number))
    ledger.calls = len(rows)
    with database.transaction() as connection:
        _insert(connection, project_id, rows)
    return ledger


def _call(draw: random.Random, number: int) -> dict[str, Any]:
    script = draw.randrange(len(OPENINGS))
    own = " ".join(draw.choices(WORDS, k=draw.randint(6, 60)))
    texts = [OPENINGS[script], f"{own} {CLOSINGS[script]}"]
    seconds = round(len(" ".join(texts).split()) / 2.5 * draw.uniform(0.9, 1.1), 2)
    return {"number": number, "sha256": _sha(number), "duration_s": seconds, "texts": texts}


def _said_by_another(draw: random.Random, text: str) -> str:
    return " ".join(draw.choice(WORDS) if draw.random() < 1 / 12 else word for word in text.split())


def _sha(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def _insert(connection: sa.Connection, project_id: int, rows: list[dict[str, Any]]) -> None:
    recordings, tasks, annotations, samples = [], [], [], []
    for row in rows:
        number, length = row["number"], row["duration_s"]
        recordings.append(
            {"id": number, "source": "object", "source_identity": f"s3://calls/{number}.wav", "sha256": row["sha256"]}
            | {"duration_s": length, "state": "ready"}
        )
        tasks.append(
            {"id": number, "project_id": project_id, "recording_id": number, "end_s": length, "ls_task_id": number}
            | {"external_key": f"key-{number}", "origin": "ours", "state": "annotated"}
        )
        annotations.append(
            {"id": number, "project_id": project_id, "task_id": number, "ls_annotation_id": number}
            | {"ls_updated_at": team.BEGAN, "result": []}
        )
        samples += [
            {"project_id": project_id, "task_id": number, "number": place, "annotation_id": number}
            | {"recording_id": number, "start_s": place * length / 2, "end_s": (place + 1) * length / 2}
            | {"text": text, "digest": f"{number}-{place}", "state": "accepted"}
            for place, text in enumerate(row["texts"])
        ]
    for table, made in (
        (tables.recordings, recordings),
        (tables.tasks, tasks),
        (tables.annotations, annotations),
        (tables.samples, samples),
    ):
        connection.execute(sa.insert(table), made)
