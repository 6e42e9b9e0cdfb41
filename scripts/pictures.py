"""`make pictures`: the pictures of the README and the documents, taken from the running product, so they stay true.

annotator.png is a task of the demo in the real Label Studio. verdict.png is the report of the model that `learn` made
on the same data, and overview.png the first page that people see after it. The first run takes as long as `make learn`;
a folder where that has ended is used as it is.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import markdown
from playwright.sync_api import sync_playwright

from ml_backend.commands.learn.loop_steps import REFUSED
from tests.stack import browser, page_visit, running

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures"
REPORTS = "objects/kaan-audio/models/kaan-tiny-*/evaluations/*/report.md"  # of recognition; `learn` judges a parser too
TASK_LIST = (240, 48)  # pixels of the screen that show no call
STYLE = """
body { font: 16px/1.5 "Noto Sans", sans-serif; color: #202124; width: 860px; padding: 20px 28px; margin: 0 }
h1 { font-size: 22px; margin: 0 0 8px } h2 { font-size: 18px; margin: 20px 0 8px } svg { width: 100%; height: auto }
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="make pictures", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data-dir", type=Path, default=ROOT / "data" / "pictures", help="where `learn` works")
    folder = parser.parse_args().data_dir.resolve()
    PICTURES.mkdir(parents=True, exist_ok=True)
    if not list(folder.glob(REPORTS)):
        learn = [sys.executable, "-m", "ml_backend", "learn", "--data-dir", str(folder)]
        learned = subprocess.run(
            [*learn, "--no-stay", "--port", "0", "--label-studio-port", "0"], cwd=ROOT, check=False
        )
        if learned.returncode not in (0, REFUSED):  # the verdict of a refused version is a picture too
            return learned.returncode
    verdict(max(folder.glob(REPORTS), key=lambda path: path.stat().st_mtime), PICTURES / "verdict.png")
    with running.demo(folder) as stack:
        annotator(stack, PICTURES / "annotator.png")
        overview(folder, PICTURES / "overview.png")
    return 0


def annotator(stack: running.Stack, path: Path) -> None:
    """A two-channel call as it opens: regions with drafts, and the line that says what to do."""
    project = stack.project("calls")
    task = max(stack.label_studio.tasks(project), key=_worth)
    with browser.annotator(stack.label_studio.url, stack.facts["user"], stack.password) as person:
        person.open_task(project, task["id"])
        person.wait_for_text()
        person.press("Alt+.")
        person.page.mouse.move(browser.LAPTOP["width"] - 5, browser.LAPTOP["height"] - 5)
        person.page.wait_for_load_state("networkidle")
        width, height = browser.LAPTOP["width"], browser.LAPTOP["height"]
        left, top = TASK_LIST  # beside the list of tasks, below the bar of Label Studio
        person.page.screenshot(path=path, clip={"x": left, "y": top, "width": width - left, "height": height - top})


def overview(folder: Path, path: Path) -> None:
    """The first page, on a laptop."""
    settings = running.dotenv_values(folder / "demo.env")
    token = settings["API_TOKENS"].split(",")[0].rpartition(":")[2]
    with page_visit.chromium() as started:
        address = f"http://127.0.0.1:{settings['PORT']}"
        page = page_visit.signed_in(started, address, token, viewport=browser.LAPTOP).new_page()
        page.goto(f"{address}/page/overview")
        page.wait_for_function("document.querySelectorAll('figure.plot[data-drawn=yes]').length > 0")
        page.screenshot(path=path)


def _worth(task: dict[str, Any]) -> tuple[bool, bool, int]:
    """How much a task shows: both channels, an unsure region, a few regions."""
    items = [item for prediction in task["predictions"][-1:] for item in prediction["result"]]
    channels = {item["value"].get("channel", 0) for item in items}
    unsure = any(item["from_name"] == "check" for item in items)
    return len(channels) > 1 and not task["annotations"], unsure, -len(items)


def verdict(report: Path, path: Path) -> None:
    """The report's first part, as the page of a model version has it: the sentences, the plot."""
    text = report.read_text(encoding="utf-8").partition("## Figures")[0]
    plot = report.with_name("slices.svg").read_text(encoding="utf-8")
    body = markdown.markdown(text).replace('src="slices.svg"', "hidden") + plot[plot.index("<svg") :]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(browser.chromium()), args=["--no-sandbox"])
        try:
            page = chromium.new_page(viewport={"width": 916, "height": 400}, device_scale_factor=1.5)
            page.set_content(f"<style>{STYLE}</style>{body}")
            page.locator("body").screenshot(path=path)
        finally:
            chromium.close()


if __name__ == "__main__":
    sys.exit(main())
