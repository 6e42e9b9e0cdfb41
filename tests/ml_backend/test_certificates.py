"""A certificate that is not trusted is said to be that, with the setting that helps; CA_FILE helps everywhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from ml_backend import db
from ml_backend.context import Context
from ml_backend.errors import ConfigurationError, KaanError, RetryableError
from ml_backend.jobs import transport
from ml_backend.settings import Settings
from ml_backend.storage.s3_store import S3Store
from sync.commands import doctor
from sync.label_studio.label_studio_client import client_of
from sync.outbound import http, origins
from sync.outbound.fetching import Outbound, outbound_of
from tests.servers import tls


def refusal(url: str, ca_file: str = "") -> KaanError:
    with (
        pytest.raises(RetryableError) as refused,
        http.errors_as("Label Studio"),
        http.client(ca_file=ca_file) as client,
    ):
        client.get(url)
    return refused.value


def label_studio(url: str, tmp_path: Path, **values: str) -> list[doctor.Finding]:
    settings = Settings(
        _env_file=None, data_dir=tmp_path, label_studio_url=url, label_studio_api_key="0" * 40,
        redis_url="redis://127.0.0.1:1/0", **values,
    )  # fmt: skip
    db.upgrade(settings.database)
    return [finding for finding in doctor.examine(settings) if finding.world == "label studio"]


def test_an_unknown_ca_is_named_as_the_reason_with_the_setting_that_helps(tmp_path):
    with tls.running(tmp_path) as server:
        said = refusal(f"{server.url}/api/secret-path")
        assert said.code == "certificate-not-trusted"
        assert "CA_FILE" in said.next_step
        assert "secret-path" not in str(said)
        with http.client(ca_file=str(server.ca_file)) as client:
            assert client.get(server.url).status_code == 200


def test_the_doctor_names_the_certificate_and_who_signed_it(tmp_path):
    with tls.running(tmp_path) as server:
        [finding] = label_studio(f"{server.url}/label-studio", tmp_path)
        assert finding.state == doctor.FAIL
        assert "CN=127.0.0.1, O=Example Company, signed by CN=Example Company CA" in finding.sentence
        assert "CA_FILE" in finding.next_step
        trusted = label_studio(f"{server.url}/label-studio", tmp_path, ca_file=str(server.ca_file))
        assert "certificate" not in str(trusted)


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ({"host": "label.example.com"}, "certificate-other-name", "another host name"),
        ({"days": -1}, "certificate-out-of-date", "expired"),
    ],
)
def test_a_wrong_name_and_an_old_certificate_are_told_apart(tmp_path, options, code, said):
    with tls.running(tmp_path, **options) as server:
        found = refusal(server.url, str(server.ca_file))
    assert found.code == code
    assert said in found.sentence


def test_a_server_without_tls_at_an_https_address_is_told(tmp_path, moto_endpoint):
    found = refusal(f"https://{moto_endpoint}/")
    assert found.code == "no-tls"
    assert "http://" in found.next_step


def test_recordings_and_exotel_trust_it_too(tmp_path):
    with tls.running(tmp_path, body=b"RIFF----") as server:
        allowed = origins.AllowedOrigin("https", "127.0.0.1", server.port, may_be_private=True)
        with pytest.raises(RetryableError) as refused:
            Outbound([allowed]).fetch(f"{server.url}/a.wav", tmp_path / "a.wav", limit_bytes=100)
        assert refused.value.code == "certificate-not-trusted"
        settings = Settings(
            _env_file=None, data_dir=tmp_path, ca_file=str(server.ca_file), exotel_recording_origins=server.url
        )
        context = Context(settings, None, None)  # type: ignore[arg-type]
        assert outbound_of(context).fetch(f"{server.url}/a.wav", tmp_path / "a.wav", limit_bytes=100).size_bytes == 8


def test_the_store_trusts_it_too(tmp_path):
    with tls.running(tmp_path) as server:
        endpoint = f"127.0.0.1:{server.port}"
        with pytest.raises(KaanError) as refused:
            S3Store(endpoint, access_key="a", secret_key="b" * 16).stat("calls", "a")
        assert refused.value.code == "certificate-not-trusted"
        assert "CA_FILE" in refused.value.next_step
        with pytest.raises(KaanError) as other:  # it is no S3 server
            S3Store(endpoint, access_key="a", secret_key="b" * 16, ca_file=str(server.ca_file)).stat("calls", "a")
        assert not other.value.code.startswith("certificate")


def test_label_studio_and_redis_are_given_it(tmp_path):
    with tls.running(tmp_path) as server:
        settings = Settings(
            _env_file=None, data_dir=tmp_path, label_studio_url=server.url, label_studio_api_key=SecretStr("0" * 40),
            ca_file=str(server.ca_file),
        )  # fmt: skip
        assert client_of(Context(settings, None, None)).call("GET", "/api/version") == {}  # type: ignore[arg-type]
    assert transport.trust("rediss://h", settings.ca_file) == {"ssl_ca_certs": settings.ca_file}
    assert transport.trust("redis://h", settings.ca_file) == {}


@pytest.mark.parametrize(
    "content", [None, "", "no certificate", "-----BEGIN CERTIFICATE-----\nbm8=\n-----END CERTIFICATE-----\n", "फ़ाइल"]
)
def test_a_file_that_holds_no_certificate_is_refused_at_start_up(tmp_path, monkeypatch, content):
    from ml_backend import settings

    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    monkeypatch.setenv("CA_FILE", str(path))
    with pytest.raises(ConfigurationError, match="CA_FILE: the file "):
        settings.load(_env_file=None)
