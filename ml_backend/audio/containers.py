"""File -> ContainerStructure: its parts, whether it ends early, and whether bytes follow the end.

FFmpeg hides all three: it reports the duration that it finds, and stops at the end of the first part. So files that
were joined end to end, cut by a broken connection, or written with a wrong header would pass as complete. Runs in the
decoder's child process on untrusted bytes, so it only skips over lengths.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO, Protocol

PAGES = (  # how what a server sends instead of audio begins
    (b"<!doctype", "an HTML page"), (b"<html", "an HTML page"), (b"<head", "an HTML page"),
    (b"<?xml", "an XML document"), (b"<error", "an XML document"), (b"<", "a page of markup"),
    (b"{", "a JSON document"), (b"[", "a JSON document"),
)  # fmt: skip
STRANGERS = (
    *PAGES,
    (b"\x89png", "a PNG image"), (b"\xff\xd8\xff", "a JPEG image"), (b"gif8", "a GIF image"), (b"%pdf", "a PDF"),
    (b"pk\x03\x04", "a zip archive"), (b"\x1f\x8b", "a gzip file"), (b"ffconcat", "a playlist"),
    (b"#extm3u", "a playlist"),
)  # fmt: skip
EBML = b"\x1aE\xdf\xa3"  # the first bytes of Matroska and WebM
LEAST_MISSING_S = 0.05  # less than this is too short for a word
_MOST_PARTS = 1000
_LEAST_MORE = 400  # fewest bytes after the end that are reported: 0.05 s of telephone audio
_CLUSTERS = (0x1F43B675, 0xA3, 0xA0, 0xA1)  # cluster, simple block, block group, block
_MASTERS = (0x18538067, 0x1F43B675)  # segment and cluster: entered


def looks_like(first: bytes, kinds: tuple[tuple[bytes, str], ...] = STRANGERS) -> str:
    """What bytes that begin so are instead of audio, as a person calls it; empty when none of these."""
    begin = first.removeprefix(b"\xef\xbb\xbf").lstrip()[:16].lower()
    return next((what for mark, what in kinds if begin.startswith(mark)), "")


class Peekable(Protocol):
    """A part of a file; `peek` reads bytes at an offset without moving the position."""

    def peek(self, offset: int, count: int) -> bytes: ...


@dataclass(frozen=True)
class ContainerStructure:
    """The offsets of a file's parts, whether it ends early, and whether it goes on after its end."""

    parts: tuple[tuple[int, int], ...]
    ends_early: bool = False
    holds_more: bool = False


def form(source: BinaryIO, size: int) -> ContainerStructure:
    """Read the container structure; a file that begins where another ends is a part of its own."""
    parts: list[tuple[int, int]] = []
    start, early = 0, False
    while start < size and not early and len(parts) < _MOST_PARTS:
        head = _at(source, start, 12)
        if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
            end, early = _wav_end(source, start, size)
        elif head[4:8] == b"ftyp":
            end, early = _mp4_end(source, start, size)
        elif head[:4] == EBML:
            end, early = _matroska_end(source, start, size)
        elif parts:
            break
        else:
            end, early = size, head[:4] == b"OggS" and not _ogg_is_ended(source, size)
        parts.append((start, min(end, size)))
        start = end
    left = _at(source, start, 1 << 16) if start < size else b""
    return ContainerStructure(tuple(parts), early, len(left) >= _LEAST_MORE and any(left))


def _at(source: BinaryIO, position: int, count: int) -> bytes:
    source.seek(position)
    return source.read(count)


def _wav_end(source: BinaryIO, start: int, size: int) -> tuple[int, bool]:
    """(end of a WAV, whether audio is missing) by its chunks. A length that was never filled in reaches to the end."""
    position, bytes_per_s, large, sound = start + 12, 0, 0, False
    while position + 8 <= size:
        name, length = struct.unpack("<4sI", _at(source, position, 8))
        if sound and (not name.isalnum() or name in (b"RIFF", b"RF64")):
            break
        if name == b"fmt ":
            bytes_per_s = int.from_bytes(_at(source, position + 16, 4), "little")
        elif name == b"ds64":
            large = int.from_bytes(_at(source, position + 16, 8), "little")
        elif name == b"data":
            length, sound = large or length, True
            if _never_filled_in(length):
                return size, False
            missing = position + 8 + length - size
            if missing > 0:
                return size, missing > LEAST_MISSING_S * bytes_per_s
        if sound and position + 8 + length > size:
            break
        position += 8 + length
        position += (length & 1) and _at(source, position, 4) != b"RIFF"
    return (min(position, size) if sound else size), False


def _mp4_end(source: BinaryIO, start: int, size: int) -> tuple[int, bool]:
    """(end of an MP4, whether an atom is cut) by its atoms; the next `ftyp` begins another file."""
    position = start
    while position + 8 <= size:
        length, name = struct.unpack(">I4s", _at(source, position, 8))
        if not name.isalnum() or (name == b"ftyp" and position > start):
            break
        if length == 1:
            length = int.from_bytes(_at(source, position + 8, 8), "big")
        if length == 0:
            return size, False
        if length < 8:
            break
        if position + length > size:
            return size, name in (b"mdat", b"moof")
        position += length
    return position, False


def _matroska_end(source: BinaryIO, start: int, size: int) -> tuple[int, bool]:
    """(end of a Matroska file, whether audio is missing) by its elements.

    A browser's recorder writes segments and clusters of unknown size; only the blocks inside have lengths. So this
    reads the content of segments and clusters and skips all other elements.
    """
    position, promised = start, start
    while position < size:
        raw = _at(source, position, 12)
        width = 9 - raw[0].bit_length()
        if not 1 <= width <= 4 or (position > start and raw[:4] == EBML):
            break
        name, (length, used) = int.from_bytes(raw[:width], "big"), _variable_length(raw[width:])
        if not used:
            return size, True
        if length is not None and position + width + used + length > size:
            if name not in _MASTERS:
                return size, name in _CLUSTERS
            promised = max(promised, size + 1)
        position += width + used
        if name not in _MASTERS:
            position += length or 0
    return position, promised > position


def _variable_length(raw: bytes) -> tuple[int | None, int]:
    """(value, bytes used) of a variable-length number; None: unknown (all ones). RFC 8794, section 4."""
    width = 9 - raw[0].bit_length() if raw else 0
    if not 1 <= width <= 8 or len(raw) < width:
        return None, 0
    ones = (1 << 7 * width) - 1
    value = int.from_bytes(raw[:width], "big") & ones
    return (None if value == ones else value), width


def _ogg_is_ended(source: BinaryIO, size: int) -> bool:
    """Whether the last page is whole and says that it is the last (RFC 3533, section 6)."""
    begin = max(0, size - (1 << 17))
    raw = _at(source, begin, size - begin)
    place = raw.rfind(b"OggS")
    if place < 0 or len(raw) < place + 27 + raw[place + 26 : place + 27].ljust(1)[0]:
        return False
    table = raw[place + 27 : place + 27 + raw[place + 26]]
    return bool(raw[place + 5] & 4) and place + 27 + len(table) + sum(table) <= len(raw)


def wav_announced_s(part: Peekable, size: int, max_s: float) -> float | None:
    """Duration by the `fmt ` and `data` chunks."""
    position, bytes_per_s, large = 12, 0, 0
    while position + 8 <= size:
        name, length = struct.unpack("<4sI", part.peek(position, 8))
        if name == b"fmt ":
            bytes_per_s = int.from_bytes(part.peek(position + 16, 4), "little")
        elif name == b"ds64":
            large = int.from_bytes(part.peek(position + 16, 8), "little")
        elif name == b"data":
            length, left = large or length, size - position - 8
            if _never_filled_in(length):
                if not bytes_per_s or left / bytes_per_s <= max_s:
                    return None
                length = left
            return length / bytes_per_s if bytes_per_s else None
        position += 8 + length + (length & 1)
    return None


def _never_filled_in(length: int) -> bool:
    """Whether the header was written before the length was known, as when writing to a pipe."""
    return length == 0 or 0x7FFFF000 <= length <= 0xFFFFFFFF


def mp3_announced_s(part: Peekable) -> float | None:
    """Duration by the frame count of the Xing, Info or VBRI header, minus the encoder's padding at both ends."""
    begin = 0
    if part.peek(0, 3) == b"ID3":
        begin = 10 + sum(byte << 7 * (3 - index) for index, byte in enumerate(part.peek(6, 4)))
    head = part.peek(begin, 400)
    if len(head) < 4 or head[0] != 0xFF or head[1] < 0xE0:
        return None
    version, rates = head[1] >> 3 & 3, (44100, 48000, 32000, 0)
    rate_hz = rates[head[2] >> 2 & 3] >> (0, 0, 1, 0)[version] >> (2 if version == 0 else 0)
    per_frame = 1152 if version == 3 else 576
    if (place := head.find(b"VBRI", 4, 100)) >= 0:
        frames, around = int.from_bytes(head[place + 14 : place + 18], "big"), 0
    else:
        place = max(head.find(b"Xing", 4, 100), head.find(b"Info", 4, 100))
        if place < 0 or not head[place + 7] & 1:
            return None
        frames = int.from_bytes(head[place + 8 : place + 12], "big")
        around = int.from_bytes(head[place + 141 : place + 144], "big") if head[place + 7] & 15 == 15 else 0
        around = (around >> 12) + (around & 0xFFF)
    return max(0.0, frames * per_frame - around) / rate_hz if frames and rate_hz else None
