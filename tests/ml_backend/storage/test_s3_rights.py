"""S3 with the rights that work needs and no others: AWS's usual policy, enforced."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ml_backend.errors import ConfigurationError, PermanentError
from ml_backend.settings import Settings
from ml_backend.storage.s3_store import S3Store
from sync.commands import doctor
from tests.servers import moto

OWN, CALLS, VOICE = "kaan-audio-of-shop", "calls-of-shop", "voice-of-shop"
REGION = "ap-south-1"


def usual(*buckets: str, actions: tuple[str, ...] = ("s3:GetObject", "s3:PutObject", "s3:DeleteObject")) -> list[dict]:
    """AWS's usual policy for a bucket: list it, read, write and delete in it."""
    return [
        {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": [f"arn:aws:s3:::{b}" for b in buckets]},
        {"Effect": "Allow", "Action": list(actions), "Resource": [f"arn:aws:s3:::{b}/*" for b in buckets]},
    ]


def store_of(server: moto.Enforcing, *, region: str = REGION) -> S3Store:
    return S3Store(
        server.endpoint, access_key=server.access_key, secret_key=server.secret_key, secure=False, region=region
    )


def settings_of(server: moto.Enforcing, folder: Path) -> Settings:
    return Settings(
        _env_file=None, data_dir=folder, object_store="s3://", minio_endpoint=server.endpoint, minio_secure=False,
        minio_access_key=server.access_key, minio_secret_key=server.secret_key, minio_region=REGION,
        audio_bucket=OWN, recordings_bucket=CALLS, scan_buckets=f"{CALLS},{VOICE}",
    )  # fmt: skip


def examined(settings: Settings) -> list[doctor.Finding]:
    return [finding for finding in doctor.examine(settings) if finding.world == "object store"]


@pytest.fixture
def least() -> Iterator[moto.Enforcing]:
    """Own buckets to work in, one more to read."""
    statements = [*usual(OWN, CALLS), *usual(VOICE, actions=("s3:GetObject",))]
    with moto.enforcing(statements, buckets=(OWN, CALLS, VOICE), region=REGION) as server:
        yield server


def test_everything_a_store_does_needs_no_other_right(least: moto.Enforcing, tmp_path: Path) -> None:
    store = store_of(least)
    store.ensure_bucket(OWN)
    digest = store.put_bytes(OWN, "audio/a.wav", b"12345")
    large = tmp_path / "large"
    large.write_bytes(b"x" * (6 << 20))
    store.put_file(OWN, "audio/large", large)
    assert store.stat(OWN, "audio/missing") is None
    assert store.fetch(OWN, "audio/a.wav", tmp_path / "a") == digest
    assert [found.key for found in store.list(OWN, prefix="audio/")] == ["audio/a.wav", "audio/large"]
    assert store.keeps_first(OWN, size_bytes=1)
    assert store.keeps_first(OWN, size_bytes=100 << 20)
    with pytest.raises(PermanentError):
        store.put_bytes(OWN, "audio/a.wav", b"other")
    store.delete(OWN, "audio/a.wav")
    assert [found.key for found in store.list(VOICE)] == ["recordings/2026/11/22/a.wav"]


def test_the_server_refuses_what_the_policy_does_not_name(least: moto.Enforcing) -> None:
    """Else the test above would prove nothing."""
    with pytest.raises(ConfigurationError) as refused:
        store_of(least).put_bytes(VOICE, "x", b"1")
    assert refused.value.code == "store-refused"


def test_the_doctor_finds_nothing_to_mend(least: moto.Enforcing, tmp_path: Path) -> None:
    found = examined(settings_of(least, tmp_path))
    assert [finding.state for finding in found] == [doctor.OK], found
    assert all(bucket in found[0].sentence for bucket in (OWN, CALLS, VOICE))


@pytest.mark.parametrize("missing", ["s3:PutObject", "s3:GetObject", "s3:DeleteObject", "s3:ListBucket"])
def test_the_doctor_names_the_right_that_is_missing_and_the_bucket(missing: str, tmp_path: Path) -> None:
    statements = [
        {**each, "Action": [action for action in each["Action"] if action != missing]}
        if any(OWN in resource for resource in each["Resource"]) else each
        for each in [*usual(OWN), *usual(CALLS, VOICE)]
    ]  # fmt: skip
    statements = [each for each in statements if each["Action"]]
    with moto.enforcing(statements, buckets=(OWN, CALLS, VOICE), region=REGION) as server:
        [finding] = examined(settings_of(server, tmp_path))
    assert finding.state == doctor.FAIL
    assert missing in finding.sentence
    assert OWN in finding.sentence
    assert server.secret_key not in str(finding)


def test_nothing_is_left_behind_by_a_look(least: moto.Enforcing, tmp_path: Path) -> None:
    examined(settings_of(least, tmp_path))
    assert [found.key for found in store_of(least).list(OWN)] == ["recordings/2026/11/22/a.wav"]


def test_a_bucket_that_is_not_there_is_a_note_and_not_made_by_looking(tmp_path: Path) -> None:
    with moto.enforcing(usual(OWN, CALLS, VOICE), buckets=(OWN, CALLS), region=REGION) as server:
        found = examined(settings_of(server, tmp_path))
    assert {finding.state for finding in found} == {doctor.WARN, doctor.OK}
    assert next(finding.next_step for finding in found if VOICE in finding.sentence).startswith("Create it, or take")


@pytest.mark.parametrize(
    ("endpoint", "given", "wanted"),
    [
        ("s3.ap-south-1.amazonaws.com", "", "ap-south-1"),
        ("s3-eu-west-1.amazonaws.com", "", "eu-west-1"),
        ("s3.dualstack.us-west-2.amazonaws.com", "", "us-west-2"),
        ("s3.amazonaws.com", "", "us-east-1"),
        ("s3.amazonaws.com", "ap-south-1", "ap-south-1"),
        ("minio:9000", "", "us-east-1"),
        ("garage.example:3900", "garage", "garage"),
    ],
)
def test_the_region_is_set_or_read_off_the_address_and_never_asked_for(endpoint: str, given: str, wanted: str) -> None:
    store = S3Store(endpoint, access_key="a", secret_key="b" * 16, region=given)
    assert store._client._get_region("any-bucket") == wanted
