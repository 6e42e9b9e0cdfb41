"""Phone number -> pseudonym: a keyed hash and the last two digits, the only form outside the stored raw events.

The hash has a key, because all ten-digit numbers can be tried. All spellings of a number give one pseudonym, so that an
erasure finds every call of a person.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import re
import secrets
import tempfile
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db
from ml_backend.calls import phone_numbers
from ml_backend.db import Database
from ml_backend.errors import ConfigurationError
from ml_backend.settings import MIN_SECRET_CHARS, Settings
from ml_backend.tables import checkpoints

KEY_FILE, KEY_NOTE = "pseudonym.key", "pseudonym-key"
SHAPE = re.compile(r"[0-9a-f]{24}-[0-9a-z]{1,2}|masked-\d{0,2}")


def key_of(settings: Settings) -> bytes:
    """PSEUDONYM_KEY, else the key in DATA_DIR, made once. Without it no number can be matched again: back it up."""
    given = settings.pseudonym_key.get_secret_value()
    return given.encode() if given else _kept_key(settings.data_dir / KEY_FILE)


def key_in(settings: Settings, database: Database) -> bytes:
    """The key, after making sure that this database's pseudonyms were made with it."""
    key = key_of(settings)
    with database.transaction() as connection:
        same_as_before(connection, key)
    return key


def same_as_before(connection: Connection, key: bytes) -> None:
    """ConfigurationError when this database's pseudonyms were made with another key.

    With two keys a person would have two pseudonyms, and an erasure would miss calls. So a keyed hash of an empty text
    identifies the first key, and every other key is refused.
    """
    mine = hmac.new(key, b"", hashlib.sha256).hexdigest()[:24]
    noted = sa.select(checkpoints.c.position).where(checkpoints.c.name == KEY_NOTE)
    found = connection.execute(noted).scalar()
    if found is None:
        values = {"name": KEY_NOTE, "position": {"fingerprint": mine}, "state": "done"}
        db.insert_missing(connection, checkpoints, [values])
        found = connection.execute(noted).scalar()
    if (found or {}).get("fingerprint") != mine:
        raise ConfigurationError(
            "pseudonym-key-differs",
            "The numbers in this database were hidden with another key than this process has.",
            "Set PSEUDONYM_KEY, on every machine, to the key of before: pseudonym.key in the first DATA_DIR.",
        )


def pseudonym(number: str, key: bytes) -> str:
    """`{24 hex}-{last two digits}`; a number the provider has masked is `masked-{last two}` and matches no caller."""
    text = number.strip()
    ending = "".join(re.findall(r"\d", text))[-2:]
    if re.search(r"[xX*#•]{2,}|\*", text) and not text.lower().startswith("sip:"):
        return f"masked-{ending if text[-2:].isdigit() else ''}"
    digest = hmac.new(key, canonical(text).encode(errors="surrogatepass"), hashlib.sha256).hexdigest()
    return f"{digest[:24]}-{ending or 'x'}"


def names(text: str, person: str, key: bytes) -> bool:
    """Whether a text contains a person's number, in any spelling."""
    return any(pseudonym(run, key) == person for run in phone_numbers.runs(text))


def is_masked(given: str) -> bool:
    """Whether a pseudonym is of a masked number."""
    return given.startswith("masked-")


def canonical(number: str) -> str:
    """One text for all ways to write a number: ten digits inside India, `+` and digits elsewhere, else lower case.

    `0` + 10 digits, `+91`, `91`, `0091` and `+91 0` before them, spaces, dashes, brackets and a lost `+` all fold.
    """
    text = number.strip()
    digits = re.sub(r"[\s().+\-]", "", text.removeprefix("tel:"))
    if not (digits.isascii() and digits.isdigit()):
        return text.lower()
    if text.startswith("+") and not digits.startswith(("91", "0")):
        return "+" + digits
    national = re.fullmatch(r"(?:0{0,2}91|0)?0?(\d{10})", digits) if len(digits) >= 10 else None
    if national and (len(digits) <= 12 or digits.startswith(("91", "0"))):
        return national[1]
    return "+" + digits.removeprefix("00")


def _kept_key(path: Path) -> bytes:
    with contextlib.suppress(FileNotFoundError):
        return _usable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, fresh = tempfile.mkstemp(dir=path.parent, prefix=".pseudonym-")  # 0600 from the start
    try:
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_hex(32))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):  # another process was first: use its key
            os.link(fresh, path)
    finally:
        Path(fresh).unlink()
    return _usable(path)


def _usable(path: Path) -> bytes:
    key = path.read_bytes().strip()
    if len(key) < MIN_SECRET_CHARS:
        raise ConfigurationError(
            "pseudonym-key-damaged",
            "The file pseudonym.key in DATA_DIR does not hold a whole key.",
            "Restore it from a backup; with another key, earlier callers are not recognised.",
        )
    return key
