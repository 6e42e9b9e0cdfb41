"""`sync objects`: scan the object store now, or estimate the scan (`--dry-run`)."""

from __future__ import annotations

from typing import Annotated, Any

import sqlalchemy as sa
import typer

from ml_backend import log, quantities, settings, tables
from ml_backend.commands import printing
from ml_backend.context import Context, open_context
from ml_backend.errors import ConfigurationError, InvalidInput
from ml_backend.storage.object_store import ObjectInfo
from sync.objects import estimate, scan
from sync.recordings import layouts

MOST_SHOWN, MAX_SHOWN_CHARS = 500, 300


def objects(
    bucket: Annotated[str | None, typer.Option(help="Only this bucket of SCAN_BUCKETS.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Every key, instead of the last days.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print the calls, hours, compute and tasks that would come of it.")
    ] = False,
    speed: Annotated[
        float | None, typer.Option(min=0.01, help="For --dry-run: seconds of audio your workers transcribe per second.")
    ] = None,
    problems: Annotated[
        bool, typer.Option("--problems", help="Only list objects that make no recording, with the reason.")
    ] = False,
    as_json: printing.AsJson = False,
) -> None:
    """Find recordings that reached the object store by other ways. Stop it with Ctrl-C; a full run goes on there.

    Example: python -m ml_backend sync objects --full --dry-run
    """
    context = open_context(settings.load())
    names = _buckets(context, bucket)
    if problems:
        listed = unused(context, names)
        if as_json:
            printing.say_json({"objects": listed})
            return
        for one in listed:
            typer.echo(f"{one['object']}\n  {one['state']}: {one['reason']} [{one['code']}]")
        typer.echo(f"{len(listed)} objects make no recording." if listed else "Every object is used.")
        return
    if dry_run:
        found = look(context, names, full=full, speed=speed)
        if as_json:
            printing.say_json(found)
        else:
            _say_look(found)
        return
    try:
        reports = [_run(context, name, full=full, quiet=as_json) for name in names]
    except KeyboardInterrupt:
        typer.echo("Ended. The same command goes on from here.", err=True)
        raise typer.Exit(130) from None
    if as_json:
        printing.say_json({"buckets": [report.as_dict() for report in reports]})
        return
    for report in reports:
        changes = ", ".join(f"{number} {what}" for what, number in sorted(report.counts.items())) or "nothing new"
        typer.echo(report.note or f"{report.bucket}: {report.listed} objects listed; {changes}.")


def look(context: Context, names: list[str], *, full: bool, speed: float | None = None) -> dict[str, Any]:
    """Estimate a scan and its work; changes nothing."""
    listed, kinds = 0, {"calls": 0, "synthetic voice": 0, "texts": 0, "not audio": 0, "unusable": 0, "known": 0}
    sizes: list[tuple[str, int]] = []
    for name in names:
        try:
            for seen, found in scan.preview(context, name, full=full):
                listed += seen
                ours = _ours(context, name, found)
                for info in found:
                    kind = "known" if info.key in ours else _kind(context, info)
                    kinds[kind] += 1
                    if kind == "calls":
                        sizes.append((f".{info.key.rpartition('.')[2].lower()}", info.size_bytes))
        except ConfigurationError as error:
            if error.code != "bucket-missing":
                raise
    audio_s, basis = estimate.audio_s_of(context, sizes)
    result = estimate.of_calls(context, calls=kinds["calls"], audio_s=audio_s, basis=basis, speed=speed)
    return {"dry_run": True, "full": full, "listed": listed, "new": kinds, **result.as_dict()} | {
        "sentences": result.sentences()
    }


def unused(context: Context, names: list[str]) -> list[dict[str, Any]]:
    """Objects that are refused, gone, waiting, or a further copy of a call's audio; the latest first."""
    rows = tables.objects
    mine = sa.select(rows).where(
        rows.c.bucket.in_(names), rows.c.state.in_(("refused", "lost", "waiting", "same-call"))
    )
    return [
        {"object": _shown(f"{row.bucket}/{row.object_key}"), "state": row.state, "code": row.reason_code}
        | {"reason": row.reason, "recording": row.recording_id, "seen_at": row.seen_at.isoformat(timespec="seconds")}
        for row in context.db.rows(mine.order_by(rows.c.seen_at.desc(), rows.c.object_key).limit(MOST_SHOWN))
    ]


def _shown(name: str) -> str:
    """A foreign name for display, without control characters and phone numbers."""
    plain = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in name)
    return quantities.shortened(log.masked(plain), MAX_SHOWN_CHARS)


def _kind(context: Context, info: ObjectInfo) -> str:
    name = layouts.read(info.bucket, info.key, context.settings)
    if name.problem or (name.kind != layouts.OTHER and not info.size_bytes):
        return "unusable"
    if name.kind == layouts.AUDIO:
        return "synthetic voice" if name.synthetic else "calls"
    return "texts" if name.kind == layouts.TEXT else "not audio"


def _ours(context: Context, bucket: str, found: list[ObjectInfo]) -> set[str]:
    """Keys of objects that already have a recording."""
    rows = tables.recordings
    keys: set[str] = set()
    for begin in range(0, len(found), 500):
        some = [info.key for info in found[begin : begin + 500]]
        mine = sa.select(rows.c.object_key).where(rows.c.bucket == bucket, rows.c.object_key.in_(some))
        keys |= {row.object_key for row in context.db.rows(mine)}
    return keys


def _run(context: Context, bucket: str, *, full: bool, quiet: bool) -> scan.Report:
    if quiet:
        return scan.run(context, bucket, full=full)
    with printing.moving("{task.completed} objects") as bar:
        line = bar.add_task(bucket, total=scan.expected(context, bucket) if full else None)

        def more(report: scan.Report) -> bool:
            bar.update(line, completed=report.listed)
            return True

        return scan.run(context, bucket, full=full, more=more)


def _buckets(context: Context, bucket: str | None) -> list[str]:
    known = scan.buckets(context)
    if bucket is not None and bucket not in known:
        raise InvalidInput(
            "bucket-not-searched",
            f"The bucket {bucket[:63]} is not one of SCAN_BUCKETS.",
            f"Use one of: {', '.join(known)}, or add it to SCAN_BUCKETS.",
        )
    return [bucket] if bucket is not None else known


def _say_look(found: dict[str, Any]) -> None:
    kinds = ", ".join(f"{number} {kind}" for kind, number in found["new"].items() if number and kind != "known")
    typer.echo(f"{found['listed']} objects listed; new: {kinds or 'nothing'}.")
    for sentence in found["sentences"]:
        typer.echo(f"  {sentence}")
    typer.echo("Nothing was changed.")
