"""Transcript -> prediction -> reference: what is accepted unchanged reads back as the same text."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_backend.asr.transcript import Segment, Transcript, Word
from ml_backend.errors import PermanentError
from ml_backend.labelling import labelconfig, rendering, validation
from ml_backend.labelling.controls import Controls
from ml_backend.labelling.labelconfig import parse

REGIONS = """<View><Labels name="labels" toName="audio"><Label value="Speech"/><Label value="Noise"/></Labels>
<Audio name="audio" value="$audio"/><TextArea name="transcription" toName="audio" perRegion="true"/></View>"""
RENAMED = """<View><Audio name="ton" value="$sound"/><TextArea name="wörter" toName="ton"/>
<Choices name="güte" toName="ton"><Choice value="Good" alias="g"/><Choice value="Poor" alias="p"/></Choices></View>"""
RENAMED_REGIONS = """<View><AudioPlus name="snd" value="$u"/><TextArea name="txt" toName="snd" perRegion="true"/>
<Labels name="kind" toName="snd" choice="multiple"><Label value="check"/><Label value="voice"/></Labels></View>"""
CONFIGS = {
    "original": labelconfig.read("original"),
    "calls": labelconfig.read("calls"),
    "regions": REGIONS,
    "renamed": RENAMED,
    "renamed-regions": RENAMED_REGIONS,
}
FIXTURES = Path(__file__).parents[2] / "fixtures" / "label-studio"

# Letters with the marks that change them: matras, virama, nukta, anusvara, joiners, composed and decomposed forms.
devanagari = st.text(alphabet="कखगघजटडतदनपफबमयरलवशसहािीुूेैोौ्ंःँ़ड़ढ़क्ष०१२३\u200c\u200d ", min_size=1, max_size=40)
any_text = st.text(
    alphabet=st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=30
)  # no control characters, no half surrogates: no database holds them
spoken = st.one_of(devanagari, any_text, st.sampled_from(["haan ji", '<b>5</b> & "so"', "  रुपये ", "#5,000/-"]))
times = st.floats(min_value=0, max_value=400, allow_nan=False)


@st.composite
def segments(draw: st.DrawFn) -> Segment:
    start_s = draw(times)
    return Segment(
        start_s=start_s,
        end_s=start_s + draw(st.floats(min_value=0, max_value=30)),
        text=draw(spoken),
        channel=draw(st.integers(0, 1)),
        confidence=draw(st.floats(min_value=0, max_value=1)),
        flags=draw(st.sampled_from([(), ("repetition",), ("rate", "energy")])),
    )


@st.composite
def transcripts(draw: st.DrawFn) -> Transcript:
    return Transcript(
        segments=tuple(draw(st.lists(segments(), max_size=6))),
        language=draw(st.sampled_from(["hi", "en", "mr", "xx", None])),
        language_probability=0.9,
        duration_s=draw(st.floats(min_value=0.5, max_value=400)),
        confidence=draw(st.floats(min_value=0, max_value=1)),
        model_version="secret-model-7",
    )


configs = st.sampled_from(sorted(CONFIGS)).map(lambda name: parse(CONFIGS[name]))


def transcript(*said: Segment, confidence: float = 0.7, language: str | None = "hi") -> Transcript:
    return Transcript(said, language, 0.9, 10.0, confidence, "secret-model-7")


def render(heard: Transcript, controls: Controls, **options: Any) -> dict[str, Any]:
    return rendering.to_prediction(heard, controls, draft_label="draft-1", duration_s=heard.duration_s, **options)


def items(prediction: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [item for item in prediction["result"] if item["type"] == kind]


# --- the round trip


@given(heard=transcripts(), controls=configs)
def test_a_prediction_accepted_unchanged_reads_back_as_the_same_text(heard: Transcript, controls: Controls) -> None:
    try:
        prediction = render(heard, controls, quality_label="good")
    except PermanentError:
        assert not heard.text
        return
    stored = json.loads(json.dumps(prediction))
    reference = rendering.to_reference(stored["result"], controls)
    assert reference.text == heard.text
    assert not reference.problems


@given(heard=transcripts(), controls=configs)
def test_regions_lie_inside_the_audio_and_keep_their_channel(heard: Transcript, controls: Controls) -> None:
    if not controls.by_regions or not heard.text:
        return
    prediction = render(heard, controls)
    reference = rendering.to_reference(prediction["result"], controls)
    ordered = sorted((s for s in heard.segments if s.text.strip()), key=lambda s: (s.start_s, s.channel))
    assert [region.channel for region in reference.segments] == [segment.channel for segment in ordered]
    for region in reference.segments:
        assert 0 <= region.start_s < region.end_s <= heard.duration_s + 0.01
    for item in prediction["result"]:
        if "start" in item["value"]:
            assert item["original_length"] == heard.duration_s


@given(heard=transcripts(), controls=configs)
def test_every_prediction_passes_the_check_and_names_no_model(heard: Transcript, controls: Controls) -> None:
    try:
        prediction = render(heard, controls, quality_label="good", script="Deva", agent_channel=0)
    except PermanentError:
        return
    assert validation.check(prediction, controls) == []
    assert "secret-model-7" not in json.dumps(prediction)
    assert prediction["model_version"] == "draft-1"


@settings(max_examples=60)
@given(heard=transcripts(), name=st.sampled_from(sorted(CONFIGS)))
def test_label_studios_own_check_agrees(heard: Transcript, name: str) -> None:
    from label_studio_sdk.label_interface import LabelInterface

    try:
        prediction = render(heard, parse(CONFIGS[name]), quality_label="good", script="Deva")
    except PermanentError:
        return
    interface = LabelInterface(CONFIGS[name])
    assert interface.validate_prediction(prediction, return_errors=True) == []


# --- what goes where


def test_a_doubtful_segment_is_marked_in_both_forms_of_the_check_label() -> None:
    heard = transcript(Segment(0, 1, "sure"), Segment(1, 2, "doubtful", flags=("repetition",)))
    calls, renamed = render(heard, parse(CONFIGS["calls"])), render(heard, parse(RENAMED_REGIONS))
    assert [i["value"]["start"] for i in items(calls, "labels") if i["value"]["labels"] == ["check"]] == [1.0]
    assert [i["value"]["labels"] for i in items(renamed, "labels")] == [["voice"], ["voice", "check"]]


def test_speech_that_nobody_wrote_down_is_a_marked_region_without_a_text() -> None:
    heard = transcript(
        Segment(0, 2, "order the milk", 0, 0.9), Segment(3, 9, "", 0, 0.0, flags=("no-text",)), Segment(10, 11, "", 0)
    )
    controls = parse(CONFIGS["calls"])
    prediction = render(heard, controls)
    places = {item["value"]["start"] for item in prediction["result"] if item["type"] == "labels"}
    assert places == {0, 3}
    assert [item["value"]["text"] for item in items(prediction, "textarea")] == [["order the milk"]]
    assert controls.check is not None
    marked = [i for i in prediction["result"] if controls.check.option in i["value"].get(i["type"], ())]
    assert {item["value"]["start"] for item in marked} == {3}
    assert rendering.status_line(heard) == "1 unsure region: listen at 0:03"
    assert rendering.to_reference(prediction["result"], controls).text == "order the milk"


def test_a_call_of_which_nothing_was_written_down_is_not_one_without_speech() -> None:
    heard = transcript(Segment(3, 9, "", 0, 0.0, flags=("no-text",)))
    assert rendering.status_line(heard) == "1 unsure region: listen at 0:03"
    assert rendering.status_line(transcript()) == "silent: submit without text if so"
    for name in ("calls", "original"):
        prediction = render(heard, parse(CONFIGS[name]), quality_label="good")
        assert rendering.to_reference(prediction["result"], parse(CONFIGS[name])).reject == ()


def test_text_below_the_minimum_confidence_is_marked_where_the_config_can_and_left_out_where_it_cannot() -> None:
    heard = transcript(Segment(0, 1, "sure", confidence=0.9), Segment(1, 2, "mumble", confidence=0.2))
    calls = render(heard, parse(CONFIGS["calls"]), minimum_confidence=0.5)
    assert [i["value"]["text"] for i in items(calls, "textarea")] == [["sure"], ["mumble"]]
    regions = render(heard, parse(REGIONS), minimum_confidence=0.5)
    assert [i["value"]["text"] for i in items(regions, "textarea")] == [["sure"]]
    assert len(items(regions, "labels")) == 2
    whole = render(heard, parse(CONFIGS["original"]), minimum_confidence=0.8, quality_label="fair")
    assert items(whole, "textarea") == []


def test_the_legs_of_a_call_are_named_where_they_are_known() -> None:
    heard = transcript(Segment(0, 1, "hello", channel=0), Segment(1, 2, "हाँ", channel=1))
    named = render(heard, parse(CONFIGS["calls"]), agent_channel=1)
    assert [i["value"]["labels"] for i in items(named, "labels")] == [["Customer"], ["Agent"]]
    plain = render(heard, parse(CONFIGS["calls"]))
    assert [i["value"]["labels"] for i in items(plain, "labels")] == [["Speech"], ["Speech"]]


def test_quality_language_and_script_are_pre_set_with_the_configs_own_words() -> None:
    prediction = render(transcript(Segment(0, 1, "हाँ")), parse(CONFIGS["calls"]), quality_label="Fair", script="Deva")
    chosen = {i["from_name"]: i["value"]["choices"] for i in items(prediction, "choices")}
    assert chosen == {"quality": ["fair"], "language": ["hi"], "script": ["Devanagari"]}
    read = rendering.to_reference(prediction["result"], parse(CONFIGS["calls"]))
    assert (read.language, read.script, read.quality) == ("hi", "Deva", "fair")


def test_an_option_the_config_does_not_have_is_left_to_the_person() -> None:
    prediction = render(transcript(Segment(0, 1, "x"), language="ta"), parse(CONFIGS["calls"]), quality_label="superb")
    assert items(prediction, "choices") == []


@pytest.mark.parametrize("name", ["original", "calls"])
def test_silence_drafts_no_text_but_the_quality_and_the_reason_to_reject_it(name: str) -> None:
    controls = parse(CONFIGS[name])
    prediction = render(transcript(), controls, quality_label="poor")
    assert items(prediction, "textarea") == items(prediction, "labels") == []
    assert [i["value"] for i in items(prediction, "choices")] == [{"choices": ["poor"]}, {"choices": ["no-speech"]}]
    read = rendering.to_reference(prediction["result"], controls)
    assert (read.text, read.reject) == ("", ("no-speech",))


def test_empty_regions_are_places_without_a_word_of_any_model() -> None:
    controls = parse(CONFIGS["calls"])
    speech = [[0.5, 2.0, 0], [1.0, 3.0, 1], [9.0, 12.0, 0], [11.0, 12.0, 1]]
    made = rendering.to_empty_regions(speech, controls, draft_label="draft-1", duration_s=10.0)
    assert made is not None
    assert validation.check(made, controls) == []
    read = rendering.to_reference(made["result"], controls)
    assert read.text == ""
    places = [(r.start_s, r.end_s, r.channel, r.labels) for r in read.segments]
    assert places == [(0.5, 2.0, 0, ("Speech",)), (1.0, 3.0, 1, ("Speech",)), (9.0, 10.0, 0, ("Speech",))]
    for config, where in (("original", speech), ("calls", [])):
        assert rendering.to_empty_regions(where, parse(CONFIGS[config]), draft_label="d", duration_s=10.0) is None


def test_a_word_of_low_probability_is_counted_as_unsure_and_others_are_not() -> None:
    words = tuple(Word(n, n + 1, "x", p) for n, p in enumerate((0.1, 0.49, 0.5, 0.99)))
    assert rendering.unsure_words(transcript(Segment(0, 4, "x x x x", words=words))) == 2
    assert rendering.unsure_words(transcript()) == 0


def test_silence_in_a_config_of_text_alone_is_nothing_to_draft() -> None:
    with pytest.raises(PermanentError) as raised:
        render(transcript(), parse(REGIONS))
    assert raised.value.code == "nothing-to-draft"


def test_a_config_that_cannot_show_text_is_an_error_we_see() -> None:
    with pytest.raises(PermanentError) as raised:
        render(transcript(Segment(0, 1, "x")), parse("<View/>"))
    assert raised.value.code == "config-unusable"
    assert raised.value.next_step


def test_a_draft_the_editor_would_show_empty_is_an_error_we_see(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "_whole_text", lambda *_: [])
    with pytest.raises(PermanentError) as raised:
        render(transcript(Segment(0, 1, "x")), parse(CONFIGS["original"]), quality_label="good")
    assert raised.value.code == "renders-empty"


def test_control_characters_and_impossible_numbers_do_not_get_out() -> None:
    heard = transcript(Segment(0, math.nan, "a\x00b\ud800c", confidence=math.nan), confidence=math.inf)
    prediction = render(heard, parse(REGIONS))
    assert json.loads(json.dumps(prediction, allow_nan=False))
    assert items(prediction, "textarea")[0]["value"]["text"] == ["abc"]


# --- the check


def broken(change: Any) -> list[str]:
    heard = transcript(Segment(0, 1, "one"), Segment(1, 2, "two"))
    prediction = render(heard, parse(CONFIGS["calls"]), quality_label="good")
    change(prediction)
    return validation.check(prediction, parse(CONFIGS["calls"]))


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p.pop("model_version"),
        lambda p: p.update(score="0.5"),
        lambda p: p.update(score=1.5),
        lambda p: p.update(score=True),
        lambda p: p.update(result=[]),
        lambda p: p["result"][0].update(from_name="other"),
        lambda p: p["result"][0].update(to_name="video"),
        lambda p: p["result"][0].update(id=""),
        lambda p: p["result"][0].update(type="textarea"),
        lambda p: p["result"][0]["value"].update(labels=["Dog"]),
        lambda p: p["result"][0]["value"].update(labels=["Agent", "Customer"]),
        lambda p: p["result"][0]["value"].update(start=5.0),
        lambda p: p["result"][0]["value"].update(end=math.nan),
        lambda p: p["result"][0]["value"].update(channel="0"),
        lambda p: p["result"][1]["value"].update(text="plain"),
        lambda p: p["result"][1]["value"].update(text=["a", "b"]),
        lambda p: p["result"][1]["value"].update(text=[" "]),
        lambda p: p["result"][1].update(id="elsewhere"),
        lambda p: p["result"][1]["value"].update(start=0.5),
        lambda p: p["result"][3].update(id="segment-0000"),
        lambda p: p["result"][-1]["value"].update(choices=["wonderful"]),
        lambda p: p["result"][-1]["value"].update(choices=["good", "fair"]),
    ],
)  # fmt: skip
def test_the_check_sees_what_label_studio_would_store_and_not_show(change: Any) -> None:
    assert broken(change)


def test_the_check_passes_what_is_right() -> None:
    assert broken(lambda p: None) == []


def test_times_on_a_text_for_the_whole_file_are_seen() -> None:
    prediction = render(transcript(Segment(0, 1, "one")), parse(CONFIGS["original"]))
    prediction["result"][0]["value"]["start"] = 0.0
    assert validation.check(prediction, parse(CONFIGS["original"]))


# --- what people submit


def annotated(name: str) -> tuple[Any, Controls]:
    body = json.loads((FIXTURES / f"{name}.json").read_text())["request"]["body"]
    return body["annotation"]["result"], parse(body["project"]["label_config"])


def test_an_edited_text_loses_the_editors_trailing_newline() -> None:
    read = rendering.to_reference(*annotated("webhook-annotation-created-ui-edited"))
    assert read.text == "hello transcript for task 604 EDITED"
    assert read.accent == "urban"


def test_submitted_regions_are_read_in_time_order() -> None:
    result, controls = annotated("webhook-annotation-created-ui-regions")
    read = rendering.to_reference(list(reversed(result)), controls)
    assert read.text == "first segment second segment"
    assert [region.labels for region in read.segments] == [("Speech",), ("Speech",)]


def test_bad_regions_are_listed_one_by_one_and_good_ones_kept() -> None:
    def region(start: Any, end: Any) -> dict[str, Any]:
        value = {"start": start, "end": end, "channel": 0, "text": [f"at {start}"]}
        return {"id": f"{start}-{end}", "from_name": "transcription", "type": "textarea", "value": value}

    odd: list[Any] = [region(2, 1), region(-1, 1), region(math.nan, 1), region("0", 1), region(0, None), None, {}, 5]
    read = rendering.to_reference([*odd, region(3, 4)], parse(REGIONS))
    assert read.text == "at 3"
    assert len(read.problems) == len(odd)


@pytest.mark.parametrize("result", [None, "x", 5, {}, {"result": []}])
def test_a_result_that_is_no_list_reads_as_nothing_with_a_problem(result: Any) -> None:
    read = rendering.to_reference(result, parse(REGIONS))
    assert read.text == ""
    assert read.problems


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "type", "value", "start", "end", "text", "labels", "choices"]), inner)
    ),
    max_leaves=15,
)


@given(st.lists(json_values, max_size=5), configs)
def test_whatever_is_submitted_is_read_without_an_exception(result: list[Any], controls: Controls) -> None:
    rendering.to_reference(result, controls)


# --- the status line


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (rendering.status_line(None), "draft coming"),
        (rendering.status_line(transcript()), "silent: submit without text if so"),
        (
            rendering.status_line(transcript(), silent_key=rendering.silent_key(parse(CONFIGS["calls"]))),
            "silent: submit if so, press Shift+5 if somebody speaks",
        ),
        (rendering.status_line(transcript(Segment(0, 1, "x"))), ""),
        (rendering.status_line(transcript(Segment(0, 1, "x")), detected=True), ""),
        (
            rendering.status_line(replace(transcript(Segment(0, 1, "x")), language_probability=0.6), detected=True),
            "check the language: Hindi is a guess",
        ),
        (rendering.status_line(replace(transcript(Segment(0, 1, "x")), language_probability=0.6)), ""),
        (rendering.status_line(transcript(Segment(0, 1, "x")), cut_at_s=34.2), "audio cut at 34 s"),
        (rendering.status_line(transcript(), cut_at_s=0.0), "audio cut at 0 s, silent: submit without text if so"),
        (rendering.status_line(transcript(Segment(0, 1, "x")), damaged=True), "parts of the audio are damaged"),
        (rendering.status_line(None, refused="The audio is empty."), "The audio is empty"),
        (
            rendering.status_line(transcript(*(Segment(t, t + 1, "x", flags=("rate",)) for t in (5, 65, 70, 80, 90)))),
            "5 unsure regions: listen at 0:05, 1:05, 1:10 and 2 more",
        ),
    ],
)
def test_the_status_line_says_what_to_do_and_is_empty_when_all_is_as_usual(line: str, wanted: str) -> None:
    assert line == wanted


@given(transcripts())
def test_the_status_line_never_names_a_model(heard: Transcript) -> None:
    assert "secret-model-7" not in rendering.status_line(heard)
