"""Audio is hostile until decoded: what comes out is exact, and nothing that goes in reaches anything else."""

from __future__ import annotations

import os
import signal
import struct
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from ml_backend.audio import decoder_pool, decoder_process, decoding
from ml_backend.errors import PermanentError, RetryableError
from tests import sounds

FORMATS = {
    "wav": ("wav", "pcm_s16le", 8000), "mulaw.wav": ("wav", "pcm_mulaw", 8000), "alaw.wav": ("wav", "pcm_alaw", 8000),
    "mp3": ("mp3", "libmp3lame", 8000), "ogg": ("ogg", "libopus", 48000),
    "flac": ("flac", "flac", 16000), "m4a": ("mp4", "aac", 16000), "aac": ("adts", "aac", 16000),
}  # fmt: skip


FIRST = "    size_bytes = os.fstat("  # the line that decoding a file begins with


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "out" / "audio.wav" if (tmp_path / "out").mkdir() is None else tmp_path


@cache
def encoded(name: str, seconds: float) -> bytes:
    container, codec, rate_hz = FORMATS[name]
    spoken = 0.5 * sounds.tone(seconds, hz=440, rate_hz=rate_hz)
    hiss = np.random.default_rng(1).standard_normal(spoken.size).astype(np.float32) * 0.02
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"call.{name}"
        return sounds.encode(path, spoken + hiss, container=container, codec=codec, rate_hz=rate_hz).read_bytes()


def made(tmp_path: Path, name: str, seconds: float = 6.0) -> Path:
    path = tmp_path / f"call.{name}"
    path.write_bytes(encoded(name, seconds))
    return path


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_format_of_telephony_becomes_16_khz_pcm_of_the_same_length(name, tmp_path, target):
    found = decoding.decode(made(tmp_path, name), target)
    samples, rate_hz = decoding.read_wav(target)
    assert (rate_hz, samples.shape[0]) == (16000, 1)
    assert samples.shape[1] == round(found.duration_s * 16000)
    assert found.duration_s == pytest.approx(6.0, abs=0.15)
    assert not found.cut
    assert found.rate_hz == FORMATS[name][2]
    spectrum = np.abs(np.fft.rfft(samples[0]))
    assert np.argmax(spectrum) * 16000 / samples.shape[1] == pytest.approx(440, abs=3)


def test_each_leg_of_a_call_is_a_channel(tmp_path, target):
    legs = np.stack([sounds.tone(2, hz=400), sounds.tone(2, hz=900)])
    found = decoding.decode(sounds.write_wav(tmp_path / "two.wav", legs), target)
    samples, _ = decoding.read_wav(target)
    assert (found.channels, samples.shape[0]) == (2, 2)
    assert [round(float(np.argmax(np.abs(np.fft.rfft(leg))) / 2)) for leg in samples] == [400, 900]


def test_one_leg_saved_twice_is_one_channel(tmp_path, target):
    leg = sounds.speech("one leg")
    found = decoding.decode(sounds.write_wav(tmp_path / "same.wav", np.stack([leg, leg])), target)
    samples, _ = decoding.read_wav(target)
    assert (found.channels, samples.shape[0]) == (1, 1)
    assert "identical-channels" in found.warnings
    assert np.allclose(samples[0], leg, atol=1e-3)


@pytest.mark.parametrize("percent", [2, 35, 77, 98, 99])
@pytest.mark.parametrize("name", ["wav", "mulaw.wav", "mp3", "flac"])
def test_a_recording_cut_short_is_never_taken_for_whole(name, percent, tmp_path, target):
    whole = made(tmp_path, name, seconds=30.0).read_bytes()
    cut = tmp_path / f"cut.{name}"
    cut.write_bytes(whole[: len(whole) * percent // 100])
    try:
        found = decoding.decode(cut, target)
    except PermanentError as error:
        assert error.code in ("audio-not-audio", "audio-empty", "audio-undecodable")  # noqa: PT017 - either is honest
        return
    assert found.cut
    assert found.duration_s < found.header_duration_s == pytest.approx(30.0, abs=0.1)


@pytest.mark.parametrize("name", ["mp3", "flac"])
def test_a_damaged_middle_is_noticed(name, tmp_path, target):
    raw = bytearray(made(tmp_path, name, seconds=30.0).read_bytes())
    third = len(raw) // 3
    raw[third : 2 * third] = bytes(third)
    damaged = tmp_path / f"damaged.{name}"
    damaged.write_bytes(raw)
    assert decoding.decode(damaged, target).cut


def test_a_wav_written_to_a_pipe_has_no_announced_length_and_is_not_called_cut(tmp_path, target):
    raw = bytearray(sounds.write_wav(tmp_path / "a.wav", sounds.tone(3)).read_bytes())
    raw[40:44] = struct.pack("<I", 0xFFFFFFFF)
    streamed = tmp_path / "streamed.wav"
    streamed.write_bytes(raw)
    found = decoding.decode(streamed, target)
    assert (found.header_duration_s, found.cut) == (None, False)
    assert found.duration_s == pytest.approx(3.0, abs=0.01)


NOT_AUDIO = {
    "html": b"<!DOCTYPE html><html><body>Sign in</body></html>", "json": b'{"detail": "not found"}',
    "xml": b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "png": b"\x89PNG\r\n\x1a\n" + bytes(500),
    "zip": b"PK\x03\x04" + bytes(500), "gzip": b"\x1f\x8b\x08" + bytes(500), "text": b"hello " * 200,
    "zeros": bytes(5000), "one byte": b"\x01",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(NOT_AUDIO))
def test_what_is_not_audio_is_refused_with_a_plain_reason(name, tmp_path, target):
    source = tmp_path / "recording.mp3"
    source.write_bytes(NOT_AUDIO[name])
    with pytest.raises(PermanentError) as caught:
        decoding.decode(source, target)
    assert caught.value.code in ("audio-not-audio", "audio-empty")
    assert caught.value.next_step
    assert not target.exists()
    assert list(target.parent.iterdir()) == []


def test_random_bytes_never_crash_the_caller(tmp_path, target):
    random = np.random.default_rng(7)
    for number in range(8):
        source = tmp_path / f"random-{number}.{('mp3', 'wav', 'ogg', 'gsm')[number % 4]}"
        source.write_bytes(random.bytes(int(random.integers(1, 20_000))))
        with pytest.raises(PermanentError):
            decoding.decode(source, target, limits=decoding.Limits(max_duration_s=60))


@pytest.mark.parametrize(
    "content", [b"", b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x80\x3e\0\0\2\0\x10\0data\0\0\0\0"]
)
def test_an_empty_recording_is_called_empty(content, tmp_path, target):
    source = tmp_path / "empty.wav"
    source.write_bytes(content)
    with pytest.raises(PermanentError) as caught:
        decoding.decode(source, target)
    assert caught.value.code == "audio-empty"


def test_a_missing_file_is_called_missing(tmp_path, target):
    with pytest.raises(PermanentError) as caught:
        decoding.decode(tmp_path / "nowhere.wav", target)
    assert caught.value.code == "audio-missing"


@pytest.mark.parametrize("name", ["call.mp3", "call.wav", "call.ffconcat", "call.m3u8"])
def test_a_playlist_in_disguise_opens_no_other_recording(name, tmp_path, target):
    neighbour = sounds.write_wav(tmp_path / "neighbour.wav", sounds.tone(2, hz=700))
    os.utime(neighbour, (1, 1))
    relative, absolute = "file 'neighbour.wav'\n", f"file '{neighbour}'\n"
    hls = f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:2,\n{neighbour}\n#EXT-X-ENDLIST\n"
    for content in (f"ffconcat version 1.0\n{relative}", f"ffconcat version 1.0\n{absolute}", hls):
        source = tmp_path / name
        source.write_text(content)
        with pytest.raises(PermanentError) as caught:
            decoding.decode(source, target)
        assert caught.value.code == "audio-not-audio"
        assert not target.exists()


def test_the_child_can_open_no_file_at_all_while_it_decodes(tmp_path, target, monkeypatch):
    """Even a demuxer that slips through the list of formats finds nothing to open."""
    neighbour = sounds.write_wav(tmp_path / "neighbour.wav", sounds.tone(1))
    script = Path(decoder_process.__file__).read_text()
    spying = tmp_path / "spying_decoder.py"
    spying.write_text(script.replace(FIRST, f"    open({str(neighbour)!r}, 'rb')\n{FIRST}", 1))
    assert spying.read_text() != script
    monkeypatch.setattr(decoder_process, "__file__", str(spying))
    with pytest.raises(PermanentError) as caught:
        decoding.decode(sounds.write_wav(tmp_path / "a.wav", sounds.tone(1)), target)
    assert any(words in caught.value.sentence for words in ("Too many open files", "not permitted"))


def _wav(rate_hz: int, channels: int, data: bytes) -> bytes:
    layout = struct.pack("<HHIIHH", 1, channels, rate_hz, rate_hz * channels * 2, channels * 2, 16)
    return (
        b"RIFF"
        + struct.pack("<I", 36 + len(data))
        + b"WAVEfmt \x10\0\0\0"
        + layout
        + b"data"
        + struct.pack("<I", len(data))
        + data
    )


def test_bombs_are_refused_quickly_and_cheaply(tmp_path, target):
    flac = tmp_path / "silence.flac"
    sounds.encode(flac, np.zeros(8000 * 600, np.float32), container="flac", codec="flac", rate_hz=8000)
    bombs = {
        flac: "audio-too-long",
        tmp_path / "one-hertz.wav": "audio-unusable",
        tmp_path / "many-channels.wav": "audio-unusable",
        tmp_path / "claims-hours.wav": "audio-too-long",
    }
    (tmp_path / "one-hertz.wav").write_bytes(_wav(1, 1, bytes(4000)))
    (tmp_path / "many-channels.wav").write_bytes(_wav(8000, 192, bytes(40_000)))
    (tmp_path / "claims-hours.wav").write_bytes(_wav(8000, 1, bytes(8000 * 2 * 400)))
    for source, code in bombs.items():
        began = time.monotonic()
        with pytest.raises(PermanentError) as caught:
            decoding.decode(source, target, limits=decoding.Limits(max_duration_s=300))
        assert caught.value.code == code
        assert time.monotonic() - began < 5
        assert not target.exists()


def test_a_length_that_the_header_hides_is_still_bounded(tmp_path, target):
    raw = bytearray(_wav(8000, 1, bytes(8000 * 2 * 120)))
    raw[40:44] = b"\xff\xff\xff\xff"
    source = tmp_path / "endless.wav"
    source.write_bytes(raw)
    with pytest.raises(PermanentError) as caught:
        decoding.decode(source, target, limits=decoding.Limits(max_duration_s=60))
    assert caught.value.code == "audio-too-long"


def test_memory_does_not_grow_with_the_call(tmp_path, target):
    long = tmp_path / "long.wav"
    long.write_bytes(_wav(8000, 1, bytes(8000 * 2 * 1200)))
    found = decoding.decode(long, target, limits=decoding.Limits(memory_mb=200))  # decoded it is 38 MB
    assert found.duration_s == 1200


@pytest.mark.parametrize(
    ("behaviour", "wall_s", "error", "code"),
    [
        ("os.abort()", 60, PermanentError, "audio-undecodable"),
        ("import time; time.sleep(60)", 2, RetryableError, "audio-decoder-timeout"),
        ("while True: pass", 60, PermanentError, "audio-undecodable"),
        ("bytearray(4 << 30)", 60, PermanentError, "audio-too-large"),
    ],
)
def test_a_decoder_that_dies_or_hangs_leaves_its_caller_alive(
    behaviour, wall_s, error, code, tmp_path, target, monkeypatch
):
    script = Path(decoder_process.__file__).read_text()
    broken = tmp_path / "broken_decoder.py"
    broken.write_text(script.replace(FIRST, f"    {behaviour}\n{FIRST}", 1))
    monkeypatch.setattr(decoder_process, "__file__", str(broken))
    with pytest.raises(error) as caught:
        decoding.decode(
            sounds.write_wav(tmp_path / "a.wav", sounds.tone(1)), target, limits=decoding.Limits(wall_s=wall_s, cpu_s=1)
        )
    assert caught.value.code == code
    assert not target.exists()


def test_a_decoder_killed_between_two_files_is_replaced(tmp_path, target):
    source = sounds.write_wav(tmp_path / "a.wav", sounds.tone(1))
    decoding.decode(source, target)
    first = decoder_pool.process_id()
    os.kill(first, signal.SIGKILL)
    assert decoding.decode(source, target).duration_s == 1.0
    assert decoder_pool.process_id() != first


def test_many_threads_decode_at_once_and_each_gets_its_own_file(tmp_path):
    sources = [sounds.write_wav(tmp_path / f"{n}.wav", sounds.tone(1 + n / 4)) for n in range(8)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda path: decoding.decode(path, path.with_suffix(".out")), sources))
    assert [one.duration_s for one in found] == [1 + n / 4 for n in range(8)]


def test_after_a_fork_the_child_has_a_decoder_of_its_own(tmp_path, target):
    source = sounds.write_wav(tmp_path / "a.wav", sounds.tone(1))
    decoding.decode(source, target)
    ours = decoder_pool.process_id()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            decoding.decode(source, tmp_path / "other.wav")
            os.write(writer, str(decoder_pool.process_id()).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    theirs = int(os.read(reader, 20))
    assert theirs != ours == decoder_pool.process_id()
    assert (tmp_path / "other.wav").read_bytes() == target.read_bytes()
