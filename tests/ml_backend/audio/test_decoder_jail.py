"""What a file could do that takes the decoder over: nothing to other processes, files or the network."""

from __future__ import annotations

import ctypes
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from ml_backend.audio import decoder_pool, decoder_process, decoding
from tests import sounds

# What the taken-over decoder tries, in place of decoding; each gives "done" or the error's name.
_ATTEMPTS = """
def _tried():
    libc, parent = ctypes.CDLL(None, use_errno=True), os.getppid()

    def call(name, *arguments):
        if getattr(libc, name)(*arguments) == -1:
            raise OSError(ctypes.get_errno(), name)

    def look():
        buffer = ctypes.create_string_buffer(16)
        ours = struct.pack("PN", ctypes.addressof(buffer), 16)
        call("process_vm_readv", OWNER, ours, 1, struct.pack("PN", ADDRESS, 16), 1, 0)

    attempts = {
        "signal its parent": lambda: os.kill(parent, 0),
        "signal its owner": lambda: os.kill(OWNER, signal.SIGCONT),
        "trace its owner": lambda: call("ptrace", 0x4206, OWNER, 0, 0),
        "read its owner": look,
        "open its owner's memory": lambda: os.open(f"/proc/{OWNER}/mem", os.O_RDONLY),
        "change its owner's limits": lambda: resource.prlimit(OWNER, resource.RLIMIT_CORE, (0, 0)),
        "start a process": lambda: os.fork(),
        "run a program": lambda: os.execv("/bin/true", ["true"]),
        "open a file": lambda: os.open("/etc/hostname", os.O_RDONLY),
        "write a file": lambda: os.open(FOLDER + "/made", os.O_WRONLY | os.O_CREAT),
        "remove a file": lambda: os.unlink(FOLDER + "/there"),
        "make a folder": lambda: os.mkdir(FOLDER + "/folder"),
        "open a connection": lambda: socket.socket(),
    }
    found = {}
    for name, attempt in attempts.items():
        try:
            attempt()
            found[name] = "done"
        except OSError as error:
            found[name] = type(error).__name__
    return found
"""


def attempts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    secret = ctypes.create_string_buffer(b"a secret of ours")
    text = Path(decoder_process.__file__).read_text(encoding="utf-8")
    call = 'return decode(source, target, limits=limits, hint=order["hint"])'
    assert call in text
    tried = _ATTEMPTS.replace("OWNER", str(os.getpid())).replace("ADDRESS", str(ctypes.addressof(secret)))
    tried = tried.replace("FOLDER", repr(str(folder)))
    text = text.replace(call, "return _tried()").replace(
        'if __name__ == "__main__":', f'{tried}\n\nif __name__ == "__main__":'
    )
    script = folder / "decoder.py"
    script.write_text(text, encoding="utf-8")
    monkeypatch.setattr(decoder_process, "__file__", str(script))
    (folder / "there").touch()
    with (folder / "source").open("w+b") as source, (folder / "target").open("w+b") as target:
        answer = decoder_pool.run(
            source.fileno(), target.fileno(), limits=asdict(decoding.Limits()), hint="", wall_s=60
        )
    assert answer
    return dict(json.loads(answer))


@pytest.mark.skipif(sys.platform != "linux", reason="the filter of system calls is Linux's")
def test_a_decoder_that_was_taken_over_reaches_nothing(tmp_path, monkeypatch):
    found = attempts(tmp_path, monkeypatch)
    assert [name for name, outcome in found.items() if outcome == "done"] == []
    assert len(found) == 13
    assert (tmp_path / "there").exists()
    assert not (tmp_path / "made").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="the filter of system calls is Linux's")
def test_whoever_decodes_cannot_be_looked_into_by_others_of_its_user(tmp_path):
    wav = sounds.write_wav(tmp_path / "a.wav", sounds.tone(1, hz=300, rate_hz=8000), rate_hz=8000)
    decoding.decode(wav, tmp_path / "out.wav")
    assert ctypes.CDLL(None).prctl(3, 0, 0, 0, 0) == 0  # PR_GET_DUMPABLE


def test_the_filter_names_every_call_once_on_each_machine():
    for column in (0, 1):
        numbers = [both[column] for both in decoder_process._FORBIDDEN.values() if both[column] is not None]
        assert len(numbers) == len(set(numbers))
        assert len(numbers) < 250  # a jump of the filter reaches so far


def test_the_decoder_gives_up_well_before_its_job_does():
    from ml_backend.jobs import job_kinds

    for kind in (job_kinds.INGEST_RECORDING,):
        assert decoding.Limits().wall_s * 2 <= kind.time_limit_s
