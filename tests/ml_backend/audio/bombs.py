"""Files made to hurt whoever decodes them: bombs, lies about size, and playlists in disguise (F43, F44).

`corpus(folder, neighbour)` writes them all; each must be refused within two seconds and 1 GiB, and none may lead to the
neighbour. Big ones are sparse: they take no room on the disk.
"""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
from collections.abc import Callable, Collection, Iterator
from functools import cache
from pathlib import Path

DAY_S = 24 * 3600


def corpus(folder: Path, neighbour: Path, *, names: Collection[str] = ()) -> Iterator[Path]:
    """Every file, or those named, each written into `folder` when it is asked for."""
    for name, make in {**_BOMBS, **_LIES, **_disguises(neighbour)}.items():
        if not names or name in names:
            path = folder / name
            make(path)
            yield path


def wav(data: bytes, *, rate_hz: int = 8000, channels: int = 1, bits: int = 16, claims: int | None = None) -> bytes:
    """A PCM WAV whose header may say anything."""
    align = channels * bits // 8 & 0xFFFF
    layout = struct.pack("<HHIIHH", 1, channels, rate_hz, rate_hz * align & 0xFFFFFFFF, align, bits)
    size = len(data) if claims is None else claims
    header = b"RIFF" + struct.pack("<I", (36 + size) & 0xFFFFFFFF) + b"WAVEfmt \x10\0\0\0" + layout
    return header + b"data" + struct.pack("<I", size) + data


def flac(seconds: float, *, says: int | None = None, rate_hz: int = 8000) -> bytes:
    """Silence: a few bytes per half second. `says` is the number of samples its header gives, 0 for unknown."""
    total = int(seconds * rate_hz)
    block = 4096
    frames = [_flac_frame(number, block, rate_hz) for number in range(total // block)]
    count = total // block * block if says is None else says
    info = struct.pack(">HH", block, block) + bytes(6)
    info += struct.pack(">Q", rate_hz << 44 | 0 << 41 | 15 << 36 | count) + bytes(16)
    return b"fLaC" + b"\x80" + struct.pack(">I", len(info))[1:] + info + b"".join(frames)


def _flac_frame(number: int, block: int, rate_hz: int) -> bytes:
    rate_code = {8000: 4, 16000: 5, 48000: 10}[rate_hz]
    header = bytes([0xFF, 0xF8, 0xC0 | rate_code, 0x08]) + _utf8(number)
    header += bytes([_crc(header, 0x07, 8)])
    body = header + b"\x00" + b"\x00\x00"  # one constant subframe of 0
    return body + struct.pack(">H", _crc(body, 0x8005, 16))


def _utf8(number: int) -> bytes:
    if number < 0x80:
        return bytes([number])
    more = next(count for count, end in ((1, 0x800), (2, 0x10000), (3, 0x200000)) if number < end)
    tail = [0x80 | number >> 6 * place & 0x3F for place in reversed(range(more))]
    return bytes([0xFF00 >> (more + 1) & 0xFF | number >> 6 * more, *tail])


@cache
def _table(polynomial: int, bits: int) -> tuple[int, ...]:
    top, mask = 1 << (bits - 1), (1 << bits) - 1
    values = []
    for byte in range(256):
        value = byte << (bits - 8)
        for _ in range(8):
            value = (value << 1 ^ polynomial) & mask if value & top else value << 1 & mask
        values.append(value)
    return tuple(values)


def _crc(data: bytes, polynomial: int, bits: int) -> int:
    table, mask, value = _table(polynomial, bits), (1 << bits) - 1, 0
    for byte in data:
        value = (value << 8 ^ table[(value >> (bits - 8)) ^ byte]) & mask
    return value


def _atom(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + name + body


def mov(entries: int, *, outside: bytes = b"") -> bytes:
    """An MP4 whose sample table claims `entries` samples, and whose sound may lie in another file."""
    where = _atom(b"url ", struct.pack(">I", 0 if outside else 1) + outside)
    sound = _atom(b"sowt", bytes(6) + struct.pack(">H", 1) + bytes(8) + struct.pack(">HHII", 1, 16, 0, 8000 << 16))
    table = _atom(b"stsd", struct.pack(">II", 0, 1) + sound)
    table += _atom(b"stts", struct.pack(">IIII", 0, 1, entries, 1))
    table += _atom(b"stsc", struct.pack(">IIIII", 0, 1, 1, entries, 1))
    table += _atom(b"stsz", struct.pack(">III", 0, 2, entries))
    table += _atom(b"stco", struct.pack(">III", 0, 1, 40))
    media = _atom(b"smhd", bytes(8)) + _atom(b"dinf", _atom(b"dref", struct.pack(">II", 0, 1) + where))
    media = _atom(b"minf", media + _atom(b"stbl", table))
    header = _atom(b"mdhd", bytes(12) + struct.pack(">IIHH", 8000, min(entries, 0xFFFFFFFF), 0, 0))
    media = _atom(b"mdia", header + _atom(b"hdlr", bytes(8) + b"soun" + bytes(13)) + media)
    track = _atom(b"trak", _atom(b"tkhd", bytes(3) + b"\7" + bytes(80)) + media)
    movie = _atom(b"mvhd", bytes(12) + struct.pack(">II", 8000, 8000) + bytes(80))
    return _atom(b"ftyp", b"M4A \0\0\0\0") + _atom(b"moov", movie + track)


def _id3(claims: int) -> bytes:
    return b"ID3\4\0\0" + bytes(claims >> shift & 0x7F for shift in (21, 14, 7, 0))


def _bytes(content: Callable[[], bytes]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content())

    return write


def _sparse(start: bytes, size: int) -> Callable[[Path], None]:
    """`start`, then zeros up to `size`, which the disk does not hold."""

    def write(path: Path) -> None:
        with path.open("wb") as out:
            out.write(start)
            out.truncate(size)

    return write


def _zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("call.wav", bytes(20_000_000))
    return out.getvalue()


_AMR_SILENCE = b"#!AMR\n" + b"\x7c" * (DAY_S * 50)
_BOMBS: dict[str, Callable[[Path], None]] = {
    "silence-of-a-day.flac": _bytes(lambda: flac(DAY_S)),
    "silence-of-unknown-length.flac": _bytes(lambda: flac(5 * 3600, says=0)),
    "silence-that-says-ten-seconds.flac": _bytes(lambda: flac(5 * 3600, says=80_000)),
    "silence-of-a-day.amr": _bytes(lambda: _AMR_SILENCE),
    "hours-of-nothing.wav": _sparse(wav(b"", claims=0x7FFFFFF0), 0x7FFFFFF0 + 44),
    "cover-art-of-400-MB.mp3": _sparse(_id3(0x0FFFFFFF) + b"APIC\x0f\x7f\x7f\x70\0\0\0image/png\0\3\0", 400_000_000),
    "tag-of-256-MB.mp3": _sparse(_id3(0x0FFFFFFF), 0x10000000),
    "zeros-of-500-MB.mp3": _sparse(b"", 500_000_000),
    "zip-bomb.mp3": _bytes(_zip),
    "gzip-bomb.wav": _bytes(lambda: gzip.compress(wav(bytes(20_000_000)))),
}
_LIES: dict[str, Callable[[Path], None]] = {
    "one-hertz.wav": _bytes(lambda: wav(bytes(4000), rate_hz=1)),
    "no-hertz.wav": _bytes(lambda: wav(bytes(4000), rate_hz=0)),
    "four-gigahertz.wav": _bytes(lambda: wav(bytes(4000), rate_hz=0xFFFFFFFF)),
    "192-channels.wav": _bytes(lambda: wav(bytes(40_000), channels=192)),
    "65535-channels.wav": _bytes(lambda: wav(bytes(40_000), channels=0xFFFF)),
    "no-channels.wav": _bytes(lambda: wav(bytes(4000), channels=0)),
    "claims-four-gigabytes.wav": _bytes(lambda: wav(b"", claims=0x7FFFEFFF)),
    "table-of-two-billion-samples.m4a": _bytes(lambda: mov(0x7FFFFFFF)),
    "tag-longer-than-the-file.mp3": _bytes(lambda: _id3(0x0FFFFFFF) + bytes(5000)),
}


def _disguises(neighbour: Path) -> dict[str, Callable[[Path], None]]:
    """Lists of other files and addresses, under the names of recordings."""

    def concat(target: str) -> Callable[[Path], None]:
        return _bytes(lambda: f"ffconcat version 1.0\nfile '{target}'\n".encode())

    def hls(target: str) -> Callable[[Path], None]:
        text = f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:2,\n{target}\n#EXT-X-ENDLIST\n"
        return _bytes(lambda: text.encode())

    there = str(neighbour.resolve())
    return {
        "list-relative.mp3": concat(neighbour.name),
        "list-absolute.mp3": concat(there),
        "list-address.mp3": concat("http://127.0.0.1:9/call.wav"),
        "stream-relative.mp3": hls(neighbour.name),
        "stream-absolute.wav": hls(f"file://{there}"),
        "stream-address.wav": hls("http://127.0.0.1:9/call.wav"),
        "session.wav": _bytes(lambda: b"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=audio 9 RTP/AVP 0\n"),
        "manifest.mp3": _bytes(lambda: f"<?xml version='1.0'?><MPD><BaseURL>{there}</BaseURL></MPD>".encode()),
    }


NAMES = (*_BOMBS, *_LIES, *_disguises(Path("neighbour.wav")))
