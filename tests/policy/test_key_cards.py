"""The annotators' pages and key cards, in three languages, say what the labelling configs say."""

import re
import subprocess
import sys
from html import unescape
from xml.etree import ElementTree

import pytest

from ml_backend import languages
from ml_backend.labelling import labelconfig
from scripts import key_cards, reference_pages
from tests.policy.source import ROOT
from tests.stack import browser
from tests.stack.conftest import missing

PAGES = ROOT / "docs" / "annotators"
NAMES = {
    "en": ("index.md", "card-english.md"),
    "hi": ("hindi.md", "card-hindi.md"),
    "mr": ("marathi.md", "card-marathi.md"),
}
DEVANAGARI = re.compile(r"[\u0900-\u097f]")


def card(language):
    """The card as it is built: {section: {key: (name on the screen, meaning)}}."""
    text = reference_pages.fill((PAGES / NAMES[language][1]).read_text(encoding="utf-8"))
    found = {}
    for section, body in re.findall(r'<section class="(\w+)">(.*?)</section>', text):
        for key, shown, meaning in re.findall(r"<tr><td><kbd>(.*?)</kbd></td><td>(.*?)</td><td>(.*?)</td></tr>", body):
            assert unescape(key) not in found.setdefault(section, {}), key
            found[section][unescape(key)] = unescape(shown), unescape(meaning)
    return found


def with_keys(config):
    """The tags of a config that a key sets."""
    tags = ElementTree.fromstring(labelconfig.read(config)).iter()  # noqa: S314 - our own file
    return [each for each in tags if each.get("hotkey")]


def keys(config):
    """What a config's hotkeys look like on a keyboard, read from the XML alone."""
    looks = (each.get("hotkey").replace("shift+", "⇧").upper() for each in with_keys(config))
    return {each.replace("ALT+", "Alt+") for each in looks}


@pytest.mark.parametrize("language", NAMES)
def test_a_card_shows_every_key_of_the_configs_and_no_other(language):
    found = card(language)
    assert set(found["calls"]) == keys("calls")
    assert set(found["calls"]) | set(found["original"]) >= keys("original")
    assert set(found["original"]) == keys("original") - keys("calls") == {"Alt+U"}
    assert set(found["tts"]) == keys("tts")
    assert set(found) == {"editor", "calls", "original", "tts"}


@pytest.mark.parametrize("language", NAMES)
def test_a_card_names_each_choice_as_the_screen_does(language):
    for config in ("calls", "tts"):
        for tag in with_keys(config):
            shown, _ = card(language)[config][key_cards.pressed(tag.get("hotkey"))]
            on_screen = re.sub("<kbd>.*", "", tag.get("html") or tag.get("value")).strip()
            assert shown == on_screen


def test_the_keys_of_the_editor_are_those_of_the_instructions():
    """Annotators read both."""
    text = labelconfig.instructions(labelconfig.read("calls"))
    table = text[text.rindex("<table>") :]
    cells = [re.findall("<kbd>(.*?)</kbd>", row) for row in re.findall(r"<tr><td>(.*?)</td>", table)]
    written = {"+".join(each) for each in cells if each[0] not in ("1", "⇧")}
    for language in NAMES:
        assert set(card(language)["editor"]) == written


def test_every_language_that_a_config_can_offer_has_its_words_on_the_card():
    """A project in Tamil has keys that the usual ones lack."""
    codes = [one.code for one in languages.LANGUAGES.values() if one.key]
    found = [row for row in key_cards.rows("calls", codes) if row.control in ("language", "script", "redraft")]
    usual = [row for row in key_cards.rows("calls") if row.control in ("language", "script", "redraft")]
    assert len(found) > len(usual)
    assert all(DEVANAGARI.search(text) for row in found for text in row.meaning[1:])


@pytest.mark.parametrize("language", ["hi", "mr"])
def test_everything_on_a_card_is_in_its_own_language(language):
    rows = [meaning for section in card(language).values() for _, meaning in section.values()]
    assert len(rows) > 50
    assert not [meaning for meaning in rows if not DEVANAGARI.search(meaning)]


@pytest.mark.parametrize("language", NAMES)
def test_a_page_explains_every_reject_reason_and_what_the_screen_calls_things(language):
    text = (PAGES / NAMES[language][0]).read_text(encoding="utf-8")
    rejects = [row.shown for row in key_cards.rows("calls") if row.control == "reject"]
    assert len(rejects) == 6
    for name in [*rejects, "Draft again", "Mixed", "Quality", "Emotion", "Devanagari", "Roman", "Both"]:
        assert f"**{name}**" in text, name
    for name in ("[unclear]", "check", "Alt+.", "Ctrl+P", "Ctrl+Enter", "Ctrl+Space", "Most useful first"):
        assert name in text, name
    for line in ("unsure regions: listen at", "is a guess", "silent: submit if so", "audio cut at", "draft coming"):
        assert line in text, line


def test_the_three_pages_have_the_same_parts():
    parts = {
        language: len(re.findall("^## ", (PAGES / page).read_text(encoding="utf-8"), re.MULTILINE))
        for language, (page, _) in NAMES.items()
    }
    assert len(set(parts.values())) == 1, parts


@pytest.mark.browser
def test_each_card_prints_on_one_sheet(tmp_path):
    if (chromium := browser.chromium()) is None:
        missing("There is no Chromium here")
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path / "site"],
        cwd=ROOT, check=True, capture_output=True,
        env={"PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    for _, page in NAMES.values():
        sheet, built = tmp_path / f"{page}.pdf", (tmp_path / "site/annotators" / page).with_suffix(".html")
        options = ("--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer")
        given = (f"--print-to-pdf={sheet}", f"--user-data-dir={tmp_path / 'profile'}", built.as_uri())
        subprocess.run([chromium, *options, *given], check=True, capture_output=True, timeout=120)
        assert re.findall(rb"/Count (\d+)", sheet.read_bytes()) == [b"1"], page
