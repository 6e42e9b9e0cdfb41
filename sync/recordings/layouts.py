"""Bucket and key -> Name: what an object's key says about it. Pure.

Years of audio have three layouts: `call-recordings/recordings/YYYY/MM/DD/{call_sid}.wav`,
`voice-audio/ivr/{lang}/{hash}.wav` and `training-data/tts/{lang}/{hash}.wav` with its `.txt`. Other systems write these
buckets too, so a key is never trusted. A key that cannot be used is recorded with the reason and raises no error.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from ml_backend.calls import live_recordings, phone_numbers
from ml_backend.errors import KaanError
from ml_backend.settings import Settings
from ml_backend.storage.object_store import valid_key

AUDIO_SUFFIXES = (
    ".wav", ".mp3", ".ogg", ".oga", ".opus", ".flac", ".m4a", ".mp4", ".aac", ".amr", ".gsm", ".webm", ".weba", ".mka",
)  # fmt: skip
TEXT_SUFFIX = ".txt"
AUDIO, TEXT, OTHER = "audio", "text", "other"
MAX_NAME_CHARS = 200

_CALL = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_CALL_LAYOUT = re.compile(r"recordings/(\d{4})/(\d\d)/(\d\d)/[^/]+", re.ASCII)
_SECOND = re.compile(r"(.+)-[0-9a-f]{12}", re.ASCII)  # a call's second original, see `originals`
_UNNAMED = re.compile(r"recording-\d+", re.ASCII)  # an original of ours without a call
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[A-Za-z]{2,4})?", re.ASCII)


@dataclass(frozen=True)
class Name:
    """The parts of a key. `stem` is the file name without its suffix; `problem` says why the object cannot be used."""

    kind: str
    stem: str
    call_sid: str = ""  # the call it belongs to, if that call exists
    day: date | None = None  # the call's day, in the layout of calls; None in the other layouts
    synthetic: bool = False
    language: str | None = None
    problem: str | None = None


def read(bucket: str, key: str, settings: Settings) -> Name:
    """Parse a bucket and key."""
    folder, _, file_name = key.rpartition("/")
    stem, dot, suffix = file_name.rpartition(".")
    stem, suffix = (stem, f".{suffix.lower()}") if dot and stem else (file_name, "")
    kind = AUDIO if suffix in AUDIO_SUFFIXES else TEXT if suffix == TEXT_SUFFIX else OTHER
    if bucket == settings.recordings_bucket and key.startswith(f"{live_recordings.FOLDER}/"):
        kind = OTHER  # whoever stores it inserts its recording
    synthetic = is_voice(bucket, key, settings)
    named = _CALL.fullmatch(stem) and not _UNNAMED.fullmatch(stem)
    named = named and not phone_numbers.carries_mobile(phone_numbers.without_ids(stem))  # a phone number is no id
    call_sid = stem if named and kind == AUDIO and not synthetic else ""
    return Name(
        kind=kind,
        stem=stem[:MAX_NAME_CHARS],
        call_sid=call_sid,
        day=_day(key) if call_sid and bucket == settings.recordings_bucket else None,
        synthetic=synthetic,
        language=_language(folder) if synthetic else None,
        problem=problem_of(key),
    )


def is_voice(bucket: str | None, key: str | None, settings: Settings) -> bool:
    """Whether an object lies below SYNTHETIC_PREFIXES, where synthetic voice is kept."""
    return any(f"{bucket}/{key}".startswith(prefix) for prefix in _prefixes(settings))


def problem_of(key: str) -> str | None:
    """Why a key cannot be used, as a sentence; None when it can."""
    try:
        valid_key(key)
    except KaanError as error:
        return error.sentence
    if len(key) > 900 or "\ufffd" in key:  # U+FFFD replaced invalid UTF-8: no object has that key
        return "The object key is not readable text."
    return None


def first_of(call_sid: str) -> str | None:
    """`{call_sid}` of `{call_sid}-{digest}`, the name of a call's second original; None for every other name."""
    found = _SECOND.fullmatch(call_sid)
    return found[1] if found else None


def beside(key: str) -> list[str]:
    """The key without its suffix, in each Unicode form that a text beside it may have (é is one code point or two)."""
    stem = key.rpartition(".")[0]
    return list(dict.fromkeys((stem, unicodedata.normalize("NFC", stem), unicodedata.normalize("NFD", stem))))


def day_root(key: str) -> str | None:
    """`a/b/` of `a/b/2026/11/22/x.wav`: a folder whose keys sort by day; None when the key has no day."""
    parts = key.split("/")
    for at in range(len(parts) - 3):
        if _is_day(parts[at : at + 3]):
            return "".join(f"{part}/" for part in parts[:at])
    return None


def day_prefix(root: str, day: date) -> str:
    """The prefix of a day below a root, without the slash: a listing that starts after it begins with that day."""
    return f"{root}{day:%Y/%m/%d}"


def since(now: datetime, days: int) -> date:
    """The first day to list: `days` before today in UTC, which covers today in every time zone."""
    return (now.astimezone(UTC) - timedelta(days=days)).date()


def _prefixes(settings: Settings) -> list[str]:
    return [prefix.strip() for prefix in settings.synthetic_prefixes.split(",") if prefix.strip()]


def _day(key: str) -> date | None:
    found = _CALL_LAYOUT.fullmatch(key)
    try:
        return date(int(found[1]), int(found[2]), int(found[3])) if found else None
    except ValueError:
        return None


def _is_day(parts: list[str]) -> bool:
    year, month, day = parts
    if not (len(year) == 4 and len(month) == 2 and len(day) == 2 and (year + month + day).isdecimal()):
        return False
    return year[:2] in ("19", "20") and "01" <= month <= "12" and "01" <= day <= "31"


def _language(folder: str) -> str | None:
    """`hi` of `tts/hi`: the last folder that looks like a language code."""
    last = folder.rpartition("/")[2]
    return last[:10] if _LANGUAGE.fullmatch(last) else None
