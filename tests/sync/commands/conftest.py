"""The commands as an operator types them: settings from the environment, text or JSON out."""

from __future__ import annotations

from typing import Any

import pytest

from ml_backend.commands import command_line
from tests.sync.conftest import Service


@pytest.fixture
def kaan(service: Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command with the service's settings; gives (exit code, what it printed)."""
    for name, value in service.context.settings.model_dump().items():
        plain = value.get_secret_value() if hasattr(value, "get_secret_value") else value
        monkeypatch.setenv(name.upper(), str(plain))

    def run(*arguments: str) -> tuple[int, str]:
        code = command_line.main(list(arguments))
        return code, capsys.readouterr().out

    return run
