"""What is not installed is said in one sentence that names the set, before anything begins."""

import importlib.abc
import sys

import pytest

from ml_backend import packages
from ml_backend.errors import ConfigurationError


class Without(importlib.abc.MetaPathFinder):
    """An environment that lacks some packages."""

    def __init__(self, *names):
        self.names = names

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return


@pytest.fixture
def lacking(monkeypatch):
    """`lacking("torch")`: from now on it cannot be imported."""

    def without(*names):
        for module in [each for each in sys.modules if each.partition(".")[0] in names]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.setattr(sys, "meta_path", [Without(*names), *sys.meta_path])

    return without


def test_what_is_here_is_not_missing_and_is_not_imported_for_the_question():
    sys.modules.pop("wave", None)
    assert packages.missing("wave", "json") == []
    assert "wave" not in sys.modules
    packages.require("Anything", "json")


def test_a_package_of_the_training_set_names_that_set_and_the_command(lacking):
    lacking("torch")
    with pytest.raises(ConfigurationError) as refused:
        packages.require("Training", *packages.TRAINER)
    assert refused.value.code == "not-installed"
    assert refused.value.sentence == "Training needs the training set, and torch is not installed here."
    assert "make environment-training" in refused.value.next_step


def test_a_package_of_the_serving_set_names_the_other(lacking):
    lacking("pyarrow", "matplotlib")
    with pytest.raises(ConfigurationError, match="serving set, and pyarrow, matplotlib are not installed here"):
        packages.require("This", "pyarrow", "matplotlib")
