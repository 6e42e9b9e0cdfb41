"""DATA_DIR -> Home: the folder of one demo, its secrets, its ports and the settings of its processes.

Values that must be the same at the next start are chosen once and written here before they are used, so that a killed
start can be repeated.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from ml_backend.commands.demo import ports
from ml_backend.errors import ConfigurationError

ROOT = Path(__file__).resolve().parents[3]
USER = "annotator@example.com"
BUCKETS = ("call-recordings", "voice-audio", "training-data", "kaan-audio")
SOCKET_PATH_LIMIT = 100  # the kernel allows 107 bytes for the path of a Unix socket

_SECRETS = {
    "label_studio_password": 9,
    "label_studio_secret_key": 32,
    "webhook_secret": 24,
    "basic_auth_pass": 24,
    "api_token": 24,
    "live_token": 24,
    "pseudonym_key": 24,
}  # name -> random bytes


@dataclass
class DemoFolder:
    """One demo's folder, held by one supervisor at a time."""

    path: Path
    port: int = 0
    live_port: int = 0
    label_studio_port: int = 0
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    _lock: IO[str] | None = field(default=None, repr=False)

    @property
    def label_studio_url(self) -> str:
        return f"http://{ports.LOOPBACK}:{self.label_studio_port}"

    @property
    def url(self) -> str:
        return f"http://{ports.LOOPBACK}:{self.port}"

    @property
    def live_url(self) -> str:
        return f"http://{ports.LOOPBACK}:{self.live_port}/v1"

    @property
    def objects(self) -> Path:
        return self.path / "objects"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def run(self) -> Path:
        return self.path / "run"

    @property
    def env_file(self) -> Path:
        return self.path / "demo.env"

    @property
    def redis_socket(self) -> Path:
        """In the demo's folder, or in the temporary folder when that path is too long for a socket."""
        inside = self.run / "redis.sock"
        if len(os.fsencode(inside)) <= SOCKET_PATH_LIMIT:
            return inside
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"kaan-{os.getuid()}-{digest}" / "redis.sock"

    def settings(self, *, api_key: str) -> dict[str, str]:
        """The environment of our own processes, by setting."""
        return {
            "DATA_DIR": str(self.path),
            "DATABASE_URL": f"sqlite:///{self.path / 'kaan.db'}",
            "REDIS_URL": f"unix://{self.redis_socket}?db=0",
            "OBJECT_STORE": str(self.objects),
            "AUDIO_BUCKET": "kaan-audio",
            "LABEL_STUDIO_URL": self.label_studio_url,
            "LABEL_STUDIO_API_KEY": api_key,
            "LABEL_STUDIO_WEBHOOK_SECRET": self.secrets["webhook_secret"],
            "LABEL_STUDIO_LOCAL_FILES_ROOT": str(self.objects),
            "PUBLIC_URL": self.url,
            "BASIC_AUTH_USER": "label-studio",
            "BASIC_AUTH_PASS": self.secrets["basic_auth_pass"],
            "API_TOKENS": f"demo:admin:{self.secrets['api_token']},phone:live:{self.secrets['live_token']}",
            "PSEUDONYM_KEY": self.secrets["pseudonym_key"],
            "NLU_TRAINING_THRESHOLD": "1000000",  # no worker of a demo trains: a run by itself would wait for ever
            "HOST": ports.LOOPBACK,
            "PORT": str(self.port),
            "LIVE_PORT": str(self.live_port),
        }

    def release(self) -> None:
        """Release the lock on the folder."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def take(path: Path, *, port: int | None, label_studio_port: int | None) -> DemoFolder:
    """Lock the folder for this process, and create or read its secrets and ports.

    Without a given port, the previous one is used; 0 picks a free one.
    """
    home = DemoFolder(path.expanduser().absolute())
    _refuse_foreign(home.path)
    for folder in (home.path, home.logs, home.run, *(home.objects / bucket for bucket in BUCKETS)):
        folder.mkdir(parents=True, exist_ok=True)
    home.path.chmod(0o700)
    home.redis_socket.parent.mkdir(mode=0o700, exist_ok=True)
    home._lock = _lock(home.path)
    before = _read(home.path / "demo.json")
    home.port = _port(port, before.get("port"), 9090)
    home.label_studio_port = _port(label_studio_port, before.get("label_studio_port"), 8080)
    home.live_port = _live_port(port, before.get("live_port"), taken=(home.port, home.label_studio_port))
    kept = {"port": home.port, "label_studio_port": home.label_studio_port, "live_port": home.live_port}
    write_private(home.path / "demo.json", json.dumps({"made_by": "kaan demo", **kept}))
    home.secrets = _read(home.path / "secrets.json")
    if missing := {name: size for name, size in _SECRETS.items() if name not in home.secrets}:
        home.secrets.update({name: secrets.token_urlsafe(size) for name, size in missing.items()})
        write_private(home.path / "secrets.json", json.dumps(home.secrets))
    return home


def write_private(path: Path, text: str) -> None:
    """Write a file whole or not at all, readable by its owner only."""
    fresh = path.with_name(path.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(path)


def _port(asked: int | None, before: int | None, default: int) -> int:
    if asked == 0:
        return before if before and ports.is_free(before) else ports.free()
    return asked or before or default


def _live_port(asked: int | None, before: int | None, *, taken: tuple[int, ...]) -> int:
    """The one of the last start, else the usual one, else a free one: nobody is asked for it."""
    wanted = (before, None if asked == 0 else 9091)
    return next((port for port in wanted if port and port not in taken and ports.is_free(port)), None) or ports.free()


def _lock(path: Path) -> IO[str]:
    stream = (path / "demo.lock").open("a+")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        stream.seek(0)
        holder = stream.read().strip()
        stream.close()
        raise ConfigurationError(
            "demo-running",
            f"A demo is already running in {path}" + (f" (process {holder})." if holder else "."),
            "Use that one, stop it with Ctrl-C, or start another in its own folder with --data-dir and other ports.",
        ) from None
    stream.truncate(0)
    stream.write(str(os.getpid()))
    stream.flush()
    return stream


def _refuse_foreign(path: Path) -> None:
    """Refuse a folder with a database that the demo did not make: it belongs to a deployment."""
    if (path / "kaan.db").exists() and not (path / "demo.json").exists():
        raise ConfigurationError(
            "not-a-demo",
            f"{path} holds a database that the demo did not make; the demo's calls do not belong there.",
            "Choose another folder: python -m ml_backend demo --data-dir data-demo",
        )


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
