"""The ready-made labelling configs: what annotators meet, and what predictions may rely on."""

import html.parser
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from label_studio_sdk.label_interface import LabelInterface

from ml_backend.errors import ConfigurationError
from ml_backend.labelling import labelconfig, rendering, validation
from ml_backend.labelling.reference import to_reference

FIXTURES = Path(__file__).parents[1].parent / "fixtures" / "label-studio"
PAGE = Path(__file__).parents[3].joinpath("docs/reference/labelling-configs.md").read_text(encoding="utf-8")

# Keys Label Studio 1.23.2 binds itself while audio is on screen; a label or choice on one of them fires both.
TAKEN_KEYS = {"u", "enter", "escape", "backspace", "delete", "shift+space", "ctrl+p", "alt+.", "ctrl+enter"}
# What Label Studio leaves of a project's instructions: it drops other attributes (style among them) without a word.
KEPT_ATTRIBUTES = {"class", "title", "colspan", "rowspan", "lang"}


def tags(name: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(labelconfig.read(name)).iter())  # noqa: S314 - our own file


def options(name: str) -> list[ElementTree.Element]:
    return [tag for tag in tags(name) if tag.tag in ("Choice", "Label")]


def examples() -> list[dict]:
    """The JSON objects of the reference page, one per line or block."""
    decoder, found = json.JSONDecoder(), []
    for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL):
        rest = block.strip()
        while rest:
            item, end = decoder.raw_decode(rest)
            found.append(item)
            rest = rest[end:].strip()
    return found


TRANSCRIPTS = labelconfig.TRANSCRIBING


def prediction(items: list[dict]) -> dict:
    return {"model_version": "draft-1", "score": 0.5, "result": items}


def test_original_has_every_control_of_the_config_label_studio_sent_us() -> None:
    """What people annotated with that one reads the same with ours."""
    schema = json.loads((FIXTURES / "ml-setup.json").read_text())["request"]["body"]["schema"]
    sent = ElementTree.fromstring(schema)  # noqa: S314 - our own fixture
    ours = {tag.get("name"): tag for tag in tags("original")}
    named = [tag for tag in sent.iter() if tag.get("name")]
    assert named
    for tag in named:
        mine = ours[tag.get("name")]
        assert (mine.tag, mine.get("toName"), mine.get("choice")) == (tag.tag, tag.get("toName"), tag.get("choice"))
        chosen = [[o.get("value") for o in one if o.tag == "Choice"] for one in (mine, tag)]
        assert chosen[0] == chosen[1]


def test_original_is_as_finished_as_calls() -> None:
    """Keys, a status line, reasons to reject, an emotion, a draft in another language, a key for [unclear]."""
    mine, theirs = (labelconfig.parse(labelconfig.read(name)) for name in ("original", "calls"))
    assert mine.status_key == theirs.status_key
    assert set(theirs.choices) - set(mine.choices) == {"language", "script"}
    for role in mine.choices:
        assert (mine.choices[role].options, mine.choices[role].keys) == (
            theirs.choices[role].options,
            theirs.choices[role].keys,
        )


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_an_emotion_can_be_chosen_and_need_not_be(name: str) -> None:
    choices = labelconfig.parse(labelconfig.read(name)).choices["emotion"]
    assert (choices.options, choices.multiple) == (("calm", "happy", "urgent", "angry"), False)
    assert all(tag.get("required") is None for tag in tags(name) if tag.tag == "Choices")


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_a_draft_in_each_language_can_be_asked_for(name: str) -> None:
    controls = labelconfig.parse(labelconfig.read(name))
    asked = {
        option: to_reference(
            [
                {
                    "id": "r",
                    "from_name": "redraft",
                    "to_name": "audio",
                    "type": "choices",
                    "value": {"choices": [option]},
                }
            ],
            controls,
        ).redraft
        for option in controls.choices["redraft"].options
    }
    assert asked == {"hi": "hi", "en": "en", "mr": "mr"}


def test_unclear_has_a_key_where_label_studio_can_have_one_and_the_speed_a_default() -> None:
    [shortcut] = [tag for tag in tags("original") if tag.tag == "Shortcut"]
    assert (shortcut.get("value"), shortcut.get("hotkey")) == ("[unclear]", "alt+u")
    for name in TRANSCRIPTS:
        assert [tag.get("defaultspeed") for tag in tags(name) if tag.tag == "Audio"] == ["1"]


def test_calls_offers_every_control_a_call_needs() -> None:
    controls = labelconfig.parse(labelconfig.read("calls"))
    assert controls.problems == ()
    assert controls.by_regions
    assert set(controls.choices) == {
        "language", "script", "quality", "accent", "emotion", "reject", "redraft",
    }  # fmt: skip
    assert controls.choices["reject"].multiple
    assert controls.check is not None
    assert controls.labels is not None
    assert (controls.labels.agent, controls.labels.customer, controls.labels.speech) == ("Agent", "Customer", "Speech")


@pytest.mark.parametrize("name", labelconfig.NAMES)
def test_a_task_needs_nothing_but_its_audio_and_a_text_to_judge_it_by(name: str) -> None:
    """Label Studio refuses a task that lacks the key of a *named* tag; `$status` must not be one of those."""
    needed = {tag.get("value") for tag in tags(name) if tag.get("name") and (tag.get("value") or "").startswith("$")}
    more = {"tts": {"$text"}, "tts-pairs": {"$text", "$audio_b"}}
    assert needed == ({"$text"} if name == "nlu" else {"$audio"} | more.get(name, set()))


def test_calls_shows_the_status_line() -> None:
    assert labelconfig.parse(labelconfig.read("calls")).status_key == "status"


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_both_configs_have_the_same_quality_and_accent(name: str) -> None:
    choices = labelconfig.parse(labelconfig.read(name)).choices
    assert choices["quality"].options == ("excellent", "good", "fair", "poor")
    assert choices["accent"].options == ("standard", "rural", "urban", "code-mixed")


def test_every_option_of_calls_has_a_key_of_its_own() -> None:
    """Label Studio gives an option without a key a random single letter, which a slip of the hand then presses."""
    keys = [option.get("hotkey") for option in options("calls")]
    assert None not in keys
    assert len(keys) == len(set(keys))
    assert TAKEN_KEYS.isdisjoint(keys)


def test_no_letter_typed_beside_the_text_changes_a_choice_of_calls() -> None:
    assert [o.get("hotkey") for o in options("calls") if re.fullmatch("[a-z]", o.get("hotkey") or "")] == []


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_the_keys_shown_on_a_choice_are_those_that_are_pressed(name: str) -> None:
    for choice in (tag for tag in tags(name) if tag.tag == "Choice"):
        shown = re.search("<kbd>⇧(.)</kbd>", choice.get("html") or "")
        assert shown, choice.get("value")
        assert choice.get("hotkey") == f"shift+{shown[1].lower()}"


def test_the_play_key_works_while_typing() -> None:
    """An Audio tag with a `hotkey` loses Label Studio's own key that also works inside a text."""
    assert all(tag.get("hotkey") is None for name in labelconfig.NAMES for tag in tags(name) if tag.tag == "Audio")


def test_the_two_legs_of_a_call_are_shown_apart() -> None:
    assert [tag.get("splitchannels") for tag in tags("calls") if tag.tag == "Audio"] == ["true"]


def test_the_style_survives_label_studio() -> None:
    """Its sanitizer turns `>` and `&` of a Style tag into entities, and the rule is lost."""
    styles = [tag.text or "" for tag in tags("calls") if tag.tag == "Style"]
    assert styles
    assert all(">" not in style and "&" not in style for style in styles)


def test_no_config_and_no_instruction_names_a_model() -> None:
    texts = [text for xml in map(labelconfig.read, labelconfig.NAMES) for text in (xml, labelconfig.instructions(xml))]
    text = " ".join(texts).lower()
    assert not re.search(r"whisper|model|\bai\b|neural|version", text)


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_the_documented_results_fit_the_config(name: str) -> None:
    xml = labelconfig.read(name)
    controls = labelconfig.parse(xml)
    by_regions = [item for item in examples() if ("start" in item["value"]) == controls.by_regions]
    items = [*by_regions, *(item for item in examples() if item["type"] == "choices")]
    items = [item for number, item in enumerate(items) if item not in items[:number]]
    assert len(items) >= 2
    if not controls.by_regions:
        items = [item for item in items if item["type"] in ("textarea", "choices")]
    assert validation.check(prediction(items), controls) == []
    assert LabelInterface(xml).validate_prediction(prediction(items), return_errors=True) == []


def test_a_result_with_a_wrong_name_does_not_fit() -> None:
    """The check above can fail."""
    wrong = [{**item, "from_name": "gone"} for item in examples() if item["type"] == "choices"]
    assert LabelInterface(labelconfig.read("calls")).validate_prediction(prediction(wrong), return_errors=True)


class Instructions(html.parser.HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.attributes: set[str] = set()
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes |= {name for name, _ in attrs}
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("name", labelconfig.NAMES)
def test_the_instructions_arrive_whole_in_label_studio(name: str) -> None:
    page = Instructions(labelconfig.instructions(labelconfig.read(name)))
    assert page.open == []
    assert page.attributes <= KEPT_ATTRIBUTES


def test_the_instructions_say_what_every_reject_reason_means() -> None:
    for choice in (tag for tag in tags("calls") if "shift+" in (tag.get("hotkey") or "")):
        words = (choice.get("html") or "").split(" <kbd>")[0]
        if re.fullmatch(r"shift\+\d", choice.get("hotkey") or ""):
            assert f"<li><b>{words}</b>:" in labelconfig.instructions(labelconfig.read("calls"))


COMMON = [
    "Script",
    "Numbers",
    "Fillers",
    "[unclear]",
    "Two people at once",
    "Quality",
    "emotion",
    "Reject",
    "Draft again",
]
CALLS_ONLY = ["region", "Keys", "<kbd>"]


@pytest.mark.parametrize("name", TRANSCRIPTS)
@pytest.mark.parametrize("topic", COMMON)
def test_the_instructions_cover(topic: str, name: str) -> None:
    assert topic in labelconfig.instructions(labelconfig.read(name))


@pytest.mark.parametrize("topic", CALLS_ONLY)
def test_other_projects_read_nothing_about_controls_they_lack(topic: str) -> None:
    assert topic in labelconfig.instructions(labelconfig.read("calls"))
    for xml in (labelconfig.read("original"), "<View/>"):
        assert topic not in labelconfig.instructions(xml).split("</style>")[1]


def test_tts_asks_three_questions_of_five_steps_and_is_read_as_a_rating() -> None:
    controls = labelconfig.parse(labelconfig.read("tts"))
    assert controls.problems == ()
    assert (controls.rates, controls.usable, controls.spoken_key) == (True, False, "text")
    for name in ("naturalness", "pronunciation", "emotion"):
        assert controls.other_choices[name].options == ("1", "2", "3", "4", "5")
    assert [labelconfig.parse(labelconfig.read(name)).rates for name in TRANSCRIPTS] == [False, False]


def test_every_option_of_tts_has_a_key_of_its_own_and_shows_it() -> None:
    keys = [option.get("hotkey") for option in options("tts")]
    assert None not in keys
    assert len(keys) == len(set(keys))
    assert TAKEN_KEYS.isdisjoint(keys)
    for choice in (tag for tag in tags("tts") if tag.tag == "Choice"):
        assert f"<kbd>{str(choice.get('hotkey')).upper()}</kbd>" in (choice.get("html") or "")


def test_a_rating_reads_back_as_the_choices_made() -> None:
    result = [
        {"id": "a", "from_name": "naturalness", "to_name": "audio", "type": "choices", "value": {"choices": ["4"]}},
        {"id": "b", "from_name": "wrong_word", "to_name": "spoken", "type": "labels",
         "value": {"start": 3, "end": 8, "text": "hello", "labels": ["wrong word"]}},
    ]  # fmt: skip
    reference = rendering.to_reference(result, labelconfig.parse(labelconfig.read("tts")))
    assert reference.choices == (("naturalness", ("4",)),)
    assert (reference.text, reference.segments) == ("", ())


def test_a_config_that_shows_a_text_but_asks_nothing_is_no_rating() -> None:
    xml = '<View><Audio name="a" value="$audio"/><Text name="t" value="$text"/></View>'
    assert labelconfig.parse(xml).problems


def test_an_unknown_config_lists_the_known_ones() -> None:
    with pytest.raises(ConfigurationError) as error:
        labelconfig.read("podcast")
    assert all(name in error.value.next_step for name in labelconfig.NAMES)
