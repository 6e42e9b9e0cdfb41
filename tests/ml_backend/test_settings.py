"""Settings a person got wrong are all named at start-up, with the remedy, and no piece of a secret is repeated."""

from __future__ import annotations

import base64
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from ml_backend import log, setting_values, settings
from ml_backend.errors import ConfigurationError
from ml_backend.settings import Settings
from tests.policy.source import ROOT

STRONG = "7f3c9a1e5b2d8c4f6a0e"


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the machine's, and an empty working folder."""
    for name in [*(name for name, _, _ in settings.describe()), *(f"{name}_FILE" for name in settings.secret_names())]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def refusal(monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    """What start-up says to this environment."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as refused:
        settings.load()
    assert refused.value.code == "bad-settings"
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None
    return refused.value.sentence


class TestAddresses:
    @pytest.mark.parametrize(
        ("name", "value", "remedy"),
        [
            (
                "MINIO_ENDPOINT",
                "https://s3.example.com:9000",
                "MINIO_ENDPOINT=s3.example.com:9000 and set MINIO_SECURE=True",
            ),
            ("MINIO_ENDPOINT", "http://minio:9000/", "write MINIO_ENDPOINT=minio:9000 and set MINIO_SECURE=False"),
            ("MINIO_ENDPOINT", "minio:9000/bucket", "path"),
            ("MINIO_ENDPOINT", "key:secret@minio:9000", "MINIO_ACCESS_KEY"),
            ("MINIO_ENDPOINT", "minio:nine", "port"),
            ("MINIO_ENDPOINT", "minio:99999", "port"),
            ("MINIO_ENDPOINT", ":9000", "no host"),
            ("MINIO_ENDPOINT", "mi nio:9000", "spaces"),
            ("MINIO_ENDPOINT", "मिनियो:9000", "ASCII"),
            ("MINIO_ENDPOINT", "calls.s3.ap-south-1.amazonaws.com", "s3.REGION.amazonaws.com"),
            ("MINIO_REGION", "Asia Pacific", "region"),
            ("DATABASE_URL", "postgres://kaan@db/kaan", "postgresql://"),
            ("DATABASE_URL", "postgresql+psycopg2://kaan@db/kaan", "psycopg 3"),
            ("DATABASE_URL", "mysql://kaan@db/kaan", "sqlite:/// or postgresql://"),
            ("DATABASE_URL", "db/kaan", "sqlite:/// or postgresql://"),
            ("DATABASE_URL", "sqlite://kaan.db", "three slashes"),
            ("DATABASE_URL", "postgresql:///kaan", "?host="),
            ("DATABASE_URL", f"postgresql://kaan:{STRONG}@/kaan", "?host="),
            ("DATABASE_URL", "postgresql://kaan@db:54320000/kaan", "port"),
            ("DATABASE_URL", "postgresql://kaan:password@db/kaan", "sample value"),
            ("REDIS_URL", "redis://:6379/0", "no host"),
            ("REDIS_URL", "redis://cache:port/0", "port"),
            ("REDIS_URL", "redis://cache:6379/zero", "database number"),
            ("REDIS_URL", "http://cache:6379", "redis://"),
            ("REDIS_URL", "cache:6379", "redis://"),
            ("REDIS_URL", "unix://run/redis.sock", "whole path"),
            ("REDIS_URL", "redis://:changeme@cache:6379/0", "sample value"),
            ("LABEL_STUDIO_URL", "label.example.com", "http:// or https://"),
            ("LABEL_STUDIO_URL", "https://", "no host"),
            ("LABEL_STUDIO_URL", "https://label.example.com:port", "port"),
            ("LABEL_STUDIO_URL", "https://label.example.com/?next=/", "? or #"),
            ("EXOTEL_API_URL", f"https://key:{STRONG}@api.exotel.com", "settings of their own"),
            ("EXOTEL_RECORDING_ORIGINS", "https://a.example.com,ftp://b.example.com", "entry 2"),
            ("HOST", "0.0.0.0 ", "spaces"),
            ("ASR_MODEL", "'large-v3'", "quotes"),
        ],
    )
    def test_a_mistake_is_named_with_its_remedy(self, monkeypatch, name, value, remedy):
        said = refusal(monkeypatch, **{name: value})
        assert f"- {name}: " in said
        assert remedy in said

    @pytest.mark.parametrize("sign", "/@#?[]% \\é")
    @pytest.mark.parametrize("scheme", ["postgresql://kaan:{}@db.example.com:5432/kaan", "redis://:{}@cache:6379/0"])
    def test_a_sign_in_a_password_that_is_not_escaped_is_named_and_nothing_of_it_is_repeated(
        self, monkeypatch, scheme, sign
    ):
        name = "REDIS_URL" if scheme.startswith("redis") else "DATABASE_URL"
        if sign == "\\":
            pytest.skip("a backslash needs no escape")
        said = refusal(monkeypatch, **{name: scheme.format(f"Zq7w{sign}Kx9v")})
        assert "Zq7w" not in said
        assert "Kx9v" not in said
        assert "%2F" in said or "ASCII" in said or "spaces" in said

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("DATABASE_URL", f"postgresql://kaan:{STRONG}%2F%40%23@db.example.com:5432/kaan?sslmode=require"),
            ("DATABASE_URL", "postgresql+psycopg://kaan@[::1]:5432/kaan"),
            ("DATABASE_URL", "postgresql:///kaan?host=/run/postgresql"),
            ("DATABASE_URL", "sqlite:////srv/kaan/kaan.db"),
            ("DATABASE_URL", "sqlite:///kaan.db"),
            ("REDIS_URL", "rediss://kaan:p%40ss-9fb2@cache.example.com:6380/2?socket_timeout=3"),
            ("REDIS_URL", "unix:///run/redis.sock?db=0"),
            ("MINIO_ENDPOINT", "s3.ap-south-1.amazonaws.com"),
            ("MINIO_ENDPOINT", "my_store:9000"),
            ("MINIO_ENDPOINT", "[::1]:9000"),
            ("LABEL_STUDIO_URL", "https://tools.example.com/label-studio"),
            ("LABEL_STUDIO_URL", "http://127.0.0.1:8080/"),
        ],
    )
    def test_what_is_right_is_taken(self, monkeypatch, name, value):
        monkeypatch.setenv(name, value)
        assert settings.load() is not None

    def test_every_mistake_is_listed_at_once_those_of_settings_that_belong_together_too(self, monkeypatch):
        said = refusal(
            monkeypatch,
            ASR_MODLE="x",
            MINIO_ENDPOINT="http://m",
            DATABASE_URL="postgres://h/d",
            PORT="port",
            REDIS_URL="cache",
            OBJECT_STORE="s3://",
            API_TOKENS="a:reader:b,c:read:short",
            BASIC_AUTH_USER="someone",
        )
        for part in (
            "ASR_MODLE is not",
            "MINIO_ENDPOINT:",
            "DATABASE_URL:",
            "PORT:",
            "REDIS_URL:",
            "MINIO_ACCESS_KEY is",
            "entry 1 must",
            "entry 2 must be at least",
            "BASIC_AUTH_PASS must",
        ):
            assert part in said, part


class TestSecrets:
    @pytest.mark.parametrize("name", [name for name in settings.secret_names() if not name.endswith("_URL")])
    @pytest.mark.parametrize("letter", ["ü", "र", "\u00a0", "\x07", "😀"])
    def test_a_letter_outside_ascii_is_refused_in_every_one(self, monkeypatch, name, letter):
        value = f"sec ret:{letter}-{STRONG}"
        said = refusal(
            monkeypatch, **{name: f"me:read:{value}" if name == "API_TOKENS" else value}, BASIC_AUTH_USER="u"
        )
        assert "ASCII" in said
        assert STRONG not in said

    @pytest.mark.parametrize("around", ["{}\n", " {}", "{}\t", "'{}'", '"{}"'])
    @pytest.mark.parametrize(
        "name", ["MINIO_SECRET_KEY", "LABEL_STUDIO_API_KEY", "BASIC_AUTH_PASS", "EXOTEL_API_TOKEN"]
    )
    def test_spaces_and_quotes_around_one_are_named(self, monkeypatch, name, around):
        said = refusal(monkeypatch, **{name: around.format(STRONG)})
        assert f"{name}: has " in said
        assert "remove them" in said

    @pytest.mark.parametrize(
        "sample",
        [
            "minioadmin",
            "changeme",
            "ChangeMe123",
            "change-me-please-now",
            "secret",
            "secretsecretsecret",
            "password",
            "my-secret-password",
            "your-api-token-here",
            "<your token>",
            "${SECRET}",
            "xxxxxxxxxxxxxxxxxxxx",
            "********",
            "1234567890123456",
            "0123456789abcdef",
            "replace-with-a-random-string",
            "test-secret-key-1",
            "postgres",
            "admin",
            "example-webhook-secret",
            "kaan-password",
            "label-studio-secret-key",
        ],
    )
    def test_a_sample_value_is_refused(self, monkeypatch, sample):
        assert "sample value" in refusal(monkeypatch, MINIO_SECRET_KEY=sample)

    def test_nothing_generated_looks_like_a_sample(self):
        draw = random.Random(14)
        raw = [draw.randbytes(size) for size in (8, 16, 24) for _ in range(2000)]
        made = [each.hex() for each in raw] + [base64.urlsafe_b64encode(each).decode().rstrip("=") for each in raw]
        made += ["a368268156193309", "me12345678901934"]  # by chance, a short word and digits
        assert not [each for each in made if setting_values.is_sample(each)]

    def test_deciding_takes_no_time_however_the_value_is_made(self):
        for text in ("1" * 5000 + "!z", "secret" * 800 + "é", "x" * 5000 + "q", "a" * 5000 + "-" + "pass" * 900 + "z"):
            setting_values.is_sample(text)

    def test_a_secret_in_an_address_is_refused_where_a_path_cannot_hold_it(self, monkeypatch):
        assert "letters, digits" in refusal(monkeypatch, EXOTEL_WEBHOOK_SECRET=f"{STRONG}/{STRONG}")

    def test_a_bad_token_entry_is_named_by_its_number_only(self, monkeypatch):
        assert STRONG not in refusal(monkeypatch, API_TOKENS=f"{STRONG}")

    def test_neither_the_settings_nor_the_librarys_own_error_shows_one(self):
        made = Settings(
            _env_file=None,
            minio_secret_key=STRONG,
            database_url=f"postgresql://u:{STRONG}@h/d",
            redis_url=f"redis://:{STRONG}@h",
        )
        assert STRONG not in f"{made!r}{made}"
        with pytest.raises(ValidationError) as wrong:
            Settings(_env_file=None, database_url=f"postgresql://u:{STRONG}/x@h/d", redis_url=f"redis://:a#{STRONG}@h")
        assert STRONG not in f"{wrong.value!r}{wrong.value}"

    @pytest.mark.parametrize(
        "command", [["doctor"], ["status"], ["web"], ["worker", "sync"], ["db", "upgrade"], ["backup", "x"]]
    )
    def test_no_command_prints_a_piece_of_a_password(self, command, tmp_path):
        secret = {
            "DATABASE_URL": "postgresql://kaan:Zq7w/Kx9v#Jm4n@h:1/d",
            "REDIS_URL": "redis://:Zq7w@Kx9v?Jm4n@h:x",
            "BASIC_AUTH_PASS": "Zq7wKx9vüJm4n-0123456",
            "API_TOKENS": "Zq7wKx9vJm4n",
            "MINIO_ENDPOINT": "https://Zq7w:Kx9v@h/Jm4n",
        }
        done = subprocess.run(
            [sys.executable, "-m", "ml_backend", *command],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT), "DATA_DIR": str(tmp_path), **secret},
        )
        assert done.returncode == 2
        assert "DATABASE_URL" in done.stderr
        assert "Traceback" not in done.stderr
        for piece in ("Zq7w", "Kx9v", "Jm4n"):
            assert piece not in done.stdout + done.stderr

    @pytest.mark.parametrize("command", [["db", "upgrade"], ["status"], ["relay"], ["doctor"]])
    def test_nor_does_any_error_of_a_server_that_is_not_there(self, command, tmp_path):
        there = {
            "DATABASE_URL": "postgresql://kaan:Zq7wKx9v%2FJm4n@127.0.0.1:1/kaan",
            "LOG_LEVEL": "DEBUG",
            "REDIS_URL": "redis://:Zq7wKx9v%40Jm4n@127.0.0.1:1/0",
        }
        done = subprocess.run(
            [sys.executable, "-m", "ml_backend", *command],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT), "DATA_DIR": str(tmp_path), **there},
            timeout=300,
        )
        assert done.returncode != 0
        for piece in ("Zq7w", "Kx9v", "Jm4n"):
            assert piece not in done.stdout + done.stderr

    def test_a_line_that_quotes_an_address_is_written_without_its_password(self):
        made = Settings(_env_file=None, redis_url="redis://:Zq7wKx9v%40Jm4n@cache:6379/0")
        secrets = log._secret_values(made)
        for text in ("redis://:Zq7wKx9v%40Jm4n@cache", "the password Zq7wKx9v@Jm4n", "Zq7wKx9v%40Jm4n"):
            assert "Zq7w" not in log.masked(text, secrets=secrets)


class TestFiles:
    def test_every_secret_can_lie_in_a_file(self, monkeypatch, tmp_path):
        values = {name: f"{STRONG}{n:02d}" for n, name in enumerate(settings.secret_names())}
        values |= {
            "DATABASE_URL": f"postgresql://k:{STRONG}@h/d",
            "NLU_DATABASE_URL": f"postgresql://reader:{STRONG}@h/d",
            "REDIS_URL": f"redis://:{STRONG}@h:1/0",
            "API_TOKENS": f"me:read:{STRONG}",
        }
        for name, value in values.items():
            (tmp_path / name.lower()).write_text(f"{value}\n")
            monkeypatch.setenv(f"{name}_FILE", str(tmp_path / name.lower()))
        found = settings.load(basic_auth_user="someone", label_studio_url="http://h.example")
        for name, value in values.items():
            kept = getattr(found, name.lower())
            assert (kept if isinstance(kept, str) else kept.get_secret_value()) == value

    def test_they_work_from_the_settings_file_and_the_environment_goes_first(self, monkeypatch, tmp_path):
        (tmp_path / "inside").write_text("from-a-file-4fb81c")
        (tmp_path / ".env").write_text(f"MINIO_SECRET_KEY_FILE={tmp_path / 'inside'}\n")
        assert settings.load().minio_secret_key.get_secret_value() == "from-a-file-4fb81c"
        monkeypatch.setenv("MINIO_SECRET_KEY", STRONG)
        assert settings.load().minio_secret_key.get_secret_value() == STRONG

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (None, "cannot be read"),
            (b"", "is empty"),
            (b"\n", "is empty"),
            (b"x" * 70_000, "too long"),
            ("सीक्रेट-लंबा-वाला-शब्द".encode(), "ASCII"),
            (b"\xff" * 20, "ASCII"),
        ],
    )
    def test_a_file_that_is_none_is_named(self, monkeypatch, tmp_path, content, said):
        path = tmp_path / "secret"
        if content is not None:
            path.write_bytes(content)
        assert said in refusal(monkeypatch, PSEUDONYM_KEY_FILE=str(path))

    def test_a_value_and_a_file_at_once_are_refused(self, monkeypatch, tmp_path):
        (tmp_path / "s").write_text(STRONG)
        said = refusal(monkeypatch, PSEUDONYM_KEY=STRONG, PSEUDONYM_KEY_FILE=str(tmp_path / "s"))
        assert "PSEUDONYM_KEY and PSEUDONYM_KEY_FILE are both set" in said


class TestMisspelt:
    @pytest.mark.parametrize(
        ("name", "meant"),
        [
            ("ASR_MODLE", "ASR_MODEL"),
            ("MINIO_ACCES_KEY", "MINIO_ACCESS_KEY"),
            ("LABEL_STUDIO_APIKEY", "LABEL_STUDIO_API_KEY"),
            ("EXOTEL_WEBHOOK_SECERT", "EXOTEL_WEBHOOK_SECRET"),
            ("KAAN_ASR_MODEL", "ASR_MODEL"),
            ("DATABSE_URL", "DATABASE_URL"),
            ("BASIC_AUTH_PASSWORD", "BASIC_AUTH_PASS"),
            ("REVEIW_MIN_QUALITY", "REVIEW_MIN_QUALITY"),
            ("MINIO_SECRET_KEY_FIEL", "MINIO_SECRET_KEY_FILE"),
            ("asr_modle", "ASR_MODEL"),
            ("MAX_RECORDINGS_MB", "MAX_RECORDING_MB"),
        ],
    )
    @pytest.mark.parametrize("place", ["environment", "file", "env-file"])
    def test_a_slip_is_refused_with_the_nearest_name(self, monkeypatch, tmp_path, name, meant, place):
        if place == "environment":
            said = refusal(monkeypatch, **{name: "x"})
        else:
            (tmp_path / ".env").write_text(f"{name}=x\n")
            with pytest.raises(ConfigurationError) as refused:
                settings.load() if place == "file" else settings.use_file(tmp_path / ".env")
            said = refused.value.sentence
        assert f"{name.upper() if place != 'environment' else name}" in said
        assert f"did you mean {meant}?" in said

    @pytest.mark.parametrize(
        ("name", "meant"),
        [
            ("HOTS", "HOST"),
            ("PROT", "PORT"),
            ("BEAM_SIZE", "ASR_BEAM_SIZE"),
            ("MINIO_ENDPOINT_URL", "MINIO_ENDPOINT"),
            ("POSTGRES_PASWORD", "POSTGRES_PASSWORD"),
            ("WEB_THREAD", "WEB_THREADS"),
        ],
    )
    def test_in_our_own_file_less_likeness_is_enough(self, tmp_path, name, meant):
        (tmp_path / ".env").write_text(f"{name}=x\n")
        with pytest.raises(ConfigurationError) as refused:
            settings.load()
        assert f"did you mean {meant}?" in refused.value.sentence

    @pytest.mark.parametrize(
        "name",
        [
            "PATH",
            "HOME",
            "HOSTNAME",
            "HOSTTYPE",
            "SHELL",
            "LANG",
            "TZ",
            "PWD",
            "TERM",
            "HF_HOME",
            "HF_TOKEN",
            "OMP_NUM_THREADS",
            "CUDA_VISIBLE_DEVICES",
            "PYTHONPATH",
            "LOGLEVEL",
            "REDIS_HOST",
            "REDIS_PORT",
            "REDIS_PORT_6379_TCP",
            "REDIS_SERVICE_HOST",
            "MINIO_SERVICE_PORT",
            "MINIO_ROOT_USER",
            "MINIO_ROOT_PASSWORD",
            "POSTGRES_USER",
            "LABEL_STUDIO_HOST",
            "LABEL_STUDIO_USERNAME",
            "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT",
            "DATABASE_HOST",
            "AWS_REGION",
            "AWS_SECRET_ACCESS_KEY",
            "SSL_CERT_FILE",
            "http_proxy",
            "COMPOSE_PROJECT_NAME",
            "PORTAGE",
            "KAAN_TEST_LABEL_STUDIO",
            "XDG_DATA_DIRS",
            "API_TOKEN",
            "MAIL_HOST",
            "SMTP_PORT",
            "WEB_PORT",
            "S3_ENDPOINT",
        ],
    )
    @pytest.mark.parametrize("place", ["environment", "file"])
    def test_variables_of_others_are_let_be(self, monkeypatch, tmp_path, name, place):
        if place == "environment":
            monkeypatch.setenv(name, "x") if name not in os.environ else None
        else:
            (tmp_path / ".env").write_text(f"{name}=x\n")
        assert settings.load() is not None

    def test_no_setting_is_taken_for_another(self):
        known = [name for name, _, _ in settings.describe()]
        assert setting_values.misspelt(known, known, our_file=True) == []

    @pytest.mark.parametrize("line", ["ASR_MODEL", "two words", "=x", "ASR_MODEL: bundled"])
    def test_a_line_that_cannot_be_read_is_named_by_its_number(self, tmp_path, line):
        (tmp_path / ".env").write_text(f"ASR_MODEL=bundled\n{line}\nLOG_LEVEL=INFO\n")
        with pytest.raises(ConfigurationError, match=r"\.env, line 2"):
            settings.load()

    def test_a_file_in_another_encoding_is_named(self, tmp_path):
        (tmp_path / ".env").write_bytes("BASIC_AUTH_USER=jürgen\n".encode("latin-1"))
        with pytest.raises(ConfigurationError, match="not UTF-8"):
            settings.load()
