"""A setting's text -> what is wrong with it, as sentences that hold the remedy and no piece of the value.

Wrong addresses can leak passwords: an unescaped `/` turns the first half of a password into a port and the second into
a path, and libraries quote them in errors. So addresses are validated here, before any library reads them, and only
plain host names are quoted.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

MIN_SECRET_CHARS = 16
# What is known of an utterance of the company's own table or file, by our names.
UTTERANCE_FIELDS = (
    "id", "text", "intent", "entities", "language", "source", "parent_id", "call_sid", "model_version", "confidence",
    "review_status", "updated_at",
)  # fmt: skip
# What each success metric is to reach (ml_backend/reports/success_measures.py).
SUCCESS_TARGETS = {
    "data_hours_per_week": 10.0, "annotated_within_7_days": 0.8, "dataset_hours_per_quarter": 100.0,
    "wer_fall_per_quarter": 0.1, "asr_wer": 0.15, "tts_mos": 4.0, "latency_s": 0.3, "uptime": 0.995,
    "call_success": 0.9, "satisfaction": 4.2, "automation": 0.8, "annotation_minutes_per_audio_hour": 15.0,
    "annotator_hours_per_day": 4.0,
}  # fmt: skip
_OPINIONS = ("tts_mos", "satisfaction")  # from 1 to 5
_SHARES = ("annotated_within_7_days", "wer_fall_per_quarter", "asr_wer", "uptime", "call_success", "automation")

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.%]+\]")
_HOST_AND_PORT = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*)(?::(?P<port>.*))?", re.DOTALL)
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_AMAZON_S3 = re.compile(r"(?:s3[.-]|bucket\.vpce-|accesspoint\.)[a-z0-9.-]*amazonaws\.com(?:\.cn)?|s3\.amazonaws\.com")
_ESCAPES = "/ as %2F, @ as %40, # as %23, ? as %3F, [ as %5B, ] as %5D, % as %25"
_RAW_SIGN = f"a sign in its user name or password is not escaped: write {_ESCAPES}"
# A sample value is made of nothing but these words, signs between them, and digits.
_SAMPLE_WORDS = re.compile(
    r"(change|me|this|please|now|replace|with|your|my|own|the|a|an|here|insert|put|set|to|todo|fixme|some|random|long|strong|"
    r"secure|default|sample|example|dummy|placeholder|test|secret|secrets|password|passwd|passphrase|pass|pwd|token|key|api|"
    r"webhook|value|string|minio|admin|administrator|root|user|postgres|postgresql|redis|kaan|label|studio|exotel|qwerty|"
    r"letmein|welcome|x)+\d*"
)
_PLACEHOLDER = re.compile(r"<.*>|\{\{?.*\}\}?|\$\{.*\}|[.*?_-]+")
_COUNTED_UP = tuple(
    row * 40 for row in ("0123456789", "0123456789abcdef", "0123456789"[::-1], "abcdefghijklmnopqrstuvwxyz")
)


def around(text: str) -> list[str]:
    """White space or quotes around a value: what `docker --env-file` and copying leave there."""
    if text != text.strip():
        return ["has spaces or a line break around it: remove them"]
    if len(text) > 1 and text[0] in "'\"`" and text[-1] == text[0]:
        return ["has quotes around it: remove them"]
    return []


def rates(text: str, names: Sequence[str]) -> list[str]:
    """LIVE_RATES: name:number with commas between, each of a token that there is."""
    wrong = []
    for number, entry in enumerate(filter(None, map(str.strip, text.split(","))), 1):
        name, _, rate = entry.partition(":")
        if not re.fullmatch(r"[0-9]{1,7}", rate):
            wrong.append(f"LIVE_RATES: entry {number} must be name:number, with the requests a minute, as phone:600")
        elif name not in names:
            known = ", ".join(names) or "none is set"
            wrong.append(f"LIVE_RATES: entry {number} names no token of API_TOKENS (names there: {known})")
    return wrong


def success_targets(text: str) -> tuple[dict[str, float], list[str]]:
    """SUCCESS_TARGETS: name=value with commas between; the target of every metric, and what is wrong."""
    found, wrong = dict(SUCCESS_TARGETS), []
    for number, entry in enumerate(filter(None, map(str.strip, text.split(","))), 1):
        name, _, value = (part.strip() for part in entry.partition("="))
        written = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,6})?) ?(%?)", value)
        if name not in SUCCESS_TARGETS:
            wrong.append(f"entry {number} names no metric: there are {', '.join(SUCCESS_TARGETS)}")
        elif written is None or (written[2] and name not in _SHARES):
            wrong.append(f"entry {number} must be {name}=NUMBER, as {name}={SUCCESS_TARGETS[name]:g}")
        else:
            found[name] = float(written[1]) / (100 if written[2] else 1)
            if name in _SHARES and found[name] > 1:
                wrong.append(f"entry {number}: {name} is a share: write 0.9 or 90%")
            elif name in _OPINIONS and not 1 <= found[name] <= 5:
                wrong.append(f"entry {number}: {name} is on the scale from 1 to 5")
    return found, wrong


def secret(text: str, *, least_chars: int = MIN_SECRET_CHARS) -> list[str]:
    """A password, key or token. Other programs send it as Latin-1, as UTF-8 or not at all, so it must be ASCII."""
    wrong = around(text)
    if not text.isascii() or not text.strip().isprintable():
        wrong.append("may hold letters, digits and ASCII signs only")
    if is_sample(text):
        wrong.append("is a published sample value: make one with `openssl rand -hex 24`")
    elif len(text) < least_chars:
        wrong.append(f"must be at least {least_chars} characters: make one with `openssl rand -hex 24`")
    return wrong


VOICE_FACTS = ("voice", "engine", "emotion", "version")


def voice_rules(text: str) -> tuple[list[tuple[str, dict[str, str]]], list[str]]:
    """TTS_VOICE_RULES -> ([(prefix, facts)], what is wrong with it)."""
    rules: list[tuple[str, dict[str, str]]] = []
    wrong: list[str] = []
    for number, entry in enumerate(filter(None, map(str.strip, text.split(","))), 1):
        prefix, sign, said = entry.partition("=")
        facts = {name: value for name, _, value in (word.partition(":") for word in said.split())}
        if not sign or "/" not in prefix or not facts:
            wrong.append(f"entry {number} must be bucket/prefix=voice:NAME, with engine:, emotion: or version: too")
        elif strange := [name for name, value in facts.items() if name not in VOICE_FACTS or not 0 < len(value) <= 60]:
            wrong.append(
                f"entry {number}: {strange[0][:20]!r} is none of {', '.join(VOICE_FACTS)} with a name of 1 to 60"
            )
        else:
            rules.append((prefix.strip(), facts))
    return rules, wrong


def is_sample(text: str) -> bool:
    """Whether a secret is a sample value from documents or defaults."""
    plain = re.sub(r"[\W_]+", "", text.lower())
    letters = plain.rstrip("0123456789")  # one or two before many digits are chance: a made value of hex digits
    words = bool(_SAMPLE_WORDS.fullmatch(plain)) and len(letters) * 4 >= len(plain)
    return words or bool(_PLACEHOLDER.fullmatch(text)) or _counts(plain)


def _counts(plain: str) -> bool:
    """1234567890 and the like, however often."""
    return len(plain) >= 6 and any(plain in row for row in _COUNTED_UP)


def http_address(text: str) -> list[str]:
    """http:// or https://, a host, perhaps a port and a path; nothing else."""
    wrong = _characters(text)
    scheme, separator, rest = text.partition("://")
    if not separator or scheme.lower() not in ("http", "https"):
        return [*wrong, "must start with http:// or https://"]
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in authority:
        return [*wrong, "holds a user name or a password: take them out, there are settings of their own for them"]
    if "?" in rest or "#" in rest:
        wrong.append("has a ? or # in it: take off what follows the path")
    return wrong + _host_and_port(authority)


def origins(text: str) -> list[str]:
    """Addresses with commas between. Each mistake names the entry by its number."""
    entries = [entry.strip() for entry in text.split(",")]
    return [f"entry {n} {wrong}" for n, entry in enumerate(entries, 1) if entry for wrong in http_address(entry)]


def s3_endpoint(text: str) -> list[str]:
    """host or host:port."""
    wrong = _characters(text)
    scheme, separator, rest = text.rpartition("://")
    bare = rest if separator else text
    if "@" in bare:
        return [*wrong, "holds a key: MINIO_ACCESS_KEY and MINIO_SECRET_KEY are the places for it"]
    place, slash, path = bare.partition("/")
    found = _host_and_port(place)
    if separator:
        secure = {"http": "MINIO_SECURE=False", "https": "MINIO_SECURE=True"}.get(scheme.lower(), "MINIO_SECURE")
        example = f" write MINIO_ENDPOINT={place} and" if not found else ""
        wrong.append(f"has {'https' if scheme.lower() == 'https' else 'a scheme'}:// in front:{example} set {secure}")
    if slash and path:
        wrong.append("has a path behind the host: take it off; buckets are named in AUDIO_BUCKET and its like")
    elif slash and not separator:
        wrong.append("ends in a slash: take it off")
    host = place.partition(":")[0].lower()
    if host.endswith((".amazonaws.com", ".amazonaws.com.cn")) and not _AMAZON_S3.fullmatch(host):
        wrong.append("has a bucket's name in front of the host: write s3.REGION.amazonaws.com")
    return wrong + found


def database_url(text: str) -> list[str]:
    """sqlite:/// or postgresql://."""
    scheme, separator, rest = text.partition("://")
    if separator and scheme == "postgres":
        return ["must start with postgresql:// (postgres:// is not accepted)", *_with_password(rest, port=5432)]
    if separator and scheme in ("postgresql", "postgresql+psycopg"):
        return _characters(text) + _with_password(rest, port=5432, socket_in_query=True)
    if separator and scheme.startswith(("postgresql+", "postgres+")):
        return ["must start with postgresql://: the driver here is psycopg 3", *_with_password(rest, port=5432)]
    if separator and scheme in ("sqlite", "sqlite+pysqlite"):
        return [] if rest == "" or rest.startswith("/") else ["must have three slashes: sqlite:///FILE, four for /FILE"]
    return ["must start with sqlite:/// or postgresql://"]


def redis_url(text: str) -> list[str]:
    """redis://, rediss:// or unix://."""
    wrong = _characters(text)
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in ("redis", "rediss", "unix"):
        return [*wrong, "must start with redis://, rediss:// or unix://"]
    if scheme == "unix":
        place = rest.partition("?")[0].rpartition("@")[2]
        return wrong if place.startswith("/") else [*wrong, "must name a socket's whole path: unix:///run/redis.sock"]
    wrong += _with_password(rest, port=6379)
    number = rest.partition("?")[0].partition("/")[2]
    if number and not number.isdecimal() and not wrong:
        wrong.append("must have a database number behind the last slash, or nothing")
    return wrong


def columns(text: str) -> tuple[dict[str, str], list[str]]:
    """`field=column, …` -> the column of each field, and what is wrong. Fields that are not named keep their own."""
    found, wrong = {}, []
    for number, entry in enumerate(filter(str.strip, text.split(",")), 1):
        field, equals, column = (part.strip() for part in entry.partition("="))
        if not equals or not column:
            wrong.append(f"entry {number} must be field=column")
        elif field not in UTTERANCE_FIELDS:
            wrong.append(f"entry {number} names no field: there are {', '.join(UTTERANCE_FIELDS)}")
        elif field in found:
            wrong.append(f"entry {number} names {field} a second time")
        else:
            found[field] = column
    return {field: found.get(field, field) for field in UTTERANCE_FIELDS}, wrong


def password_of(url: str) -> list[str]:
    """The password in an address as it is written, and as it is meant, however badly the address is formed."""
    rest = url.partition("://")[2]
    user, _, written = rest.rpartition("@")[0].partition(":")
    return [text for text in dict.fromkeys((written, unquote(written))) if text] if user or written else []


def _characters(text: str) -> list[str]:
    if not text.isascii():
        return ["may hold ASCII signs only: write others as %XX"]
    if not text.isprintable() or " " in text.strip():
        return ["has spaces or control characters in it"]
    return []


def _with_password(rest: str, *, port: int, socket_in_query: bool = False) -> list[str]:
    """`user:password@host:port/name?options`."""
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    user, _, place = authority.rpartition("@")
    if "@" in rest[len(authority) :] or "@" in user or any(sign in user for sign in "[]") or "#" in rest:
        return [_RAW_SIGN]
    wrong = []
    if _BAD_PERCENT.search(user):
        wrong.append(_RAW_SIGN)
    password = unquote(user.partition(":")[2])
    if password and is_sample(password):
        wrong.append("its password is a published sample value: choose another, e.g. `openssl rand -hex 24`")
    if not place and socket_in_query and "host=" in rest.partition("?")[2]:
        return wrong
    if not place and socket_in_query:
        return [*wrong, "names no host: for a socket's folder add ?host=/run/postgresql"]
    return wrong + _host_and_port(place, usual=port)


def _host_and_port(place: str, *, usual: int = 0) -> list[str]:
    found = _HOST_AND_PORT.fullmatch(place)
    host, port = (found["host"], found["port"]) if found else (place, None)
    wrong = []
    if not host:
        wrong.append("names no host")
    elif found is None or not _HOST.fullmatch(host) or ".." in host:
        wrong.append("has a host that is no host name")
    if port is not None and not (port.isdigit() and port.isascii() and len(port) <= 5 and 0 < int(port) < 65536):
        wrong.append(f"has a port that is no number from 1 to 65535{f' (usual: {usual})' if usual else ''}")
    return wrong


# What the compose files read besides the settings; a policy test compares the two.
COMPOSE = (
    "KAAN_ADDRESS", "KAAN_DOMAIN", "KAAN_LIVE_MEMORY", "KAAN_LIVE_PORT", "KAAN_PORT",
    "KAAN_TRAINING_MEMORY", "KAAN_TRANSCRIBE_MEMORY", "KAAN_VERSION",
    "LABEL_STUDIO_ADDRESS", "LABEL_STUDIO_DATABASE_PASSWORD", "LABEL_STUDIO_DATABASE_PASSWORD_FILE",
    "LABEL_STUDIO_DOMAIN", "LABEL_STUDIO_ENV_FILE", "LABEL_STUDIO_FIRST_PASSWORD", "LABEL_STUDIO_FIRST_USER",
    "LABEL_STUDIO_PORT", "LABEL_STUDIO_PUBLIC_URL", "LABEL_STUDIO_SECRET_KEY", "POSTGRES_PASSWORD",
    "POSTGRES_PASSWORD_FILE", "REDIS_PASSWORD", "REDIS_PASSWORD_FILE", "TORCH_INDEX",
)  # fmt: skip
# Names that resemble ours and belong to others: Label Studio's, MinIO's, Compose's, and the system's.
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
