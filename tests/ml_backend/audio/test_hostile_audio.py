"""A few of each kind of broken audio (F38, F40, F41, F43, F44); `corpora` holds the whole sets, for the fault tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ml_backend.audio import decoding
from ml_backend.errors import PermanentError
from tests import sounds
from tests.ml_backend.audio import bombs, corpora

SLOW_TO_MAKE = {"silence-of-a-day.flac", "silence-of-a-day.amr"}


def test_a_cut_recording_is_never_silently_short(tmp_path: Path) -> None:
    assert corpora.silent_cuts(tmp_path, percentages=(1, 49, 99)) == []


def test_a_damaged_middle_is_never_silently_short(tmp_path: Path) -> None:
    assert corpora.silent_damage(tmp_path, seeds=(0, 1)) == []


def test_random_bytes_are_refused_with_a_reason(tmp_path: Path) -> None:
    assert corpora.accepted_noise(tmp_path, seeds=range(6)) == []


def test_bombs_lies_and_disguises_are_refused(tmp_path: Path) -> None:
    assert len(bombs.NAMES) >= 25
    assert corpora.accepted_bombs(tmp_path, names=set(bombs.NAMES) - SLOW_TO_MAKE) == []


def test_sound_that_claims_to_lie_in_another_file_does_not_lead_there(tmp_path: Path) -> None:
    neighbour = sounds.write_wav(tmp_path / "neighbour.wav", sounds.tone(2, hz=700, rate_hz=8000), rate_hz=8000)
    source = tmp_path / "call.m4a"
    source.write_bytes(bombs.mov(8000, outside=f"file://{neighbour}\0".encode()))
    found = decoding.decode(source, tmp_path / "out.wav")
    assert found.cut
    assert found.duration_s < 0.1


def test_a_tag_of_many_megabytes_is_not_read_to_its_end(tmp_path: Path) -> None:
    with pytest.raises(PermanentError) as caught:
        _decode(tmp_path, "tag-of-256-MB.mp3")
    assert caught.value.code == "audio-unusable"


def test_a_file_too_small_for_its_sound_is_refused_while_long_silence_with_its_bytes_is_not(tmp_path: Path) -> None:
    with pytest.raises(PermanentError) as caught:
        _decode(tmp_path, "silence-that-says-ten-seconds.flac")
    assert "too small" in caught.value.sentence
    quiet = sounds.encode(
        tmp_path / "quiet.mp3", np.zeros(8000 * 900, np.float32), container="mp3", codec="libmp3lame", rate_hz=8000
    )
    assert decoding.decode(quiet, tmp_path / "out.wav").duration_s == pytest.approx(900, abs=0.2)


def test_sound_whose_sample_rate_changes_in_the_middle_keeps_its_length(tmp_path: Path) -> None:
    parts = []
    for rate_hz in (8000, 16000):
        path = tmp_path / f"{rate_hz}.mp3"
        sounds.encode(path, sounds.tone(5, rate_hz=rate_hz), container="mp3", codec="libmp3lame", rate_hz=rate_hz)
        raw = path.read_bytes()
        parts.append(raw[raw.index(b"\xff") :])
    joined = tmp_path / "joined.mp3"
    joined.write_bytes(b"".join(parts))
    found = decoding.decode(joined, tmp_path / "out.wav")
    assert "format-changes" in found.warnings
    assert found.duration_s == pytest.approx(10, abs=0.4)


def _decode(folder: Path, name: str) -> decoding.DecodedAudio:
    neighbour = sounds.write_wav(folder / "n.wav", sounds.tone(1))
    [path] = bombs.corpus(folder, neighbour, names={name})
    return decoding.decode(path, folder / "out.wav")
