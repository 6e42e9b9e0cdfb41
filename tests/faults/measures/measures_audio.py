"""Audio in numbers: cuts, damaged middles, bombs and disguises."""

from __future__ import annotations

import ctypes
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ml_backend.audio import decoder_pool, decoding
from ml_backend.errors import KaanError, PermanentError
from tests import sounds
from tests.faults.full import Figure, Run

WHOLE_S = 30.0
MOST_MB = 1024


def cuts(run: Run) -> list[Figure]:
    """99 cuts of two formats, 50 damaged middles: never silently shorter than the call."""
    speech = np.concatenate([sounds.tone(WHOLE_S / 2, hz=300), sounds.tone(WHOLE_S / 2, hz=500)])
    made = {
        "wav": sounds.write_wav(run.folder / "whole.wav", speech),
        "mp3": sounds.encode(run.folder / "whole.mp3", speech, container="mp3", codec="mp3", rate_hz=16_000),
    }
    silent, tried = [], 0
    for name, whole in made.items():
        content = whole.read_bytes()
        for percent in range(1, 100, max(1, round(1 / run.scale))):
            tried += 1
            if _silently_short(run.folder / f"cut.{name}", content[: len(content) * percent // 100]):
                silent.append(f"{name} cut at {percent} %")
    damaged, chance = run.count(50, least=2), run.chance
    for number in range(damaged):
        name = ("mp3", "wav")[number % 2]
        raw = bytearray(made[name].read_bytes())
        begin = chance.randrange(len(raw) // 4, len(raw) // 2)
        length = chance.randrange(len(raw) // 20, len(raw) // 4)
        raw[begin : begin + length] = bytes(length) if number % 4 < 2 else chance.randbytes(length)
        if _silently_short(run.folder / f"damaged.{name}", bytes(raw)):
            silent.append(f"{name} damaged at {begin} for {length} bytes")
    for entry in silent:
        print("silently short:", entry)
    return [
        Figure(
            f"silently shortened of {tried} cuts and {damaged} damaged middles", "0", str(len(silent)), not silent
        )
    ]  # fmt: skip


def _silently_short(path: Path, content: bytes) -> bool:
    path.write_bytes(content)
    try:
        found = decoding.decode(path, path.with_suffix(".out"))
    except PermanentError:
        return False
    # the call's own length, which ingest compares with, is the third witness
    return not found.cut and found.duration_s < WHOLE_S - 0.5


def bombs(run: Run) -> list[Figure]:
    """25 bombs and disguises: refused within 2 s and 1 GiB, and no neighbour opened."""
    neighbour = sounds.write_wav(run.folder / "neighbour.wav", sounds.tone(2, hz=700))
    refused, slowest, most_mb, files = 0, 0.0, 0.0, list(_bombs(run.folder, neighbour))
    with _opened(neighbour) as opens:
        for path in files:
            began = time.monotonic()
            try:
                decoding.decode(path, run.folder / "out.wav", limits=decoding.Limits(max_duration_s=4 * 3600))
                print("not refused:", path.name)
            except KaanError as error:
                refused += isinstance(error, PermanentError)
            slowest = max(slowest, time.monotonic() - began)
            most_mb = max(most_mb, _peak_mb())
        opened = opens()
    return [
        Figure("bombs and disguises refused", f"{len(files)} of {len(files)}", f"{refused} of {len(files)}",
               refused == len(files)),
        Figure("the slowest refusal, the most memory of the decoder", f"2 s, {MOST_MB} MB",
               f"{slowest:.2f} s, {most_mb:.0f} MB", slowest <= 2 and most_mb <= MOST_MB),
        Figure("neighbour files opened by a disguise", "0", str(opened), opened == 0),
    ]  # fmt: skip


def _bombs(folder: Path, neighbour: Path) -> Iterator[Path]:
    """25 files that are no recording, or would be too much of one."""

    def file(name: str, content: bytes) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    long = folder / "silence-of-hours.flac"
    sounds.encode(long, np.zeros(8000 * 15_000, np.float32), container="flac", codec="flac", rate_hz=8000)
    yield long
    yield file("wav-one-hertz.wav", _wav(1, 1, 16, bytes(40_000)))
    yield file("wav-192-channels.wav", _wav(8000, 192, 16, bytes(400_000)))
    yield file("wav-65535-channels.wav", _wav(8000, 65535, 16, bytes(400_000)))
    yield file("wav-rate-0.wav", _wav(0, 1, 16, bytes(4000)))
    yield file("wav-bits-0.wav", _wav(8000, 1, 0, bytes(4000)))
    yield file("wav-rate-max.wav", _wav(2**32 - 1, 1, 16, bytes(4000)))
    sparse = folder / "wav-ten-hours.wav"
    with sparse.open("wb") as hours:
        hours.write(_wav(8000, 1, 16, b"", claims=8000 * 2 * 36_000))
        hours.truncate(44 + 8000 * 2 * 36_000)
    yield sparse
    yield file("id3-huge.mp3", b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + bytes(300_000))
    yield file("ogg-empty-pages.ogg", (b"OggS\0\x02" + bytes(20) + b"\1\0") * 5000)
    yield file("flac-header-lies.flac", b"fLaC\0\0\0\x22" + b"\xff" * 34 + bytes(20_000))
    yield file("mp4-box-lies.mp4", b"\xff\xff\xff\xffftypisom" + b"\0\0\0\1moov" + b"\xff" * 8 + bytes(20_000))
    for name in ("call.mp3", "call.wav", "call.ogg"):
        yield file(f"concat-relative-{name}", f"ffconcat version 1.0\nfile '{neighbour.name}'\n".encode())
        yield file(f"concat-absolute-{name}", f"ffconcat version 1.0\nfile '{neighbour}'\n".encode())
    yield file("hls-local.mp3", f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{neighbour}\n#EXT-X-ENDLIST\n".encode())
    yield file(
        "hls-http.mp3", b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"
    )
    yield file("dash.wav", b"<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'></MPD>")
    yield file("sdp.mp3", b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=audio 9 RTP/AVP 0\n")
    yield file("png.mp3", b"\x89PNG\r\n\x1a\n" + bytes(4000))
    yield file("zip.wav", b"PK\x03\x04" + bytes(4000))
    yield file("gzip.mp3", b"\x1f\x8b\x08\0" + bytes(4000))


def _wav(rate_hz: int, channels: int, bits: int, data: bytes, *, claims: int | None = None) -> bytes:
    size, block = len(data) if claims is None else claims, channels * max(1, bits // 8)
    layout = struct.pack("<HHIIHH", 1, channels, rate_hz, (rate_hz * block) & 0xFFFFFFFF, block & 0xFFFF, bits)
    head = b"RIFF" + struct.pack("<I", (36 + size) & 0xFFFFFFFF) + b"WAVEfmt \x10\0\0\0" + layout
    return head + b"data" + struct.pack("<I", size) + data


def _peak_mb() -> float:
    """The most memory the decoder's process ever had; 0 when it is gone."""
    try:
        status = Path(f"/proc/{decoder_pool.process_id()}/status").read_text()
    except OSError:
        return 0.0
    return float(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1024


@contextmanager
def _opened(path: Path) -> Iterator[object]:
    """A function that counts how often the file was opened meanwhile, by anybody: the kernel's own notice."""
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(os.O_NONBLOCK)
    libc.inotify_add_watch(watch, os.fsencode(path), 0x20)  # IN_OPEN

    def count() -> int:
        try:
            return len(os.read(watch, 65536)) // 16
        except BlockingIOError:
            return 0

    try:
        yield count
    finally:
        os.close(watch)
