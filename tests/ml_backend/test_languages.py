"""The language table: what is offered in one place is known in every other."""

import re
import unicodedata
from pathlib import Path
from xml.etree import ElementTree

import pytest
from faster_whisper.tokenizer import _LANGUAGE_CODES

from ml_backend import languages
from ml_backend.labelling import labelconfig
from ml_backend.settings import Settings
from sync.projects.attachment import SCRIPT_POLICY

SPOKEN = [one for one in languages.OFFERED if not one.parts]
CODES = [one.code for one in SPOKEN]
CONFIGS = labelconfig.TRANSCRIBING
CARDS = sorted((Path(__file__).parents[2] / "docs" / "annotators").rglob("*.md"))


def test_an_offered_language_has_everything_that_the_table_asks_for() -> None:
    for one in languages.OFFERED:
        assert one.name
        assert one.own_name
        assert len(one.key) == 1
        assert one.names[0] == one.names[0].casefold()
        assert languages.scripts_for(one.code, one.policy)
        assert one.script.key
        assert one.script.name.casefold() in one.script.names
        if one.parts:
            assert set(one.parts) <= set(CODES)
            continue
        assert {one.code, one.name.casefold(), one.own_name.casefold()} <= set(one.names)
        assert len(one.redraft_key) == 1
        if one.script != languages.ROMAN:
            assert all(one.examples)
            assert one.script.loans
            own, _, both = map(languages.scripts_in, one.examples)
            assert own == {one.script.code}
            assert both == {one.script.code, languages.LATIN}
            assert languages.scripts_in(one.script.loans) == {one.script.code}


def test_no_name_stands_for_two_languages_or_two_scripts() -> None:
    for table in (languages.LANGUAGE_NAMES, languages.SCRIPT_NAMES):
        names = [name for of_one in table.values() for name in of_one]
        assert len(names) == len(set(names))
        assert all(name == name.casefold() for name in names)


@pytest.mark.parametrize("code", CODES)
def test_models_know_an_offered_language_by_its_code(code: str) -> None:
    assert code in _LANGUAGE_CODES


@pytest.mark.parametrize("code", CODES)
def test_letters_of_an_offered_language_are_of_its_script_and_its_digits_are_digits(code: str) -> None:
    script = languages.LANGUAGES[code].script
    named = [c for c in map(chr, range(0x2FF)) if languages.script_of(c) == script.code] or [
        c for c in map(chr, range(0x300, 0x1000)) if languages.script_of(c) == script.code
    ]
    assert len(named) > 30
    assert all(unicodedata.name(c).startswith((script.letters, "FEMININE", "MASCULINE")) for c in named)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("spoken", [(), ("ta", "en"), ("bn",), tuple(CODES)])
def test_a_config_offers_the_languages_that_are_spoken_everywhere(name: str, spoken: tuple[str, ...]) -> None:
    wanted = [code for code in CODES if code in (spoken or languages.USUAL)]
    xml = labelconfig.read(name, spoken)
    choices = labelconfig.parse(xml).choices
    assert list(choices["redraft"].options) == wanted
    if "language" in choices:
        offered = [languages.code_of(option) for option in choices["language"].options]
        assert [code for code in offered if code in CODES] == wanted
        assert ("hi-en" in offered) == ({"hi", "en"} <= set(wanted))
        shown = {script for script in choices["script"].options if script != "mixed"}
        assert shown == {languages.LANGUAGES[code].script.name for code in wanted} | {"Roman"}
    assert labelconfig.ready_made(xml) == name
    assert {one.code for one in labelconfig.offered_in(xml)} >= set(wanted)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_option_has_a_key_of_its_own_when_all_languages_are_offered(name: str) -> None:
    """Label Studio gives an option without a key a random single letter, which a slip of the hand then presses."""
    tags = ElementTree.fromstring(labelconfig.read(name, CODES)).iter()  # noqa: S314 - our own file
    keys = [tag.get("hotkey") for tag in tags if tag.tag in ("Choice", "Label")]
    assert None not in keys
    assert len(keys) == len(set(keys))


def test_a_config_that_somebody_changed_is_no_longer_ours() -> None:
    xml = labelconfig.read("calls")
    assert labelconfig.ready_made(xml.replace('value="good"', 'value="fine"')) is None
    assert labelconfig.ready_made("<View/>") is None


@pytest.mark.parametrize("code", CODES)
def test_the_instructions_name_every_language_that_the_config_offers(code: str) -> None:
    one = languages.LANGUAGES[code]
    page = labelconfig.instructions(labelconfig.read("calls", (code, "en")))
    other = re.search("<b>Other language</b>: mostly ([^.]*)", page)
    assert other
    assert one.name in other[1]
    assert "<!--" not in page
    if one.script != languages.ROMAN:
        assert all(example in page for example in one.examples)


def test_settings_take_codes_and_names_and_say_what_is_offered() -> None:
    found = Settings(languages="Tamil, bn", default_language="English", _env_file=None)
    assert (found.languages, found.default_language) == ("ta,bn", "en")
    assert {one.code for one in languages.offered(labelconfig.offered_by(found))} == {"ta", "bn", "en"}
    assert [one.code for one in languages.offered(labelconfig.offered_by(Settings(_env_file=None)))] == [
        "hi", "en", "mr", "hi-en",
    ]  # fmt: skip


def test_languages_without_an_entry_leave_the_usual_ones_offered() -> None:
    assert languages.offered(("fr",)) == languages.offered()


@pytest.mark.parametrize("language", languages.OFFERED, ids=lambda one: one.code)
def test_a_project_that_we_make_has_a_script_policy_for_every_language(language: languages.Language) -> None:
    assert languages.scripts_for(language.code, SCRIPT_POLICY[language.code])


def test_a_page_for_annotators_that_lists_language_keys_lists_those_of_every_usual_language() -> None:
    usual = [languages.LANGUAGES[code] for code in languages.USUAL]
    for card in CARDS:
        text = card.read_text(encoding="utf-8").replace("Shift+", "⇧").replace("++shift+", "⇧").casefold()
        for keys in ([one.key for one in usual], [one.redraft_key for one in usual]):
            listed = [f"⇧{key}" in text for key in keys]
            assert all(listed) or not any(listed), card.name


def test_options_that_name_languages_and_scripts_alike_are_languages() -> None:
    def role(*options: str) -> str | None:
        listed = "".join(f'<Choice value="{option}"/>' for option in options)
        xml = f'<View><Audio name="a" value="$audio"/><Choices name="c" toName="a">{listed}</Choices></View>'
        return next(iter(labelconfig.parse(xml).choices), None)

    assert role("Tamil", "Bengali") == role("Tamil", "Hindi", "mixed") == role("hi", "en") == "language"
    assert role("Tamil", "Roman") == role("Devanagari", "Roman", "mixed") == "script"
    assert role("Tamil", "music") is None
