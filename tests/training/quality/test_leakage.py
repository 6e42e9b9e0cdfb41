"""A dataset's split is looked at again: planted leaks are found, a clean split stays clean."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from ml_backend import tables
from ml_backend.db import Database
from tests.training.quality import ledger
from training.quality import leakage

COMPANY, AGENT = "0" * 24 + "-00", "a" * 24 + "-01"


def manifest(database: Database, seed: int, *, leaks: int) -> tuple[list[dict[str, Any]], dict[str, set[int]]]:
    """Lines of a split by caller with planted leaks; gives the recordings of each kind of leak.

    300 callers over 500 calls. One caller in ten calls through the agent's own mobile, so that two ends are unknown.
    """
    draw = random.Random(seed)
    planted = ledger.fill(database, seed=seed, calls=500, twins=leaks, copies=0)
    twins = {second: first for first, second in planted.twins}
    caller = {number: draw.randrange(300) for number in range(1, 501)}
    caller |= {second: caller[first] for second, first in twins.items()}
    side = {person: draw.choices(("train", "validation", "test"), (8, 1, 1))[0] for person in range(300)}
    split = {number: side[caller[number]] for number in caller}
    wrong: dict[str, set[int]] = {"caller": set(), "twin": set()}
    for number in draw.sample(sorted(set(caller) - set(twins) - set(twins.values())), leaks):
        others = [n for n in caller if caller[n] == caller[number] and n != number and n not in twins]
        if others and caller[number] not in wrong["caller"]:
            split[number] = "test" if split[number] != "test" else "train"
            wrong["caller"].add(caller[number])
    hidden = {second: f"masked-{second % 100:02d}" for second in twins}  # the copy came with a hidden number
    for second, first in twins.items():
        split[second] = "train" if split[first] != "train" else "test"
        wrong["twin"].add(second)
    with database.transaction() as connection:
        connection.execute(sa.insert(tables.company_numbers).values(pseudonym=COMPANY))
        made = [
            {"id": number, "provider": "exotel", "call_sid": f"sid-{number}", "direction": "inbound"}
            | {"from_pseudonym": hidden.get(number, f"{person:024x}-{person % 100:02d}")}
            | {"to_pseudonym": AGENT if person % 10 == 0 else COMPANY}
            for number, person in caller.items()
        ]
        connection.execute(sa.insert(tables.calls), made)
        connection.execute(sa.update(tables.recordings).values(call_id=tables.recordings.c.id))
        rows = connection.execute(
            sa.select(tables.samples.c.text, tables.samples.c.recording_id, tables.recordings.c.sha256)
            .join(tables.recordings, tables.recordings.c.id == tables.samples.c.recording_id)
            .order_by(tables.recordings.c.sha256)
        ).all()
    lines = [{"audio_sha256": row.sha256, "split": split[row.recording_id], "text": row.text} for row in rows]
    return lines, wrong


def found_in(database: Database, lines: list[dict[str, Any]]) -> list[leakage.Leak]:
    with database.reading() as connection:
        return leakage.find(lambda: lines, leakage.origins(connection))


def test_planted_leaks_are_found_and_nothing_else(databases: Callable[[], Database]) -> None:
    """Callers on two sides: precision and recall 1.0. Twins on two sides: precision 1.0, recall at least 0.95."""
    planted, right = 0, 0
    for seed in range(4):
        database = databases()
        lines, wrong = manifest(database, seed, leaks=25)
        found = found_in(database, lines)
        of_callers = {min(leak.recordings) for leak in found if leak.kind == "caller"}
        assert len(of_callers) == sum(leak.kind == "caller" for leak in found) == len(wrong["caller"])
        twins = {leak.recordings[1] for leak in found if leak.kind == "twin"}
        assert twins <= wrong["twin"]
        planted, right = planted + len(wrong["twin"]), right + len(twins)
    assert right / planted >= 0.95


def test_a_clean_split_is_clean(database: Database) -> None:
    lines, _ = manifest(database, 5, leaks=0)
    assert found_in(database, lines) == []


def test_one_audio_and_one_call_on_two_sides_are_told_apart(database: Database) -> None:
    lines, _ = manifest(database, 6, leaks=0)
    first = dict(lines[0], split="test" if lines[0]["split"] != "test" else "train")
    kinds = [leak.kind for leak in found_in(database, [*lines, first])]
    assert kinds[:2] == ["audio", "call"]


def test_a_leak_names_no_person(database: Database) -> None:
    lines, _ = manifest(database, 7, leaks=10)
    told = str(leakage.to_dict(found_in(database, lines), len(lines)))
    assert "0000" not in told
    assert "caller" in told


def test_a_speaker_of_the_manifest_counts_and_an_agent_does_not(database: Database) -> None:
    lines, _ = manifest(database, 8, leaks=0)
    one, other = lines[0], next(line for line in lines if line["split"] != lines[0]["split"])
    for name, kinds in (("caller-1", ["speaker"]), ("agent-1", [])):
        one["speaker_id"], other["speaker_id"] = name, name
        assert [leak.kind for leak in found_in(database, lines)] == kinds
