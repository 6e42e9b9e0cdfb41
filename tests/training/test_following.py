"""What is told of a trainer that died."""

from __future__ import annotations

from pathlib import Path

import pytest

from training import following

LAUNCHER = """epoch 1 of 3
[rank1]: Traceback (most recent call last):
[rank1]:   File "trainer.py", line 3, in main
[rank1]: torch.distributed.DistNetworkError: The server socket has failed to listen
============================================================
training.trainers.asr FAILED
  exitcode  : 1 (pid: 42)
============================================================
"""


@pytest.mark.parametrize(
    ("log", "told"),
    [
        (LAUNCHER, "[rank1]: torch.distributed.DistNetworkError: The server socket has failed to listen"),
        ("loading\nMemoryError\n", "MemoryError"),
        ("loading\nKilled\n====\n", "Killed"),
        ("", "it is empty."),
    ],
)
def test_a_dead_trainers_error_is_told_rather_than_the_frame_around_it(tmp_path: Path, log: str, told: str) -> None:
    (tmp_path / "trainer.log").write_text(log)
    assert following._last_line(tmp_path / "trainer.log") == told
