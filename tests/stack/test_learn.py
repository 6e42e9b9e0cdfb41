"""`make learn` as a newcomer meets it: killed, stopped, repeated, and what it says at the end of each kind is true."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from ml_backend.page import page_shell
from tests.patience import until
from tests.stack import browser, page_visit, running
from tests.stack.conftest import missing

pytestmark = [pytest.mark.stack, pytest.mark.timeout(3600)]

NOTHING_MOVES_S = 900.0


class Watched:
    """One run of `learn` and all it has said."""

    def __init__(self, folder, out, *more):
        self.out = out
        command = [sys.executable, "-m", "ml_backend", "learn", "--short", "--data-dir", str(folder), *more]
        command += ["--port", "0", "--label-studio-port", "0"]
        with out.open("w") as stream:
            self.process = subprocess.Popen(
                command, cwd=running.ROOT, env=running.bare_environment(), stdout=stream, stderr=subprocess.STDOUT
            )

    @property
    def text(self):
        return self.out.read_text()

    def until(self, said):
        """Wait for what is said, as long as anything more is said at all."""

        def more():
            assert self.process.poll() is None or re.search(said, self.text), self.text[-3000:]
            return re.search(said, self.text) or self.text != before

        while not re.search(said, self.text):
            before = self.text
            until(more, f"{said!r} in {before[-1500:]}", within_s=NOTHING_MOVES_S, every_s=0.2)

    def ended(self, within_s=NOTHING_MOVES_S):
        return self.process.wait(within_s)


@contextmanager
def learning(folder, out, *more):
    run = Watched(folder, out, *more)
    try:
        yield run
    finally:
        if run.process.poll() is None:
            run.process.send_signal(signal.SIGINT)
            try:
                run.process.wait(120)
            except subprocess.TimeoutExpired:  # what failed before is what is shown
                run.process.kill()


def demo_is_gone(folder):
    """Nothing of a demo in this folder is alive."""
    return not [
        one.pid for one in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(one.info["cmdline"] or [])
    ]


def test_the_loop_is_killed_stopped_and_repeated_and_ends_with_a_better_model(tmp_path, capsys):
    from ml_backend.commands.demo import label_studio, redis_server
    from ml_backend.errors import ConfigurationError

    try:
        redis_server.server()
        label_studio.environment_folder()
    except ConfigurationError as error:
        missing(error.sentence)
    folder = tmp_path / "data"

    with learning(folder, tmp_path / "1.out") as killed:
        killed.until(r"\d+ of 122 calls annotated")
        os.kill(killed.process.pid, signal.SIGKILL)  # nobody is told
        killed.ended()
    until(lambda: demo_is_gone(folder), "the demo of a killed `learn` ends by itself", within_s=120)

    with learning(folder, tmp_path / "2.out") as stopped:
        stopped.until(r"step \d+ of 240")
        stopped.process.send_signal(signal.SIGTERM)
        assert stopped.ended() == 130, stopped.text[-2000:]
    assert "Already there: project" in stopped.text
    assert "continues from here" in stopped.text
    until(lambda: demo_is_gone(folder), "the trainer and the demo have ended", within_s=60)

    with learning(folder, tmp_path / "3.out") as cut:
        cut.until("train nlu --dataset")
        cut.process.send_signal(signal.SIGINT)
        assert cut.ended() == 130, cut.text[-2000:]
    assert "train resume" in cut.text

    with learning(folder, tmp_path / "4.out", "--stay") as whole:
        whole.until("The demo keeps running")
        said = whole.text
        ended = said[said.index("1. Recognition.") :]
        with capsys.disabled():
            print("\n" + ended)
        for word in ("said", "before", "after"):
            assert len(re.findall(rf"^{word} +\S", ended, re.MULTILINE)) == 6
        for what in ("words", "intents"):
            before, of, after = map(int, re.findall(rf"(\d+) of (\d+) {what} were wrong before, (\d+)", ended)[0])
            assert after < before <= of
        assert "Better: it may be promoted." in ended
        assert "The candidate recognises more intents" in ended
        assert "6 people count; 1 rated the worse copies as high as the recordings" in ended
        plots = re.findall(r"^plot +(\S+)", ended, re.MULTILINE)
        assert len(plots) == 2
        assert all("</svg>" in Path(plot).read_text() for plot in plots)
        look_at(folder, ended)
        look_at_every_page(folder)

        with learning(folder, tmp_path / "5.out") as again:
            assert again.ended() == 0, again.text[-2000:]
        assert "a demo runs in" in again.text
        assert again.text.count("Already there") >= 14
        writes = "train|export|promote|project (?:create|add)|nlu import|voices import|speak|sync|ratings anchors"
        changes = rf"\$ .*-m ml_backend (?:--env-file \S+ )?(?:{writes})\b"
        assert not re.findall(changes, again.text)
        assert whole.process.poll() is None
    assert demo_is_gone(folder)


def look_at_every_page(folder):
    """What the loop has done is there to be seen, in a browser, for everybody."""
    if browser.chromium() is None:
        missing("No Chromium is here.")
    settings = running.dotenv_values(folder / "demo.env")
    token = settings["API_TOKENS"].split(",")[0].rpartition(":")[2]
    pictures = Path(kept) if (kept := os.environ.get("KEEP_PICTURES")) else None
    seen = page_visit.visit(f"http://127.0.0.1:{settings['PORT']}", token, pictures=pictures)
    assert not seen.faults, "\n".join(seen.faults)
    assert {address for _, _, address in page_shell.MENU} <= seen.opened.keys()


def look_at(folder, said):
    """The addresses at the end: a call and an utterance that nobody annotated, whose drafts are the new models', and
    clips that are rated."""
    settings = running.dotenv_values(folder / "demo.env")
    api = running.LabelStudio(settings["LABEL_STUDIO_URL"], settings["LABEL_STUDIO_API_KEY"])
    *drafted, rated = [tuple(map(int, each)) for each in re.findall(r"/projects/(\d+)/data\?task=(\d+)", said)]
    assert len(drafted) == 2
    for project, task in drafted:
        found = next(one for one in api.tasks(project) if one["id"] == task)
        shown = api.call("GET", f"/api/projects/{project}")["model_version"]
        assert not found["annotations"]
        assert [one["model_version"] for one in found["predictions"]][-1] == shown != "draft-1"
    clips = api.tasks(rated[0])
    assert {len(one["annotations"]) for one in clips} == {7}
