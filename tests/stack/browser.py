"""What an annotator does in Label Studio, in a headless Chromium: log in, read what is on screen, correct, submit.

Everything here looks at the rendered page, never at Label Studio's API or its stores: a prediction that is stored but
not shown must fail here. Waits poll for something visible; nothing sleeps for luck.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, Response, sync_playwright
from playwright.sync_api import TimeoutError as PlaywrightTimeout

LAPTOP = {"width": 1366, "height": 768}
PATIENCE_MS = 60_000  # two busy cores: the editor's first load parses 10 MB of JavaScript

# Fresh profile, no sandbox (containers), and nothing that calls home from a closed network.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--no-first-run",
    "--no-default-browser-check",
    "--mute-audio",
    "--autoplay-policy=no-user-gesture-required",
]
_CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

_REGION_TEXT = "[data-testid=textarea-region-textarea], [data-testid=textarea-region-input]"
_WHOLE_TEXT = "[data-testid=htx-textbox-content]"
_NEW_TEXT = "[data-testid=textarea-input]"
_CHOSEN = ".lsf-choice .ant-checkbox-wrapper-checked, .lsf-choice .ant-radio-wrapper-checked"

_WATCH_PLAYING = """() => {
    window.kaanPlayed = false;
    const look = () => { window.kaanPlayed ||= !!document.querySelector("[data-testid='playback-button:pause']"); };
    new MutationObserver(look).observe(document.body, {childList: true, subtree: true, attributes: true});
}"""


def chromium() -> Path | None:
    """The Chromium to drive: the one $CHROMIUM names, else one on the path, else none."""
    named = os.environ.get("CHROMIUM")
    found = named or next(filter(None, map(shutil.which, _CHROMIUM_NAMES)), None)
    return Path(found) if found else None


@contextlib.contextmanager
def annotator(base_url: str, email: str, password: str) -> Iterator[Annotator]:
    """A logged-in annotator in front of a laptop screen."""
    executable = chromium()
    if executable is None:
        raise RuntimeError("No Chromium found. Install one (Debian: apt-get install chromium) or name it in $CHROMIUM.")
    with sync_playwright() as playwright, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        # Its own HOME: crash reports, caches and font lists of a test browser belong to the test.
        environment: dict[str, str | float | bool] = {**os.environ, "HOME": home}
        browser = playwright.chromium.launch(executable_path=str(executable), args=FLAGS, env=environment)
        try:
            page = browser.new_page(viewport=LAPTOP, locale="en-GB")  # type: ignore[arg-type]
            page.set_default_timeout(PATIENCE_MS)
            person = Annotator(page, base_url.rstrip("/"))
            person.log_in(email, password)
            yield person
        finally:
            browser.close()


@dataclass
class Annotator:
    """The person at the screen. Texts come in the order they are shown."""

    page: Page
    base_url: str

    def log_in(self, email: str, password: str) -> None:
        self.page.goto(f"{self.base_url}/user/login/")
        self.page.fill("input[name=email]", email)
        self.page.fill("input[name=password]", password)
        self.page.click("button[type=submit]")
        self.page.wait_for_url(lambda url: "/user/login" not in url)

    def open_stream(self, project_id: int) -> None:
        """What "Label All Tasks" does: Label Studio picks the next task."""
        self._open(f"/projects/{project_id}/data?labeling=1")

    def open_task(self, project_id: int, task_id: int) -> None:
        self._open(f"/projects/{project_id}/data?task={task_id}")

    def wait_for_text(self, timeout_ms: int = PATIENCE_MS) -> None:
        """Until a drafted text is on screen."""
        self.page.locator(f"{_REGION_TEXT}, {_WHOLE_TEXT}").first.wait_for(timeout=timeout_ms)

    def texts(self) -> list[str]:
        """Every text on screen: of each region, and of the whole recording. Empty boxes are left out."""
        regions = [box.input_value() for box in self.page.locator(_REGION_TEXT).all()]
        whole = [box.inner_text() for box in self.page.locator(_WHOLE_TEXT).all()]
        return [text for text in (*whole, *regions) if text.strip()]

    def status(self) -> str:
        """The line at the top of a `calls` task, or nothing."""
        line = self.page.locator(".kaan-status h4")
        return line.inner_text().strip() if line.count() and line.is_visible() else ""

    def chosen(self) -> list[str]:
        """The words on every choice that is set, without their hotkeys."""
        bare = """choices => choices.map(choice => { const copy = choice.cloneNode(true);
            copy.querySelectorAll('sup, kbd').forEach(key => key.remove()); return copy.textContent.trim(); })"""
        return self.page.eval_on_selector_all(_CHOSEN, bare)  # type: ignore[no-any-return]

    def region_labels(self) -> list[str]:
        """The labels of each region as listed: "Agent", "Customer, check"."""
        return [title.inner_text().strip() for title in self.page.locator(".lsf-outliner-item__title").all()]

    def is_reachable(self, selector: str) -> bool:
        """Whether it is on the laptop's screen without scrolling."""
        box = self.page.locator(selector).first.bounding_box()
        return bool(box and box["y"] >= 0 and box["y"] + box["height"] <= LAPTOP["height"])

    def correct(self, text: str, number: int = 0) -> None:
        """Write `text` over what the draft says, in the `number`th text on screen."""
        regions = self.page.locator(_REGION_TEXT)
        if regions.count():
            regions.nth(number).click()
            regions.nth(number).fill(text)
            regions.nth(number).press("Enter")
            return
        shown = self.page.locator(_WHOLE_TEXT)
        if not shown.count():  # nothing drafted: the empty box, which "Add" turns into a text
            self.page.locator(_NEW_TEXT).fill(text)
            self.page.locator("[data-testid=textarea-add-button]").click()
            return
        shown.nth(number).hover()
        self.page.locator("[data-testid=htx-textbox-edit-button]").nth(number).click()
        box = self.page.locator("[data-testid=htx-textbox-input]")
        box.fill(text)
        box.press("Shift+Enter")
        box.wait_for(state="detached")

    def press(self, *keys: str) -> None:
        """Keys, one after the other, wherever the focus is."""
        for key in keys:
            self.page.keyboard.press(key)

    def focused_text(self) -> str:
        """The text the cursor is in, or nothing."""
        box = self.page.locator("textarea:focus, input:focus")
        return box.input_value() if box.count() else ""

    def plays_at(self, key: str) -> bool:
        """Press a key; whether sound plays after it, be it for the quarter of a second that a short region takes."""
        self.page.evaluate(_WATCH_PLAYING)
        self.page.keyboard.press(key)
        try:
            self.page.wait_for_function("() => window.kaanPlayed", timeout=10_000)
        except PlaywrightTimeout:
            return False
        return True

    def submit(self) -> dict[str, Any]:
        """Click Submit (or Update); Label Studio's answer: the annotation as stored."""
        with self.page.expect_response(_stores_an_annotation) as answer:
            self.page.locator("button[aria-label=submit], button[aria-label=update], .lsf-controls button").filter(
                has_text="Submit"
            ).or_(self.page.locator("button").filter(has_text="Update")).first.click()
        return answer.value.json()  # type: ignore[no-any-return]

    def submit_with_keys(self) -> dict[str, Any]:
        """Ctrl+Enter outside a text; Label Studio's answer."""
        with self.page.expect_response(_stores_an_annotation) as answer:
            self.page.keyboard.press("Control+Enter")
        return answer.value.json()  # type: ignore[no-any-return]

    def screenshot(self, path: Path) -> Path:
        self.page.screenshot(path=path)
        return path

    def _open(self, path: str) -> None:
        self.page.goto(self.base_url + path)
        self.page.locator(".lsf-audio-tag canvas").first.wait_for()
        # The play button is drawn early; times appear when the audio is decoded.
        self.page.wait_for_function(
            "() => [...document.querySelectorAll('[data-testid=timebox-end-time] input')]"
            ".some(box => /[1-9]/.test(box.value))"
        )
        self._read_instructions()

    def _read_instructions(self) -> None:
        """Close the project's instructions, which open over the label stream."""
        shown = self.page.locator(".lsf-modal-ls_visible")
        if shown.count():
            shown.locator(".lsf-modal-ls__header button").click()
            shown.wait_for(state="detached")


def _stores_an_annotation(response: Response) -> bool:
    wanted = "/annotations" in response.url and response.request.method in ("POST", "PATCH")
    return wanted and "/drafts" not in response.url and response.ok
