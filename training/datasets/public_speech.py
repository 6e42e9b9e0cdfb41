"""Public speech -> manifest lines, for training only, never for validation or the test set.

`layout:place[:language]`: the layout says how texts and audio are stored; the place is a local folder, or a name on the
Hugging Face hub.

    fleurs     {language}_{region}/train.tsv (id, file, text as written, …, gender) and audio/train/*.wav
    rasa       Parquet files with audio, text, language, gender, style, filename
    indictts   Parquet files with audio, text, gender; or txt.done.data, ( name "text" ) per line, beside wav/
    rural_women  Parquet files with audio and text, train_real-*; what is synthetic or the benchmark is not read
    globe      Parquet files with audio, text (or transcript), speaker_id, accent, and descriptions where annotated
    limmits    {speaker}/*_Transcripts.json, Transcripts: {name: {Transcript, Domain}}, beside wav/ or wavs/

Only each source's own training part is used. Rows are chosen by a hash of their names, so that the same share of the
same source gives the same rows. Their audio is normalised like a call's and stored under its hash in our bucket.
"""

from __future__ import annotations

import csv
import hashlib
import heapq
import json
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ml_backend import languages, packages, quantities
from ml_backend.audio import decoding
from ml_backend.context import Context
from ml_backend.errors import ConfigurationError, InvalidInput, PermanentError
from ml_backend.languages import scripts_in
from training.datasets import splits
from training.datasets.clip_audio import public_key, wav
from training.datasets.dataset_rows import MAX_S
from training.datasets.public_corpora import CORPORA
from training.text.writing import strict

LAYOUTS = tuple(CORPORA)
_TRAINING = {"rural_women": "train_real"}  # the beginning of a file's name, or the name of a split; else `train`
_TEXTS = ("raw_transcription", "text", "transcript", "transcription")
_SOUNDS = ("audio", "audio_filepath")
_EVALUATION = "EVAL"  # LIMMITS: a domain for tests
_SYSPIN = re.compile(r"IISc_SYSPINProject_([a-z]+)_([mf])_", re.IGNORECASE)
_NAMES = {one.code: one.name for one in languages.LANGUAGES.values() if not one.parts}
_FESTIVAL = re.compile(r'\(\s*(\S+)\s+"(.*)"\s*\)')
_MOST_FIELD_CHARS = 131_072


@dataclass(frozen=True)
class SpeechSource:
    """One public source of the filters."""

    layout: str
    place: str
    language: str = ""

    @classmethod
    def of(cls, text: str) -> SpeechSource:
        layout, _, rest = text.partition(":")
        place, _, language = rest.partition(":")
        if layout not in LAYOUTS or not place:
            raise InvalidInput(
                "bad-public-source", f"{text[:60]!r} names no public source.",
                f"Write layout:place[:language]; layouts: {', '.join(LAYOUTS)}.",
            )  # fmt: skip
        return cls(layout, place, language)

    def require(self) -> None:
        """ConfigurationError when a library that it needs is not installed."""
        if self.folder is None:
            packages.require("Public speech from the hub", "datasets")
        elif self.layout not in ("fleurs", "limmits"):
            packages.require("Public speech in Parquet", "pyarrow")

    @property
    def folder(self) -> Path | None:
        path = Path(self.place).expanduser()
        return path if path.is_dir() else None


@dataclass(frozen=True)
class PublicUtterance:
    """`name` is unique in its source; `read` returns the bytes of its audio."""

    name: str
    text: str
    language: str
    speaker: str
    read: Callable[[], bytes]
    style: str = ""  # of the corpus: ALEXA, HAPPY


def lines(context: Context, sources: list[SpeechSource], wanted: int) -> Iterator[tuple[dict[str, Any], str]]:
    """(line, reason why it is left out, or empty) of `wanted` utterances, spread over the sources by hash."""
    chosen = _chosen(sources, wanted)
    with tempfile.TemporaryDirectory(prefix="kaan-public-") as folder:
        for source in sources:
            for utterance in utterances(source):
                if (key := _key(source, utterance)) in chosen:
                    chosen.discard(key)  # the first of two rows with one name counts
                    yield _line(context, source, utterance, Path(folder))


def utterances(source: SpeechSource) -> Iterator[PublicUtterance]:
    """Everything in the training part of a source. ConfigurationError where a copy is damaged."""
    try:
        yield from _everything(source)
    except (ValueError, OSError, csv.Error) as error:  # not UTF-8, not Parquet, cut short
        raise ConfigurationError(
            "public-source-damaged",
            f"{source.place[:60]} cannot be read: {quantities.shortened(str(error), 120)}.",
            "Copy it anew.",
        ) from error


def _everything(source: SpeechSource) -> Iterator[PublicUtterance]:
    folder = source.folder
    if folder is None:
        yield from _from_hub(source)
    elif source.layout == "limmits":
        yield from _syspin(source, folder)
    elif source.layout == "fleurs":
        yield from _fleurs(source, folder)
    elif source.layout == "indictts" and (lists := sorted(folder.rglob("txt.done.data"))):
        for path in lists:
            yield from _festival(source, folder, path)
    else:
        yield from _parquet(source, folder)


def _fleurs(source: SpeechSource, folder: Path) -> Iterator[PublicUtterance]:
    found = sorted(path for path in folder.rglob("train.tsv") if path.parent.name.startswith(f"{source.language}_"))
    if not source.language or not found:
        raise _nothing(source, "a folder such as hi_in with train.tsv, and a language")
    for listed in found:
        wavs = next(
            (each for each in (listed.parent / "audio" / "train", listed.parent / "train") if each.is_dir()), None
        )
        if wavs is None:
            raise _nothing(source, "audio/train beside train.tsv")
        with listed.open(encoding="utf-8", newline="") as stream:
            csv.field_size_limit(_MOST_FIELD_CHARS)  # of the process: the import of utterances allows more
            for row in csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE):
                if not row:
                    continue
                row += [""] * (7 - len(row))  # a truncated line has no text, and is left out for that reason
                path = wavs / (Path(row[1]).name or "unnamed")
                yield PublicUtterance(
                    path.name, row[2], source.language, f"sentence-{row[0]}-{row[6]}", path.read_bytes
                )


def _festival(source: SpeechSource, folder: Path, listed: Path) -> Iterator[PublicUtterance]:
    wavs = next((each / "wav" for each in (listed.parent, listed.parent.parent) if (each / "wav").is_dir()), None)
    if wavs is None or not source.language:
        raise _nothing(source, "wav/ beside txt.done.data, and a language")
    voice = str(listed.parent.relative_to(folder))
    for line in listed.read_text(encoding="utf-8").splitlines():
        if match := _FESTIVAL.search(line):
            path = wavs / f"{Path(match[1]).name}.wav"
            yield PublicUtterance(f"{voice}/{match[1]}", match[2], source.language, voice, path.read_bytes)


def _syspin(source: SpeechSource, folder: Path) -> Iterator[PublicUtterance]:
    """The corpora of SYSPIN, which LIMMITS published. The names carry the language and the speaker's gender."""
    lists = sorted(folder.rglob("*Transcripts.json"))
    if not lists:
        raise _nothing(source, "a folder per speaker with *_Transcripts.json and wav/")
    for listed in lists:
        wavs = next((each for each in (listed.parent / "wav", listed.parent / "wavs") if each.is_dir()), None)
        if wavs is None:
            raise _nothing(source, "wav/ or wavs/ beside *_Transcripts.json")
        found = json.loads(listed.read_text(encoding="utf-8")).get("Transcripts", {})
        for name, row in sorted(found.items()):
            tags = _SYSPIN.search(name)
            language = _language(tags[1]) if tags else source.language
            domain = str(row.get("Domain", "")).upper()
            if domain.startswith(_EVALUATION) or (source.language and language and language != source.language):
                continue
            path = wavs / f"{Path(name).name}.wav"
            yield PublicUtterance(
                name, str(row.get("Transcript", "")), language or source.language, listed.parent.name, path.read_bytes
            )


def _parquet(source: SpeechSource, folder: Path) -> Iterator[PublicUtterance]:
    import pyarrow.parquet as pq

    part = _TRAINING.get(source.layout, "train")
    files = sorted(path for path in folder.rglob("*.parquet") if part in path.name or path.parent.name == part)
    files = [path for path in files if _of_language(source, path.relative_to(folder))]
    if not files:
        raise _nothing(source, f"Parquet files whose names begin with {part}")
    for path in files:
        with pq.ParquetFile(path) as opened:
            place = 0
            for batch in opened.iter_batches(batch_size=64):
                for row in batch.to_pylist():
                    yield _utterance(source, row, f"{path.relative_to(folder)}:{place}")
                    place += 1


def _from_hub(source: SpeechSource) -> Iterator[PublicUtterance]:
    import datasets

    named = {"fleurs": f"{source.language}_in" if source.language else None, "rasa": _NAMES.get(source.language)}
    part = _TRAINING.get(source.layout, "train")
    try:
        found = datasets.load_dataset(source.place, named.get(source.layout), split=part, streaming=True)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise ConfigurationError(
            "public-source-unavailable", f"{source.place[:60]} is no folder, and the hub does not give it.",
            "Correct its name, or name a folder with a copy.",
        ) from error  # fmt: skip
    sound = next((name for name in _SOUNDS if name in (found.features or {})), _SOUNDS[0])
    for place, row in enumerate(found.cast_column(sound, datasets.Audio(decode=False))):
        yield _utterance(source, row, f"{part}:{place}")


def _utterance(source: SpeechSource, row: dict[str, Any], place: str) -> PublicUtterance:
    sound = next((row[name] for name in _SOUNDS if row.get(name) is not None), None)
    sound = sound if isinstance(sound, dict) else {"bytes": sound if isinstance(sound, bytes) else None}
    text = next((row[name] for name in _TEXTS if row.get(name)), "")
    name = row.get("filename") or row.get("name") or sound.get("path") or place
    language = source.language or _language(row.get("language")) or CORPORA[source.layout].language
    speaker = str(row.get("speaker_id") or f"{language}-{row.get('gender', '')}")
    style = str(row.get("style") or "")
    return PublicUtterance(str(name), str(text), language, speaker, lambda: sound.get("bytes") or b"", style)


def _line(context: Context, source: SpeechSource, one: PublicUtterance, folder: Path) -> tuple[dict[str, Any], str]:
    text = strict(one.text)
    named = {"source": source.layout, "name": one.name}
    if not text or not one.language:
        return named, "public-no-text" if not text else "public-no-language"
    try:
        data = _normalised(one.read(), folder)
    except (PermanentError, OSError):
        return named, "public-unusable"
    end_s = round((len(data) - 44) / 2 / decoding.RATE_HZ, 3)
    if not 0 < end_s <= MAX_S:
        return named, "too-long" if end_s else "public-unusable"
    sha256 = hashlib.sha256(data).hexdigest()
    context.store.put_bytes(context.settings.audio_bucket, public_key(sha256), data, content_type="audio/wav")
    digest = hashlib.sha256(f"{source.layout}|{sha256}|{one.language}|{text}".encode()).hexdigest()
    return {
        "id": digest[:20], "digest": digest, "source": source.layout, "audio_sha256": sha256, "call_id": None,
        "project_id": None, "task_id": None, "annotation_id": None, "start_s": 0.0, "end_s": end_s, "channel": 0,
        "text": text, "language": one.language, "script": _script(text),
        "speaker_id": f"{source.layout}-{hashlib.sha256(one.speaker.encode()).hexdigest()[:16]}", "accent": None,
        "quality": None, "quality_score": None, "snr_db": None, "date": None, "split": splits.TRAIN,
        "model_version": None, "consent_purpose": "public", "selection_reason": None, "selection_probability": None,
    }, ""  # fmt: skip


def _normalised(data: bytes, folder: Path) -> bytes:
    """Audio normalised like a call's; the first of several channels."""
    source, target = folder / "given", folder / "normalised.wav"
    source.write_bytes(data)
    decoding.decode(source, target)
    samples = np.concatenate([block[0] for block in decoding.blocks(target, block_s=MAX_S)])
    return wav(samples.astype("<i2").tobytes())


def _chosen(sources: list[SpeechSource], wanted: int) -> set[str]:
    return set(heapq.nsmallest(wanted, {_key(source, each) for source in sources for each in utterances(source)}))


def _key(source: SpeechSource, one: PublicUtterance) -> str:
    return hashlib.sha256(f"{splits.SALT}|{source.layout}|{one.language}|{one.name}".encode()).hexdigest()


def _of_language(source: SpeechSource, path: Path) -> bool:
    """Whether a file is of the source's language, where folders are named after languages."""
    names = {name.casefold(): code for code, name in _NAMES.items()}
    said = [names[part.casefold()] for part in path.parts if part.casefold() in names]
    return not source.language or not said or source.language in said


def _language(name: Any) -> str:
    code = languages.code_of(str(name or ""))
    return code if code in _NAMES else ""


def _script(text: str) -> str | None:
    found = scripts_in(text) & set(languages.SCRIPTS)
    return next(iter(found)) if len(found) == 1 else languages.MIXED if found else None


def _nothing(source: SpeechSource, wants: str) -> ConfigurationError:
    return ConfigurationError(
        "public-source-empty", f"{source.place[:60]} has no {source.layout} layout.", f"It needs {wants}."
    )
