"""The Label Studio of the demo: 1.23.2 in an environment of its own, with its data in our folder.

It silently takes the next free port if its own is taken, so the port is checked first. Its SSRF protection stays on:
private ranges are allowed because our backend is on loopback, the range of cloud metadata services stays banned.
Telemetry is off.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from ml_backend.commands.demo import ports
from ml_backend.commands.demo.home import ROOT, USER, DemoFolder, write_private
from ml_backend.commands.demo.programs import Program
from ml_backend.errors import ConfigurationError, PermanentError

FIRST_START_WITHIN_S = 900.0  # it migrates its database: 28 to 63 s on two free cores
KEPT_IN = "kaan-token"

# Print a new personal access token for the first user. Its older tokens are deleted: they were never stored.
_PRINT_ACCESS = """
import os, pathlib, sys
import label_studio
sys.path.insert(0, str(pathlib.Path(label_studio.__file__).parent))
os.environ["DJANGO_SETTINGS_MODULE"] = "label_studio.core.settings.label_studio"
import django
django.setup()
from django.contrib.auth import get_user_model
from jwt_auth.models import LSAPIToken
from rest_framework_simplejwt.token_blacklist.models import OutstandingToken
user = get_user_model().objects.get(email=sys.argv[1])
OutstandingToken.objects.filter(user=user).delete()
print("token:" + LSAPIToken.for_user(user).get_full_jwt())
"""


def program(home: DemoFolder) -> Program:
    """The server on loopback; the first start creates its user."""
    binary = environment_folder() / "bin" / "label-studio"
    command = [str(binary), "start", "--no-browser", "--internal-host", ports.LOOPBACK]
    command += ["--port", str(home.label_studio_port)]
    port = home.label_studio_port

    def ready() -> bool:
        return ports.answers(port, "/health", '"UP"')

    return Program("label-studio", command, environment(home), ready=ready, foundation=True)


def environment(home: DemoFolder) -> dict[str, str]:
    """Its whole environment. It reads common names like HOST and PORT, so it inherits none of ours."""
    folder = home.path / "label-studio"
    folder.mkdir(exist_ok=True)
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ")
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "PYTHONUNBUFFERED": "1",
        "LABEL_STUDIO_BASE_DATA_DIR": str(folder),
        "SECRET_KEY": home.secrets["label_studio_secret_key"],
        "LABEL_STUDIO_USERNAME": USER,
        "LABEL_STUDIO_PASSWORD": home.secrets["label_studio_password"],
        "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
        "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(home.objects),
        "LABEL_STUDIO_USE_DEFAULT_BANNED_SUBNETS": "false",
        "LABEL_STUDIO_USER_ADDITIONAL_BANNED_SUBNETS": "169.254.0.0/16,fe80::/10,fd00:ec2::254/128",
        "LABEL_STUDIO_LATEST_VERSION_CHECK": "false",
        "LABEL_STUDIO_COLLECT_ANALYTICS": "false",
        "LABEL_STUDIO_SENTRY_DSN": "",
        "LABEL_STUDIO_FRONTEND_SENTRY_DSN": "",
    }


def kept_token(home: DemoFolder) -> str:
    """The stored token of an earlier start, beside Label Studio's data; empty at the first start."""
    path = home.path / "label-studio" / KEPT_IN
    return path.read_text(encoding="utf-8").strip() if path.exists() else ""


def token(home: DemoFolder) -> str:
    """The personal access token of the first user, created if missing. Needs no running server."""
    if kept := kept_token(home):
        return kept
    made = subprocess.run(
        [str(environment_folder() / "bin" / "python"), "-c", _PRINT_ACCESS, USER],
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    (home.logs / "label-studio-token.log").write_text(made.stderr, encoding="utf-8")
    for line in made.stdout.splitlines():
        if line.startswith("token:"):
            write_private(home.path / "label-studio" / KEPT_IN, line.removeprefix("token:"))
            return line.removeprefix("token:")
    raise PermanentError(
        "no-label-studio-token",
        "Label Studio did not give a personal access token for its first user.",
        f"See {home.logs / 'label-studio-token.log'}; then start the demo again.",
    )


def environment_folder() -> Path:
    """The virtual environment Label Studio is installed in."""
    folder = ROOT / ".venv-label-studio"
    if not (folder / "bin" / "label-studio").exists():
        raise ConfigurationError(
            "no-label-studio",
            f"Label Studio is not installed in {folder}.",
            "Run `make demo`, which installs it (sh scripts/environment.sh label-studio does only that).",
        )
    return folder
