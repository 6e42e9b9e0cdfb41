"""Raw audio of a stream: every format becomes the same sound, whatever the size of the pieces."""

from __future__ import annotations

import numpy as np
import pytest

from ml_backend.audio.streamed_audio import RATE_HZ, StreamedAudio, StreamFormat
from ml_backend.errors import InvalidInput

# code -> 16-bit value, from ITU-T G.711: the ends of both ranges, and values around zero
MU_LAW = {0x00: -32124, 0x80: 32124, 0xFF: 0, 0x7F: 0, 0xFE: 8, 0x7E: -8, 0xF0: 120}
A_LAW = {0x2A: -32256, 0xAA: 32256, 0xD5: 8, 0x55: -8, 0xD4: 24, 0x80: 5504}


@pytest.mark.parametrize(("encoding", "table"), [("pcmu", MU_LAW), ("pcma", A_LAW)])
def test_a_byte_of_g711_has_the_value_of_the_standard(encoding: str, table: dict[int, int]) -> None:
    found = StreamedAudio(StreamFormat(encoding, RATE_HZ)).samples(bytes(table))  # type: ignore[arg-type]
    assert (found * 32_768).astype(int).tolist() == list(table.values())


@pytest.mark.parametrize("rate_hz", [24_000, 16_000, 8_000])
def test_pieces_of_any_size_give_the_sound_of_the_whole(rate_hz: int) -> None:
    tone = (np.sin(np.arange(rate_hz) * 2 * np.pi * 440 / rate_hz) * 20_000).astype("<i2").tobytes()
    whole = StreamedAudio(StreamFormat("pcm", rate_hz)).samples(tone)
    stream = StreamedAudio(StreamFormat("pcm", rate_hz))
    sizes = [2, 640, 6, 4_000, 2]
    parts, place = [], 0
    while place < len(tone):
        size = sizes[len(parts) % len(sizes)]
        parts.append(stream.samples(tone[place : place + size]))
        place += size
    joined = np.concatenate(parts)
    assert abs(len(joined) - RATE_HZ) < 60
    assert len(joined) == len(whole)
    np.testing.assert_allclose(joined, whole, atol=2 / 32_768)


def test_a_piece_that_ends_within_a_sample_is_refused_and_an_empty_one_is_nothing() -> None:
    stream = StreamedAudio(StreamFormat())
    with pytest.raises(InvalidInput, match="two"):
        stream.samples(b"\0\0\0")
    assert stream.samples(b"").size == 0
