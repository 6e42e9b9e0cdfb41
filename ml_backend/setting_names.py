"""Names in the environment and in `.env` -> those that are meant for us and misspelt; NAME_FILE -> the secret in it.

Our settings have no prefix, so a name nobody knows is usually somebody else's. In `.env`, which is ours, a name that
resembles a setting is refused; in the environment, which everybody writes to, only one that is a slip away.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

# What docker-compose.yml reads besides the settings; a policy test compares the two.
COMPOSE = (
    "KAAN_ADDRESS", "KAAN_PORT", "KAAN_VERSION", "LABEL_STUDIO_ADDRESS", "LABEL_STUDIO_DATABASE_PASSWORD",
    "LABEL_STUDIO_FIRST_PASSWORD", "LABEL_STUDIO_FIRST_USER", "LABEL_STUDIO_PORT", "LABEL_STUDIO_PUBLIC_URL",
    "LABEL_STUDIO_SECRET_KEY", "POSTGRES_PASSWORD", "REDIS_PASSWORD",
)  # fmt: skip
# Names that resemble ours and belong to others: Label Studio's, MinIO's, Compose's, and everybody's.
FOREIGN = {
    "API_TOKEN", "COMPOSE_PROJECT_NAME", "DATABASE_URI", "DATADIR", "LABEL_STUDIO_BASE_DATA_DIR", "LABEL_STUDIO_HOST",
    "LABEL_STUDIO_HOSTNAME", "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT", "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED",
    "LABEL_STUDIO_PASSWORD", "LABEL_STUDIO_USERNAME", "LABEL_STUDIO_USER_TOKEN", "LOGLEVEL", "MINIO_ADDRESS",
    "MINIO_BROWSER", "MINIO_DOMAIN", "MINIO_REGION_NAME", "MINIO_ROOT_PASSWORD", "MINIO_ROOT_USER", "MINIO_SERVER_URL",
    "MINIO_SITE_REGION", "POSTGRES_DB", "POSTGRES_HOST", "POSTGRES_PORT", "POSTGRES_USER", "PUBLIC_URI", "REDIS_HOST",
    "REDIS_PORT", "REDIS_URI",
}  # fmt: skip
_SECRET_FILE_BYTES = 64 * 1024
_OURS = ("LABEL_STUDIO_", "EXOTEL_", "MINIO_", "ASR_", "BASIC_AUTH", "PSEUDONYM", "OBJECT_STORE", "KAAN_")


def misspelt(names: Iterable[str], known: Sequence[str], *, our_file: bool = False) -> list[tuple[str, str]]:
    """(name, the setting it was meant to be) of every name that looks like a slip."""
    found = []
    for name in names:
        plain = name.upper()
        if plain in known or plain in FOREIGN:
            continue
        nearest = _nearest(plain, known, our_file=our_file)
        if nearest:
            found.append((name, nearest))
    return found


def from_files(names: Sequence[str], *layers: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The secrets whose NAME_FILE is set, by field, and what is wrong with those files. The first layer goes first."""
    found, wrong = {}, []
    for name in names:
        given = next((one for one in layers if one.get(name, "").strip() or one.get(f"{name}_FILE", "").strip()), {})
        place = given.get(f"{name}_FILE", "").strip()
        if not place:
            continue
        if given.get(name, "").strip():
            wrong.append(f"{name} and {name}_FILE are both set: keep one of them")
            continue
        try:
            raw = Path(place).expanduser().read_bytes()[: _SECRET_FILE_BYTES + 1]
        except OSError as error:
            wrong.append(f"{name}_FILE: the file cannot be read ({error.strerror})")
            continue
        text = raw.decode("utf-8", "replace").rstrip("\r\n")
        if not text or len(raw) > _SECRET_FILE_BYTES:
            wrong.append(f"{name}_FILE: the file {'is empty' if not text else 'is too long for a secret'}")
            continue
        found[name.lower()] = text
    return found, wrong


def _nearest(name: str, known: Sequence[str], *, our_file: bool) -> str | None:
    if name.startswith("KAAN_") and name.removeprefix("KAAN_") in known:  # a prefix that there is not
        return name.removeprefix("KAAN_")
    slips = min(((_slips(name, each), each) for each in known), default=(99, ""))
    most = max(1, len(name) // 5) if our_file else 2 if len(name) >= 10 else 1 if len(name) >= 8 and "_" in name else 0
    if slips[0] <= most and (len(name) > 4 or our_file):
        return slips[1]
    cutoff = 0.8 if our_file else 0.88
    if our_file or name.startswith(_OURS):
        return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=cutoff)), None)
    return None


def _slips(one: str, other: str) -> int:
    """Letters inserted, left out, changed, or swapped with their neighbour."""
    if abs(len(one) - len(other)) > 4:
        return 99
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        earlier, before, row = before, row, [i]
        for j, wanted in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                cost = min(cost, earlier[j - 2] + 1)
            row.append(cost)
    return row[-1]
