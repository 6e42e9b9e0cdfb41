"""All prompts of the IVR to another version at once, and back byte for byte.

A switch is planned before the first prompt is touched: every old sound is kept in AUDIO_BUCKET under its SHA-256, and a
plan that lists old and new is written beside them. Then one row of `checkpoints` says `switching`, and each prompt is
replaced in one step. Whatever was interrupted, the plan says how to go on (`switch` again) and how to go back
(`rollback`). A prompt that somebody else changed meanwhile holds neither the old nor the new bytes: it is left alone
and named.
"""

from __future__ import annotations

import json
import tempfile
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.context import Context, JobContext
from ml_backend.errors import PermanentError, RetryableError
from ml_backend.storage.object_store import sha256_of
from ml_backend.tables import checkpoints, voice_clips
from ml_backend.tts import prompts
from ml_backend.tts.prompts import PromptPlaces
from ml_backend.tts.voice_loading import Voice
from training.voices import prompt_renders
from training.voices.prompt_renders import EVERY, READY, PromptComparison, PromptScope

POSITION = "prompts"
SWITCHING, SWITCHED, ROLLING_BACK, ROLLED_BACK = "switching", "switched", "rolling-back", "rolled-back"
KEPT, PLANS = "prompts/kept", "prompts/plans"
SIDES = ("old", "new")
WHO = ("voice", "emotion", "engine", "model_version")
Report = Callable[[float, str], None]


@dataclass(frozen=True)
class SwitchState:
    """The last switch. `before` is the plan of the one before it, which a second rollback undoes."""

    state: str
    plan: str
    to: str
    before: str | None = None


@dataclass(frozen=True)
class PromptChange:
    """What a switch or a rollback did. `left`: keys that others changed or deleted meanwhile."""

    version: str
    changed: int
    already: int
    left: tuple[str, ...]


def expire_prompts(context: JobContext) -> None:
    """The job: forget sounds and plans of switches that are TTS_PROMPTS_KEPT_DAYS old, never what the last switch of a
    language needs to be finished or undone. Safe to repeat: plans go first, and a sound goes only when no plan names
    it. It ends when a switch or a rollback begins; the next run will do."""
    own, now = context.settings.audio_bucket, current(context)
    before = tables.now() - timedelta(days=context.settings.tts_prompts_kept_days)
    if now is not None and now.state in (SWITCHING, ROLLING_BACK):
        return
    lasting, needed = _lasting(context, now), set()
    for found in list(context.store.list(own, prefix=f"{PLANS}/")):
        if found.modified_at >= before or found.key in lasting:
            needed |= {entry[side] for entry in _read(context, found.key)["prompts"] for side in SIDES}
        elif not _forget(context, found.key, before, seen=now):
            return
    for found in list(context.store.list(own, prefix=f"{KEPT}/")):
        if found.modified_at >= before or found.key.removeprefix(f"{KEPT}/").removesuffix(".wav") in needed:
            continue
        if not _forget(context, found.key, before, seen=now):
            return


def _lasting(context: Context, now: SwitchState | None) -> set[str]:
    """The plans back to the last switch of each language: they are undone one after the other."""
    chain: list[str] = []
    lasting: set[str] = set()
    languages: set[str] = set()
    key = now.plan if now is not None else None
    while key is not None and context.store.stat(context.settings.audio_bucket, key) is not None:
        plan = _read(context, key)
        chain.append(key)
        folders = {entry["key"].rpartition("/")[0] for entry in plan["prompts"]}  # one for each language
        if folders - languages:
            lasting = set(chain)
            languages |= folders
        key = plan["before"]
    return lasting


def _forget(context: Context, key: str, before: datetime, *, seen: SwitchState | None) -> bool:
    """Delete what is still old, unless the state is no longer the one that was seen: then nothing, and False.

    A switch writes what it keeps again while it plans, before it says so in its state. So the age is read now.
    """
    if current(context) != seen:
        return False
    there = context.store.stat(context.settings.audio_bucket, key)
    if there is not None and there.modified_at < before:
        context.store.delete(context.settings.audio_bucket, key)
    return True


def current(context: Context) -> SwitchState | None:
    row = next(iter(context.db.rows(sa.select(checkpoints).where(checkpoints.c.name == POSITION))), None)
    return None if row is None else SwitchState(row.state, **row.position)


def switch(
    context: Context, speaker: Voice, *, scope: PromptScope = EVERY, force: bool = False,
    report: Report = lambda fraction, note: None,
) -> PromptChange:  # fmt: skip
    """Give the IVR the renderings of this version. With `force`, prompts that are not ready keep their old sound."""
    version, now = speaker.model_version, current(context)
    if now is not None and now.state in (SWITCHING, ROLLING_BACK):
        if now.state == ROLLING_BACK or now.to != version:
            _refuse_unfinished(now)
        return _finish(context, now, report)
    found = prompt_renders.compare(context, speaker, scope=scope)
    ready = [one for one in found if one.state == READY]
    if not ready or (len(ready) < len(found) and not force):
        _refuse_unready(found, version)
    plan = _planned(context, speaker, ready)
    if not plan["prompts"]:
        return PromptChange(version, 0, len(ready), ())
    key = f"{PLANS}/{tables.now():%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}.json"
    context.store.put_bytes(context.settings.audio_bucket, key, json.dumps(plan, ensure_ascii=False).encode())
    begun = SwitchState(SWITCHING, key, version, now.plan if now is not None and now.state == SWITCHED else None)
    _move(context, now, begun)
    return _finish(context, begun, report)


def rollback(context: Context, *, report: Report = lambda fraction, note: None) -> PromptChange:
    """Give the IVR the sounds it had before the last switch, finished or not."""
    now = current(context)
    if now is None or now.state == ROLLED_BACK:
        raise PermanentError(
            "prompts-not-switched", "There is no switch of prompts to undo.", "`prompts list` shows them."
        )
    going = SwitchState(ROLLING_BACK, now.plan, now.to, now.before)
    if now.state != ROLLING_BACK:
        _move(context, now, going)
    plan = _read(context, now.plan)
    change = _apply(context, plan, "new", "old", report)
    if now.before is None or context.store.stat(context.settings.audio_bucket, now.before) is None:
        _move(context, going, SwitchState(ROLLED_BACK, now.plan, now.to))
    else:
        earlier = _read(context, now.before)
        _move(context, going, SwitchState(SWITCHED, now.before, earlier["to"], earlier["before"]))
    return change


def _finish(context: Context, begun: SwitchState, report: Report) -> PromptChange:
    plan = _read(context, begun.plan)
    _keep_missing(context, plan)
    change = _apply(context, plan, "old", "new", report)
    _move(context, begun, SwitchState(SWITCHED, begun.plan, begun.to, begun.before))
    return change


def _planned(context: Context, speaker: Voice, ready: Sequence[PromptComparison]) -> dict[str, Any]:
    """Keeps every sound, old and new, that the plan names. Prompts that are by the version already are not in it."""
    places, own, entries = PromptPlaces.of(context.settings), context.settings.audio_bucket, []
    context.store.ensure_bucket(own)
    clips = {
        row.key: row for row in context.db.rows(sa.select(voice_clips).where(voice_clips.c.bucket == places.bucket))
    }
    with tempfile.TemporaryDirectory(prefix="kaan-prompts-") as folder:
        for one in ready:
            sound, shas = Path(folder) / "prompt.wav", {}
            for name, key in (("old", one.prompt.key), ("new", one.rendering)):
                shas[name] = context.store.fetch(places.bucket, key, sound)
                # written again where it is there: retention counts from now
                context.store.replace_file(own, f"{KEPT}/{shas[name]}.wav", sound, content_type=prompts.WAV)
            if shas["old"] == shas["new"]:
                continue
            asked = prompt_renders.to_say(speaker, one.prompt)
            who = {
                "voice": asked.voice,
                "emotion": asked.emotion,
                "engine": prompts.ENGINE,
                "model_version": asked.version,
            }
            old = {name: getattr(clips.get(one.prompt.key), name, None) for name in WHO}
            entries.append({"key": one.prompt.key, "rendering": one.rendering, **shas, "old_who": old, "new_who": who})
    now = current(context)
    before = now.plan if now is not None and now.state == SWITCHED else None
    return {"to": speaker.model_version, "before": before, "bucket": places.bucket, "prompts": entries}


def _keep_missing(context: Context, plan: dict[str, Any]) -> None:
    """Keep again what the expiry took while the switch was planned; no prompt is replaced before that."""
    own = context.settings.audio_bucket
    with tempfile.TemporaryDirectory(prefix="kaan-prompts-") as folder:
        sound = Path(folder) / "prompt.wav"
        for entry in plan["prompts"]:
            for side, source in (("old", entry["key"]), ("new", entry.get("rendering"))):
                kept = f"{KEPT}/{entry[side]}.wav"
                if source is None or context.store.stat(own, kept) is not None:
                    continue
                if _sha256(context, plan["bucket"], source, sound) == entry[side]:
                    context.store.replace_file(own, kept, sound, content_type=prompts.WAV)


def _apply(context: Context, plan: dict[str, Any], source: str, target: str, report: Report) -> PromptChange:
    changed, already, left = 0, 0, []
    with tempfile.TemporaryDirectory(prefix="kaan-prompts-") as folder:
        sound, there = Path(folder) / "kept.wav", Path(folder) / "there.wav"
        for number, entry in enumerate(plan["prompts"], 1):
            holds = _sha256(context, plan["bucket"], entry["key"], there)
            if holds == entry[source]:
                context.store.fetch(context.settings.audio_bucket, f"{KEPT}/{entry[target]}.wav", sound)
                if sha256_of(sound) != entry[target]:
                    raise PermanentError(
                        "prompt-kept-damaged", f"The kept sound of {entry['key'][:80]} is damaged.",
                        "Bring AUDIO_BUCKET back from a backup, then repeat the command.",
                    )  # fmt: skip
                context.store.replace_file(plan["bucket"], entry["key"], sound, content_type=prompts.WAV)
                changed += 1
            elif holds == entry[target]:
                already += 1
            else:
                left.append(entry["key"])
                continue
            _note(context, plan["bucket"], entry["key"], entry[f"{target}_who"])
            report(number / len(plan["prompts"]), f"prompt {number:,} of {len(plan['prompts']):,}")
    return PromptChange(plan["to"], changed, already, tuple(left))


def _sha256(context: Context, bucket: str, key: str, target: Path) -> str:
    """Of what the IVR reads now; empty where it was deleted."""
    try:
        return context.store.fetch(bucket, key, target)
    except PermanentError as error:
        if error.code != "object-missing":
            raise
        return ""


def _note(context: Context, bucket: str, key: str, who: dict[str, Any]) -> None:
    values = {"bucket": bucket, "key": key, "updated_at": tables.now(), **who}
    with context.db.transaction() as connection:
        db.upsert(connection, voice_clips, values, key=("bucket", "key"))


def _read(context: Context, key: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="kaan-prompts-") as folder:
        path = Path(folder) / "plan.json"
        context.store.fetch(context.settings.audio_bucket, key, path)
        plan: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return plan


def _move(context: Context, seen: SwitchState | None, then: SwitchState) -> None:
    """Write the state, unless another process wrote it meanwhile."""
    position = {"plan": then.plan, "to": then.to, "before": then.before}
    with context.db.transaction() as connection:
        if seen is None:
            row = {"name": POSITION, "position": position, "state": then.state}
            if db.insert_missing(connection, checkpoints, [row], returning=("name",)):
                return
        else:
            row_there = connection.execute(
                sa.select(checkpoints).where(checkpoints.c.name == POSITION).with_for_update()
            ).one()
            if SwitchState(row_there.state, **row_there.position) == seen:
                values = {"position": position, "state": then.state, "updated_at": tables.now()}
                connection.execute(sa.update(checkpoints).where(checkpoints.c.name == POSITION).values(**values))
                return
    raise RetryableError(
        "prompts-moved", "Another process switches prompts now.", "Look at `prompts list`, then decide."
    )


def _refuse_unfinished(now: SwitchState) -> None:
    if now.state == ROLLING_BACK:
        raise PermanentError(
            "prompts-unfinished", f"The rollback of {now.to} was interrupted.", "`prompts rollback` finishes it."
        )
    raise PermanentError(
        "prompts-unfinished", f"The switch to {now.to} was interrupted.",
        f"`prompts switch --version {now.to}` finishes it; `prompts rollback` undoes it.",
    )  # fmt: skip


def _refuse_unready(found: Sequence[PromptComparison], version: str) -> None:
    if not found:
        raise PermanentError(
            "prompts-none", "No prompt of the IVR has a known text.", "`prompts list` shows which ones lack it."
        )
    lacking = sum(one.state != READY for one in found)
    raise PermanentError(
        "prompts-not-ready", f"{lacking:,} of {len(found):,} prompts are not ready by {version}.",
        "`prompts render`, then `prompts compare` shows which; --force leaves those as they are.",
    )  # fmt: skip
