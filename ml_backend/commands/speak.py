"""`speak`: text -> a WAV file in this process, without queue or Label Studio."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ml_backend import settings
from ml_backend.commands import printing
from ml_backend.errors import ConfigurationError, InvalidInput
from ml_backend.models import kinds
from ml_backend.serving import chosen_model

if TYPE_CHECKING:
    from ml_backend.tts.prompts import Saying
    from ml_backend.tts.voice_loading import Voice

app = typer.Typer(add_completion=False)


@app.command()
def speak(
    text: Annotated[str, typer.Argument(help="What to say, in the letters of its language.")],
    out: Annotated[Path | None, typer.Option(help="The WAV file to write.", metavar="FILE")] = None,
    language: Annotated[str, typer.Option(help="Language of the text, e.g. hi.")] = "hi",
    voice: Annotated[str | None, typer.Option(help="Name of a voice of this version; else its first.")] = None,
    emotion: Annotated[str | None, typer.Option(help="Name of an emotion of this version; else its first.")] = None,
    tempo: Annotated[float, typer.Option(help="1 is the voice's own; 1.2 is a fifth quicker.")] = 1.0,
    model: Annotated[str, typer.Option(help=chosen_model.MODEL_HELP)] = "",
    keep: Annotated[bool, typer.Option("--keep", help="Keep it for the IVR, and speak it only once.")] = False,
    as_json: printing.AsJson = False,
) -> None:
    """Say a text with the voice that serves, into a WAV file, or into the IVR's prompts, or both.

    Example: python -m ml_backend speak "आपका order भेज दिया है।" --language hi --out order.wav
    """
    from ml_backend.tts import prompts, voice_loading

    if out is None and not keep:
        raise InvalidInput("speech-nowhere", "The speech has no place to go.", "Give --out FILE, or --keep.")
    speaker = voice_loading.load(settings.load(), Path(chosen_model.location(kinds.TTS, model, language=language)))
    began = time.perf_counter()
    asked = prompts.saying(speaker, text, language, voice=voice, emotion=emotion, tempo=tempo)
    facts: dict[str, Any] = {"text": text, "language": language, "voice": asked.voice, "emotion": asked.emotion,
                             "model_version": asked.version}  # fmt: skip
    if keep:
        facts |= _kept(speaker, asked, out)
    elif out is not None:
        facts |= _written(speaker, asked, out)
    facts["took_s"] = round(time.perf_counter() - began, 3)
    where = " and ".join(filter(None, (facts.get("prompt"), facts.get("path"))))
    length = f"{facts['duration_s']:.1f} s " if "duration_s" in facts else ""
    before = ", spoken before" if facts.get("spoken") is False else ""
    sentence = f"{where}: {length}by {asked.voice} of {asked.version}, in {facts['took_s']:.1f} s{before}"
    printing.result(facts, sentence, as_json=as_json)


def _written(speaker: Voice, asked: Saying, out: Path) -> dict[str, Any]:
    speech = speaker.speak(
        asked.text, language=asked.language, voice=asked.voice, emotion=asked.emotion, tempo=asked.tempo
    )
    path = _write(out, speech.to_wav())
    return {"path": path, "duration_s": round(speech.duration_s, 3), "rate_hz": speech.rate_hz, "text": speech.text}


def _kept(speaker: Voice, asked: Saying, out: Path | None) -> dict[str, Any]:
    import tempfile

    from ml_backend.commands.command_line import quiet_context
    from ml_backend.tts import prompts

    context = quiet_context()
    key, new = prompts.spoken(context, speaker, asked)
    live = prompts.offer(context, asked, key)
    bucket = prompts.PromptPlaces.of(context.settings).bucket
    facts: dict[str, Any] = {"prompt": f"{bucket}/{live}", "rendering": f"{bucket}/{key}", "spoken": new}
    if out is not None:
        with tempfile.TemporaryDirectory(prefix="kaan-speak-") as folder:
            context.store.fetch(bucket, key, Path(folder) / "speech.wav")
            facts["path"] = _write(out, (Path(folder) / "speech.wav").read_bytes())
    return facts


def _write(out: Path, data: bytes) -> str:
    try:
        out.write_bytes(data)
    except OSError as error:
        raise ConfigurationError(
            "speech-file", f"{out} cannot be written: {error.strerror}.", "Name a file in a folder that you may write."
        ) from error  # fmt: skip
    return str(out)
