"""Twelve secrets and numbers planted wherever one can arrive; then every output of the service is searched for them.

A recording's address is kept as the provider sent it, since it is needed to fetch: a number that Exotel writes into the
address itself is not looked for. Outputs: logs of all processes, every table but the raw events of Exotel, answers to
wrong requests, /metrics, the commands that people read, and the names of objects.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Iterator
from typing import Any
from unittest import mock

import httpx
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.commands import command_line
from tests.faults.wholes import Whole
from tests.faults.world import sid, until

NUMBERS = {
    "caller": "00000417301", "callee": "00000417302", "dialled": "00000417303", "custom field": "+910000417304",
    "listing": "00000417305", "pressed digits": "00000417306",
}  # fmt: skip
SECRETS = {
    "EXOTEL_WEBHOOK_SECRET": "canary-webhook-7c1d55aa90",
    "EXOTEL_API_TOKEN": "canary-api-token-19fe02cc7b",
    "MINIO_SECRET_KEY": "canary-minio-key-83a1d9",
    "LABEL_STUDIO_API_KEY": "canary-label-token-5512fa",
    "BASIC_AUTH_PASS": "canary-basic-pass-e01b3c",
    "PSEUDONYM_KEY": "canary-pseudonym-99d0c4",
}
COMMANDS = (
    ["calls", "list", "--json"], ["calls", "summary"], ["jobs", "list", "--json"], ["status"], ["calls", "list"],
)  # fmt: skip


def hunt(whole: Whole) -> list[str]:
    """Run the service with everything going wrong that speaks of its input; gives where a canary was seen."""
    whole.environment |= SECRETS
    whole.provider.token = SECRETS["EXOTEL_API_TOKEN"]
    whole.environment["LOG_LEVEL"] = "DEBUG"
    whole.stop()
    whole.serve()
    address = f"{whole.url}/webhooks/exotel/{SECRETS['EXOTEL_WEBHOOK_SECRET']}"
    answers = _trouble(whole, address)
    whole.start("relay")
    whole.start("worker", "sync")
    until(
        lambda: _settled(whole),
        within_s=40,
        say=lambda: [(r.state, r.reason) for r in whole.rows(tables.recordings)] + [whole.jobs()],
    )
    outputs = {
        **answers,
        **{f"log of {process.name}": process.log for process in whole.started},
        **{f"table {table.name}": _text_of(whole, table) for table in tables.metadata.sorted_tables},
        "names of objects": " ".join(one.key for one in whole.context.store.list("call-recordings")),
        "metrics": httpx.get(f"{whole.url}/metrics", auth=("label-studio", SECRETS["BASIC_AUTH_PASS"])).text,
        **_commands(whole),
    }
    planted = {**NUMBERS, **SECRETS, "caller in digits": NUMBERS["caller"].lstrip("0")}
    return [f"{name} in {where}" for where, text in outputs.items() for name, value in planted.items() if value in text]


def _settled(whole: Whole) -> bool:
    """Everything that will happen without waiting has happened; nobody transcribes here."""
    states = {row.state for row in whole.rows(tables.recordings)}
    idle = not [row for row in whole.rows(tables.jobs, queue="sync") if row.state in ("queued", "running")]
    return idle and whole.count(tables.calls) >= 4 and bool(states & {"stored", "ready"})


def _trouble(whole: Whole, address: str) -> dict[str, str]:
    """Calls whose recording is there, missing, refused, hostile; bodies that are no call; wrong secrets."""
    answers: dict[str, str] = {}
    base = {"From": NUMBERS["caller"], "To": NUMBERS["callee"], "CustomField": NUMBERS["custom field"]}
    with httpx.Client(timeout=20) as client:

        def post(name: str, url: str, **options: Any) -> None:
            answers[f"answer to {name}"] = client.post(url, **options).text

        good = whole.call(1, From=NUMBERS["listing"])
        plain = whole.call(2)
        missing = {**whole.call(3), "RecordingUrl": f"http://{whole.recorder.address}/exotelrecordings/none.mp3"}
        hostile = {**whole.call(4), "RecordingUrl": "http://recordings.exotel.com@127.0.0.1:1/a.mp3"}
        for number, body in enumerate((good, plain, missing, hostile)):
            post(
                f"call {number}",
                address,
                json={**body, **base, "DialWhomNumber": NUMBERS["dialled"], "digits": NUMBERS["pressed digits"]},
            )
        with _refusing_events(whole):
            post("an event that the database refuses", address, params={**base, "CallSid": sid(5), "Status": "busy"})
        post("no call", address, content=b'{"CallSid": ["' + NUMBERS["caller"].encode())
        post("a form", address, data={"CallSid": "../" + NUMBERS["caller"], **base})
        post("a wrong secret", f"{whole.url}/webhooks/exotel/{SECRETS['EXOTEL_WEBHOOK_SECRET']}x", json=base)
        post("predict", f"{whole.url}/predict", json=base, auth=("label-studio", SECRETS["BASIC_AUTH_PASS"]))
        post("predict without", f"{whole.url}/predict", json=base, auth=("x", SECRETS["BASIC_AUTH_PASS"] + "x"))
    return answers


@contextlib.contextmanager
def _refusing_events(whole: Whole) -> Iterator[None]:
    """The database's driver quotes what it was given in the error that goes to the log."""
    for statement in (
        "CREATE TRIGGER refuse BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'refused'); END",
        "DROP TRIGGER refuse",
    ):
        with whole.context.db.transaction() as connection:
            connection.execute(sa.text(statement))
        if statement.startswith("CREATE"):
            yield


def _text_of(whole: Whole, table: sa.Table) -> str:
    columns = [column for column in table.c if (table.name, column.name) not in _RAW]
    return json.dumps([[str(value) for value in row] for row in whole.context.db.rows(sa.select(*columns))])


_RAW = {("events", "body"), ("events", "query")}  # the one place where numbers are kept


def _commands(whole: Whole) -> dict[str, str]:
    outputs = {}
    for command in COMMANDS:
        said = io.StringIO()
        with mock.patch.dict(os.environ, whole.environment), contextlib.chdir(whole.folder):
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                command_line.main(list(command))
        outputs[f"command {' '.join(command)}"] = said.getvalue()
    return outputs
