"""Dataset -> the folder of a run that trains a voice; the trainer's result -> worth serving, or not.

The base decides the trainer: a Parler-TTS is trained in an environment of its own, the bundled kind of voice in this
one. Both read the same folder. The audio is the normalised one of the recordings, at 16 kHz.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from ml_backend.audio import decoding
from ml_backend.context import Context
from ml_backend.errors import ConfigurationError, PermanentError
from ml_backend.models import kinds, manifest
from ml_backend.settings import Settings
from ml_backend.tables import datasets, recordings
from ml_backend.tts import parler_environment
from training.datasets import dataset
from training.kinds import kind_bases
from training.kinds.kind_bases import KindBase
from training.runs import voice_rows
from training.runs.tts_arguments import TtsArguments
from training.runs.voice_rows import VoiceRow
from training.runs.workspace import Workspace
from training.trainers.parler.parler_options import ParlerOptions
from training.voices import public_voices

WEIGHTS = Path(__file__).parents[1] / "demo_voice" / "weights"  # the bundled voice's, to go on from
RATE_HZ = 16_000
PARLER = "parler_tts"
LEAST_CLIPS = 10
_UNKNOWN = "unknown"


def options(raw: Mapping[str, Any]) -> TtsArguments | ParlerOptions:
    """Of the trainer that the base needs."""
    known = ParlerOptions if _is_parler(str(raw.get("base", ""))) else TtsArguments
    return known.from_json(dict(raw))


def interpreter(settings: Settings, plan: Mapping[str, Any]) -> list[str]:
    """The Python that runs the trainer of this plan."""
    if plan.get("trainer") == parler_environment.TRAINER:
        return [str(parler_environment.python(settings))]
    return kinds.same_interpreter(settings, plan)


def prepare(context: Context, row: Any, workspace: Workspace, note: Callable[..., None]) -> None:
    """Fill the workspace with plan, rows and audio; refuses data that no voice can be learnt from."""
    arguments = options(dict((row.arguments or {}).get("options") or {}))
    base = _base(context, arguments.base)
    parler = _is_parler(base.location)
    if parler:
        parler_environment.check(context.settings)
    name = arguments.name or base.name
    manifest.require_name(name)
    lines = [line for line in dataset.read(context, row.dataset_id) if line["split"] != "test"]
    if sum(line["split"] == "train" for line in lines) < LEAST_CLIPS:
        raise PermanentError(
            "training-data-refused", f"{len(lines)} clips are too few for a voice; at least {LEAST_CLIPS} are needed.",
            "Bring in more: `voices import`, `voices coverage` says what is missing. Then export anew.",
        )  # fmt: skip
    gone: list[str] = []
    kept = voice_rows.write(workspace, _rows(context, lines, gone))
    if len(gone) > 0.2 * len(lines):
        raise PermanentError(
            "training-data-refused", f"The audio of {len(gone)} of {len(lines)} clips is not there any more.",
            "Export anew, and train on the new version.",
        )  # fmt: skip
    counts = {split: sum(one.split == split for one in kept) for split in ("train", "validation")}
    seconds = sum(one.samples for one in kept) / RATE_HZ
    note(
        base_version=base.version or base.location,
        metrics={**counts, "train_s": round(seconds, 1), "left_out": {"audio-missing": {"count": len(gone)}}},
    )
    data = context.db.row(datasets, row.dataset_id)
    workspace.write_plan(
        {
            "arguments": arguments.to_json(), "base": base.location, "base_version": base.version,
            "base_name": name, "name": name,
            "languages": sorted({one.language for one in kept}), "sample_rate_hz": RATE_HZ,
            "voices": sorted({one.voice for one in kept}), "memory_share": context.settings.training_memory_share,
            "trained_on": f"dataset {data.name}@{data.version}, run {row.id}, from {base.version or base.location}",
            **({"trainer": parler_environment.TRAINER} if parler else {}),
        }
    )  # fmt: skip


def require_worth(result: dict[str, Any]) -> None:
    """Refuse a result whose served form speaks otherwise than the trained one. The gate judges the rest."""
    parity = result["parity"]
    if not parity["passed"]:
        raise PermanentError(
            "parity-failed",
            f"The served form is {parity['difference']:.4f} from the trained one; {parity['bound']} is allowed.",
            "Train again; report it if it happens twice.",
        )


def _rows(
    context: Context, lines: list[dict[str, Any]], gone: list[str]
) -> Iterator[tuple[VoiceRow, npt.NDArray[np.float32]]]:
    for line in lines:
        samples = samples_of(context, line)
        if samples is None:
            gone.append(line["id"])
            continue
        yield VoiceRow(
            line["id"], line["text"], line["language"], line["voice"] or _UNKNOWN, line["emotion"] or "neutral",
            split=line["split"],
        ), samples  # fmt: skip


def samples_of(context: Context, line: dict[str, Any]) -> npt.NDArray[np.float32] | None:
    """The normalised audio of a line, mono at 16 kHz; None where it is not there any more."""
    found = context.db.rows(
        sa.select(recordings.c.derived_key)
        .where(recordings.c.sha256 == line["audio_sha256"], recordings.c.state == "ready")
        .where(recordings.c.derived_key.is_not(None))
        .limit(1)
    )
    if not found:
        return _public_samples(context, line) if line["engine"] == public_voices.ENGINE else None
    key, bucket = found[0].derived_key, context.settings.audio_bucket
    path = context.store.open_local(bucket, key)
    if path is not None:
        return np.asarray(decoding.read_wav(path)[0][0], dtype=np.float32)
    with tempfile.TemporaryDirectory(prefix="kaan-voices-") as folder:
        path = Path(folder) / "audio.wav"
        context.store.fetch(bucket, key, path)
        return np.asarray(decoding.read_wav(path)[0][0], dtype=np.float32)


def _public_samples(context: Context, line: dict[str, Any]) -> npt.NDArray[np.float32] | None:
    """A public recording, which no ingest has normalised; None where it was taken away meanwhile."""
    with tempfile.TemporaryDirectory(prefix="kaan-voices-") as folder:
        given, decoded = Path(folder) / "given", Path(folder) / "decoded.wav"
        try:
            context.store.fetch(line["bucket"], line["key"], given)
            decoding.decode(given, decoded)
        except PermanentError:
            return None
        return np.asarray(decoding.read_wav(decoded)[0][0], dtype=np.float32)


def _is_parler(base: str) -> bool:
    """Whether a folder's configuration, or a hub's name, is of a Parler-TTS."""
    try:
        found = json.loads((Path(base) / "config.json").read_text(encoding="utf-8"))
        return isinstance(found, dict) and found.get("model_type") == PARLER
    except (OSError, ValueError):
        return "parler" in base.lower() and not Path(base).is_dir()


def _base(context: Context, named: str) -> KindBase:
    """A folder, a version, or a Parler-TTS of the hub."""
    found = kind_bases.find(context, named, kinds.TTS, shipped=WEIGHTS)
    if found is None and not _is_parler(named):
        raise ConfigurationError(
            "voice-base-unsupported", f"{named[:80]} is no folder, no registered version and no Parler-TTS.",
            "Name champion, bundled, a version, a folder of weights, or a Parler-TTS of the hub.",
        )  # fmt: skip
    return found or KindBase(named, None, named.split("/")[-1])
