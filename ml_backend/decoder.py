"""Bytes on one descriptor -> 16 kHz PCM WAV on another. Runs alone, in a child process that can do nothing else.

Recordings come from strangers, and FFmpeg's demuxers read playlists, open neighbours and fetch addresses. So the
process that decodes gets its input and output already open, gives up the right to open any further file before the
first byte is read, names the few formats it accepts, and bounds processor time, memory, file size and duration.
`audio_child` starts this file as a plain script (`python -I decoder.py --serve N`); it imports nothing of ours.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import socket
import struct
import sys
from typing import Any, BinaryIO

RATE_HZ = 16000
FORMATS = "wav,w64,mp3,ogg,flac,mov,aac,amr,amrnb,amrwb,gsm"
CODECS = (
    "pcm_s16le,pcm_s16be,pcm_u8,pcm_s8,pcm_s24le,pcm_s32le,pcm_f32le,pcm_f64le,pcm_mulaw,pcm_alaw,adpcm_ms,"
    "adpcm_ima_wav,adpcm_ima_qt,adpcm_g726,adpcm_g722,g722,gsm,gsm_ms,mp3,mp3float,mp2,mp2float,vorbis,opus,libopus,"
    "flac,aac,aac_fixed,alac,amrnb,amrwb,libopencore_amrnb,libopencore_amrwb"
)
_HEADER_IS_A_GUESS = ("aac", "amr", "amrnb", "amrwb", "gsm")  # no duration in the file: FFmpeg divides size by rate
_LOOKS_LIKE = (
    (b"<!doctype", "an HTML page"), (b"<html", "an HTML page"), (b"<?xml", "XML"), (b"{", "JSON"), (b"[", "JSON"),
    (b"\x89png", "a PNG image"), (b"\xff\xd8\xff", "a JPEG image"), (b"gif8", "a GIF image"), (b"%pdf", "a PDF"),
    (b"pk\x03\x04", "a zip archive"), (b"\x1f\x8b", "a gzip file"), (b"ffconcat", "a playlist"),
    (b"#extm3u", "a playlist"), (b"\x1aE\xdf\xa3", "a Matroska video"), (b"<", "XML"),
)  # fmt: skip
_GATHERED_SAMPLES = 8000
_MOST_BEFORE_SOUND = 16 << 20  # bytes of tags and tables
_MOST_DAMAGE = 1000  # packets, when nothing at all could be decoded
_LEAST_BYTES_PER_S, _PLAUSIBLE_FROM_S = 64, 600  # the smallest speech codecs need ten times as much
_OUR_MARKS = (b"RIFF", b"ID3", b"fLaC", b"OggS", b"ftyp", b"#!AMR")


class Refused(Exception):
    """The input is refused: a code of `audio` and what to show."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code, self.sentence = code, sentence


def decode(source: BinaryIO, target: BinaryIO, *, limits: dict[str, Any], hint: str = "") -> dict[str, Any]:
    """Decode `source` into `target`; gives the facts `audio.Decoded` is made of. Memory is bounded by one frame."""
    import av

    size_bytes, bounded = os.fstat(source.fileno()).st_size, _Bounded(source)
    if size_bytes == 0:
        raise Refused("audio-empty", "The audio file has no bytes.")
    head = source.read(4096)
    source.seek(0)
    options = {"format_whitelist": FORMATS, "codec_whitelist": CODECS, "protocol_whitelist": ""}
    raw_gsm = hint == "gsm" and size_bytes % 33 == 0 and head[0] >> 4 == 0xD
    try:
        container = av.open(bounded, format="gsm" if raw_gsm else None, options=options, metadata_errors="ignore")
        streams = container.streams.audio
    except (av.error.FFmpegError, ValueError, IndexError, LookupError, UnicodeError):
        bounded.check()
        if any(mark in head[:16] for mark in _OUR_MARKS):
            raise Refused("audio-undecodable", "The audio file is damaged or ends too early to be read.") from None
        raise Refused("audio-not-audio", f"The file is not audio we read{_looks_like(head)}.") from None
    if not streams:
        raise Refused("audio-not-audio", "The file holds no audio stream.")
    stream = streams[0]
    context = stream.codec_context
    context.thread_count = 1
    rate_hz, channels = context.sample_rate, context.channels
    container_name = container.format.name.split(",")[0]
    if not limits["min_rate_hz"] <= rate_hz <= limits["max_rate_hz"] or not 1 <= channels <= limits["max_channels"]:
        raise Refused("audio-unusable", f"The audio claims {rate_hz} Hz and {channels} channels.")
    announced_s = _announced_s(head, container, container_name, size_bytes, limits["max_duration_s"])
    if announced_s is not None and announced_s > limits["max_duration_s"]:
        raise _too_long(announced_s, limits)

    bounded.check()
    counts = _write(container, stream, target, channels=channels, limits=limits)
    samples, warnings = counts["samples"], counts["warnings"]
    if samples == 0:
        raise Refused("audio-empty", "The audio file holds no sound.")
    duration_s = samples / RATE_HZ
    if container_name == "mp3" and not _has_frame_count(head) and counts["bytes"] >= 0.98 * (size_bytes - 4096):
        announced_s = None  # a guess from the bit rate, and nothing was left over that would contradict it
    exact = container_name in ("wav", "w64", "flac")
    tolerance_s = 0.05 if exact else 0.05 + 2 * (context.frame_size or 1024) / rate_hz
    return {
        "duration_s": duration_s,
        "header_duration_s": announced_s,
        "cut": announced_s is not None and announced_s - duration_s > tolerance_s,
        "container": container_name,
        "codec": context.codec.canonical_name,
        "rate_hz": rate_hz,
        "channels": counts["channels"],
        "warnings": warnings,
    }


class _Bounded:
    """The source as FFmpeg reads it: at most so much before the first sound, for a tag can be as long as the file."""

    def __init__(self, source: BinaryIO) -> None:
        self._source, self._read, self._bounded = source, 0, True
        self.seek, self.tell = source.seek, source.tell

    def read(self, count: int = -1) -> bytes:
        if self._bounded and self._read > _MOST_BEFORE_SOUND:
            return b""
        piece = self._source.read(count)
        self._read += len(piece)
        return piece

    def check(self) -> None:
        """Refuse when the limit was reached; from here on nothing is counted."""
        if self._read > _MOST_BEFORE_SOUND:
            raise Refused("audio-unusable", f"There is no sound in the first {self._read >> 20} MB of the file.")
        self._bounded = False


def _write(container: Any, stream: Any, target: BinaryIO, *, channels: int, limits: dict[str, Any]) -> dict[str, Any]:
    """Decode everything into `target`. Frames are gathered first: resampling costs more per call than per sample."""
    import av

    sink = _Sink(target, channels, budget=int(limits["max_duration_s"] * RATE_HZ), limits=limits)
    gathered: Any = None
    changes = consumed = damaged = inside = 0
    try:
        for packet in container.demux(stream):
            try:
                for frame in packet.decode():
                    frame.pts = None
                    try:
                        if gathered is None:
                            raise ValueError
                        gathered.write(frame)
                    except ValueError:  # the first frame, or one of another rate or format
                        sink.end(gathered)
                        if frame.layout.nb_channels != channels:
                            raise Refused(
                                "audio-undecodable", "The number of channels changes within the file."
                            ) from None
                        changes += gathered is not None
                        gathered = av.AudioFifo()
                        gathered.write(frame)
                    if gathered.samples >= _GATHERED_SAMPLES:
                        sink.take(gathered.read())
                        _check_plausible(sink.samples / RATE_HZ, consumed)
                consumed += packet.size
                inside = damaged if packet.size else inside  # good sound after damage
            except av.error.FFmpegError:
                damaged += 1
                if damaged > _MOST_DAMAGE and not sink.samples:
                    break
    except av.error.FFmpegError:
        damaged += 1
    sink.end(gathered)
    warnings = []
    if damaged:
        warnings.append("damaged-packets" if inside else "damaged-end")
    if changes:
        warnings.append("format-changes")
    samples = sink.samples
    if sink.same and samples:
        _to_one_channel(target, samples)
        channels = 1
        warnings.append("identical-channels")
    target.seek(0)
    target.write(_wav_header(samples, channels))
    target.truncate(44 + samples * channels * 2)
    target.flush()
    return {"samples": samples, "channels": channels, "bytes": consumed, "warnings": warnings}


def _check_plausible(decoded_s: float, consumed: int) -> None:
    if decoded_s > _PLAUSIBLE_FROM_S and consumed < decoded_s * _LEAST_BYTES_PER_S:
        raise Refused("audio-unusable", "The file is far too small for the sound that comes out of it.")


class _Sink:
    """Decoded samples on their way into the WAV: resampled, counted, bounded."""

    def __init__(self, target: BinaryIO, channels: int, *, budget: int, limits: dict[str, Any]) -> None:
        self.samples, self.same = 0, channels == 2
        self._target, self._channels, self._budget, self._limits = target, channels, budget, limits
        self._resampler: Any = None
        target.write(_wav_header(0, channels))

    def take(self, frame: Any) -> None:
        """A piece of sound, of the same rate and format as the one before."""
        import av

        if self._resampler is None:
            self._resampler = av.AudioResampler(format="s16", layout=frame.layout, rate=RATE_HZ)
        frame.pts = None
        self._keep(self._resampler.resample(frame))

    def end(self, gathered: Any) -> None:
        """What is left of this rate and format."""
        if gathered is not None and gathered.samples:
            self.take(gathered.read())
        if self._resampler is not None:
            self._keep(self._resampler.resample(None))
            self._resampler = None

    def _keep(self, frames: Any) -> None:
        for frame in frames:
            data = memoryview(frame.planes[0])[: frame.samples * self._channels * 2]
            self.samples += frame.samples
            if self.samples > self._budget:
                raise _too_long(self.samples / RATE_HZ, self._limits)
            if self.same:
                raw = bytes(data)
                self.same = raw[0::4] == raw[2::4] and raw[1::4] == raw[3::4]
            self._target.write(data)


def _to_one_channel(target: BinaryIO, samples: int) -> None:
    """Both channels carry the same sound (one leg saved twice): keep one, or its words would appear twice."""
    step = 1 << 16
    for start in range(0, samples, step):
        count = min(step, samples - start)
        target.seek(44 + start * 4)
        both = target.read(count * 4)
        one = bytearray(count * 2)
        one[0::2], one[1::2] = both[0::4], both[1::4]
        target.seek(44 + start * 2)
        target.write(one)


def _announced_s(head: bytes, container: Any, name: str, size_bytes: int, max_s: float) -> float | None:
    """What the file itself says it should last; None when it does not say."""
    if name in _HEADER_IS_A_GUESS:
        return None
    if name == "wav":
        return _wav_announced_s(head, size_bytes, max_s)
    return container.duration / 1_000_000 if container.duration else None


def _wav_announced_s(head: bytes, size_bytes: int, max_s: float) -> float | None:
    """From the `fmt ` and `data` chunks: FFmpeg shortens what it reports to what is there, hiding a cut."""
    position, bytes_per_s = 12, 0
    while position + 8 <= len(head):
        name, length = head[position : position + 4], struct.unpack("<I", head[position + 4 : position + 8])[0]
        if name == b"fmt ":
            bytes_per_s = struct.unpack("<I", head[position + 16 : position + 20])[0]
        if name == b"data":
            streamed = length == 0 or length >= 0x7FFFF000  # written to a pipe: the length was never filled in
            if streamed and bytes_per_s and (size_bytes - position - 8) / bytes_per_s > max_s:
                length = size_bytes - position - 8
            elif streamed:
                return None
            return length / bytes_per_s if bytes_per_s else None
        position += 8 + length + (length & 1)
    return None


def _has_frame_count(head: bytes) -> bool:
    """An MP3 with a Xing, Info or VBRI header knows its number of frames."""
    return any(mark in head for mark in (b"Xing", b"Info", b"VBRI"))


def _looks_like(head: bytes) -> str:
    start = head.lstrip()[:16].lower()
    for mark, name in _LOOKS_LIKE:
        if start.startswith(mark.lower()):
            return f": it looks like {name}"
    return ""


def _too_long(duration_s: float, limits: dict[str, Any]) -> Refused:
    most = limits["max_duration_s"]
    return Refused("audio-too-long", f"The audio lasts {duration_s:.0f} s or more; the limit is {most:.0f} s.")


def _wav_header(samples: int, channels: int) -> bytes:
    size = samples * channels * 2
    layout = struct.pack("<HHIIHH", 1, channels, RATE_HZ, RATE_HZ * channels * 2, channels * 2, 16)
    return b"RIFF" + struct.pack("<I", 36 + size) + b"WAVEfmt \x10\0\0\0" + layout + b"data" + struct.pack("<I", size)


def confine(limits: dict[str, Any]) -> None:
    """Give up everything decoding does not need: called once the descriptors are open and modules are loaded."""
    most = int(limits["max_duration_s"] * RATE_HZ * 2 * limits["max_channels"]) + (1 << 20)
    for kind, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, most),
        (resource.RLIMIT_AS, int(limits["memory_mb"]) << 20),
        (resource.RLIMIT_CPU, int(limits["cpu_s"])),
        (resource.RLIMIT_NOFILE, 0),
    ):
        resource.setrlimit(kind, (value, value))


def serve(descriptor: int) -> None:
    """Wait for files on a socket; fork for each. The fork answers on its own pipe: process id, new line, JSON."""
    signal.signal(signal.SIGCHLD, _reap)
    gc.disable()  # forks live for one file: collecting would only copy the pages they share
    gc.freeze()
    with socket.socket(fileno=descriptor) as orders:
        while True:
            message, given, _, _ = socket.recv_fds(orders, 1 << 16, 3)
            if not message:
                return
            if os.fork() == 0:
                try:
                    orders.close()
                    os.write(given[2], b"%d\n" % os.getpid())
                    os.write(given[2], json.dumps(_one(json.loads(message), given[0], given[1])).encode())
                finally:
                    os._exit(0)
            for one in given:
                os.close(one)


def _one(order: dict[str, Any], source_fd: int, target_fd: int) -> dict[str, Any]:
    limits = order["limits"]
    with os.fdopen(source_fd, "rb", closefd=False) as source, os.fdopen(target_fd, "w+b", closefd=False) as target:
        confine(limits)
        try:
            return decode(source, target, limits=limits, hint=order["hint"])
        except Refused as refused:
            return {"code": refused.code, "sentence": refused.sentence}
        except MemoryError:
            return {"code": "audio-too-large", "sentence": "Decoding the file needs too much memory."}
        except OSError as error:
            return {"code": "write", "sentence": error.strerror or "error", "errno": error.errno}


def _reap(number: int, frame: Any) -> None:
    """No zombies: forks end on their own, and nobody waits for them here."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def main() -> None:
    """Load what decoding needs, then wait for files."""
    import av.logging
    import av.subtitles.stream

    av.logging.set_level(None)
    serve(int(sys.argv[2]))


if __name__ == "__main__":
    main()
