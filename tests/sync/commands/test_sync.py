"""`sync exotel` as a person runs it: beforehand, through, killed in the middle, and refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from ml_backend import tables
from ml_backend.jobs import job_kinds
from tests.patience import until
from tests.sync.provider import SPEECH, Beside, beside

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Beside]:
    with beside(tmp_path, monkeypatch) as service:
        yield service


def start(here: Beside, *arguments: str, per_minute: int = 200) -> subprocess.Popen[str]:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("EXOTEL_")},
        **here.provider.environment,
        "DATA_DIR": str(here.context.settings.data_dir),
        "EXOTEL_REQUESTS_PER_MINUTE": str(per_minute),
    }
    command = [sys.executable, "-m", "ml_backend", "sync", "exotel", *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def run(here: Beside, *arguments: str) -> tuple[int, str, str]:
    process = start(here, *arguments)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def day(here: Beside, days: int) -> str:
    return f"{here.now() - timedelta(days=days):%Y-%m-%d}"


def test_a_back_fill_killed_in_the_middle_goes_on_where_it_was(here: Beside) -> None:
    for number in range(1, 451):
        here.provider.add(number, created=here.now() - timedelta(minutes=30 * number), status="busy")
    here.provider.add(901, created=here.now() - timedelta(hours=3), audio=SPEECH)
    since = day(here, 16)
    process = start(here, "--since", since, per_minute=60)
    until(lambda: len(here.provider.asked("api")) >= 3, "three pages were asked for", within_s=60)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = len(here.provider.asked("api"))
    assert 0 < len(here.rows(tables.calls)) < 451

    code, out, err = run(here, "--since", since, "--json")
    assert code == 0, err
    facts = json.loads(out)
    assert facts["went_on"]
    assert len(here.rows(tables.calls)) == 451
    pages = len(here.provider.asked("api"))
    assert pages - before < 5, "it did not begin anew"
    [fetch] = here.waiting("fetch-recording")
    assert fetch.priority == job_kinds.BULK
    here.sound()


def test_a_dry_run_says_what_will_come_of_it_and_changes_nothing(here: Beside) -> None:
    for number in range(1, 151):
        audio = SPEECH if number % 2 else None
        here.provider.add(number, created=here.now() - timedelta(minutes=30 * number), audio=audio, Duration="120")
    code, out, err = run(here, "--since", day(here, 10), "--dry-run", "--json")
    assert code == 0, err
    facts = json.loads(out)
    assert (facts["listed"], facts["requests"]) == (150, 2)
    assert facts["calls"] == pytest.approx(75, abs=2)
    assert facts["audio_hours"] == pytest.approx(75 * 120 / 3600, rel=0.05)
    assert facts["compute_hours"] > 0
    assert here.rows(tables.calls) == []
    assert len(here.provider.asked()) == 1

    code, out, _ = run(here, "--since", day(here, 10), "--dry-run")
    assert code == 0
    assert "Exotel lists 150 calls" in out
    assert "Nothing was changed." in out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--since", "2020-01-01"], "listing-too-old"),
        (["--since", "yesterday"], "bad-time"),
        (["--since", "2999-01-01"], "window-empty"),
    ],
)
def test_a_window_that_cannot_be_read_is_refused_by_name(here: Beside, arguments: list[str], code: str) -> None:
    exit_code, _, err = run(here, *arguments)
    assert exit_code == 1
    assert f"[{code}]" in err
    assert here.provider.asked() == []


def test_a_refused_key_is_said_at_once_and_shown_to_nobody(here: Beside) -> None:
    here.provider.script("listing", ["401"])
    exit_code, out, err = run(here, "--since", day(here, 2))
    assert exit_code == 2
    assert "[http-unauthorised]" in err
    assert here.provider.token not in out + err
