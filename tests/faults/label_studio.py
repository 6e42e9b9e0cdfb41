"""A small Label Studio for faults: the answers' shapes are those of 1.23.2 (tests/fixtures/label-studio).

It holds what a test wants to count afterwards (tasks, predictions, annotations), takes scripts of failures, and loses
its webhooks when told to. Only the calls of `label_studio_client.py` are here; everything else is proven on the real
one.
"""

from __future__ import annotations

import itertools
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Row = dict[str, Any]
TOKEN = "faults-legacy-token-000000000000"


@dataclass
class FakeLabelStudio:
    """One Label Studio, kept in memory."""

    url: str = ""
    projects: dict[int, Row] = field(default_factory=dict)
    tasks: dict[int, Row] = field(default_factory=dict)
    predictions: dict[int, Row] = field(default_factory=dict)
    annotations: dict[int, Row] = field(default_factory=dict)
    backends: dict[int, Row] = field(default_factory=dict)
    webhooks: dict[int, Row] = field(default_factory=dict)
    storages: dict[int, Row] = field(default_factory=dict)
    views: dict[int, Row] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    refuse: Callable[[str, str], int | None] = lambda method, path: None  # a status to answer instead
    refuse_task: Callable[[Row], bool] = lambda entry: False  # an import with such a task in it is refused whole
    lose_answer: Callable[[str, str], bool] = lambda method, path: False  # carried out, and the connection breaks
    moved: dict[str, str] = field(default_factory=dict)  # path -> where it is redirected to
    token_ok: bool = True
    lock: threading.RLock = field(default_factory=threading.RLock)
    _ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def new_id(self) -> int:
        return next(self._ids)

    def add_task(self, project_id: int, data: Row, **more: Any) -> int:
        with self.lock:
            task_id = self.new_id()
            self.tasks[task_id] = {
                "id": task_id, "project": project_id, "data": data, "meta": {}, "overlap": 1, "created_at": now(),
                "updated_at": now(), "is_labeled": False, "inner_id": task_id, **more,
            }  # fmt: skip
            return task_id

    def annotate(self, task_id: int, text: str) -> int:
        """A person submits; nobody is told."""
        with self.lock:
            annotation_id = self.new_id()
            value = {"from_name": "transcription", "to_name": "audio", "type": "textarea", "value": {"text": [text]}}
            self.annotations[annotation_id] = {
                "id": annotation_id, "task": task_id, "project": self.tasks[task_id]["project"], "result": [value],
                "was_cancelled": False, "ground_truth": False, "created_at": now(), "updated_at": now(),
                "lead_time": 12.5, "completed_by": 1, "created_username": "annotator@kaan.example, 1",
                "parent_prediction": None, "updated_by": 1, "unique_id": f"0000-{annotation_id}",
            }  # fmt: skip
            self.tasks[task_id]["updated_at"] = now()
            return annotation_id

    def by_key(self) -> dict[str, int]:
        """Our external key -> how many tasks carry it."""
        counts: dict[str, int] = {}
        with self.lock:
            for task in self.tasks.values():
                key = str(task["data"].get("kaan_key") or "")
                counts[key] = counts.get(key, 0) + 1
        return {key: count for key, count in counts.items() if key}


def now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


@contextmanager
def running() -> Iterator[FakeLabelStudio]:
    """The server for the length of a block."""
    state = FakeLabelStudio()

    class Handler(_Handler):
        there = state

    server = _Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections are cut on purpose here."""


class _Handler(BaseHTTPRequestHandler):
    there: FakeLabelStudio
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one piece, or the other side waits 40 ms before it says that it has the first

    def log_message(self, *arguments: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_PATCH(self) -> None:
        self._serve("PATCH")

    def do_DELETE(self) -> None:
        self._serve("DELETE")

    def _serve(self, method: str) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        parts = urlsplit(self.path)
        path, query = parts.path.rstrip("/"), {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.there.requests.append((method, path))
        status = self.there.refuse(method, path)
        if not self.there.token_ok:
            status = 401
        if status is not None:
            self._answer(status, {"detail": "scripted"})
            return
        if path in self.there.moved:
            location = self.there.moved[path].encode()
            self.wfile.write(b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n")
            self.close_connection = True
            return
        for known, pattern, act in ROUTES:
            found = re.fullmatch(pattern, path)
            if known == method and found:
                with self.there.lock:
                    try:
                        result = act(self.there, query, json.loads(raw or b"null"), *map(int, found.groups()))
                    except KeyError:
                        self._answer(404, {"detail": "Not found."})
                        return
                    except ValueError as error:
                        self._answer(400, {"validation_errors": [str(error)]})
                        return
                if self.there.lose_answer(method, path):
                    self.close_connection = True
                    return
                self._answer(201 if method == "POST" else 204 if method == "DELETE" else 200, result)
                return
        self._answer(404, {"detail": f"no route {method} {path}"})

    def _answer(self, status: int, body: Any) -> None:
        raw = b"" if status == 204 else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


def _create_project(there: FakeLabelStudio, query: Row, body: Row) -> Row:
    project_id = there.new_id()
    there.projects[project_id] = {"id": project_id, "model_version": "", "maximum_annotations": 1, **body}
    return there.projects[project_id]


def _project(there: FakeLabelStudio, query: Row, body: Any, project_id: int) -> Row:
    mine = [one for one in there.annotations.values() if one["project"] == project_id]
    skipped = sum(1 for one in mine if one["was_cancelled"])
    number = sum(1 for task in there.tasks.values() if task["project"] == project_id)
    counts = {"total_annotations_number": len(mine) - skipped, "skipped_annotations_number": skipped}
    return {**there.projects[project_id], **counts, "task_number": number}


def _list_projects(there: FakeLabelStudio, query: Row, body: Any) -> Row:
    found = [one for one in there.projects.values() if query.get("title", "") in str(one.get("title", ""))]
    return {"count": len(found), "next": None, "previous": None, "results": found}


def _change(table: str) -> Callable[..., Row]:
    def change(there: FakeLabelStudio, query: Row, body: Row, row_id: int) -> Row:
        row: Row = getattr(there, table)[row_id]
        row.update(body)
        return row

    return change


def _get(table: str) -> Callable[..., Row]:
    return lambda there, query, body, row_id: getattr(there, table)[row_id]


def _delete(table: str) -> Callable[..., None]:
    return lambda there, query, body, row_id: getattr(there, table).pop(row_id) and None


def _of_project(table: str) -> Callable[..., list[Row]]:
    def rows(there: FakeLabelStudio, query: Row, body: Any) -> list[Row]:
        return [row for row in getattr(there, table).values() if str(row.get("project")) == query.get("project")]

    return rows


def _add(table: str, **more: Any) -> Callable[..., Row]:
    def add(there: FakeLabelStudio, query: Row, body: Row) -> Row:
        row_id = there.new_id()
        getattr(there, table)[row_id] = {"id": row_id, **body, **more}
        return dict(getattr(there, table)[row_id])

    return add


def _tasks(there: FakeLabelStudio, query: Row, body: Any) -> Row:
    asked = json.loads(query.get("query") or "{}")
    filters = asked.get("filters") or {}
    items, every = filters.get("items") or [], filters.get("conjunction") == "and"
    found = [task for task in there.tasks.values() if str(task["project"]) == query["project"]]
    if int(query["project"]) not in there.projects:
        raise KeyError
    if items:
        found = [task for task in found if (all if every else any)(_fits(task, item) for item in items)]
    size, page = int(query.get("page_size") or 100), int(query.get("page") or 1)
    some = sorted(found, key=lambda task: task["id"])[(page - 1) * size : page * size]
    mine = _by_task(there.annotations)
    drafted = _by_task(there.predictions) if query.get("fields") == "all" else None
    return {"tasks": [_counted(task, mine, drafted) for task in some], "total": len(found)}


def _by_task(table: dict[int, Row]) -> dict[int, list[Row]]:
    found: dict[int, list[Row]] = {}
    for row in table.values():
        found.setdefault(row["task"], []).append(row)
    return found


def _counted(task: Row, annotations: dict[int, list[Row]], drafted: dict[int, list[Row]] | None) -> Row:
    mine = annotations.get(task["id"], [])
    skipped = sum(1 for one in mine if one["was_cancelled"])
    counts = {"total_annotations": len(mine) - skipped, "cancelled_annotations": skipped, "is_labeled": bool(mine)}
    whole = {} if drafted is None else {"annotations": mine, "predictions": drafted.get(task["id"], [])}
    return {**task, **counts, **whole}


def _fits(task: Row, item: Row) -> bool:
    column, value = str(item["filter"]).removeprefix("filter:tasks:"), item["value"]
    mine = task["data"].get(column.removeprefix("data.")) if column.startswith("data.") else task.get(column)
    operator = item["operator"]
    if operator == "in_list":
        return mine in value
    if operator == "greater":
        return bool(str(mine) > value) if item["type"] == "Datetime" else bool(mine > value)
    return bool(mine == value)


def _import(there: FakeLabelStudio, query: Row, body: list[Row], project_id: int) -> Row:
    ids, drafted = [], 0
    if project_id not in there.projects:
        raise KeyError
    if any(there.refuse_task(entry) for entry in body):
        raise ValueError("this task is bad")
    for entry in body:
        data = entry.get("data", entry)
        known = {name: entry[name] for name in ("overlap", "meta") if name in entry}
        ids.append(there.add_task(project_id, data, **known))
        for prediction in entry.get("predictions") or ():
            _add_prediction(there, {**prediction, "task": ids[-1]})
            drafted += 1
    return {
        "task_count": len(ids), "annotation_count": 0, "prediction_count": drafted, "duration": 0.01,
        "file_upload_ids": [], "could_be_tasks_list": False, "found_formats": [], "data_columns": [], "task_ids": ids,
    }  # fmt: skip


def _import_predictions(there: FakeLabelStudio, query: Row, body: list[Row], project_id: int) -> Row:
    if any(prediction["task"] not in there.tasks for prediction in body):
        raise KeyError
    return {"created": len([_add_prediction(there, prediction) for prediction in body])}


def _add_prediction(there: FakeLabelStudio, values: Row) -> int:
    prediction_id = there.new_id()
    there.predictions[prediction_id] = {"id": prediction_id, "created_at": now(), **values}
    return prediction_id


def _predictions(there: FakeLabelStudio, query: Row, body: Any) -> list[Row]:
    return [row for row in there.predictions.values() if str(row["task"]) == query["task"]]


def _annotations(there: FakeLabelStudio, query: Row, body: Any, task_id: int) -> list[Row]:
    if task_id not in there.tasks:
        raise KeyError
    return [row for row in there.annotations.values() if row["task"] == task_id]


ROUTES: tuple[tuple[str, str, Callable[..., Any]], ...] = (
    ("GET", "/api/current-user/whoami", lambda there, query, body: {"id": 1, "email": "annotator@kaan.example"}),
    ("GET", "/api/version", lambda there, query, body: {"release": "1.23.2"}),
    ("POST", "/api/token/refresh", lambda there, query, body: {"access": TOKEN}),
    ("GET", "/api/projects", _list_projects), ("POST", "/api/projects", _create_project),
    ("GET", r"/api/projects/(\d+)", _project), ("PATCH", r"/api/projects/(\d+)", _change("projects")),
    ("POST", r"/api/projects/(\d+)/import", _import),
    ("POST", r"/api/projects/(\d+)/import/predictions", _import_predictions),
    ("GET", "/api/tasks", _tasks), ("PATCH", r"/api/tasks/(\d+)", _change("tasks")),
    ("DELETE", r"/api/tasks/(\d+)", _delete("tasks")), ("GET", r"/api/tasks/(\d+)/annotations", _annotations),
    ("GET", "/api/predictions", _predictions), ("DELETE", r"/api/predictions/(\d+)", _delete("predictions")),
    ("GET", r"/api/annotations/(\d+)", _get("annotations")),
    ("DELETE", r"/api/annotations/(\d+)", _delete("annotations")),
    ("GET", "/api/ml", _of_project("backends")), ("POST", "/api/ml", _add("backends", extra_params={})),
    ("PATCH", r"/api/ml/(\d+)", _change("backends")), ("DELETE", r"/api/ml/(\d+)", _delete("backends")),
    ("GET", "/api/webhooks", _of_project("webhooks")), ("POST", "/api/webhooks", _add("webhooks")),
    ("PATCH", r"/api/webhooks/(\d+)", _change("webhooks")), ("DELETE", r"/api/webhooks/(\d+)", _delete("webhooks")),
    ("GET", "/api/dm/views", _of_project("views")), ("POST", "/api/dm/views", _add("views")),
    ("PATCH", r"/api/dm/views/(\d+)", _change("views")), ("DELETE", r"/api/dm/views/(\d+)", _delete("views")),
    ("GET", "/api/storages", _of_project("storages")),
    ("POST", "/api/storages/localfiles", _add("storages", type="localfiles")),
    ("POST", "/api/storages/s3", _add("storages", type="s3")),
    ("DELETE", r"/api/storages/(?:s3|localfiles)/(\d+)", _delete("storages")),
)  # fmt: skip
