"""Which data values may be fetched: decided from the text alone, before any connection."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import SecretStr

from ml_backend.errors import PermanentError
from ml_backend.settings import Settings
from sync.recordings.sources import playable, source_of, storage_path
from tests.sync.hostile import HOSTILE

STORAGE = [{"type": "s3", "bucket": "call-recordings"}]


def settings(**values: Any) -> Settings:
    return Settings(_env_file=None, label_studio_url="http://ls.example:8080", **values)


def s3(**values: Any) -> Settings:
    keys = {"minio_access_key": SecretStr("key-of-a-test"), "minio_secret_key": SecretStr("word-of-a-test")}
    return settings(object_store="s3://", minio_endpoint="store.example:9000", **keys, **values)


@pytest.mark.parametrize(
    ("value", "kind", "identity"),
    [
        (
            "s3://call-recordings/recordings/2024/01/02/a.wav",
            "object",
            "s3://call-recordings/recordings/2024/01/02/a.wav",
        ),
        ("s3://kaan-audio/derived/x/audio.wav", "object", "s3://kaan-audio/derived/x/audio.wav"),
        ("/data/upload/3/a.wav", "upload", "http://ls.example:8080/data/upload/3/a.wav"),
        ("http://ls.example:8080/data/upload/3/a.wav", "upload", "http://ls.example:8080/data/upload/3/a.wav"),
        ("https://recordings.exotel.com/x/a.mp3?k=1", "web", "https://recordings.exotel.com/x/a.mp3?k=1"),
    ],
)
def test_what_the_project_owns_is_a_source(value: str, kind: str, identity: str) -> None:
    source = source_of(value, s3(), storages=STORAGE)
    assert (source.kind, source.identity) == (kind, identity)


@pytest.mark.parametrize(
    "value",
    [
        "s3://somebody-else/a.wav",
        "s3://call-recordings/../a.wav",
        "s3://call-recordings/",
        "s3:///a.wav",
        "file:///etc/passwd",
        "http://127.0.0.1:6379/",
        "http://ls.example:8081/data/upload/3/a.wav",
        "http://ls.example:8080/api/projects/",
        "http://ls.example:8080@evil.example/data/upload/3/a.wav",
        "https://recordings.exotel.com.evil.example/a.mp3",
        "https://recordings.exotel.com@evil.example/a.mp3",
        "http://recordings.exotel.com/a.mp3",
        "//evil.example/a.wav",
        "/data/upload/../../etc/passwd",
        "/data/upload/%2e%2e/%2e%2e/etc/passwd",
        "/data/local-files/?d=call-recordings/a.wav",
        "gopher://x",
        "a.wav",
        "x" * 5000,
        *(text for text in HOSTILE if text.strip() == text),  # a value in a task may have blanks around it
    ],
)
def test_everything_else_is_refused(value: str) -> None:
    with pytest.raises(PermanentError) as caught:
        source_of(value, s3(), storages=STORAGE)
    assert caught.value.code == "audio-source-refused"


@pytest.mark.parametrize("value", [None, "", " ", 7, ["a"], {"url": "a"}])
def test_a_task_without_an_address_has_no_audio(value: Any) -> None:
    with pytest.raises(PermanentError) as caught:
        source_of(value, s3(), storages=STORAGE)
    assert caught.value.code == "audio-missing"


def test_a_local_file_is_the_object_it_shows(tmp_path: Path) -> None:
    found = settings(data_dir=tmp_path / "kaan", label_studio_local_files_root=str(tmp_path))
    served = playable("kaan-audio", "derived/x/audio.wav", found)
    assert served == "/data/local-files/?d=kaan/objects/kaan-audio/derived/x/audio.wav"
    assert source_of(served, found).identity == "s3://kaan-audio/derived/x/audio.wav"
    assert storage_path("kaan-audio", found) == str(tmp_path / "kaan" / "objects" / "kaan-audio")


@pytest.mark.parametrize(
    "path", ["kaan/objects/other/a.wav", "elsewhere/a.wav", "kaan/objects/kaan-audio/../../../x", "", "kaan/objects/"]
)
def test_a_local_file_outside_the_projects_storages_is_refused(tmp_path: Path, path: str) -> None:
    found = settings(data_dir=tmp_path / "kaan", label_studio_local_files_root=str(tmp_path))
    with pytest.raises(PermanentError):
        source_of(f"/data/local-files/?d={path}", found)


@pytest.mark.parametrize(
    "name", ["a%20b.wav", "a b.wav", "a+b.wav", "a%2520b.wav", "50% off.wav", "a&d=b#c?.wav", "नमस्ते जी.wav", "é.wav"]
)
def test_a_name_is_encoded_once_and_decoded_once(tmp_path: Path, name: str) -> None:
    found = settings(data_dir=tmp_path)
    assert source_of(playable("kaan-audio", name, found), found).identity == f"s3://kaan-audio/{name}"
    assert source_of(f"s3://call-recordings/{name}", s3(), storages=STORAGE).object == ("call-recordings", name)


def test_label_studio_encodes_local_files_as_we_do(tmp_path: Path) -> None:
    """Its local-files storage writes `quote(path)` behind its own address."""
    found = settings(data_dir=tmp_path)
    for name in ("a%20b.wav", "a b.wav", "a+b.wav", "नमस्ते.wav"):
        theirs = f"http://ls.example:8080/data/local-files/?d={quote(f'kaan-audio/{name}')}"
        assert source_of(theirs, found).object == ("kaan-audio", name)


def test_the_last_name_in_an_address_counts_as_it_does_in_label_studio(tmp_path: Path) -> None:
    found = settings(data_dir=tmp_path)
    assert source_of("/data/local-files/?d=x&d=kaan-audio/a.wav", found).object == ("kaan-audio", "a.wav")


@pytest.mark.parametrize("start", ["", "/label-studio", "https://host.example/label-studio"])
def test_a_label_studio_below_a_path_has_its_files_below_that_path(tmp_path: Path, start: str) -> None:
    below = Settings(_env_file=None, label_studio_url="https://host.example/label-studio/", data_dir=tmp_path)
    upload = source_of(f"{start}/data/upload/3/a.wav", below)
    assert upload.identity == "https://host.example/label-studio/data/upload/3/a.wav"
    assert source_of(f"{start}/data/local-files/?d=kaan-audio/a.wav", below).object == ("kaan-audio", "a.wav")
    proxied = base64.urlsafe_b64encode(b"s3://kaan-audio/a b.wav").decode()
    assert source_of(f"{start}/tasks/7/resolve/?fileuri={proxied}", below).object == ("kaan-audio", "a b.wav")


def test_what_plays_below_a_path_is_addressed_below_it(tmp_path: Path) -> None:
    below = Settings(_env_file=None, label_studio_url="https://host.example/label-studio", data_dir=tmp_path)
    assert playable("kaan-audio", "a.wav", below) == "/label-studio/data/local-files/?d=kaan-audio/a.wav"
    assert source_of(playable("kaan-audio", "a b.wav", below), below).object == ("kaan-audio", "a b.wav")


@pytest.mark.parametrize("hidden", ["file:///etc/passwd", "http://127.0.0.1/", "s3://other/a.wav", "/tasks/1/resolve/"])
def test_a_storage_proxy_opens_nothing_that_its_own_address_would_not(hidden: str) -> None:
    proxied = base64.urlsafe_b64encode(hidden.encode()).decode()
    for address in (f"/tasks/7/resolve/?fileuri={proxied}", "/tasks/7/resolve/?fileuri=%F0%9F"):
        with pytest.raises(PermanentError) as caught:
            source_of(address, s3(), storages=STORAGE)
        assert caught.value.code == "audio-source-refused"


def test_a_folder_label_studio_sees_under_another_name_still_plays(tmp_path: Path) -> None:
    found = settings(data_dir=tmp_path, label_studio_local_files_root="/files")
    assert playable("kaan-audio", "a.wav", found) == "/data/local-files/?d=kaan-audio/a.wav"
    assert storage_path("kaan-audio", found) == "/files/kaan-audio"
    assert source_of("/data/local-files/?d=kaan-audio/a.wav", found).identity == "s3://kaan-audio/a.wav"
