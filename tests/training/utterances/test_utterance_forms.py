"""Columns and Rasa's YAML say exactly what the spans say, in every script."""

from __future__ import annotations

import io
import re
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from training.utterances import utterance_forms
from training.utterances.utterance_forms import TagNames, rasa_example, tagged, tokens_of, write_rasa

# Rasa 3's own expression for `[value](entity)`, `[value]{"entity": …}` and `[value][{…}]`.
RASA = re.compile(
    r"\[(?P<text>[^\]]+?)\](\((?P<entity>[^:)]+?)(?:\:(?P<value>[^)]+))?\)|\{(?P<dict>[^}]+?)\}|\[(?P<list>.*?)\])"
)


def line(text: str, *spans: tuple[str, int, int], intent: str = "track", **more: Any) -> dict[str, Any]:
    entities = [{"entity": n, "start": a, "end": b, "value": text[a:b]} for n, a, b in spans]
    return {"id": text, "text": text, "intent": intent, "entities": entities, **more}


def test_a_word_of_devanagari_is_one_token() -> None:
    assert [text for text, *_ in tokens_of("मेरा ऑर्डर, 77 क्‍षमा!😀")] == ["मेरा", "ऑर्डर", ",", "77", "क्‍षमा", "!", "😀"]


def test_tags_follow_the_spans_even_inside_a_word() -> None:
    one = line("मुझे 2kg आलू Pune को", ("amount", 5, 6), ("unit", 6, 8), ("item", 9, 12))
    tokens, tags = tagged(one["text"], one["entities"])
    assert [(text, tag) for (text, *_), tag in zip(tokens, tags, strict=True) if tag != "O"] == [
        ("2", "B-amount"), ("kg", "B-unit"), ("आलू", "B-item"),
    ]  # fmt: skip


spans_of = st.text(st.sampled_from('ab अि्😀-[](){}:"\\ ,'), min_size=1, max_size=24).flatmap(
    lambda text: st.tuples(
        st.just(text),
        st.lists(st.integers(0, len(text)), max_size=6, unique=True).map(sorted),
    )
)


@settings(max_examples=150)
@given(spans_of)
def test_tags_and_marks_read_back_as_the_same_spans(given_: tuple[str, list[int]]) -> None:
    text, places = given_
    pairs = [(a, b) for a, b in zip(places[::2], places[1::2], strict=False) if text[a:b].strip() == text[a:b]]
    one = line(text, *((f"e{at}", a, b) for at, (a, b) in enumerate(pairs)))
    tokens, tags = tagged(one["text"], one["entities"])
    read: dict[str, list[int]] = {}
    for (_, start, end), tag in zip(tokens, tags, strict=True):
        if tag != "O":
            read.setdefault(tag[2:], [start, end])[1] = end
    assert read == {each["entity"]: [each["start"], each["end"]] for each in one["entities"]}
    example = rasa_example(one["text"], one["entities"])
    if example is not None:
        found = list(RASA.finditer(example))
        assert [each["entity"] for each in found] == [each["entity"] for each in one["entities"]]
        assert RASA.sub(lambda each: each["text"], example) == text


def test_the_columns_are_those_of_a_hugging_face_token_and_text_classification() -> None:
    lines = [line("ship to Pune", ("city", 8, 12), intent="b", language="en", checked=True), line("bye", intent="a")]
    names = TagNames.of(lines)
    assert names.intents == ("a", "b")
    assert names.tags == ("O", "B-city", "I-city")
    made = names.columns(lines[0])
    assert (made["intent"], made["tokens"], made["ner_tags"]) == (1, ["ship", "to", "Pune"], [0, 0, 1])
    assert list(made) == [name for name, *_ in utterance_forms.COLUMNS] == list(names.features())


def test_datasets_reads_the_features(tmp_path: Any) -> None:
    import datasets

    lines = [line("ship to Pune", ("city", 8, 12), intent="b", language="en", checked=True), line("bye", intent="a")]
    names = TagNames.of(lines)
    features = datasets.Features.from_dict(names.features())
    found = datasets.Dataset.from_list([names.columns(each) for each in lines], features=features)
    assert found.features["intent"].names == ["a", "b"]
    assert found[0]["ner_tags"] == [0, 0, 1]


def test_rasa_reads_its_yaml_back(tmp_path: Any) -> None:
    lines = [
        line("ship 2 to Pune: ok?", ("amount", 5, 6), ("city", 10, 14), intent="ship: now"),
        line("- # 'हाँ' \"जी\" {x} 👍", intent="confirm"),
        line("odd name", ("a:b)", 0, 3), intent="confirm"),
        line("I said [this](that)", intent="confirm"),
    ]
    stream = io.StringIO()
    left_out = write_rasa(lines, stream)
    read = yaml.safe_load(stream.getvalue())
    assert left_out == ["I said [this](that)"]
    assert [each["intent"] for each in read["nlu"]] == ["confirm", "ship: now"]
    assert read["nlu"][1]["examples"] == "- ship [2](amount) to [Pune](city): ok?\n"
    assert read["nlu"][0]["examples"].splitlines()[0] == "- - # 'हाँ' \"जी\" {x} 👍"
    assert '[odd]{"entity": "a:b)"} name' in read["nlu"][0]["examples"]


def test_nothing_to_write_is_a_file_that_rasa_can_read() -> None:
    stream = io.StringIO()
    write_rasa([], stream)
    assert yaml.safe_load(stream.getvalue()) == {"version": "3.1", "nlu": []}
