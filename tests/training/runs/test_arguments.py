"""Options of a training run of any kind: read back as they were, and a wrong one is named."""

import json

import numpy as np
import pytest

from ml_backend.errors import InvalidInput
from training.runs.arguments import Arguments
from training.runs.nlu_arguments import NluArguments


def test_arguments_are_read_back_as_they_were_and_wrong_ones_are_named():
    given = Arguments(steps=3, average=-1)
    assert Arguments.from_json(json.loads(json.dumps(given.to_json()))) == given
    for wrong, said in (
        ({"method": "magic"}, "full, lora"),
        ({"epochs": -1.0}, "between"),
        ({"batch_s": np.nan}, "number"),
    ):
        with pytest.raises(InvalidInput, match=said):
            Arguments(**wrong)
    with pytest.raises(InvalidInput, match="did you mean batch_s"):
        Arguments.from_json({"bach_s": 3})


def test_options_of_a_parser_are_checked_like_those_of_a_recogniser():
    given = NluArguments(steps=3, frozen="embeddings")
    assert NluArguments.from_json(json.loads(json.dumps(given.to_json()))) == given
    for wrong, said in (
        ({"frozen": "everything"}, "nothing, embeddings, encoder"),
        ({"max_tokens": 4}, "between 8 and 512"),
        ({"threshold": True}, "a number"),
        ({"name": 3}, "text"),
        ({"batch_rows": 0, "parity_bound": 2.0}, "batch_rows .*; parity_bound"),
    ):
        with pytest.raises(InvalidInput, match=said) as refused:
            NluArguments(**wrong)
        assert "nlu_arguments.py" in refused.value.next_step
    with pytest.raises(InvalidInput, match="did you mean threshold"):
        NluArguments.from_json({"treshold": 0.4})
