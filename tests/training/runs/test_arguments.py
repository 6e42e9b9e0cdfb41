"""Options of a training run: read back as they were, and a wrong one is named."""

import json

import numpy as np
import pytest

from ml_backend.errors import InvalidInput
from training.runs.arguments import Arguments


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
