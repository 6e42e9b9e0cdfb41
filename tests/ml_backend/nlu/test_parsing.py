"""The bundled parser: intents and entities of what callers say, and an answer for whatever else arrives."""

import json
import shutil

import numpy as np
import pytest

from ml_backend.errors import PermanentError
from ml_backend.models import manifest
from ml_backend.nlu import loading, parsing
from ml_backend.nlu.parsing import ParserNeeds


@pytest.fixture(scope="module")
def parser():
    return loading.load()


@pytest.mark.parametrize(
    ("text", "intent", "entities"),
    [
        ("where is my order KA4432", "order_status", {"order": "KA4432"}),
        ("hello sir please cancel order 5512", "cancel_order", {"order": "5512"}),
        ("मुझे साड़ी वापस करना है", "return_item", {"item": "साड़ी"}),
        ("mera refund kab aayega", "refund_status", {}),
        ("माझी ऑर्डर रद्द करा", "cancel_order", {}),
        ("😀 mujhe mixer cancel karna hai 🙏", "cancel_order", {"item": "mixer"}),
        ("<p>Cancel my order KA77120</p>", "cancel_order", {"order": "KA77120"}),
        ("आज मौसम कैसा है", "none_of_these", {}),
    ],
)
def test_what_callers_say_is_understood(parser, text, intent, entities):
    found = parser.parse(text)
    assert found.intent == intent
    assert {each.entity: each.value for each in found.entities} == entities
    assert all(text[each.start : each.end] == each.value for each in found.entities)
    assert found.model_version == manifest.read(loading.BUNDLED_PARSER).model_version


def test_the_offsets_of_an_entity_do_not_depend_on_how_its_letters_are_composed(parser):
    """ड़ is one code point or two; an accent too."""
    for word in ("सा\u095cी", "सा\u0921\u093cी"):
        text = f"🙏 मुझे {word} वापस करना है"
        (item,) = parser.parse(text).entities
        assert (item.start, item.end, item.value) == (7, 7 + len(word), word)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "\x00\x00",
        "🙏",
        "।।।",
        "\ud83d",
        "x" * 10_000,
        "mera order kahan hai " * 500,
        "<b></b>",
        "ß\u0301" * 40,
    ],
)
def test_every_text_has_a_parse(parser, text):
    found = parser.parse(text)
    assert found.intent in {*parser.needs.intents, parser.needs.fallback}
    assert 0.0 <= found.confidence <= 1.0
    json.dumps(found.to_json())


def test_a_long_text_is_parsed_by_its_beginning_and_says_so(parser):
    found = parser.parse("mera order kahan hai " * 500)
    assert found.truncated
    assert not parser.parse("mera order kahan hai").truncated


def test_below_the_threshold_the_answer_is_the_fallback_and_the_ranking_tells_why(parser):
    strict = parsing.Parser(
        lambda ids, mask: (np.zeros((1, len(parser.needs.intents)), np.float32), np.zeros((1, ids.shape[1], 1))),
        parser._tokenizer, ParserNeeds(parser.needs.intents, out_of_scope="none_of_these"), "v-1",
    )  # fmt: skip
    found = strict.parse("where is my order")
    assert (found.intent, found.best) == ("none_of_these", parser.needs.intents[0])
    assert found.confidence == pytest.approx(1 / len(parser.needs.intents))


def test_an_inside_tag_without_its_beginning_begins_an_entity():
    found = parsing.spans([0, 2, 2, 4, 3, 4, 0, 1, 1], ("a", "b"))
    assert found == [("a", 1, 2), ("b", 3, 3), ("b", 4, 5), ("a", 7, 7), ("a", 8, 8)]


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"intents": []}, "intents"),
        ({"intents": ["a", "a"]}, "twice"),
        ({"out_of_scope": "elsewhere"}, "out_of_scope"),
        ({"max_tokens": True}, "max_tokens"),
        ({"temperature": 0}, "temperature"),
        ({"threshold": 1.5}, "threshold"),
        ({"entities": "item"}, "entities"),
    ],
)
def test_a_manifest_that_lacks_what_a_parser_needs_is_refused(tmp_path, changed, named):
    folder = shutil.copytree(loading.BUNDLED_PARSER, tmp_path / "parser")
    raw = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    raw["needs"] = {**raw["needs"], **changed}
    (folder / "manifest.json").write_text(json.dumps(raw), encoding="utf-8")
    with pytest.raises(PermanentError, match=named) as refused:
        loading.load(folder)
    assert refused.value.code == "manifest-broken"


def test_a_model_of_another_kind_and_a_damaged_network_are_refused_by_name(tmp_path):
    with pytest.raises(PermanentError) as refused:
        loading.load(loading.BUNDLED_PARSER.parent / "model")
    assert refused.value.code == "wrong-kind"
    folder = shutil.copytree(loading.BUNDLED_PARSER, tmp_path / "parser")
    (folder / "model.onnx").write_bytes(b"no network")
    with pytest.raises(PermanentError) as refused:
        loading.load(folder)
    assert refused.value.code == "model-file-changed"
    described = manifest.read(folder)
    manifest.write(
        folder, name="x", languages=("en",), window=None, trained_on="x", kind="nlu", needs=described.needs,
    )  # fmt: skip
    with pytest.raises(PermanentError) as refused:
        loading.load(folder)
    assert refused.value.code == "parser-unloadable"
