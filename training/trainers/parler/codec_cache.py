"""Recordings of the workspace -> their codes, computed once by the base's frozen codec and kept in the workspace.

Written in shards, so that a killed run keeps what it has. The shards carry the digest of what they were made from:
other rows, another recording or another codec begin anew.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ml_backend.errors import PermanentError
from training.runs.workspace import Workspace, read_json, write_json
from training.trainers.parler.parler_library import ParlerModel

_SHARD = 64  # recordings
_FULL_SCALE = 32768.0


@dataclass(frozen=True)
class ParlerRow:
    """One pair of the workspace's rows.jsonl."""

    id: str
    text: str
    language: str
    voice: str
    first: int
    samples: int
    emotion: str = ""
    split: str = "train"


def rows(workspace: Workspace) -> list[ParlerRow]:
    """The pairs; fields that other trainers read are left alone."""
    path = workspace.folder / "rows.jsonl"
    names = ParlerRow.__dataclass_fields__
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        raw = json.loads(line)
        found.append(ParlerRow(**{name: raw[name] for name in names if raw.get(name) is not None}))
    return found


def codes(
    workspace: Workspace,
    model: ParlerModel,
    wanted: list[ParlerRow],
    *,
    rate_hz: int,
    device: str,
    report: Callable[[int, int], bool],
) -> list[Tensor] | None:
    """Codes [codebooks, frames] of every row, in order. None when `report` (done, of) asks to stop."""
    folder = workspace.folder / "codes"
    key = _key(workspace, model, wanted, rate_hz)
    if (read_json(folder / "key.json") or {}).get("key") != key:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_json(folder / "key.json", {"key": key})
    audio = workspace.audio()
    model.model.audio_encoder.to(device)
    found: list[Tensor] = []
    for at in range(0, len(wanted), _SHARD):
        part = wanted[at : at + _SHARD]
        path = folder / f"{at:06d}.safetensors"
        shard = _read(path, len(part))
        if shard is None:
            shard = [_coded(model, wave, device) for wave in _waves(audio, part, rate_hz, model.rate_hz)]
            _write(path, shard)
        found += shard
        if not report(len(found), len(wanted)):
            return None
    return found


def resampled(wave: npt.NDArray[np.float32], rate_hz: int, wanted_hz: int) -> npt.NDArray[np.float32]:
    """Band-limited, through the whole recording's spectrum; the ends are mirrored, so that they do not ring."""
    if rate_hz == wanted_hz or wave.size < 2:
        return wave
    edge = min(wave.size - 1, rate_hz // 10)
    padded = np.pad(wave, edge, mode="reflect")
    length = round(padded.size * wanted_hz / rate_hz)
    spectrum = np.fft.rfft(padded)
    kept = np.zeros(length // 2 + 1, dtype=spectrum.dtype)
    shared = min(kept.size, spectrum.size)
    kept[:shared] = spectrum[:shared]
    result = np.fft.irfft(kept, n=length) * (length / padded.size)
    first = round(edge * wanted_hz / rate_hz)
    return result[first : first + round(wave.size * wanted_hz / rate_hz)].astype(np.float32)


def _waves(
    audio: npt.NDArray[np.int16], part: list[ParlerRow], rate_hz: int, wanted_hz: int
) -> Iterator[npt.NDArray[np.float32]]:
    for row in part:
        if row.samples < 1 or row.first < 0 or row.first + row.samples > audio.size:
            raise PermanentError(
                "parler-audio-short", f"The audio of row {row.id[:40]} is not in the workspace.", "Start the run anew."
            )
        yield resampled(audio[row.first : row.first + row.samples].astype(np.float32) / _FULL_SCALE, rate_hz, wanted_hz)


@torch.no_grad()
def _coded(model: ParlerModel, wave: npt.NDArray[np.float32], device: str) -> Tensor:
    missing = -wave.size % model.hop
    whole = torch.from_numpy(np.pad(wave, (0, missing)))[None, None].to(device)
    found = model.model.audio_encoder.encode(whole, n_quantizers=model.codebooks).audio_codes
    coded: Tensor = found.reshape(model.codebooks, -1).to("cpu", torch.int16)
    return coded


def _read(path: Path, wanted: int) -> list[Tensor] | None:
    try:
        found = load_file(path)
    except (OSError, SafetensorError):
        return None
    return [found[f"{n:03d}"] for n in range(wanted)] if len(found) == wanted else None


def _write(path: Path, shard: list[Tensor]) -> None:
    partial = path.with_suffix(".partial")
    save_file({f"{n:03d}": each.contiguous() for n, each in enumerate(shard)}, partial)
    partial.replace(path)


def _key(workspace: Workspace, model: ParlerModel, wanted: list[ParlerRow], rate_hz: int) -> str:
    """Of the recordings and of the codec's own weights."""
    digest = hashlib.sha256(f"{rate_hz} {model.rate_hz} {model.codebooks}".encode())
    for row in wanted:
        digest.update(f"{row.id} {row.first} {row.samples}\n".encode())
    digest.update(str((workspace.folder / "audio.i16").stat().st_size).encode())
    for name, weight in sorted(model.model.audio_encoder.state_dict().items()):
        digest.update(name.encode() + weight.flatten()[:64].to(torch.float32).numpy().tobytes())
    return digest.hexdigest()
