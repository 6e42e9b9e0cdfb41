"""`speak`: text -> a WAV file in this process, without database, queue or Label Studio."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from ml_backend.commands import printing
from ml_backend.errors import ConfigurationError

app = typer.Typer(add_completion=False)


@app.command()
def speak(
    text: Annotated[str, typer.Argument(help="What to say, in the letters of its language.")],
    out: Annotated[Path, typer.Option(help="The WAV file to write.", metavar="FILE")],
    language: Annotated[str, typer.Option(help="Language of the text, e.g. hi.")] = "hi",
    voice: Annotated[str | None, typer.Option(help="Name of a voice of this version; else its first.")] = None,
    emotion: Annotated[str | None, typer.Option(help="Name of an emotion of this version; else its first.")] = None,
    tempo: Annotated[float, typer.Option(help="1 is the voice's own; 1.2 is a fifth quicker.")] = 1.0,
    as_json: printing.AsJson = False,
) -> None:
    """Say a text with the bundled voice and write a WAV file.

    Example: python -m ml_backend speak "आपका order भेज दिया है।" --language hi --out order.wav
    """
    from ml_backend.tts.speaking import BUNDLED, Speaker

    speaker, began = Speaker.load(BUNDLED), time.perf_counter()
    speech = speaker.speak(text, language=language, voice=voice, emotion=emotion, tempo=tempo)
    took_s = time.perf_counter() - began
    try:
        out.write_bytes(speech.to_wav())
    except OSError as error:
        raise ConfigurationError(
            "speech-file", f"{out} cannot be written: {error.strerror}.", "Name a file in a folder that you may write."
        ) from error  # fmt: skip
    facts = {
        "path": str(out), "duration_s": round(speech.duration_s, 3), "rate_hz": speech.rate_hz, "text": speech.text,
        "language": speech.language, "voice": speech.voice, "emotion": speech.emotion,
        "model_version": speech.model_version, "took_s": round(took_s, 3),
    }  # fmt: skip
    printing.result(
        facts,
        f"{out}: {speech.duration_s:.1f} s by {speech.voice} of {speech.model_version}, in {took_s:.1f} s",
        as_json=as_json,
    )
