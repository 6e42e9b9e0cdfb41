"""`init`: write a `.env` with generated secrets. Existing values are never changed."""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from ml_backend import settings
from ml_backend.errors import ConfigurationError

app = typer.Typer(add_completion=False)

EXAMPLE = Path(__file__).resolve().parents[2] / ".env.example"
_LINE = re.compile(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=(.*)$")


def _hex() -> str:
    return secrets.token_hex(24)


# Generated secrets. Letters and digits only, because some become part of a URL.
MADE: dict[str, Callable[[], str]] = {
    "POSTGRES_PASSWORD": _hex,
    "REDIS_PASSWORD": _hex,
    "LABEL_STUDIO_DATABASE_PASSWORD": _hex,
    "LABEL_STUDIO_SECRET_KEY": _hex,
    "LABEL_STUDIO_FIRST_USER": lambda: "admin@example.com",
    "LABEL_STUDIO_FIRST_PASSWORD": lambda: secrets.token_hex(8),
    "MINIO_ACCESS_KEY": lambda: f"kaan{secrets.token_hex(8)}",
    "MINIO_SECRET_KEY": lambda: secrets.token_hex(20),
    "LABEL_STUDIO_WEBHOOK_SECRET": _hex,
    "BASIC_AUTH_USER": lambda: "label-studio",
    "BASIC_AUTH_PASS": _hex,
    "API_TOKENS": lambda: f"operator:admin:{_hex()},prometheus:read:{_hex()},phone:live:{_hex()}",
    "EXOTEL_WEBHOOK_SECRET": _hex,
}
# Secrets that share one file (docker-compose.secrets.yml), and the setting that holds its path.
IN_ONE_FILE = dict.fromkeys(("LABEL_STUDIO_SECRET_KEY", "LABEL_STUDIO_FIRST_PASSWORD"), "LABEL_STUDIO_ENV_FILE")
# Made elsewhere: (names, where they come from).
TO_FILL_IN = (
    (("LABEL_STUDIO_API_KEY",), "Label Studio, Account & Settings, Personal Access Token, once it runs"),
    (("EXOTEL_ACCOUNT_SID", "EXOTEL_API_KEY", "EXOTEL_API_TOKEN"), "Exotel's dashboard, if calls come from there"),
)


@app.command()
def init(
    file: Annotated[Path, typer.Option(help="The settings file to write or complete.", dir_okay=False)] = Path(".env"),
) -> None:
    """Write .env with generated secrets; in one that is there, fill in what is empty and change nothing else.

    Example: python -m ml_backend init
    """
    there = file.exists()
    before = _text(file) if there else _example()
    text, made, kept = completed(before)
    closed = there and stat.S_IMODE(file.stat().st_mode) & 0o077 != 0
    if made or not there:
        write(file, text)
    elif closed:
        file.chmod(0o600)
    say = typer.echo
    if made:
        say(f"{'Completed' if there else 'Wrote'} {file} (readable by you only). Made here: {', '.join(made)}.")
    else:
        say(f"{file} has a value for every secret that can be made here: nothing was written.")
    if kept:
        say(f"Kept as they were: {', '.join(kept)}.")
    if closed:
        say("Others could read the file: now only you can.")
    empty = [(", ".join(names), source) for names, source in TO_FILL_IN if not all(_value(text, n) for n in names)]
    if empty:
        say("Still to fill in:")
    for names, source in empty:
        say(f"  {names}  ({source})")
    say("Then check it: python -m ml_backend doctor")


def completed(text: str) -> tuple[str, list[str], list[str]]:
    """(the file with empty values filled in, the names generated, the names kept)."""
    lines, seen = text.splitlines(), dict[str, tuple[int, str]]()
    made, kept = list[str](), list[str]()
    for number, line in enumerate(lines):
        if found := _LINE.match(line):
            seen[found[1].upper()] = (number, found[2].strip())
    for name, make in MADE.items():
        at, value = seen.get(name, (None, ""))
        elsewhere = seen.get(IN_ONE_FILE.get(name, f"{name}_FILE"), (None, ""))[1]
        if (value.strip("'\"") and not value.startswith("#")) or elsewhere:
            kept.append(name)
            continue
        made.append(name)
        if at is not None:
            lines[at] = f"{name}={make()}"
            continue
        comment = next((n for n, line in enumerate(lines) if re.match(rf"#\s*{name}=", line)), None)
        if comment is not None:
            lines[comment] = f"{name}={make()}"
        else:
            lines.append(f"{name}={make()}")
    return "\n".join(lines) + "\n", made, kept


def _value(text: str, name: str) -> str:
    found = re.search(rf"^[ \t]*{name}(?:_FILE)?[ \t]*=[ \t]*(\S.*)$", text, re.MULTILINE)
    return found[1] if found else ""


def write(file: Path, text: str) -> None:
    """Write atomically, readable by the owner only from the first byte. A link stays a link."""
    target = file.resolve()
    aside = target.with_name(f".{target.name}.{os.getpid()}.new")
    try:
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        aside.replace(target)
    except OSError as error:
        raise ConfigurationError(
            "cannot-write", f"{file} cannot be written ({error.strerror}).", "Check the folder and its rights."
        ) from error
    finally:
        aside.unlink(missing_ok=True)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError(
            "cannot-read", f"{file} cannot be read as UTF-8 text.", "Move it away, or correct it."
        ) from None


def _example() -> str:
    """`.env.example`; in the image, which lacks it, names and descriptions."""
    if EXAMPLE.is_file():
        return EXAMPLE.read_text(encoding="utf-8")
    return "".join(f"# {description}\n# {name}={default}\n" for name, default, description in settings.describe())
