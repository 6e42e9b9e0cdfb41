"""The page in a real Chromium: every kind of address that can be reached by clicking, looked at as different people do.

A visit follows links from the overview and opens one address of each route. On each it asks: did it load, was anything
refused by the policy, does axe find a serious fault, does it fit a phone, is it read without a script.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.stack import browser as browsers

LAPTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
SERIOUS = ("serious", "critical")
MOST_PAGES = 60
# what a click on it would download, or where it leaves the session
_NO_PAGE = re.compile(r"format=csv|/audio|/sign-out|/static/")


@dataclass
class Visit:
    """What was seen: route pattern -> address, and every fault as a sentence."""

    opened: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def visit(base_url: str, token: str, *, pictures: Path | None = None) -> Visit:
    """Open one address of every route that links lead to, with the session of `token`."""
    found = Visit()
    with chromium() as browser:
        for scheme, viewport in (("light", LAPTOP), ("dark", PHONE)):
            context = signed_in(browser, base_url, token, viewport=viewport, color_scheme=scheme)
            page = context.new_page()
            addresses = list(found.opened.values()) or _walk(page, base_url, found)
            for address in addresses:
                _look(page, base_url + address, found, named=f"{scheme} {address}", pictures=pictures, scheme=scheme)
            context.close()
        plain = signed_in(browser, base_url, token, viewport=LAPTOP, java_script_enabled=False)
        page = plain.new_page()
        for address in found.opened.values():
            page.goto(base_url + address)
            if not page.locator("main").inner_text().strip() or page.locator(".drawing:visible").count():
                found.faults.append(f"{address} cannot be read without a script")
    return found


def _walk(page: Page, base_url: str, found: Visit) -> list[str]:
    """Breadth first from the overview; one address per pattern."""
    waiting, known = ["/page/overview"], set()
    while waiting and len(found.opened) < MOST_PAGES:
        address = waiting.pop(0)
        answer = page.goto(base_url + address)
        if answer is None or answer.status != 200:
            found.faults.append(f"{address} answers {answer.status if answer else 'nothing'}")
            continue
        found.opened[pattern(address)] = address
        for link in page.locator("a[href^='/page/']").all():
            href = link.get_attribute("href") or ""
            if not _NO_PAGE.search(href) and pattern(href) not in known | found.opened.keys():
                known.add(pattern(href))
                waiting.append(href)
    return list(found.opened.values())


def pattern(address: str) -> str:
    """An address without its ids and filters: one per route."""
    path = urlsplit(address).path
    first = re.match(r"/page/(?:metrics|work/jobs|data/datasets|models|experiments|runs|errors|calls)/", path)
    return f"{first[0]}<id>" + ("" if path.count("/") <= first[0].count("/") else "/...") if first else path


def _look(page: Page, address: str, found: Visit, *, named: str, pictures: Path | None, scheme: str) -> None:
    said: list[str] = []

    def hear(message: object) -> None:
        if getattr(message, "type", "error") in ("error", "warning"):
            said.append(str(getattr(message, "text", message))[:200])

    page.on("console", hear)
    page.on("pageerror", hear)
    page.goto(address)
    figures = page.locator("figure.plot:has(.plot-data)").count()
    if figures:
        page.wait_for_function(f"document.querySelectorAll('figure.plot[data-drawn=yes]').length === {figures}")
    page.remove_listener("console", hear)
    page.remove_listener("pageerror", hear)
    found.faults += [f"{named}: {each}" for each in said]
    over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    if over > 0:
        found.faults.append(f"{named} is {over} px wider than the screen")
    for violation in Axe().run(page).response["violations"]:
        if violation["impact"] in SERIOUS:
            places = "; ".join(node["html"][:120] for node in violation["nodes"][:3])
            found.faults.append(f"{named}: {violation['id']} ({violation['help']}): {places}")
    if pictures is not None:
        name = re.sub(r"\W+", "-", urlsplit(address).path.removeprefix("/page/")).strip("-")
        page.screenshot(path=pictures / f"{name}-{scheme}.png", full_page=True)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        environment: dict[str, str | float | bool] = {**os.environ, "HOME": home}
        started = playwright.chromium.launch(
            executable_path=str(browsers.chromium()), args=browsers.FLAGS, env=environment
        )
        try:
            yield started
        finally:
            started.close()


def signed_in(browser: Browser, base_url: str, token: str, **options: object) -> BrowserContext:
    context = browser.new_context(**options)  # type: ignore[arg-type]
    context.set_default_timeout(browsers.PATIENCE_MS)
    page = context.new_page()
    page.goto(f"{base_url}/page/sign-in")
    page.fill("input[name=token]", token)
    page.click("button[type=submit]")
    page.wait_for_url("**/page/overview")
    page.close()
    return context
