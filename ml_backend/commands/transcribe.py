"""`transcribe`: audio files -> text in this process, without database, queue or Label Studio."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ml_backend import settings as settings_of
from ml_backend.asr.request import Request
from ml_backend.asr.transcript import NO_TEXT, DecodingProfile, Transcript
from ml_backend.commands import printing
from ml_backend.errors import KaanError
from ml_backend.labelling import decoding_profile
from ml_backend.settings import Settings

if TYPE_CHECKING:
    from ml_backend.asr.engine import Transcriber

app = typer.Typer(add_completion=False)


@dataclass(frozen=True)
class FileOutcome:
    """One file's outcome. state: transcribed, no-speech, cut (transcribed as far as it goes), refused."""

    path: str
    state: str
    reason: str | None = None
    next_step: str | None = None
    transcript: Transcript | None = None

    def to_json(self) -> dict[str, Any]:
        """The object `--json` prints."""
        found = self.transcript
        return {
            "path": self.path,
            "state": self.state,
            "reason": self.reason,
            "language": found.language if found else None,
            "text": found.text if found else None,
            "confidence": round(found.confidence, 4) if found else None,
            "model_version": found.model_version if found else None,
            "segments": [asdict(segment) for segment in found.segments] if found else [],
        }


@app.command()
def transcribe(
    files: Annotated[list[Path], typer.Argument(help="Audio files of any usual format.", metavar="FILE...")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per file and line.")] = False,
    language: Annotated[str | None, typer.Option(help="Language of the calls, e.g. hi; else detected.")] = None,
    prompt: Annotated[str | None, typer.Option(help="Words the calls are likely to hold.")] = None,
) -> None:
    """Transcribe audio files; exit code 1 when a file could not be.

    Example: python -m ml_backend transcribe call.wav other.mp3 --language hi --json
    """
    from ml_backend.asr import engine
    from ml_backend.serving import default_model

    settings = settings_of.load()
    profile = replace(decoding_profile.of_settings(settings, language=language), prompt=prompt)
    transcriber = engine.Transcriber.load(default_model.location_of(settings).removeprefix("hub:"), settings=settings)
    refused = 0
    for outcome in _progress(_transcribe_all(files, transcriber, profile, settings), total=len(files)):
        refused += outcome.state == "refused"
        if as_json:
            printing.say_json(outcome.to_json())
        else:
            _print(outcome, several=len(files) > 1)
    raise typer.Exit(1 if refused else 0)


def _transcribe_all(
    files: Sequence[Path], transcriber: Transcriber, profile: DecodingProfile, settings: Settings
) -> Iterator[FileOutcome]:
    """Outcomes in the order of the files, each as soon as it is ready, so that a pipe gets it at once.

    Files are therefore not pooled; `worker transcribe` pools bulk work.
    """
    for path in files:
        one = _prepared(path, profile, settings, transcriber)
        if isinstance(one, FileOutcome):
            yield one
            continue
        (answer,) = transcriber.transcribe([one.request])
        yield _outcome(one.path, answer, one.duration_s, cut=one.cut)


@dataclass(frozen=True)
class _Ready:
    """A decoded file; `cut` is the second at which a truncated file ends."""

    path: str
    request: Request
    duration_s: float
    cut: bool


def _prepared(
    path: Path, profile: DecodingProfile, settings: Settings, transcriber: Transcriber
) -> FileOutcome | _Ready:
    """Decode a file. A long one is transcribed here, span by span."""
    from ml_backend.asr import long_audio
    from ml_backend.audio import decoding as audio
    from ml_backend.audio import quality
    from ml_backend.audio import spans as pauses

    try:
        with tempfile.TemporaryDirectory(prefix="kaan-transcribe-") as folder:
            wav = Path(folder) / "audio.wav"
            decoded = audio.decode(path, wav, limits=audio.Limits(max_duration_s=settings.max_recording_s))
            if decoded.duration_s > long_audio.AT_ONCE_S:
                found = quality.measure_wav(wav, source_rate_hz=decoded.rate_hz)
                spans = pauses.spans(
                    found.speech, found.powers, duration_s=decoded.duration_s, most_s=long_audio.AT_ONCE_S
                )
                answer = long_audio.transcribe_long(transcriber, wav, profile, spans=spans)
                return _outcome(str(path), answer, decoded.duration_s, cut=decoded.cut)
            samples, _ = audio.read_wav(wav)
    except KaanError as error:
        return _refused(str(path), error)
    return _Ready(str(path), Request(samples, profile, key=str(path)), decoded.duration_s, decoded.cut)


def _outcome(path: str, answer: Transcript | KaanError, duration_s: float, *, cut: bool) -> FileOutcome:
    if isinstance(answer, KaanError):
        return _refused(path, answer)
    if cut:
        return FileOutcome(path, "cut", f"audio cut at {duration_s:.0f} s", transcript=answer)
    return FileOutcome(path, "transcribed" if answer.segments else "no-speech", transcript=answer)


def _refused(path: str, error: KaanError) -> FileOutcome:
    return FileOutcome(path, "refused", error.sentence, error.next_step)


def _print(outcome: FileOutcome, *, several: bool) -> None:
    label = f"{outcome.path}: " if several else ""
    if outcome.state == "refused":
        typer.echo(f"{outcome.path}: {outcome.reason} {outcome.next_step or ''}".rstrip(), err=True)
    elif outcome.state == "no-speech":
        typer.echo(f"{outcome.path}: no speech", err=True)
    else:
        if outcome.state == "cut":
            typer.echo(f"{outcome.path}: {outcome.reason}; this is the text up to there", err=True)
        segments = outcome.transcript.segments if outcome.transcript else ()
        if untranscribed := [segment.start_s for segment in segments if NO_TEXT in segment.flags]:
            places = ", ".join(f"{int(place) // 60}:{int(place) % 60:02d}" for place in untranscribed)
            typer.echo(f"{outcome.path}: speech without a text at {places}", err=True)
        typer.echo(label + (outcome.transcript.text if outcome.transcript else ""))


def _progress(outcomes: Iterator[FileOutcome], *, total: int) -> Iterator[FileOutcome]:
    """The same outcomes, with a progress bar on stderr if it is a terminal."""
    with printing.moving("{task.completed}/{task.total}") as progress:
        task = progress.add_task("Transcribing", total=total)
        for outcome in outcomes:
            progress.advance(task)
            yield outcome
