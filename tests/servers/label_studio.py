"""A folder -> a running Label Studio with a user and a personal access token.

Used by the demo and by the tests. Needs nothing but the program itself: SQLite, its own data folder, a free port.
The first start migrates the database (half a minute to a minute), later ones take seconds.

Label Studio takes the next free port in silence when its own is busy, so the port is checked first; and the
private-network guards of ML backends, webhooks and S3 are kept, with only the metadata range banned, because a
backend on the same machine has a private address.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

EMAIL = "annotator@kaan.example"
START_S = 540.0  # half a minute on a free machine; the database is migrated by one busy process


@dataclass(frozen=True)
class LabelStudioServer:
    """A running Label Studio. `password` and `token` belong to the one user, `EMAIL`."""

    url: str
    token: str
    password: str
    folder: Path
    files_root: Path
    process: subprocess.Popen[bytes]
    email: str = EMAIL

    @property
    def log(self) -> Path:
        """What the server printed."""
        return self.folder / "label-studio.log"

    def stop(self) -> None:
        """End the server and wait for it."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait(10)


def program() -> Path | None:
    """The label-studio executable: LABEL_STUDIO_BIN, an environment beside the repository's, or the PATH."""
    root = Path(__file__).resolve().parents[2]
    for candidate in (os.environ.get("LABEL_STUDIO_BIN", ""), str(root / ".venv-label-studio/bin/label-studio")):
        if candidate and Path(candidate).exists():
            return Path(candidate)
    found = shutil.which("label-studio")
    return Path(found) if found else None


def environment(
    folder: Path, files_root: Path, *, password: str, guards: Mapping[str, str] | None = None
) -> dict[str, str]:
    """What Label Studio reads from its environment; `guards` replaces the address rules."""
    rules = (
        guards
        if guards is not None
        else {
            "USE_DEFAULT_BANNED_SUBNETS": "false",
            "USER_ADDITIONAL_BANNED_SUBNETS": "169.254.0.0/16",
        }
    )
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return {
        **kept,
        "LABEL_STUDIO_BASE_DATA_DIR": str(folder),
        "LABEL_STUDIO_USERNAME": EMAIL,
        "LABEL_STUDIO_PASSWORD": password,
        "LOCAL_FILES_SERVING_ENABLED": "true",
        "LOCAL_FILES_DOCUMENT_ROOT": str(files_root),
        "LATEST_VERSION_CHECK": "false",
        "COLLECT_ANALYTICS": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
        "DISABLE_SIGNUP_WITHOUT_LINK": "true",
        **rules,
    }


def start(
    folder: Path,
    *,
    port: int | None = None,
    files_root: Path | None = None,
    guards: Mapping[str, str] | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> LabelStudioServer:
    """Start in `folder` (kept between starts, with its password and token) and wait until it answers."""
    executable = program()
    if executable is None:
        raise RuntimeError("Label Studio is not installed: set LABEL_STUDIO_BIN or make .venv-label-studio.")
    folder.mkdir(parents=True, exist_ok=True)
    files_root = files_root or folder / "files"
    files_root.mkdir(parents=True, exist_ok=True)
    password = _kept(folder / "password", lambda: secrets.token_urlsafe(12))
    port = port or free_port()
    if _listening(port):
        raise RuntimeError(f"Port {port} is in use.")
    log = (folder / "label-studio.log").open("ab")
    process = subprocess.Popen(
        [str(executable), "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port)],
        env=environment(folder, files_root, password=password, guards=guards),
        stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, cwd=folder,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    server = LabelStudioServer(url, "", password, folder, files_root, process)
    try:
        _wait_until_up(server, say)
        token = _kept(folder / "token", lambda: personal_access_token(url, EMAIL, password))
    except BaseException:
        server.stop()
        raise
    return LabelStudioServer(url, token, password, folder, files_root, process)


@contextmanager
def running(folder: Path, **options: object) -> Iterator[LabelStudioServer]:
    """`start`, and `stop` at the end of the block."""
    server = start(folder, **options)  # type: ignore[arg-type]
    try:
        yield server
    finally:
        server.stop()


def personal_access_token(url: str, email: str, password: str) -> str:
    """Log in as a browser would and make the one personal access token; it is shown only once."""
    with httpx.Client(base_url=url, follow_redirects=True, timeout=30) as client:
        page = client.get("/user/login/").text
        found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        form = {"email": email, "password": password, "csrfmiddlewaretoken": found.group(1) if found else ""}
        client.post("/user/login/", data=form, headers={"Referer": f"{url}/user/login/"}).raise_for_status()
        headers = {"X-CSRFToken": client.cookies.get("csrftoken", ""), "Referer": url}
        answer = client.post("/api/token/", headers=headers, json={})
        answer.raise_for_status()
        return str(answer.json()["token"])


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_up(server: LabelStudioServer, say: Callable[[str], None]) -> None:
    started, told = time.monotonic(), 0.0
    while (passed := time.monotonic() - started) < START_S:
        if server.process.poll() is not None:
            raise RuntimeError(f"Label Studio ended with {server.process.returncode}; see {server.log}.")
        try:
            if httpx.get(f"{server.url}/health", timeout=2).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        if passed - told >= 10:
            told = passed
            say(f"Label Studio is starting ({passed:.0f} s)")
        time.sleep(0.5)
    raise RuntimeError(f"Label Studio did not answer within {START_S:.0f} s; see {server.log}.")


def _listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _kept(file: Path, make: Callable[[], str]) -> str:
    """A secret made once and kept in a file only its owner reads."""
    if not file.exists():
        value = make()
        file.touch(mode=0o600)
        file.write_text(value)
    return file.read_text().strip()


if __name__ == "__main__":
    with running(Path(sys.argv[1]), port=int(sys.argv[2]) if len(sys.argv) > 2 else None, say=print) as it:
        print(f"{it.url}\n{it.email}\n{it.password}\n{it.token}", flush=True)
        it.process.wait()
