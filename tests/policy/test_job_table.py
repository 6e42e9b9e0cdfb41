"""`ml_backend/jobs/job_kinds.py` names functions by dotted path, the one upward reference: each leads somewhere."""

import importlib
import inspect

import pytest

from ml_backend.jobs import job_kinds


@pytest.mark.parametrize("kind", job_kinds.KINDS.values(), ids=lambda kind: kind.name)
def test_every_job_path_is_a_function_with_the_right_arguments(kind):
    module, _, name = kind.path.rpartition(".")
    function = getattr(importlib.import_module(module), name)
    assert inspect.isfunction(function)
    assert inspect.getdoc(function), f"{kind.path} says what it does"
    parameters = list(inspect.signature(function).parameters.values())
    assert parameters[0].name == "context"
    if kind.pooled:
        assert [each.name for each in parameters[1:]] == ["items"]
    else:
        # Arguments come by name from the row, and are ids or short words.
        for each in parameters[1:]:
            assert each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY, each.VAR_KEYWORD), (
                f"{kind.path}: {each}"
            )


@pytest.mark.parametrize("kind", job_kinds.KINDS.values(), ids=lambda kind: kind.name)
def test_every_kind_of_job_is_consistent(kind):
    assert job_kinds.KINDS[kind.name] is kind
    assert kind.queue in job_kinds.QUEUES
    assert kind.time_limit_s > 0
    assert kind.max_attempts >= 1
    assert kind.path.partition(".")[0] in (
        ("training",) if kind.queue == "training" else ("ml_backend", "sync", "training")
    )


def test_every_kind_defined_in_the_module_is_in_the_table():
    defined = {value for value in vars(job_kinds).values() if isinstance(value, job_kinds.JobKind)}
    assert defined == set(job_kinds.KINDS.values())
