"""`doctor`: check every external system that is configured, and say what to do about each failure.

The rules are plain functions, one per system, each yielding findings; nothing external is changed. Label Studio's known
pitfalls are checked one by one: the kind of token, its block on private addresses and the incomplete backend that it
leaves behind, storage, the webhook's header, and the draft label, which must be equal in three places.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import typer
from rich.text import Text

from ml_backend import certificates, file_permissions, settings
from ml_backend.commands import printing
from ml_backend.context import Context
from ml_backend.db import Database
from ml_backend.errors import ConfigurationError, KaanError, PermanentError
from ml_backend.jobs import transport
from ml_backend.labelling.decoding_profile import CONTEXT_CUT, decoding_of
from ml_backend.serving import loaded_models
from ml_backend.settings import Settings
from ml_backend.storage import configured_store
from ml_backend.storage.object_store import free_space_mb
from ml_backend.tables import predictions, projects
from sync.annotations import differences
from sync.exotel import account
from sync.exotel import exotel_client as exotel
from sync.label_studio import attached_changes
from sync.label_studio.label_studio_client import LabelStudioClient, client_of
from sync.outbound import http
from sync.projects import attachment, offered_languages

app = typer.Typer(add_completion=False)

OK, WARN, FAIL, SKIPPED = "ok", "warning", "failed", "skipped"
MARKS = {OK: ("✓", "green"), WARN: ("!", "yellow"), FAIL: ("✗", "red"), SKIPPED: ("-", "dim")}
TESTED = "1.23"  # the release of Label Studio this service is tested with


# Checks that need tables.
_NEED_TABLES = ("model", "exotel", "label studio", "projects")
_NONE_ATTACHED = "No project is attached."


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    world: str
    state: str
    sentence: str
    next_step: str = ""


@app.command()
def doctor(as_json: printing.AsJson = False) -> None:
    """Check database, Redis, object store, model, disk and Label Studio; exit code 1 when something fails.

    Example: python -m ml_backend doctor
    """
    findings = list(examine(settings.load()))
    failed = any(finding.state == FAIL for finding in findings)
    if as_json:
        printing.say_json({"well": not failed, "findings": [asdict(f) for f in findings]})
    else:
        for finding in findings:
            mark, style = MARKS[finding.state]
            printing.say(Text.assemble((mark, style), f" {finding.world:<13} {finding.sentence}"))
            if finding.next_step and finding.state != OK:
                printing.say(f"                {finding.next_step}")
    raise typer.Exit(1 if failed else 0)


def examine(found: Settings) -> Iterator[Finding]:
    """Every finding, system by system; a failure does not hide the next.

    A check that depends on a failed one says so, because its next step would not be true yet.
    """
    database, failed = Database(found.database), set[str]()
    try:
        context = Context(found, database, configured_store.open_store(found))
        for world, look in (
            ("database", _database),
            ("redis", _redis),
            ("object store", _store),
            ("disk", _disk),
            ("privacy", _privacy),
            ("model", _model),
            ("exotel", _exotel),
            ("label studio", _label_studio),
            ("projects", _projects),
        ):
            if world in _NEED_TABLES and "database" in failed:
                yield Finding(world, SKIPPED, "Looked at once the database is mended; run `doctor` again then.")
                continue
            for finding in _guarded(world, look, context):
                if finding.state == FAIL:
                    failed.add(world)
                if finding.sentence == _NONE_ATTACHED and "label studio" in failed:
                    step = f"Mend what is said of Label Studio first, then {finding.next_step}"
                    yield replace(finding, next_step=step)
                    continue
                yield finding
    finally:
        database.dispose()


def _guarded(world: str, look: Callable[[Context], Iterator[Finding]], context: Context) -> Iterator[Finding]:
    try:
        yield from look(context)
    except KaanError as error:
        yield Finding(world, FAIL, f"{error.sentence}{_certificate(error)}", error.next_step)


def _certificate(error: KaanError) -> str:
    """The untrusted certificate's owner and issuer."""
    found = re.search(r" at (?:https|rediss)://(\[[^\]]+\]|[^:/ ]+):(\d+)", error.sentence)
    if not error.code.startswith("certificate-") or found is None:
        return ""
    shown = certificates.presented(found[1].strip("[]"), int(found[2]))
    until = f", valid until {shown.until}" if shown.until else ""
    return f" It is the certificate of {shown.subject}, signed by {shown.issuer}{until}." if shown.subject else ""


def _database(context: Context) -> Iterator[Finding]:
    context.db.check_schema()
    with context.db.transaction() as connection:
        connection.execute(sa.select(sa.literal(1)))
    kind = "SQLite" if context.db.is_sqlite else "PostgreSQL"
    yield Finding("database", OK, f"{kind} is at the right schema and can be written.")


def _redis(context: Context) -> Iterator[Finding]:
    there = context.settings
    transport.check(transport.connect(there.redis_url, ca_file=there.ca_file))
    yield Finding("redis", OK, "Redis answers, takes messages and evicts nothing.")


def _store(context: Context) -> Iterator[Finding]:
    found = context.settings
    where = "S3" if found.objects == "s3://" else "a directory"
    scanned = [name.strip() for name in found.scan_buckets.split(",") if name.strip()]
    ours = (found.audio_bucket, found.recordings_bucket)
    usable = []
    for bucket in dict.fromkeys((*ours, *scanned)):
        try:
            context.store.check(bucket, writes=bucket in ours)
            usable.append(bucket)
        except ConfigurationError as error:
            if error.code != "bucket-missing":
                raise
            step = "It is made when it is first needed; where the key may not do that, create it."
            if bucket not in ours:
                step = "Create it, or take it out of SCAN_BUCKETS."
            yield Finding("object store", WARN, f"There is no bucket {bucket}.", step)
    if usable:
        rights = f"{', '.join(usable)} can be used as work uses them"
        yield Finding("object store", OK, f"{where}: {rights}; normalised audio goes to {found.audio_bucket}.")
    root = context.settings.label_studio_local_files_root
    if context.settings.objects != "s3://" and root and not Path(context.settings.objects).is_relative_to(root):
        yield Finding(
            "object store",
            WARN,
            "The object directory is not below LABEL_STUDIO_LOCAL_FILES_ROOT.",
            "That is right only when Label Studio sees the same folder under that name.",
        )


def _privacy(context: Context) -> Iterator[Finding]:
    """Files with calls, texts, keys or passwords that other users of this machine could read."""
    places = [context.settings.data_dir, Path(".env")]
    if context.db.is_sqlite and context.db.engine.url.database:
        places.append(Path(context.db.engine.url.database))
    seen = [place for place in places if file_permissions.is_open(place)]
    for place in seen:
        mode = "700" if place.is_dir() else "600"
        yield Finding("privacy", WARN, f"Others on this machine can read {place}.", f"chmod {mode} {place}")
    if not seen:
        yield Finding("privacy", OK, "DATA_DIR, database and .env are readable by this user only.")


def _disk(context: Context) -> Iterator[Finding]:
    free_mb = free_space_mb(context.settings.data_dir)
    needed_mb = context.settings.min_free_disk_mb
    if free_mb < needed_mb:
        step = "Free some space, or lower MIN_FREE_DISK_MB."
        yield Finding("disk", FAIL, f"{free_mb:.0f} MB are free, {needed_mb:.0f} MB are wanted.", step)
    else:
        yield Finding("disk", OK, f"{free_mb / 1000:.1f} GB are free.")


def _model(context: Context) -> Iterator[Finding]:
    with loaded_models.using(context) as transcriber:
        yield Finding("model", OK, f"{transcriber.model_version} loads.")
        for row in context.db.rows(sa.select(projects).where(projects.c.state == "attached")):
            left_out = transcriber.left_out(decoding_of(row, context.settings))
            if left_out:
                step = "Shorten them in the ML backend's extra params in Label Studio, or in `hotwords list`."
                yield Finding(f"project {row.ls_project_id}", WARN, left_out, step)


def _exotel(context: Context) -> Iterator[Finding]:
    if not exotel.is_set(context.settings):
        yield Finding("exotel", SKIPPED, "EXOTEL_ACCOUNT_SID, EXOTEL_API_KEY and EXOTEL_API_TOKEN are not all set.")
        return
    yield from (Finding("exotel", OK if well else WARN, *said) for well, *said in account.look(context))


def _label_studio(context: Context) -> Iterator[Finding]:
    found = context.settings
    if not found.label_studio_url:
        yield Finding("label studio", SKIPPED, "LABEL_STUDIO_URL is not set.")
        return
    client = client_of(context)
    try:
        release = client.version()
    except KaanError as error:
        if error.code == "http-unauthorised":
            yield _token_refused(client)
            return
        raise
    kind = "personal access token" if client.auth.is_personal else "legacy token"
    yield Finding("label studio", OK, f"Label Studio {release} answers to the {kind}.")
    if not release.startswith(TESTED):
        yield Finding("label studio", WARN, f"This service is tested with {TESTED}, this is {release}.")
    if not found.public_url:
        step = "Set PUBLIC_URL to the address at which Label Studio reaches this service."
        yield Finding("label studio", FAIL, "PUBLIC_URL is not set, so no project can be attached.", step)
    else:
        yield from _reachable(found)
    if not found.label_studio_webhook_secret.get_secret_value():
        step = "Set LABEL_STUDIO_WEBHOOK_SECRET to 16 or more random characters and attach the projects again."
        yield Finding("label studio", FAIL, "Webhooks have no secret.", step)


def _token_refused(client: LabelStudioClient) -> Finding:
    if client.auth.is_personal:
        step = (
            "Make a new one in Label Studio (Account & Settings, Personal Access Token) and set LABEL_STUDIO_API_KEY."
        )
        return Finding("label studio", FAIL, "Label Studio does not accept the personal access token (any more).", step)
    step = "Set LABEL_STUDIO_API_KEY to a personal access token; legacy tokens are off by default since 1.20."
    return Finding("label studio", FAIL, "Label Studio refused the legacy token.", step)


def _reachable(found: Settings) -> Iterator[Finding]:
    """Whether our web process answers at the URL that Label Studio uses."""
    try:
        with http.errors_as("this service"), http.client(read_s=5, ca_file=found.ca_file) as outside:
            http.checked(outside.get(f"{found.public_url}/health"), "this service")
    except KaanError as error:
        step = "Start `python -m ml_backend web`, or correct PUBLIC_URL."
        yield Finding("label studio", WARN, f"PUBLIC_URL does not answer from here: {error.sentence}", step)
    else:
        yield Finding("label studio", OK, "This service answers at PUBLIC_URL.")


def _projects(context: Context) -> Iterator[Finding]:
    if not context.settings.label_studio_api_key.get_secret_value():
        return
    rows = context.db.rows(sa.select(projects).where(projects.c.state == "attached"))
    if not rows:
        step = "`python -m ml_backend project create` or `project attach ID`."
        yield Finding("projects", WARN, _NONE_ATTACHED, step)
        return
    if unknown := offered_languages.without_entry(context.settings):
        sentence = f"LANGUAGES names {', '.join(unknown)}, which annotators are not offered: it has no entry with keys."
        yield Finding("projects", WARN, sentence, "Add one to ml_backend/languages.py, or take it out of LANGUAGES.")
    client = client_of(context)
    for row in rows:
        look = functools.partial(_project, client=client, row=row)
        yield from _guarded(f"project {row.ls_project_id}", look, context)


def _project(context: Context, *, client: LabelStudioClient, row: sa.Row[Any]) -> Iterator[Finding]:
    """One attached project: everything that attaching created exists and agrees."""
    world, again = (
        f"project {row.ls_project_id}",
        f"Run `python -m ml_backend project attach {row.ls_project_id}` again.",
    )
    try:
        there = client.project(row.ls_project_id)
    except PermanentError as error:
        if error.code != "http-missing":
            raise
        step = f"It was deleted: `python -m ml_backend project detach {row.ls_project_id}`."
        yield Finding(world, FAIL, "Label Studio has no such project for this user.", step)
        return
    planned = attachment.plan(context, row.ls_project_id)
    missing = {change.what: change for change in planned.changes if change.needed}
    faults = 0
    if attached_changes.BACKEND in missing:
        faults += 1
        yield Finding(world, FAIL, "Our ML backend is not connected.", again)
    elif attached_changes.WEBHOOK in missing:
        faults += 1
        step = (
            f"{again} If Label Studio answers 403 then, it refuses private addresses: start it with "
            "USE_DEFAULT_BANNED_SUBNETS=false and USER_ADDITIONAL_BANNED_SUBNETS=169.254.0.0/16."
        )
        sentence = "The ML backend is half made: its webhook is missing, off, or lacks the secret header."
        yield Finding(world, FAIL, sentence, step)
    if attached_changes.STORAGE in missing:
        faults += 1
        yield Finding(world, FAIL, "No source storage plays our audio bucket.", again)
    for finding in _label(context, client, row, there):
        faults += finding.state == FAIL
        yield finding
    for warning in planned.warnings:
        yield Finding(world, WARN, warning)
    if behind := offered_languages.left_behind(context, row, str(there.get("label_config") or "")):
        yield Finding(world, WARN, behind, f"Run `python -m ml_backend project update {row.ls_project_id}`.")
    if row.reason and row.reason_code != CONTEXT_CUT:  # that one was already checked with the current model
        yield Finding(world, WARN, row.reason, "Correct it in the project's settings in Label Studio.")
    well, sentence, step = differences.look(context, row, there)
    yield Finding(world, OK if well else WARN, sentence, step)
    if not faults:
        yield Finding(world, OK, f"{row.title}: backend, webhook, storage and draft label {row.draft_label} agree.")


def _label(context: Context, client: LabelStudioClient, row: sa.Row[Any], there: dict[str, Any]) -> Iterator[Finding]:
    """The draft label in Label Studio's project, in the backend's /setup, and in the predictions."""
    world, shown = f"project {row.ls_project_id}", there.get("model_version") or ""
    sent = context.db.rows(
        sa.select(predictions.c.id)
        .where(predictions.c.project_id == row.id, predictions.c.draft_label == row.draft_label)
        .where(predictions.c.confirmed_at.is_not(None), predictions.c.delivered_by != "nobody")
        .limit(1)
    )
    if shown != row.draft_label and sent:
        step = (
            f"Choose {row.draft_label} under Settings, Annotation, Live Predictions; "
            f"or run `python -m ml_backend project attach {row.ls_project_id}`."
        )
        yield Finding(
            world, FAIL, f"The project shows {shown or 'no version'}, our drafts are {row.draft_label}.", step
        )
    for backend in client.ml_backends(row.ls_project_id):
        if backend["id"] != row.ml_backend_id:
            continue
        if backend.get("state") not in ("CO", "PR", "TR"):
            step = "Is the web process running, and may Label Studio connect to PUBLIC_URL? See Settings, Model."
            yield Finding(world, FAIL, "Label Studio cannot reach our ML backend.", step)
        elif backend.get("model_version") not in (None, "", row.draft_label, row.next_draft_label):
            sentence = f"/setup gave {backend['model_version']}, our drafts are {row.draft_label}."
            yield Finding(world, FAIL, sentence, "Restart the web process; it may use another database.")
