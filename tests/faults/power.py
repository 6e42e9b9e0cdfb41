"""A trace of system calls -> the files as a power cut would have left them: only bytes that a sync followed.

Written with strace, replayed here. Directory entries count as safe, and a disk that lies about syncing cannot be
imitated: this shows that the product waits for the disk, no more.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

CALLS = "pwrite64,write,fdatasync,fsync,ftruncate"
_LINE = re.compile(r"^(\d+)\s+(\w+)\((\d+)<([^>]*)>(.*)$")
_RESUMED = re.compile(r"^(\d+)\s+<\.\.\. (\w+) resumed>")
_TEXT = re.compile(r'^, "((?:\\x[0-9a-f]{2})*)"(?:\.\.\.)?, (\d+)(?:, (\d+))?')


def watched(trace: Path) -> list[str]:
    """The prefix of a command whose writes and syncs are to be traced."""
    return ["strace", "-f", "-y", "-xx", "-s", "200000", "-o", str(trace), "-e", f"trace={CALLS}"]


def survivors(trace: Path, before: Path, after: Path, *, of: Path) -> Path:
    """Replay the trace over the files as they were `before`; gives the folder with what survived."""
    shutil.copytree(before, after)
    waiting: dict[Path, list[tuple[int, bytes | None]]] = {}
    syncing: dict[str, tuple[Path, int]] = {}
    for line in trace.read_text(errors="replace").splitlines():
        if resumed := _RESUMED.match(line):
            if resumed.group(2) in ("fsync", "fdatasync") and resumed.group(1) in syncing:
                file, number = syncing.pop(resumed.group(1))
                _sync(file, waiting, number)
            continue
        found = _LINE.match(line)
        if found is None:
            continue
        process, call, _, name, rest = found.groups()
        source = Path(_unescaped(name))
        if not source.is_relative_to(of) or source == of or source.name.endswith("-shm"):
            continue  # another folder; the folder itself; what SQLite shares in memory and makes anew
        file = after / source.relative_to(of)
        if call in ("fsync", "fdatasync"):
            if "unfinished" in rest:
                syncing[process] = (file, len(waiting.get(file, ())))
            else:
                _sync(file, waiting, len(waiting.get(file, ())))
        elif call == "ftruncate":
            size = re.match(r"^, (\d+)", rest)
            waiting.setdefault(file, []).append((int(size.group(1)) if size else 0, None))
        elif call == "pwrite64" and (text := _TEXT.match(rest)):
            data = bytes.fromhex(text.group(1).replace("\\x", ""))
            waiting.setdefault(file, []).append((int(text.group(3)), data))
    return after


def _unescaped(name: str) -> str:
    return bytes.fromhex(name.replace("\\x", "")).decode() if name.startswith("\\x") else name


def _sync(file: Path, waiting: dict[Path, list[tuple[int, bytes | None]]], number: int) -> None:
    todo = waiting.get(file, [])
    done, waiting[file] = todo[:number], todo[number:]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    with file.open("r+b") as target:
        for offset, data in done:
            if data is None:
                target.truncate(offset)
            else:
                target.seek(offset)
                target.write(data)
