"""requirements/*.lock -> .venv, .venv-label-studio and .venv-parler, with nothing but Python and pip.

`sh scripts/environment.sh serving|training|development|label-studio|parler`. A set whose lock has not changed costs
a few milliseconds. An installation that was killed half-way is finished: pip takes a package whose folder was half
written for installed, so packages whose files do not match their own record are forgotten before pip runs again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TORCH = "torch==2.13.0"  # not in the lock: which build is right, CPU or CUDA, is a question of the machine


@dataclass(frozen=True)
class Set:
    """Some packages in one environment; `contains` are smaller sets it makes unnecessary."""

    name: str
    environment: Path
    title: str
    size: str
    contains: tuple[str, ...] = ()
    torch: bool = False

    @property
    def lock(self) -> Path:
        return ROOT / "requirements" / f"{self.name}.lock"

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.lock.read_bytes() + self.name.encode() + TORCH.encode()).hexdigest()


_SMALLER = ("serving", "training")
SETS = {
    one.name: one
    for one in (
        Set("serving", ROOT / ".venv", "the service", "about 1 GB"),
        Set("training", ROOT / ".venv", "what training needs", "about 2 GB with torch", ("serving",), torch=True),
        Set("development", ROOT / ".venv", "what tests and training need", "about 2.5 GB", _SMALLER, torch=True),
        Set("label-studio", ROOT / ".venv-label-studio", "Label Studio 1.23.2", "about 1 GB"),
        Set("parler", ROOT / ".venv-parler", "parler-tts 0.2.3", "about 1.2 GB with torch", torch=True),
    )
}


def main(names: list[str]) -> None:
    """Bring the named sets up to their locks."""
    if not names or not set(names) <= set(SETS):
        stop(f"Usage: sh scripts/environment.sh {'|'.join(SETS)}")
    for wanted in (SETS[name] for name in names):
        with locked(wanted.environment):
            if installed(wanted.environment).get(wanted.name) == wanted.fingerprint:
                continue
            started = time.monotonic()
            create(wanted.environment)
            say(f"Installing {wanted.title} into {wanted.environment.name} ({wanted.size}; a minute or two) ...")
            install(wanted)
            remember(wanted)
            say(f"  done in {time.monotonic() - started:.0f} s.")


def installed(environment: Path) -> dict[str, str]:
    """Fingerprints by set; nothing while an installation is under way or was killed."""
    if (environment / ".unfinished").exists():
        return {}
    try:
        found: dict[str, str] = json.loads((environment / ".installed.json").read_text())
    except (OSError, ValueError):
        return {}
    return found


def remember(wanted: Set) -> None:
    """Write down what is complete now, then drop the mark of an unfinished installation."""
    done = {name: SETS[name].fingerprint for name in (wanted.name, *wanted.contains)}
    fresh = wanted.environment / ".installed.json.new"
    fresh.write_text(json.dumps(done))
    fresh.replace(wanted.environment / ".installed.json")
    (wanted.environment / ".unfinished").unlink()


def create(environment: Path) -> None:
    """A virtual environment whose pip runs; made anew when it is broken."""
    if runs([environment / "bin" / "python", "-c", "import sys, pip; sys.exit(sys.version_info < (3, 11))"]):
        if (environment / ".unfinished").exists():
            forget_half_installed(environment)
    else:
        say(f"Creating {environment.name} with Python {sys.version.split()[0]} ...")
        command = [sys.executable, "-m", "venv", "--clear", str(environment)]
        made = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if made.returncode != 0 and ("ensurepip" in made.stdout or "No module named venv" in made.stdout):
            package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
            stop(
                "This Python cannot create virtual environments: its venv module is not installed.",
                f"On Debian or Ubuntu: apt install {package}",
            )
        if made.returncode != 0:
            stop(f"The virtual environment {environment} could not be created:", made.stdout.strip()[-800:])
    (environment / ".unfinished").touch()


def install(wanted: Set) -> None:
    """Exactly the lock's packages, checked against its hashes."""
    if wanted.torch:
        pip(wanted.environment, ["install", TORCH], 0)
        pip(wanted.environment, ["install", "--require-hashes", "--no-deps", "-r", str(wanted.lock)], pins(wanted.lock))
    else:
        pip(wanted.environment, ["install", "--require-hashes", "-r", str(wanted.lock)], pins(wanted.lock))


def pins(lock: Path) -> int:
    """How many packages a lock names."""
    return len(re.findall(r"^[A-Za-z0-9]", lock.read_text(encoding="utf-8"), re.MULTILINE))


def pip(environment: Path, arguments: list[str], total: int) -> None:
    """Run pip: packages are counted on a terminal, the whole log is kept, its end is shown on failure."""
    log_path = environment / "install.log"
    command = [str(environment / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--no-input"]
    seen = 0
    with log_path.open("a", encoding="utf-8") as log:
        process = subprocess.Popen(
            [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
        try:
            for line in process.stdout or ():
                log.write(line)
                seen += line.startswith(("Collecting ", "Requirement already satisfied"))
                show_progress(line, seen, total)
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if sys.stdout.isatty():
        sys.stdout.write("\r\033[K")
    if process.wait() != 0:
        stop(
            f"pip could not install the packages. The end of {log_path}:",
            "\n".join(log_path.read_text(encoding="utf-8").splitlines()[-12:]),
            "When the network was the trouble, run the same command again: it goes on where it stopped.",
        )


def show_progress(line: str, seen: int, total: int) -> None:
    """One line that is written over, on a terminal only."""
    if not sys.stdout.isatty():
        return
    if line.startswith("Installing collected"):
        text = "  unpacking ..."
    else:
        text = f"  {min(seen, total)} of {total} packages" if total else "  " + line.strip()[:70]
    sys.stdout.write("\r\033[K" + text)
    sys.stdout.flush()


def forget_half_installed(environment: Path) -> None:
    """Remove the metadata of packages whose files are not all there, so that pip installs them again."""
    for site in environment.glob("lib/python3*/site-packages"):
        for metadata in site.glob("*.dist-info"):
            if not complete(metadata):
                shutil.rmtree(metadata, ignore_errors=True)
        for leftover in site.glob("~*"):
            shutil.rmtree(leftover, ignore_errors=True)  # what an interrupted pip had set aside


def complete(metadata: Path) -> bool:
    """Whether every file in a package's record exists."""
    try:
        lines = (metadata / "RECORD").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    names = [line.rsplit(",", 2)[0].strip('"') for line in lines if line.strip()]
    return bool(names) and all((metadata.parent / name).exists() for name in names if not name.endswith(".pyc"))


@contextmanager
def locked(environment: Path) -> Iterator[None]:
    """Two `make` at once: the second waits for the first."""
    with environment.with_name(environment.name + ".lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say(f"Another process is installing into {environment.name}: waiting for it ...")
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def runs(command: list[str | Path]) -> bool:
    """Whether a command exists and ends well."""
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def stop(*lines: str) -> None:
    sys.stderr.write("\n".join(lines) + "\n")
    sys.exit(1)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        stop("", "Stopped. The same command continues from here.")
