"""Hostile addresses through every entry that can make this service fetch; what was connected to decides."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from flask.testing import FlaskClient

from ml_backend import tables
from ml_backend.api.app import create_app, load_plugin
from ml_backend.jobs import enqueueing, job_kinds, runner
from tests.faults import checker, wholes
from tests.faults.full import Figure, Run
from tests.faults.wholes import CALL, Whole
from tests.faults.world import SECRET, sid
from tests.sync.hostile import GOOD, HOSTILE

TEMPTING = (22, 80, 443, 6379, 8443, 11211)  # ports of this machine that the forms name
ROUNDS = 3  # how often what waits for another try is tried again


def addresses(run: Run) -> list[Figure]:
    """Each form, and each again with the listed recorder and a stranger's port in the place of the names."""
    with wholes.everything(run.folder) as around, _strangers() as strangers, _Watch() as watch:
        whole = around.whole
        _without_pace(whole)
        forms = list(dict.fromkeys([*HOSTILE, *(_here(form, whole, strangers.port) for form in HOSTILE)]))
        forms = forms[: run.count(len(forms), least=5)]
        entries = Entries(whole)
        watch.allow(_listed(whole, around.redis.port))
        for number, entry in enumerate(ENTRIES):
            run.say(f"{number} of {len(ENTRIES)} entries")
            for form in forms:
                entry(entries, form)
            if entry is not Entries.setup:  # fetches nothing at all
                entry(entries, entries.control(entry.__name__))
            _work(whole)
        watch.allow(set())
        asked = [f"{seen.path}?{seen.query}" for seen in whole.provider.asked()]
        asked += [path for _, path in whole.studio.requests]
        reached = [name for name in entries.controls if any(name in one for one in asked)]
        leaked = sum(seen.listener == "store" and seen.authorization is not None for seen in whole.provider.asked())
        broken = checker.calls(whole.context)
    off = [*watch.off, *strangers.met]
    for place in [*sorted(set(off))[:10], *broken[:10], *(set(entries.controls) - set(reached))]:
        print("connected off the list, without an end, or never tried:", place)
    return [
        Figure(f"connections off the list, {len(forms)} forms through {len(ENTRIES)} entries", "0", str(len(off)),
               not off),
        Figure("entries that fetch a listed address given the same way", f"{len(entries.controls)}",
               f"{len(reached)}", len(reached) == len(entries.controls)),
        Figure("calls without an end or a due action; credentials sent to another host", "0, 0",
               f"{len(broken)}, {leaked}", not broken and not leaked),
    ]  # fmt: skip


@dataclass
class Entries:
    """One method per entry: a form comes in that way. Nothing runs yet, unless the answer to a job is the entry."""

    whole: Whole
    number: int = 0
    controls: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        context = self.whole.context
        self.web: FlaskClient = create_app(
            context.settings, load_plugin("model:SpeechModel"), context=context
        ).test_client()
        [project] = self.whole.rows(tables.projects)
        self.project, self.project_there = project.id, project.ls_project_id
        basic = context.settings.basic_auth_user, context.settings.basic_auth_pass.get_secret_value()
        self.protocol: Any = {"auth": basic}

    def control(self, name: str) -> str:
        """An address that is right there, and must be fetched through the same entry."""
        self.controls.append(name)
        provider, calls = self.whole.provider, f"/v1/Accounts/{self.whole.provider.account}/Calls"
        provider.recordings[f"{name}.mp3"] = CALL.read_bytes() + name.encode()
        own = {  # these lead nowhere but to the host that was asked
            "answer_redirected": f"{provider.api_url}{calls}/{name}.json",
            "next_page": f"{calls}.json?After={name}",
            "upload_redirected": f"{self.whole.context.settings.label_studio_url}/data/upload/9/{name}.wav",
        }
        return own.get(name) or provider.address(f"{name}.mp3")

    def callback(self, form: str) -> None:
        """A status callback names it."""
        self._told(self._new(), RecordingUrl=form)

    def listing_page(self, form: str) -> None:
        """A row of the listing names it, read by the reconciler from the provider's own page."""
        self.whole.provider.add(self._next(), RecordingUrl=form)

    def looked_up(self, form: str) -> None:
        """A callback names nothing; the provider's answer about the call does."""
        self._told(self._at_the_provider(RecordingUrl=form))

    def signed_link(self, form: str) -> None:
        """The named address refuses, and the answer about the call offers this one as signed."""
        row = self._at_the_provider(file=True, PreSignedRecordingUrl=form)
        self.whole.provider.script("recording", [], name=f"{row['Sid']}.mp3", then="403")
        self._told(row, RecordingUrl=row["RecordingUrl"])

    def redirect(self, form: str) -> None:
        """The recordings host sends on to it."""
        row = self._at_the_provider(file=True)
        self.whole.provider.script("recording", [f"redirect:{form}"], name=f"{row['Sid']}.mp3", then="404")
        self._told(row, RecordingUrl=row["RecordingUrl"])

    def answer_redirected(self, form: str) -> None:
        """The API sends a look-up on to it."""
        row = self._at_the_provider()
        self.whole.provider.script("call", [f"redirect:{form}"], name=row["Sid"], then="404")
        self._told(row)

    def next_page(self, form: str) -> None:
        """A listing page says that the next one is there."""
        self._listed_once(change=lambda page: page["Metadata"].update(NextPageUri=form) or page)

    def task_data(self, form: str) -> None:
        """A task of Label Studio has it as its audio."""
        self.whole.studio.add_task(self.project_there, {"audio": form})

    def upload_redirected(self, form: str) -> None:
        """A task's audio is an upload, and Label Studio sends on to it."""
        name = f"/data/upload/{self.project_there}/{self._next()}.wav"
        self.whole.studio.moved[name] = form
        self.whole.studio.add_task(self.project_there, {"audio": name})

    def predict(self, form: str) -> None:
        """A task of /predict has it as its audio; Label Studio knows the task too, or does not."""
        there = self.whole.studio.add_task(self.project_there, {"audio": form})
        tasks = [{"id": one, "data": {"audio": form}} for one in (there, 10**6 + there)]
        answer = self.web.post("/predict", json={"tasks": tasks, "project": self._named}, **self.protocol)
        assert answer.status_code == 200, answer.text

    def setup(self, form: str) -> None:
        """Label Studio names itself so."""
        body = {"project": self._named, "schema": self._schema, "hostname": form, "access_token": "none"}
        answer = self.web.post("/setup", json=body, **self.protocol)
        assert answer.status_code < 500, answer.text

    @property
    def _named(self) -> str:
        return f"{self.project_there}.1700000000"

    @property
    def _schema(self) -> str:
        return str(self.whole.rows(tables.projects)[0].label_config)

    def _next(self) -> int:
        self.number += 1
        return self.number

    def _new(self) -> dict[str, Any]:
        return {"Sid": sid(self._next())}

    def _at_the_provider(self, *, file: bool = False, **values: Any) -> dict[str, Any]:
        number = self._next()
        if file:
            values["RecordingUrl"] = self.whole.provider.address(f"{number:031x}p.mp3")
        return self.whole.provider.add(number, **values)

    def _told(self, row: dict[str, Any], **more: Any) -> None:
        body = {"CallSid": row["Sid"], "EventType": "terminal", "Status": "completed", "Direction": "incoming", **more}
        answer = self.web.post(f"/webhooks/exotel/{SECRET}", json=body)
        assert answer.status_code in (200, 400), answer.text

    def _listed_once(self, *, change: Callable[[dict[str, Any]], Any]) -> None:
        self.whole.provider.change_page = change
        _enqueue_listing(self.whole)
        _bring_forward(self.whole, tables.jobs.c.name == job_kinds.RECONCILE_CALLS.name)
        runner.run_due(self.whole.context, queues=("sync",))
        self.whole.provider.change_page = lambda page: page


ENTRIES: Sequence[Callable[[Entries, str], None]] = (
    Entries.callback, Entries.listing_page, Entries.looked_up, Entries.signed_link, Entries.redirect,
    Entries.answer_redirected, Entries.next_page, Entries.task_data, Entries.upload_redirected, Entries.predict,
    Entries.setup,
)  # fmt: skip


def _enqueue_listing(whole: Whole) -> None:
    with whole.context.db.transaction() as connection:
        enqueueing.enqueue(connection, job_kinds.RECONCILE_CALLS, key="2", hours=2)


def _work(whole: Whole) -> None:
    """Everything that follows: listing and list of tasks are read, look-ups are due, what failed is tried again."""
    for _ in range(ROUNDS):
        _enqueue_listing(whole)
        with whole.context.db.transaction() as connection:
            [project] = connection.execute(sa.select(tables.projects.c.id)).scalars()
            enqueueing.enqueue(connection, job_kinds.FIND_TASKS, key=str(project), project_id=project)
        _bring_forward(whole)
        runner.run_due(whole.context, queues=("sync",))


def _bring_forward(whole: Whole, *which: sa.ColumnElement[bool]) -> None:
    """As if the pauses before another try were over."""
    row = tables.jobs
    with whole.context.db.transaction() as connection:
        connection.execute(sa.update(row).where(row.c.state == "waiting", *which).values(due_at=tables.now()))


def _without_pace(whole: Whole) -> None:
    """As many requests a minute as there are forms."""
    values = {"exotel_requests_per_minute": 10**7, "predict_wait_s": 0.0}
    object.__setattr__(whole.context, "settings", whole.context.settings.model_copy(update=values))
    whole.context.kept.clear()


def _here(form: str, whole: Whole, stranger: int) -> str:
    """The same trick with a listed host that answers here, and a stranger who listens here."""
    named = form.replace("evil.invalid", f"127.0.0.1:{stranger}").replace("https:", "http:")
    return named.replace(GOOD, whole.provider.recordings_url.removeprefix("http://"))


def _listed(whole: Whole, redis_port: int) -> set[tuple[str, int]]:
    """Everything of ours on this machine."""
    ours = {redis_port, *whole.provider.ports.values(), int(whole.studio.url.rpartition(":")[2])}
    for between in (whole.store, whole.labels, whole.recorder, whole.broker):
        ours |= {between.port, between.target[1]}
    return {("127.0.0.1", port) for port in ours}


class _Watch:
    """What this process connects to or looks up, by the interpreter's own notice. A hook can never be taken out."""

    def __init__(self) -> None:
        self.off: list[str] = []
        self._listed: set[tuple[str, int]] = set()

    def __enter__(self) -> _Watch:
        sys.addaudithook(self._hook)
        return self

    def __exit__(self, *error: object) -> None:
        self._listed = set()

    def allow(self, listed: set[tuple[str, int]]) -> None:
        """These and no others; an empty set ends the watch."""
        self._listed = listed

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._listed:
            return
        if event == "socket.connect" and isinstance(arguments[1], tuple):
            place = (str(arguments[1][0]), int(arguments[1][1]))
            if place not in self._listed:
                self.off.append(f"{place[0]}:{place[1]}")
        elif event == "socket.getaddrinfo" and str(arguments[0]) != "127.0.0.1":
            self.off.append(f"name {arguments[0]!r}")


@dataclass
class _Strangers:
    """Listeners that nobody should ever come to, whichever process it is."""

    port: int = 0
    met: list[str] = field(default_factory=list)


@contextlib.contextmanager
def _strangers() -> Iterator[_Strangers]:
    found, listeners = _Strangers(), list[socket.socket]()

    def listen(port: int) -> int:
        listener = socket.create_server(("", port))
        listeners.append(listener)
        name = f"a listener at {listener.getsockname()[1]}"

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    listener.accept()[0].close()
                    found.met.append(name)

        threading.Thread(target=accept, daemon=True).start()
        return int(listener.getsockname()[1])

    found.port = listen(0)
    for port in TEMPTING:
        with contextlib.suppress(OSError):  # not ours to take, or taken
            listen(port)
    try:
        yield found
    finally:
        for listener in listeners:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
