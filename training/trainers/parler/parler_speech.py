"""`python -m training.trainers.parler.parler_speech REQUEST.json`: texts -> WAV files, by a Parler model in a folder.

The request: {"model": folder, "lines": [{"text", "voice", "language", "emotion", "out"}], "device", "threads", "seed"}.
The answer is written beside it, REQUEST.answer.json: {"state": "done", "lines": [{"out", "duration_s", "rate_hz"}]}, or
{"state": "failed", "branch", "code", "sentence", "next"}. The model is loaded once for all lines.
"""

from __future__ import annotations

import sys
import wave
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ml_backend import quantities
from ml_backend.errors import InvalidInput, KaanError, PermanentError
from ml_backend.models import manifest
from training.runs.workspace import read_json, write_json
from training.trainers import outcome
from training.trainers.parler import parler_library
from training.trainers.parler.parler_library import ParlerModel
from training.trainers.parler.parler_options import description

LONGEST_TEXT = 600  # characters of one call of the model: half a minute, which is what it was trained on
_LONGEST_S = 30.0
_SHOWN = 12
_UNKNOWN = {
    "language": "speech-language-unknown", "voice": "speech-voice-unknown", "emotion": "speech-emotion-unknown",
}  # fmt: skip


def main(path: Path) -> int:
    outcome.first_to_go()
    answer = path.with_suffix(".answer.json")
    answer.unlink(missing_ok=True)
    try:
        lines = spoken(read_json(path) or {})
    except KaanError as error:
        write_json(answer, outcome.failure(error))
        return 1
    except MemoryError:
        write_json(answer, outcome.failure(too_large()))
        return 1
    write_json(answer, {"state": "done", "lines": lines})
    return 0


def spoken(request: dict[str, Any]) -> list[dict[str, Any]]:
    """Every line is checked before the model is loaded, so that the tenth does not fail after nine minutes."""
    import torch

    folder = Path(str(request.get("model", "")))
    needs = _needs(folder)
    sentences = [_sentence(line, needs, folder.name) for line in request.get("lines", [])]
    torch.set_num_threads(int(request.get("threads", 1)))
    device = parler_library.device(str(request.get("device", "auto")))
    found = parler_library.load(str(folder))
    found.model.to(device)
    lines = []
    for line, sentence in zip(request["lines"], sentences, strict=True):
        torch.manual_seed(int(request.get("seed", 1)))
        try:
            samples = say(found, str(line["text"]), sentence, device=device)
        except PermanentError as error:  # a sentence that ends before it began costs the others nothing
            lines.append({"out": line["out"], "failed": outcome.failure(error)})
            continue
        write_wav(Path(line["out"]), samples, found.rate_hz)
        lines.append(
            {
                "out": line["out"],
                "duration_s": round(samples.size / found.rate_hz, 3),
                "rate_hz": found.rate_hz,
                "description": sentence,
            }
        )
    return lines


def say(
    found: ParlerModel, text: str, sentence: str, *, device: str, most_s: float = _LONGEST_S
) -> npt.NDArray[np.float32]:
    """Samples of one text in the described voice."""
    import torch

    said = found.prompts([text], return_tensors="pt")
    described = found.descriptions([sentence], return_tensors="pt")
    # at least one frame in every codebook, or the delayed pattern has no place for an end
    most = max(2 * found.codebooks, round(most_s * found.rate_hz / found.hop) + found.codebooks)
    with torch.no_grad():
        samples = found.model.generate(
            input_ids=described["input_ids"].to(device), attention_mask=described["attention_mask"].to(device),
            prompt_input_ids=said["input_ids"].to(device), prompt_attention_mask=said["attention_mask"].to(device),
            do_sample=True, temperature=1.0, max_length=most,
        )  # fmt: skip
    result = samples.float().cpu().numpy().reshape(-1)
    if result.size < 2 or not np.isfinite(result).all():
        raise PermanentError(
            "parler-silent",
            "The model ended before it said anything.",
            "Train it on more recordings, or try another seed.",
        )
    return np.asarray(result, dtype=np.float32)


def write_wav(path: Path, samples: npt.NDArray[np.float32], rate_hz: int) -> None:
    """16-bit mono, completely or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with wave.open(str(partial), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(np.round(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    partial.replace(path)


def too_large() -> PermanentError:
    return PermanentError(
        "training-out-of-memory", "Parler-TTS did not fit into memory.",
        "Use a smaller batch, gradient checkpointing, LoRA instead of full training, or a larger machine.",
    )  # fmt: skip


def _needs(folder: Path) -> dict[str, Any]:
    """What a version of ours knows; nothing of a published model, which takes any description."""
    if not folder.is_dir():
        raise PermanentError(
            "parler-model-missing",
            f"There is no model folder {folder.name[:60]!r}.",
            "Name a version that is installed.",
        )
    if not (folder / manifest.FILE).is_file():
        return {}
    return dict(manifest.verify(folder).needs) | {"languages": list(manifest.read(folder).languages)}


def _sentence(line: dict[str, Any], needs: dict[str, Any], name: str) -> str:
    text = str(line.get("text", ""))
    if not any(letter.isalnum() for letter in text):
        raise InvalidInput("speech-text-empty", "The text has nothing to say in it.", "Send at least one word.")
    if len(text) > LONGEST_TEXT:
        raise InvalidInput(
            "speech-text-too-long", f"The text has {len(text)} characters; this voice says at most {LONGEST_TEXT}.",
            "Send it in parts.",
        )  # fmt: skip
    language = _one_of(needs.get("languages"), line, "language", f"{name} does not speak")
    voice = _one_of(needs.get("voices"), line, "voice", f"{name} has no voice")
    emotion = _one_of(needs.get("emotions"), line, "emotion", f"{name} has no emotion")
    return str(line.get("description") or description(voice, language, emotion, given=needs.get("descriptions")))


def _one_of(known: list[str] | None, line: dict[str, Any], field: str, sentence: str) -> str:
    """The line's value, the first known one where it names none; a published model takes any."""
    name = str(line.get(field) or "")
    if not known or name in known:
        return name
    if not name:
        return known[0]
    names = ", ".join(known[:_SHOWN]) + (", ..." if len(known) > _SHOWN else "")
    raise InvalidInput(_UNKNOWN[field], f"{sentence} {quantities.shortened(name, 40)!r}.", f"It knows: {names}.")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
