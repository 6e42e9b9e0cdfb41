"""Label configs as people write them: found by what they are, refused without an exception."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.labelling import labelconfig
from ml_backend.labelling.controls import Check
from ml_backend.labelling.labelconfig import parse

ORIGINAL = labelconfig.read("original")
CALLS = labelconfig.read("calls")


def view(*tags: str) -> str:
    return f"<View>{''.join(tags)}</View>"


AUDIO = '<Audio name="audio" value="$audio"/>'
TEXT = '<TextArea name="transcription" toName="audio"/>'
LABELS = '<Labels name="seg" toName="audio"><Label value="Speech"/><Label value="Noise"/></Labels>'


def test_the_original_config_has_text_quality_and_accent() -> None:
    found = parse(ORIGINAL)
    assert found.usable
    assert (found.audio, found.audio_key) == ("audio", "audio")
    assert found.text is not None
    assert (found.text.name, found.text.per_region) == ("transcription", False)
    assert found.choices["quality"].options == ("excellent", "good", "fair", "poor")
    assert found.choices["accent"].name == "accent"
    assert not found.problems


def test_the_calls_config_has_regions_choices_a_check_label_and_a_status_line() -> None:
    found = parse(CALLS)
    assert found.by_regions
    assert found.check is not None
    assert found.status_key == "status"
    assert {"quality", "accent", "language", "script", "reject"} <= set(found.choices)
    assert not found.problems


def test_controls_are_recognised_by_what_they_are_when_names_say_nothing() -> None:
    found = parse(
        view(
            '<audioplus NAME="a1" value="$sound_url"/>',
            '<TextArea name="t1" toName="other,a1"/>',
            '<Choices name="c1" toName="a1"><Choice value="Good"/><Choice value="Poor"/></Choices>',
            '<Choices name="c2" toName="a1"><Choice value="Hindi"/><Choice value="English"/></Choices>',
            '<Choices name="c3" toName="a1"><Choice value="Roman"/><Choice value="Devanagari"/></Choices>',
            '<Choices name="c4" toName="a1"><Choice value="red"/><Choice value="blue"/></Choices>',
        )
    )
    assert (found.audio, found.audio_key, found.text and found.text.name) == ("a1", "sound_url", "t1")
    assert {role: choices.name for role, choices in found.choices.items()} == {
        "quality": "c1",
        "language": "c2",
        "script": "c3",
    }
    assert set(found.other_choices) == {"c4"}


def test_the_transcript_goes_to_the_text_area_called_so() -> None:
    notes = '<TextArea name="notes" toName="audio"/>'
    found = parse(view(AUDIO, notes, TEXT))
    assert found.text is not None
    assert found.text.name == "transcription"


def test_a_text_area_of_another_tag_is_not_taken() -> None:
    found = parse(view(AUDIO, '<Text name="t" value="$t"/>', '<TextArea name="answer" toName="t"/>'))
    assert found.text is None
    assert found.problems


def test_a_text_area_per_region_without_labels_is_a_problem() -> None:
    found = parse(view(AUDIO, TEXT.replace("/>", ' perRegion="true"/>')))
    assert not found.usable
    assert "per region" in found.problems[0]


def test_the_check_label_may_be_an_option_or_a_control_of_its_own() -> None:
    option = '<Labels name="seg" toName="audio"><Label value="Speech"/><Label value="Check"/></Labels>'
    own = '<Labels name="doubt" toName="audio"><Label value="check"/></Labels>'
    assert parse(view(AUDIO, TEXT, option)).check == Check("seg", "Check")
    both = parse(view(AUDIO, TEXT, own, LABELS))
    assert both.check == Check("doubt", "check")
    assert both.labels is not None
    assert both.labels.name == "seg"


def test_an_alias_is_what_is_stored() -> None:
    quality = '<Choices name="quality" toName="audio"><Choice value="Good one" alias="good"/></Choices>'
    choices = parse(view(AUDIO, TEXT, quality)).choices["quality"]
    assert choices.option("GOOD ONE") == choices.option("good") == "good"
    assert choices.option("excellent") is None


@pytest.mark.parametrize(
    "xml",
    [
        "", "   ", "<View>", "no xml", "<View/><View/>", "\x00", "<View>\ud800</View>", "<" * 10_000,
        '<!DOCTYPE v [<!ENTITY x SYSTEM "file:///etc/passwd">]><View>&x;</View>',
        '<!DOCTYPE v [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]><View>&b;</View>',
        '<?xml version="1.0"?><!DOCTYPE v SYSTEM "http://evil.example/x.dtd"><View/>',
        "<View>" * 60_000 + "</View>" * 60_000,
        "<View>" + "x" * 1_000_001 + "</View>",
    ],
    ids=range(13),
)  # fmt: skip
def test_what_is_not_a_config_is_listed_as_a_problem_never_raised(xml: str) -> None:
    found = parse(xml)
    assert not found.well_formed
    assert not found.usable
    assert len(found.problems) == 1


def test_a_config_without_audio_says_so() -> None:
    found = parse(view('<Text name="t" value="$t"/>'))
    assert found.well_formed
    assert "Audio" in found.problems[0]


def test_an_audio_without_a_data_key_says_so() -> None:
    found = parse(view(AUDIO.replace("$audio", "http://fixed.example/a.wav"), TEXT))
    assert not found.usable
    assert found.problems


def test_fifty_thousand_flat_tags_are_read_in_a_moment() -> None:
    assert parse(view(AUDIO, TEXT, "<View/>" * 40_000)).usable


tags = st.sampled_from(["View", "Audio", "TextArea", "Labels", "Label", "Choices", "Choice", "Header", "x"])
values = st.sampled_from(["audio", "$audio", "$", "", "text", "audio,b", "true", "check", "good", "poor", "multiple"])
names = st.sampled_from(["name", "toName", "value", "perRegion", "choice", "alias", "NAME"])
elements = st.recursive(
    st.tuples(tags, st.dictionaries(names, values), st.just([])),
    lambda inner: st.tuples(tags, st.dictionaries(names, values), st.lists(inner, max_size=4)),
    max_leaves=12,
)


def written(element: tuple[str, dict[str, str], list[object]]) -> str:
    tag, attributes, children = element
    listed = "".join(f' {name}="{value}"' for name, value in attributes.items())
    return f"<{tag}{listed}>{''.join(written(c) for c in children)}</{tag}>"  # type: ignore[arg-type]


@given(elements)
def test_any_tree_of_tags_is_read_and_its_problems_are_sentences(
    element: tuple[str, dict[str, str], list[object]],
) -> None:
    found = parse(written(element))
    assert found.usable or found.problems
    assert all(problem.endswith(".") for problem in found.problems)


@given(st.text(max_size=200))
def test_any_text_is_read_without_an_exception(text: str) -> None:
    assert parse(text).problems
