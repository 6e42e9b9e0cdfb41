"""The only code that calls Label Studio's API. Raises our errors, never the SDK's.

The official SDK makes the typed calls. Plain requests do what it lacks or gets wrong: predictions of a task, pages
of tasks (its pager ends silently on 404), backend records (a PATCH needs `url`, `project` and the credentials
again), task data and uploads. Nothing is retried here: the SDK would repeat a POST after a lost answer and create
duplicates. So its retries are off, and jobs check what exists before they send again.

Never read `/api/tasks/<id>`: that makes Label Studio ask the ML backend for a prediction.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from ml_backend import quantities
from ml_backend.context import Context
from ml_backend.errors import ConfigurationError, PermanentError
from sync.label_studio.tokens import TokenAuth
from sync.outbound import http

NAME = "Label Studio"
IMPORT_READ_S = 300.0  # 5000 tasks with predictions took 11 s; a busy server takes longer
PAGE = 500  # full tasks: about a second and some megabytes
IDS_PER_LOOKUP = 250  # in the query string
KEYS_PER_LOOKUP = 40  # one filter item each, in the query string


class LabelStudioClient:
    """One Label Studio, one user's token."""

    def __init__(
        self, url: str, token: str, *, transport: httpx.BaseTransport | None = None, ca_file: str = ""
    ) -> None:
        self.url = url.rstrip("/")
        self.auth = TokenAuth(self.url, token, name=NAME)
        self._http = http.client(self.url, transport=transport, read_s=IMPORT_READ_S, auth=self.auth, ca_file=ca_file)
        self._sdk: Any = None

    @property
    def sdk(self) -> Any:
        """The official client over our connection. Imported here: it brings pandas (design D11)."""
        if self._sdk is None:
            from label_studio_sdk import LabelStudio

            # The key is a placeholder: TokenAuth replaces the header, so that only one place handles tokens.
            make: Any = LabelStudio
            self._sdk = make(base_url=self.url, api_key="set-by-TokenAuth", httpx_client=self._http, max_retries=0)
        return self._sdk

    def call(self, method: str, path: str, **options: Any) -> Any:
        """One plain request; gives its JSON, None for an empty answer."""
        with http.errors_as(NAME):
            response = http.checked(self._http.request(method, path, **options), NAME)
        return http.json_of(response, NAME) if response.content else None

    # --- projects

    def version(self) -> str:
        """Label Studio's release; the cheapest call that proves the address and the token."""
        self.call("GET", "/api/current-user/whoami")
        return str(self.call("GET", "/api/version").get("release", ""))

    def project(self, project_id: int) -> dict[str, Any]:
        """A project as it is now, without the secrets its rows carry."""
        with _sdk_errors():
            found = self.sdk.projects.get(id=project_id).model_dump()
        return {k: v for k, v in found.items() if k not in ("token", "task_data_login", "task_data_password")}

    def projects_titled(self, title: str) -> list[dict[str, Any]]:
        """Projects with exactly this title."""
        answer = self.call("GET", "/api/projects/", params={"title": title, "page_size": 100})
        return [found for found in answer["results"] if found.get("title") == title]

    def create_project(self, **values: Any) -> int:
        """A new project; gives its id."""
        with _sdk_errors():
            return int(self.sdk.projects.create(**values).id)

    def change_project(self, project_id: int, **values: Any) -> None:
        """Change some values of a project."""
        self.call("PATCH", f"/api/projects/{project_id}/", json=values)

    # --- tasks

    def tasks(
        self,
        project_id: int,
        *,
        ids: Sequence[int] | None = None,
        changed_after: str | None = None,
        whole: bool = False,
    ) -> Iterator[dict[str, Any]]:
        """Tasks in id order: those of `ids`, those changed after a time in Label Studio's format, or all.

        `whole` includes annotations and predictions. Each page begins after the last id read, so that tasks deleted
        meanwhile do not make us skip others.
        """
        if ids is not None:
            for some in pieces(sorted(ids), IDS_PER_LOOKUP):
                yield from self._task_page(project_id, where("tasks:id", "in_list", "Number", list(some)), whole)[0]
            return
        last, left = 0, 1
        while left > 0:
            query = where("tasks:id", "greater", "Number", last)
            if changed_after is not None:
                query = both(query, where("tasks:updated_at", "greater", "Datetime", changed_after))
            page, total = self._task_page(project_id, query, whole)
            yield from page
            last, left = int(page[-1]["id"]) if page else last, total - len(page) if page else 0

    def task_ids_by_key(self, project_id: int, keys: Sequence[str]) -> dict[str, list[int]]:
        """Our external key -> the Label Studio tasks with it (more than one after an import whose answer was lost)."""
        found: dict[str, list[int]] = {}
        for some in pieces(list(keys), KEYS_PER_LOOKUP):
            query = where("tasks:data.kaan_key", "equal", "String", *some)
            for task in self._task_page(project_id, query)[0]:
                found.setdefault(str(task["data"].get("kaan_key")), []).append(int(task["id"]))
        return found

    def _task_page(self, project_id: int, query: Mapping[str, Any], whole: bool = False) -> tuple[list[Any], int]:
        """One page, and how many tasks the query has in all."""
        # Without resolve_uri=false an s3:// address comes back as a path that only Label Studio can read.
        # `review` stops it from evaluating columns we do not need (a third of the answer) and calling an ML backend.
        fields = {"fields": "all", "review": "true"} if whole else {"fields": "task_only"}
        options = {"project": project_id, "page": 1, "page_size": PAGE, "resolve_uri": "false", **fields}
        try:
            answer = self.call("GET", "/api/tasks/", params={**options, "query": json.dumps(query)})
        except PermanentError as error:
            if error.code == "http-missing":
                raise PermanentError(
                    "project-missing",
                    f"Label Studio has no project {project_id} for this user.",
                    "Check the number in the project's address, and whose token LABEL_STUDIO_API_KEY is.",
                    status=404,
                ) from error
            raise
        found = list(answer["tasks"])
        return found, int(answer.get("total") or len(found))

    def import_tasks(self, project_id: int, tasks: Sequence[Mapping[str, Any]]) -> list[int]:
        """Create tasks with their predictions; gives the new ids in the same order. Not idempotent: look up first."""
        with _sdk_errors():
            answer = self.sdk.projects.import_tasks(id=project_id, request=list(tasks), return_task_ids=True)
        return [int(task_id) for task_id in answer.task_ids or ()]

    def change_task(self, task_id: int, **values: Any) -> None:
        """Change some values of a task, e.g. `overlap`, which no import can set."""
        self.call("PATCH", f"/api/tasks/{task_id}/", json=values)

    def change_task_data(self, task_id: int, data: Mapping[str, Any]) -> None:
        """Replace a task's whole data."""
        self.change_task(task_id, data=dict(data))

    def delete_task(self, task_id: int) -> None:
        """Remove a task with its annotations and predictions."""
        self.call("DELETE", f"/api/tasks/{task_id}/")

    def action(self, project_id: int, action: str, task_ids: Sequence[int]) -> Any:
        """A Data Manager action on chosen tasks (the SDK's own call lacks the selection)."""
        body = {"selectedItems": {"all": False, "included": list(task_ids)}}
        return self.call("POST", "/api/dm/actions", params={"id": action, "project": project_id}, json=body)

    # --- predictions and annotations

    def import_predictions(self, project_id: int, predictions: Sequence[Mapping[str, Any]]) -> int:
        """Add predictions to existing tasks; gives how many were created.

        Label Studio silently drops invalid predictions, so compare the count. One unknown task fails the whole call.
        """
        with _sdk_errors():
            answer = self.sdk.projects.import_predictions(id=project_id, request=list(predictions))
        return int(answer.created or 0)

    def predictions(self, task_id: int) -> list[dict[str, Any]]:
        """Predictions of one task, oldest first, without asking any ML backend."""
        found = self.call("GET", "/api/predictions/", params={"task": task_id})
        return list(found["results"] if isinstance(found, dict) else found)

    def delete_prediction(self, prediction_id: int) -> None:
        """Remove one prediction."""
        self.call("DELETE", f"/api/predictions/{prediction_id}/")

    def annotation(self, annotation_id: int) -> dict[str, Any]:
        """One annotation as it is now; PermanentError `http-missing` when it is gone."""
        return dict(self.call("GET", f"/api/annotations/{annotation_id}/"))

    def delete_annotation(self, annotation_id: int) -> None:
        """Remove one annotation; its task is open again. PermanentError `http-missing` when it is gone."""
        self.call("DELETE", f"/api/annotations/{annotation_id}/")

    def annotations(self, task_id: int) -> list[dict[str, Any]]:
        """All annotations of a task, skips included."""
        return list(self.call("GET", f"/api/tasks/{task_id}/annotations/"))

    def saved_drafts(self, task_id: int) -> list[dict[str, Any]]:
        """What people wrote in a task and have not submitted: the editor saves it by itself."""
        return list(self.call("GET", f"/api/tasks/{task_id}/drafts"))

    # --- ML backends, webhooks, storages

    def ml_backends(self, project_id: int) -> list[dict[str, Any]]:
        """Backends in Label Studio's order: it always asks the first. This calls their /health and /setup."""
        found = self.call("GET", "/api/ml/", params={"project": project_id})
        return sorted(found, key=lambda backend: int(backend["id"]))

    def add_ml_backend(
        self, project_id: int, *, url: str, title: str, user: str, password: str, **values: Any
    ) -> dict[str, Any]:
        """Connect an ML backend; Label Studio calls it at once."""
        body = {"project": project_id, "url": url, "title": title, **_basic(user, password), **values}
        return dict(self.call("POST", "/api/ml/", json=body))

    def change_ml_backend(
        self, backend: Mapping[str, Any], *, user: str = "", password: str = "", **values: Any
    ) -> dict[str, Any]:
        """Change a backend record. Label Studio requires address, project and credentials again, so they are sent."""
        body = {"url": backend["url"], "project": backend["project"], **_basic(user, password), **values}
        return dict(self.call("PATCH", f"/api/ml/{backend['id']}", json=body))

    def delete_ml_backend(self, backend_id: int) -> None:
        """Disconnect a backend; its webhook stays and has to be removed separately."""
        self.call("DELETE", f"/api/ml/{backend_id}")

    def webhooks(self, project_id: int) -> list[dict[str, Any]]:
        """Webhooks of a project. Their headers are secrets."""
        found = self.call("GET", "/api/webhooks/", params={"project": project_id})
        return [hook for hook in found if hook.get("project") == project_id]

    def add_webhook(self, project_id: int, *, url: str, headers: Mapping[str, str]) -> dict[str, Any]:
        """A webhook for all actions with the secret in a header: Label Studio signs nothing."""
        body = {"project": project_id, "url": url, "send_payload": True, "send_for_all_actions": True, "actions": []}
        return dict(self.call("POST", "/api/webhooks/", json={**body, "headers": dict(headers), "is_active": True}))

    def change_webhook(self, hook: Mapping[str, Any], **values: Any) -> dict[str, Any]:
        """Change a webhook; its actions are sent again, because a PATCH without them empties the list."""
        body = {"actions": list(hook.get("actions") or ()), **values}
        return dict(self.call("PATCH", f"/api/webhooks/{hook['id']}/", json=body))

    def delete_webhook(self, hook_id: int) -> None:
        """Remove a webhook."""
        self.call("DELETE", f"/api/webhooks/{hook_id}/")

    def storages(self, project_id: int) -> list[dict[str, Any]]:
        """Source storages of a project, each with its `type` (s3, localfiles, ...)."""
        return list(self.call("GET", "/api/storages/", params={"project": project_id}))

    def add_storage(self, kind: str, project_id: int, **values: Any) -> int:
        """Connect a source storage; Label Studio tests it first."""
        return int(self.call("POST", f"/api/storages/{kind}/", json={"project": project_id, **values})["id"])

    def delete_storage(self, kind: str, storage_id: int) -> None:
        """Disconnect a source storage; objects and tasks stay."""
        self.call("DELETE", f"/api/storages/{kind}/{storage_id}")

    # --- uploads

    def fetch_upload(self, path: str, target: Path, *, limit_bytes: int) -> int:
        """Copy an uploaded file (`/data/upload/<project>/<name>`) into `target`; gives its size."""
        return http.download(
            self._http,
            f"{self.url}{path}",
            target,
            name=NAME,
            limit_bytes=limit_bytes,
            allowed=lambda url: http.origin(url) == http.origin(self.url),
        )


def client_of(context: Context) -> LabelStudioClient:
    """The process's client for the Label Studio the settings name."""
    settings = context.settings
    token = settings.label_studio_api_key.get_secret_value()
    if not settings.label_studio_url or not token:
        raise ConfigurationError(
            "label-studio-not-set",
            "No Label Studio is configured.",
            "Set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY (a personal access token).",
        )
    client: LabelStudioClient = context.keep(
        "label-studio", lambda: LabelStudioClient(settings.label_studio_url, token, ca_file=settings.ca_file)
    )
    return client


@contextmanager
def _sdk_errors() -> Iterator[None]:
    """Raise the SDK's ApiError and the HTTP library's errors as ours."""
    from label_studio_sdk.core.api_error import ApiError

    try:
        with http.errors_as(NAME):
            yield
    except ApiError as error:
        body = error.body if isinstance(error.body, dict) else {}
        said = body.get("validation_errors") or body.get("detail") or ""
        raise http.refused(NAME, error.status_code or 500, body=quantities.shortened(str(said), 80)) from error


def _basic(user: str, password: str) -> dict[str, str]:
    if not user:
        return {"auth_method": "NONE"}
    return {"auth_method": "BASIC_AUTH", "basic_auth_user": user, "basic_auth_pass": password}


def where(column: str, operator: str, kind: str, *values: Any) -> dict[str, Any]:
    """A query for tasks whose column matches one of the values."""
    items = [{"filter": f"filter:{column}", "operator": operator, "type": kind, "value": value} for value in values]
    return {"filters": {"conjunction": "or", "items": items}, "ordering": ["tasks:id"]}


def both(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """A query for tasks that match both queries, each of one value."""
    items = [*one["filters"]["items"], *other["filters"]["items"]]
    return {"filters": {"conjunction": "and", "items": items}, "ordering": ["tasks:id"]}


def pieces(values: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """The values in pieces: a query has to fit into the URL."""
    for begin in range(0, len(values), size):
        yield values[begin : begin + size]
