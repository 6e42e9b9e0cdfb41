"""The connections between a Label Studio project and this service: storage, ML backend, webhook. Made and undone here.

Adding a backend creates a webhook without credentials; its header is added afterwards. A PATCH of either has to send
address, project, credentials and actions again, or Label Studio refuses it or empties them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from ml_backend.context import Context
from ml_backend.settings import Settings
from ml_backend.tables import projects, tasks
from sync.drafts.decoding_choice import problems_of
from sync.label_studio.attached_changes import (
    BACKEND,
    MODEL_VERSION,
    STORAGE,
    WEBHOOK,
    finish,
    note,
    show_label,
    step_of,
)
from sync.label_studio.label_studio_client import LabelStudioClient
from sync.recordings.sources import storage_path

TITLE = "Kaan"  # of the backend and the storage we add


def connect_storage(context: Context, client: LabelStudioClient, row: sa.Row[Any]) -> None:
    settings = context.settings
    context.store.ensure_bucket(settings.audio_bucket)
    found = our_storage(client, settings, row.ls_project_id)
    if found is None:
        note(context, row.id, STORAGE, "making")
        if settings.objects == "s3://":
            kind, values = "s3", _s3_values(settings)
        else:
            kind, values = "localfiles", {"path": storage_path(settings.audio_bucket, settings), "use_blob_urls": True}
        storage_id = client.add_storage(kind, row.ls_project_id, title=TITLE, **values)
        note(context, row.id, STORAGE, "done", kind=kind, id=storage_id)
    else:
        finish(context, row.id, STORAGE, kind=found["type"], id=int(found["id"]))


def connect_backend(
    context: Context, client: LabelStudioClient, row: sa.Row[Any], extra_params: Mapping[str, Any] | None
) -> None:
    settings = context.settings
    user, password = settings.basic_auth_user, settings.basic_auth_pass.get_secret_value()
    mine = [b for b in client.ml_backends(row.ls_project_id) if same(b["url"], settings.public_url)]
    wanted = {"extra_params": dict(extra_params)} if extra_params else {}
    if mine:
        backend = client.change_ml_backend(mine[0], user=user, password=password, **wanted)
        finish(context, row.id, BACKEND, id=int(backend["id"]))
    else:
        note(context, row.id, BACKEND, "making")
        backend = client.add_ml_backend(
            row.ls_project_id, url=settings.public_url, title=TITLE, user=user, password=password, **wanted
        )
        note(context, row.id, BACKEND, "done", id=int(backend["id"]))
    stored, _ = problems_of(extra_params or backend.get("extra_params"))
    context.db.update(projects, row.id, ml_backend_id=int(backend["id"]), extra_params=stored)


def connect_webhook(context: Context, client: LabelStudioClient, row: sa.Row[Any]) -> None:
    """Add the secret header to the webhook that adding the backend created, or create a webhook."""
    settings = context.settings
    header = {"X-Webhook-Secret": settings.label_studio_webhook_secret.get_secret_value()}
    hooks = _hooks(client, settings, row.ls_project_id)
    if hooks:
        hook = next((h for h in hooks if _works(h, settings)), hooks[0])
        if not _works(hook, settings):
            kept = {k: v for k, v in (hook.get("headers") or {}).items() if k.lower() != "x-webhook-secret"}
            whole = {"is_active": True, "send_payload": True, "send_for_all_actions": True}
            client.change_webhook(hook, headers={**kept, **header}, **whole)
        made_with_backend = step_of(context, row.id, BACKEND) is not None
        for more in (h for h in hooks if h is not hook and made_with_backend):
            client.delete_webhook(int(more["id"]))
        if made_with_backend:
            note(context, row.id, WEBHOOK, "done", id=int(hook["id"]))
        else:
            finish(context, row.id, WEBHOOK, id=int(hook["id"]))
    else:
        note(context, row.id, WEBHOOK, "making")
        hook = client.add_webhook(row.ls_project_id, url=hook_url(settings), headers=header)
        note(context, row.id, WEBHOOK, "done", id=int(hook["id"]))


def undo(context: Context, client: LabelStudioClient, row: sa.Row[Any], step: Mapping[str, Any]) -> str:
    """Undo one step if the project still has the value that we set."""
    what, ls_id = step["what"], row.ls_project_id
    if what == MODEL_VERSION:
        now = client.project(ls_id).get("model_version")
        if now not in (step.get("new"), row.draft_label, row.next_draft_label, TITLE, None, ""):
            return f"model_version was changed to {now} and stays."
        old = step.get("old") or ""
        if not show_label(context, client, row, old):
            old = ""  # no prediction in the project has that version any more
            show_label(context, client, row, old)
        return f"model_version is {old or 'empty'} again."
    if what == BACKEND:
        for backend in client.ml_backends(ls_id):
            if same(backend["url"], context.settings.public_url):
                client.delete_ml_backend(int(backend["id"]))
        return "The ML backend is removed."
    if what == WEBHOOK:
        for hook in client.webhooks(ls_id):
            if same(hook["url"], hook_url(context.settings)):
                client.delete_webhook(int(hook["id"]))
        return "The webhook is removed."
    ours = sa.select(tasks.c.id).where(
        tasks.c.project_id == row.id, tasks.c.origin == "ours", tasks.c.ls_task_id.is_not(None)
    )
    if context.db.rows(ours.where(tasks.c.state != "deleted").limit(1)):
        return "The source storage stays: tasks that we made play from it."
    found = our_storage(client, context.settings, ls_id)
    if found is not None:
        client.delete_storage(str(found["type"]), int(found["id"]))
    return "The source storage is removed."


def our_storage(client: LabelStudioClient, settings: Settings, ls_project_id: int) -> dict[str, Any] | None:
    """The project's source storage for our audio bucket."""
    for storage in client.storages(ls_project_id):
        if storage.get("type") == "s3" and settings.objects == "s3://":
            if storage.get("bucket") == settings.audio_bucket:
                return storage
        elif storage.get("type") == "localfiles" and settings.objects != "s3://":
            ours = storage_path(settings.audio_bucket, settings)
            if f"{ours}/".startswith(str(storage.get("path")).rstrip("/") + "/"):
                return storage
    return None


def _s3_values(settings: Settings) -> dict[str, Any]:
    """Presigned addresses are off: they name the host that Label Studio uses, which browsers often cannot reach."""
    scheme = "https" if settings.minio_secure else "http"
    return {
        "bucket": settings.audio_bucket,
        "s3_endpoint": f"{scheme}://{settings.minio_endpoint}",
        "aws_access_key_id": settings.minio_access_key.get_secret_value(),
        "aws_secret_access_key": settings.minio_secret_key.get_secret_value(),
        **({"region_name": settings.minio_region} if settings.minio_region else {}),
        "presign": False,
        "use_blob_urls": True,
        "regex_filter": "^$",  # a sync of this storage imports nothing: we create the tasks
    }


def carries_secret(hook: Mapping[str, Any], settings: Settings) -> bool:
    headers = {str(k).lower(): str(v) for k, v in (hook.get("headers") or {}).items()}
    secret = settings.label_studio_webhook_secret.get_secret_value()
    return headers.get("x-webhook-secret", "") == secret


def working_webhook(client: LabelStudioClient, settings: Settings, ls_project_id: int) -> dict[str, Any] | None:
    """The project's webhook to us, if it is complete (see `_works`)."""
    return next((h for h in _hooks(client, settings, ls_project_id) if _works(h, settings)), None)


def _hooks(client: LabelStudioClient, settings: Settings, ls_project_id: int) -> list[dict[str, Any]]:
    return [h for h in client.webhooks(ls_project_id) if same(h["url"], hook_url(settings))]


def _works(hook: Mapping[str, Any], settings: Settings) -> bool:
    """Whether a webhook to us is active, carries the secret, and sends every action with its payload."""
    every = all(hook.get(name) for name in ("is_active", "send_payload", "send_for_all_actions"))
    return every and carries_secret(hook, settings)


def hook_url(settings: Settings) -> str:
    return f"{settings.public_url}/webhook"


def same(one: str, other: str) -> bool:
    return one.rstrip("/") == other.rstrip("/")
