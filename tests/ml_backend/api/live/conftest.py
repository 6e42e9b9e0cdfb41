"""A deployment with a token of role live, and versions of the bundled parser and voice under other names."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ml_backend.context import Context
from ml_backend.models import kinds, manifest, model_files, registry
from ml_backend.serving import alias_follower
from tests.ml_backend.api.serving import OPERATE, TOKEN, Serving

LIVE = "l" * 24
PHONE = {"Authorization": f"Bearer {LIVE}"}


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alias_follower, "POLL_S", 0.02)


@pytest.fixture
def phone(serve: Callable[..., Serving]) -> Serving:
    return serve(api_tokens=f"ops:read:{TOKEN},shop:operate:{OPERATE},phone:live:{LIVE}")


def another(context: Context, folder: Path, kind: str, **needs: object) -> registry.Version:
    """The bundled model of a kind as a version named as the folder, which is made, with other needs."""
    shutil.copytree(kinds.BUNDLED[kind], folder)
    before = json.loads((folder / manifest.FILE).read_text())
    manifest.write(
        folder, name=folder.name, languages=tuple(before["languages"]), window=manifest.read(folder).window,
        trained_on=before["trained_on"], kind=kind, needs={**before.get("needs", {}), **needs} or None,
    )  # fmt: skip
    key = f"{model_files.FOLDER}/{folder.name}"
    return registry.register(context, model_files.publish(context, folder, key))


@pytest.fixture
def renamed(phone: Serving, tmp_path: Path) -> Callable[..., registry.Version]:
    """Registers the bundled model of a kind as a version of another name, with other needs."""

    def make(kind: str, name: str, **needs: object) -> registry.Version:
        return another(phone.context, tmp_path / name, kind, **needs)

    return make


def promote(
    phone: Serving | Context, version: registry.Version, *, language: str = "*", alias: str = "champion"
) -> None:
    context = phone.context if isinstance(phone, Serving) else phone
    serving = registry.aliased(context, version.kind, language=language, alias=alias)
    registry.move_alias(
        context, version, expected_revision=serving.revision if serving else 0, who="asha", why="better",
        language=language, alias=alias,
    )  # fmt: skip
