"""What a file holds is transcribed whole or marked, whatever its header says; and what is whole is not marked cut."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ml_backend.audio import decoding
from ml_backend.audio.decoding import DecodedAudio
from ml_backend.errors import PermanentError
from sync.recordings import layouts, lengths
from tests import sounds

RECORDED = Path(__file__).parents[2] / "fixtures" / "audio"
WRITTEN_AS = {
    "wav": ("wav", "pcm_s16le", 8000),
    "mulaw.wav": ("wav", "pcm_mulaw", 8000),
    "ima.wav": ("wav", "adpcm_ima_wav", 8000),
    "mp3": ("mp3", "libmp3lame", 8000),
    "opus": ("ogg", "libopus", 48000),
    "flac": ("flac", "flac", 8000),
    "m4a": ("mp4", "aac", 8000),
    "aac": ("adts", "aac", 8000),
    "webm": ("webm", "libopus", 48000),
    "mka": ("matroska", "libopus", 48000),
    "amr": ("amr", "libopencore_amrnb", 8000),
}
FRAMED = ("mp3", "aac", "amr")  # no length of the whole: what is missing shows as damage, or not at all


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], bytes]:
    """Three and two seconds of different tones, in each container."""
    folder, made = tmp_path_factory.mktemp("containers"), {}
    for name, (container, codec, rate_hz) in WRITTEN_AS.items():
        for seconds, hz in ((3, 440.0), (2, 660.0)):
            path = folder / f"{seconds}.{name}"
            sounds.encode(
                path,
                sounds.tone(seconds, hz=hz, rate_hz=rate_hz),
                container=container,
                codec=codec,
                rate_hz=rate_hz,
            )
            made[name, seconds] = path.read_bytes()
    return made


@pytest.fixture
def decoded(tmp_path: Path) -> Callable[[bytes, str], DecodedAudio]:
    def run(raw: bytes, name: str) -> DecodedAudio:
        path = tmp_path / f"call.{name.rpartition('.')[2]}"
        path.write_bytes(raw)
        return decoding.decode(path, tmp_path / "out.wav")

    return run


def marked(found: DecodedAudio) -> bool:
    return lengths.fault(found, call_s=None)[0] is not None


@pytest.mark.parametrize("name", WRITTEN_AS)
def test_a_whole_file_is_whole_and_not_marked(files, decoded, name):
    found = decoded(files[name, 3], name)
    assert found.duration_s == pytest.approx(3, abs=0.25)
    assert not found.cut
    assert not marked(found)


@pytest.mark.parametrize("name", WRITTEN_AS)
def test_files_joined_end_to_end_are_one_sound_and_not_marked_cut(files, decoded, name):
    found = decoded(files[name, 3] + files[name, 2] + files[name, 3], name)
    assert found.duration_s == pytest.approx(8, abs=0.7)
    assert not found.cut


@pytest.mark.parametrize("share", [0.5, 0.9])
@pytest.mark.parametrize("name", WRITTEN_AS)
def test_a_file_that_ends_early_is_marked_or_refused(files, decoded, name, share):
    raw = files[name, 3]
    try:
        found = decoded(raw[: int(len(raw) * share) - 7], name)
    except PermanentError:
        return
    assert found.duration_s < 3
    assert marked(found)


@pytest.mark.parametrize("name", [name for name in WRITTEN_AS if name not in FRAMED])
def test_the_last_byte_gone_costs_no_more_than_the_end(files, decoded, name):
    found = decoded(files[name, 3][:-1], name)
    assert found.duration_s == pytest.approx(3, abs=0.25)


@pytest.mark.parametrize("name", ["wav", "mulaw.wav", "m4a", "webm", "mka"])
def test_bytes_after_the_end_of_the_sound_are_marked_and_zeros_are_not(files, decoded, name):
    raw, other = files[name, 3], np.random.default_rng(0).bytes(3000)
    assert "more-than-header" in decoded(raw + other, name).warnings
    assert marked(decoded(raw + other, name))
    assert not marked(decoded(raw + bytes(3000), name))


def test_an_mp3_with_other_bytes_behind_its_sound_is_not_marked_cut(files, decoded):
    found = decoded(files["mp3", 3] + np.random.default_rng(0).bytes(3000), "mp3")
    assert found.duration_s == pytest.approx(3, abs=0.1)
    assert not found.cut


def test_a_wav_whose_header_says_less_than_there_is_is_marked(files, decoded):
    raw = bytearray(files["wav", 3])
    place = raw.index(b"data") + 4
    raw[place : place + 4] = struct.pack("<I", 16000)  # one second
    assert marked(decoded(bytes(raw), "wav"))


@pytest.mark.parametrize("length", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_wav_whose_length_was_never_filled_in_is_whole(files, decoded, length):
    raw = bytearray(files["wav", 3])
    place = raw.index(b"data") + 4
    raw[place : place + 4] = struct.pack("<I", length)
    found = decoded(bytes(raw), "wav")
    assert found.duration_s == pytest.approx(3, abs=0.01)
    assert not marked(found)


def test_a_wav_of_64_bit_lengths_knows_its_own_end(files, decoded):
    sound = files["wav", 3][files["wav", 3].index(b"data") + 8 :]
    fmt = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
    ds64 = b"ds64" + struct.pack("<IQQQI", 28, 0, len(sound), len(sound) // 2, 0)
    head = b"RF64\xff\xff\xff\xffWAVE" + ds64 + fmt + b"data\xff\xff\xff\xff"
    assert decoded(head + sound, "wav").duration_s == pytest.approx(3, abs=0.01)
    assert decoded(head + sound[:16000], "wav").cut


def test_chunks_after_the_sound_are_part_of_a_wav(files, decoded):
    found = decoded(files["wav", 3] + b"LIST" + struct.pack("<I", 2000) + b"x" * 2000, "wav")
    assert not marked(found)


def test_what_a_browser_records_is_decoded_and_its_cut_is_seen(decoded):
    raw = (RECORDED / "browser.webm").read_bytes()
    whole = decoded(raw, "webm")
    assert (whole.container, whole.codec) == ("matroska", "opus")
    assert not marked(whole)
    for share in (0.3, 0.6, 0.95):
        cut = decoded(raw[: int(len(raw) * share)], "webm")
        assert cut.duration_s < whole.duration_s
        assert marked(cut)


def test_a_recorder_that_knows_no_lengths_is_cut_where_a_block_is(files, decoded):
    """Segment and cluster of unknown size, as a live recorder writes them."""
    raw = bytearray(files["webm", 3])
    for mark in (b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"):
        place = raw.index(mark) + 4
        width = 9 - raw[place].bit_length()
        raw[place : place + width] = bytes([0xFF >> (width - 1)]) + b"\xff" * (width - 1)
    assert not marked(decoded(bytes(raw), "webm"))
    assert decoded(bytes(raw[: len(raw) // 2]), "webm").cut


def test_every_ending_that_is_taken_in_is_decoded():
    decoded_here = {f".{name.rpartition('.')[2]}" for name in WRITTEN_AS}
    alike = {".oga": ".opus", ".ogg": ".opus", ".mp4": ".m4a", ".weba": ".webm"}
    assert {alike.get(suffix, suffix) for suffix in layouts.AUDIO_SUFFIXES} - {".gsm"} == decoded_here


def test_a_raw_gsm_file_is_decoded(decoded):
    found = decoded((RECORDED / "tone.gsm").read_bytes(), "gsm")
    assert (found.codec, found.rate_hz) == ("gsm", 8000)
    assert found.duration_s == pytest.approx(3, abs=0.1)
