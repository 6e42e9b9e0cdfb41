"""The documents build without a complaint and without a network, and a page nobody can reach does not build."""

import re
import shutil
import subprocess
import sys

import pytest
from playwright.sync_api import sync_playwright

from tests.policy.source import ROOT
from tests.stack import browser
from tests.stack.conftest import missing

RESOURCE = re.compile(r"""<(?:(?:script|img|iframe)[^>]*\ssrc|link[^>]*\shref)=["']?(?:https?:)?//""")
INDEX = "# Section\n\n[A page](page.md)\n"


def build(folder, site):
    """(exit code, what was said) by the command of `make docs`."""
    recipe = re.search(r"-m (mkdocs build .*)", (ROOT / "Makefile").read_text(encoding="utf-8"))[1]
    command = [sys.executable, "-m", *recipe.split(), "--config-file", folder / "mkdocs.yml"]
    environment = {"PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [*command, "--site-dir", site], capture_output=True, text=True, check=False, cwd=ROOT, env=environment
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def small(tmp_path):
    """A site of two pages under the real configuration."""
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    (tmp_path / "mkdocs.yml").write_text(settings.replace("scripts/", f"{ROOT}/scripts/"), encoding="utf-8")
    section = tmp_path / "docs" / "how-to"
    section.mkdir(parents=True)
    (tmp_path / "docs" / "index.md").write_text("# Home\n\n[How-to](how-to/index.md)\n", encoding="utf-8")
    for folder in ("javascripts", "stylesheets"):
        shutil.copytree(ROOT / "docs" / folder, tmp_path / "docs" / folder)
    (section / "index.md").write_text(INDEX, encoding="utf-8")
    (section / "page.md").write_text("# A page\n\n## A part\n", encoding="utf-8")
    return tmp_path


def test_the_documents_build_strictly_and_load_nothing_from_elsewhere(tmp_path):
    code, said = build(ROOT, tmp_path / "site")
    assert code == 0, said
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 6
    outside = {str(page): RESOURCE.findall(page.read_text(encoding="utf-8")) for page in pages}
    assert not {page: found for page, found in outside.items() if found}


def test_a_small_site_builds(small):
    code, said = build(small, small / "site")
    assert code == 0, said


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("page.md", "# A page\n\n[gone](gone.md)\n"),
        ("page.md", "# A page\n\n[a part](#missing)\n"),
        ("page.md", "# A page\n\n![a picture](../pictures/gone.png)\n"),
        ("index.md", "# Section\n\nNo link to the page.\n"),
        ("orphan.md", "# Nobody links this page\n"),
    ],
    ids=["broken link", "broken anchor", "missing picture", "page left out of its index", "orphan page"],
)
def test_what_a_reader_cannot_reach_fails_the_build(small, page, text):
    (small / "docs" / "how-to" / page).write_text(text, encoding="utf-8")
    code, said = build(small, small / "site")
    assert code != 0
    assert "WARNING" in said


def test_the_readme_is_short_and_what_it_links_exists():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.encode()) <= 6000
    linked = re.findall(r"\]\(((?!https?:)[^)#]+)\)", text)
    assert linked
    assert not [name for name in linked if not (ROOT / name).is_file()]


def test_pictures_are_small():
    pictures = list((ROOT / "docs" / "pictures").iterdir())
    assert pictures
    assert not {picture.name: picture.stat().st_size for picture in pictures if picture.stat().st_size > 300_000}


@pytest.mark.browser
def test_search_works_in_a_page_that_is_opened_as_a_file(small):
    chromium = browser.chromium()
    if chromium is None:
        missing("There is no Chromium here")
    assert build(small, small / "site")[0] == 0
    asked = []
    with sync_playwright() as playwright:
        window = playwright.chromium.launch(executable_path=str(chromium), args=["--no-sandbox"])
        try:
            page = window.new_page()
            page.on("request", lambda request: asked.append(request.url))
            page.goto((small / "site" / "index.html").as_uri())
            page.locator("input[name=query]").click()
            page.keyboard.type("a part")
            page.locator(".md-search-result__link", has_text="A part").first.wait_for(timeout=60_000)
        finally:
            window.close()
    assert {url.partition(":")[0] for url in asked} <= {"file", "data"}
