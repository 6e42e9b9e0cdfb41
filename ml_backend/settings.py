"""Environment -> Settings. The only reader of the environment and of `.env`.

All mistakes are reported at once, so that an operator restarts once, and without quoting any value. Names are the
environment's names in lower case; `describe()` feeds `.env.example`'s test. Every secret NAME may be in a file that
NAME_FILE names, as in Docker and Kubernetes.
"""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic import AfterValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from ml_backend import setting_values
from ml_backend.errors import ConfigurationError
from ml_backend.languages import code_of
from ml_backend.setting_values import MIN_SECRET_CHARS as MIN_SECRET_CHARS

_HOST = re.compile(r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")
_ADDRESSES_WITH_PASSWORDS = ("database_url", "redis_url", "nlu_database_url")


class Settings(BaseSettings):
    """One value per environment variable; the defaults run the embedded form on one machine."""

    model_config = SettingsConfigDict(
        env_file=".env", env_file_encoding="utf-8", extra="ignore", frozen=True, hide_input_in_errors=True
    )

    # --- where things are
    data_dir: Path = Field(Path("data"), description="Folder for everything the embedded form keeps.")
    database_url: str = Field(
        "",
        repr=False,
        description="SQLAlchemy URL; empty means SQLite in DATA_DIR. postgresql:// for more than one machine.",
    )
    redis_url: str = Field("redis://127.0.0.1:6379/0", repr=False, description="Transport for background jobs.")
    object_store: str = Field(
        "", description="A directory, or s3:// (with the MINIO_ settings); empty means DATA_DIR/objects."
    )
    minio_endpoint: str = Field("", description="host:port of the S3 server.")
    minio_access_key: SecretStr = Field(SecretStr(""), description="S3 access key.")
    minio_secret_key: SecretStr = Field(SecretStr(""), description="S3 secret key.")
    minio_secure: bool = Field(True, description="https to the S3 server.")
    minio_region: str = Field(
        "", description="Region of the S3 server; empty: the one in MINIO_ENDPOINT, else us-east-1, which most accept."
    )
    audio_bucket: str = Field("kaan-audio", description="Our own bucket for normalised audio.")
    ca_file: str = Field(
        "",
        description="PEM file with certificates of your own CA, trusted besides the usual ones: Label Studio, S3, "
        "Exotel and its recordings, Redis.",
    )

    # --- Label Studio
    label_studio_url: str = Field("", description="Address of Label Studio as this service reaches it.")
    label_studio_api_key: SecretStr = Field(
        SecretStr(""), description="Personal access token (or legacy token) of a Label Studio user."
    )
    label_studio_webhook_secret: SecretStr = Field(
        SecretStr(""), description="Value of the X-Webhook-Secret header Label Studio sends to us."
    )
    label_studio_local_files_root: str = Field(
        "",
        description="LOCAL_FILES_DOCUMENT_ROOT of Label Studio, when it serves our directory object store.",
    )
    public_url: str = Field("", description="Address of this service as Label Studio reaches it.")
    page_url: str = Field(
        "", description="Address at which people open the page, e.g. behind a proxy; default: PUBLIC_URL."
    )
    basic_auth_user: str = Field("", description="User name Label Studio sends to the ML backend.")
    basic_auth_pass: SecretStr = Field(SecretStr(""), description="Password for BASIC_AUTH_USER.")
    api_tokens: SecretStr = Field(
        SecretStr(""),
        description="Bearer tokens for /api and /v1: name:role:token, comma separated; roles read, operate, admin, live.",
    )

    # --- Exotel
    exotel_webhook_secret: SecretStr = Field(SecretStr(""), description="Secret in the path of Exotel callbacks.")
    exotel_account_sid: str = Field("", description="Exotel account.")
    exotel_api_key: SecretStr = Field(SecretStr(""), description="Exotel API key.")
    exotel_api_token: SecretStr = Field(SecretStr(""), description="Exotel API token.")
    exotel_api_url: str = Field("https://api.exotel.com", description="Exotel API address for your cluster.")
    exotel_recording_origins: str = Field(
        "https://recordings.exotel.com,https://s3-ap-southeast-1.amazonaws.com/exotelrecordings/",
        description="Origins recordings may be fetched from, comma separated: scheme://host[:port][/path/].",
    )
    exotel_credential_hosts: str = Field(
        "",
        description="Hosts beside *.exotel.com and EXOTEL_API_URL's that get key and token, over https: host[:port], ...",
    )
    exotel_time_zone: str = Field("Asia/Kolkata", description="Zone of Exotel's times, which carry none.")
    exotel_requests_per_minute: int = Field(
        100, ge=1, le=200, description="API requests per minute; Exotel allows 200 for the whole account."
    )
    pseudonym_key: SecretStr = Field(
        SecretStr(""),
        description="Key of the hash that replaces phone numbers; empty: one is made in DATA_DIR.",
    )

    # --- which calls become tasks
    recordings_bucket: str = Field("call-recordings", description="Bucket of the calls' originals.")
    scan_buckets: str = Field(
        "call-recordings,voice-audio,training-data", description="Buckets searched for new audio, comma separated."
    )
    synthetic_prefixes: str = Field(
        "voice-audio/,training-data/tts/",
        description="Where our own synthetic voice lies (bucket/prefix), comma separated: never review or test material.",
    )
    review_min_quality: float = Field(0.7, ge=0, le=1, description="Calls above this quality may go to review.")
    review_max_confidence: float = Field(0.9, ge=0, le=1, description="Calls below this confidence may go to review.")
    audit_share: float = Field(
        0.05, ge=0, le=1, description="Random share of all other calls with speech that goes to review."
    )
    blind_share: float = Field(
        0.5, ge=0, le=1, description="Part of the audit share that is annotated without a draft."
    )
    overlap_share: float = Field(0.05, ge=0, le=1, description="Share of tasks that two annotators get.")
    leave_out_poor_drafts: bool = Field(
        True, description="Open a task with empty regions where correcting its draft would take longer than writing."
    )
    max_open_tasks: int = Field(2000, ge=1, description="Open review tasks per project; what is beyond waits.")
    spool_max_mb: float = Field(10_000.0, gt=0, description="Recordings kept here while the object store is down.")

    event_retention_days: int = Field(
        90,
        ge=1,
        description="Days after which raw webhook requests lose their content; the ledger keeps what it needs.",
    )

    listening_log_days: int = Field(
        365, ge=1, description="Days for which it is kept who listened to which recording on the page."
    )

    # --- learning
    training_threshold: int = Field(1000, ge=1, description="New accepted samples after which a training run starts.")
    training_weekly: str = Field(
        "sun 02:00", description="When a weekly run is asked for, in EXOTEL_TIME_ZONE; empty: never."
    )
    training_window: str = Field("", description="Hours in which training may begin, e.g. 22:00-06:00; empty: any.")
    experiment_share: float = Field(
        0.5, ge=0, lt=1, description="Share of the calls for a version that passed the gate; 0: none."
    )
    auto_promote: bool = Field(False, description="Promote a version that its experiment found better, without asking.")
    promotion_min_calls: int = Field(30, ge=10, description="Calls in the test set below which no verdict is given.")
    promotion_min_words: int = Field(1000, ge=100, description="Words in the test set below which no verdict is given.")
    promotion_slice_calls: int = Field(10, ge=5, description="Calls below which a slice of the calls says nothing.")
    promotion_slice_words: int = Field(200, ge=20, description="Words below which a slice of the calls says nothing.")
    promotion_margins: str = Field(
        "0.01",
        description="How much worse a slice may surely become, 0.01 being one word in a hundred; single ones too, e.g. "
        "0.01, language:mr=0.005, snr=0.03.",
    )
    promotion_speed_ratio: float = Field(
        1.5, gt=0, description="Times as long as the champion that a candidate may take for the same audio."
    )
    success_targets: str = Field(
        "",
        description="Targets of success metrics that differ from the usual ones, e.g. asr_wer=12%, tts_mos=4.2; "
        "`report success-metrics` lists them.",
    )
    training_memory_share: float = Field(0.5, gt=0, le=1, description="Part of a GPU's memory that training may take.")
    tts_parler_python: str = Field("", description="Python that has parler-tts; empty: .venv-parler, by `make parler`.")

    # --- voices
    tts_voice_rules: str = Field(
        "",
        description="Who speaks where no object metadata says it: bucket/prefix=voice:NAME engine:NAME emotion:NAME, "
        "separated by commas; a longer prefix wins, and * stands for anything.",
    )
    tts_least_rate_hz: int = Field(
        16_000, ge=8000, le=48_000, description="Voice clips below this rate are not learnt."
    )
    tts_prompts: str = Field(
        "voice-audio/ivr/",
        description="Where the IVR reads its prompts (bucket/prefix): {language}/{hash}.wav below it.",
    )
    tts_prompts_kept_days: int = Field(
        365, ge=1, description="Days for which old prompts of earlier switches are kept; the last can always be undone."
    )
    tts_raters: int = Field(
        6, ge=1, le=100, description="People who rate each clip; MOS of fewer than 6 is provisional."
    )

    tts_training_threshold: int = Field(
        200, ge=1, description="New accepted voice clips after which a training run of the voice starts."
    )
    tts_promote_unrated: bool = Field(
        False, description="Whether figures alone may promote a voice that nobody has rated; else only people can."
    )
    tts_second_recogniser: str = Field(
        "",
        description="A version of speech recognition, or a folder of a CTranslate2 Whisper, that also transcribes spoken "
        "sentences that mix two languages; the transcript with fewer errors counts. Empty: the champion alone.",
    )

    # --- intents
    nlu_database_url: str = Field(
        "",
        repr=False,
        description="Database with the company's labelled utterances, which `nlu import` reads and never writes.",
    )
    nlu_table: str = Field("nlu_training_data", description="Table with one utterance per row; schema.table works too.")
    nlu_columns: str = Field(
        "",
        description="Columns with other names than ours, e.g. text=utterance,intent=label; also those of files.",
    )
    nlu_auto_means: str = Field(
        "source",
        description="What `auto` in the column of languages says: source (a program wrote the row) or language (unknown).",
    )

    nlu_call_utterances: int = Field(
        200,
        ge=0,
        le=100_000,
        description="So many utterances of calls wait for a person at most; 0: none are taken from calls.",
    )
    nlu_call_utterances_per_caller: int = Field(
        5, ge=1, le=1000, description="So many utterances of one caller are with people at a time."
    )
    nlu_training_threshold: int = Field(
        300, ge=1, description="New accepted utterances after which a training run of the parser starts."
    )

    # --- the model
    asr_model: str = Field(
        "bundled",
        description="bundled, a hub name such as large-v3-turbo, a folder, or a registered version.",
    )
    asr_device: str = Field("auto", description="cpu, cuda or auto.")
    asr_compute_type: str = Field("default", description="CTranslate2 compute type, e.g. int8, int8_float16, float16.")
    asr_beam_size: int = Field(5, ge=1, le=20, description="Beam size of the decoder.")
    asr_workers: int = Field(1, ge=1, le=64, description="Parallel CTranslate2 workers in one process.")
    asr_threads: int = Field(
        0, ge=0, le=256, description="Threads per worker; 0: 1 for a model below 20 MB, else all cores."
    )
    asr_batch_size: int = Field(4, ge=1, le=128, description="Windows decoded together.")
    asr_models_loaded: int = Field(
        2, ge=1, le=8, description="Models one process may hold; 1 lets the old one go before the new one is loaded."
    )
    asr_pool_s: float = Field(300.0, gt=0, description="Seconds of audio pooled across calls in one bulk job.")
    default_language: Annotated[str, AfterValidator(code_of)] = Field(
        "", description="Language of calls when a project names none; empty detects it."
    )
    languages: str = Field(
        "",
        description="Languages spoken, e.g. hi,mr,en: detection and annotators choose among them; empty: all the model knows.",
    )

    # --- serving
    host: str = Field("", description="Address to listen on; empty means loopback until credentials are set.")
    port: int = Field(9090, ge=1, le=65535, description="Port of the web process.")
    live_port: int = Field(9091, ge=1, le=65_535, description="Port of `serve`, which answers /v1 to the phone system.")
    live_batch_wait_ms: float = Field(
        50.0,
        ge=0,
        le=1000,
        description="How long a live request may wait for others that are coming, to share a batch.",
    )
    satisfaction_scale: str = Field(
        "",
        description="The scale of a reported satisfaction that names none: 1-5 or 0-1. Empty: 1, which is on both, "
        "is refused.",
    )
    live_most_waiting: int = Field(
        32, ge=1, le=1000, description="Live requests in one process at a time; beyond it the answer is 429."
    )
    live_rate_per_minute: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="Requests a minute that a token may send to /v1; 0: any number. Ten seconds of them may come at once, and five in any case.",
    )
    live_rates: str = Field(
        "", description="Requests a minute of single tokens of API_TOKENS instead, as phone:600,other:60."
    )
    live_max_audio_s: float = Field(600.0, gt=0, le=4 * 3600, description="Longest audio of a live request.")
    live_most_sessions: int = Field(
        16, ge=1, le=256, description="Realtime sessions in one process at a time; beyond it the answer is 429."
    )
    live_most_turn_s: float = Field(
        30.0, ge=5, le=300, description="Longest turn of a realtime session; speech without a pause is cut into more."
    )
    live_idle_s: float = Field(
        300.0, ge=1, le=7200, description="A realtime session in which nothing is sent for this long is ended."
    )
    web_threads: int = Field(8, ge=2, le=256, description="Threads of the web process.")
    predict_wait_s: float = Field(
        3.0, ge=0, le=60, description="How long a single-task /predict may wait for a transcript."
    )
    max_body_mb: float = Field(16.0, gt=0, description="Largest request body.")
    plugin: str = Field("model:SpeechModel", description="module:Class of the Label Studio plugin.")
    max_task_s: float = Field(300.0, gt=0, description="Longest task made from one recording.")
    max_recording_mb: float = Field(500.0, gt=0, description="Largest recording that is read.")
    max_recording_s: float = Field(4 * 3600.0, gt=0, description="Longest recording that is decoded.")
    min_free_disk_mb: float = Field(500.0, ge=0, description="Below this much free space no audio is fetched.")
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR.")
    log_format: str = Field("auto", description="json, text, or auto (text on a terminal).")

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("*", mode="before")
    @classmethod
    def _nothing_around(cls, value: Any) -> Any:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if isinstance(text, str):
            _refuse(setting_values.around(text))
        return value

    @field_validator("label_studio_url", "public_url", "page_url", "exotel_api_url")
    @classmethod
    def _http_url(cls, value: str) -> str:
        _refuse(setting_values.http_address(value) if value else [])
        return value.rstrip("/")

    @field_validator("exotel_recording_origins")
    @classmethod
    def _origins(cls, value: str) -> str:
        _refuse(setting_values.origins(value))
        return value

    @field_validator("public_url")
    @classmethod
    def _accepted_by_label_studio(cls, value: str) -> str:
        host = urlsplit(value).hostname or ""
        if value and host != "localhost" and "." not in host and ":" not in host:
            raise ValueError(
                f"Label Studio refuses a webhook at {host}: give the host a name with a dot, or its number"
            )
        return value

    @field_validator("exotel_credential_hosts")
    @classmethod
    def _hosts(cls, value: str) -> str:
        for number, entry in enumerate(value.split(","), 1):
            if entry.strip() and not _HOST.fullmatch(entry.strip()):
                raise ValueError(f"entry {number} is not a host or host:port; https is always used")
        return value

    @field_validator("nlu_table")
    @classmethod
    def _table(cls, value: str) -> str:
        if not re.fullmatch(r"[^\s.\"';]+(\.[^\s.\"';]+)?", value):
            raise ValueError("is no name of a table: write table, or schema.table")
        return value

    @field_validator("nlu_columns")
    @classmethod
    def _columns(cls, value: str) -> str:
        _refuse(setting_values.columns(value)[1])
        return value

    @field_validator("success_targets")
    @classmethod
    def _targets(cls, value: str) -> str:
        _refuse(setting_values.success_targets(value)[1])
        return value

    @field_validator("satisfaction_scale")
    @classmethod
    def _scale(cls, value: str) -> str:
        return value and _one_of(value, ("1-5", "0-1"))

    @field_validator("nlu_auto_means")
    @classmethod
    def _auto(cls, value: str) -> str:
        return _one_of(value, ("source", "language"))

    @field_validator("database_url", "nlu_database_url")
    @classmethod
    def _database_url(cls, value: str) -> str:
        _refuse(setting_values.database_url(value) if value else [])
        return value

    @field_validator("redis_url")
    @classmethod
    def _redis_url(cls, value: str) -> str:
        _refuse(setting_values.redis_url(value))
        return value

    @field_validator("minio_endpoint")
    @classmethod
    def _s3_endpoint(cls, value: str) -> str:
        _refuse(setting_values.s3_endpoint(value) if value else [])
        return value

    @field_validator("minio_region")
    @classmethod
    def _region(cls, value: str) -> str:
        if value and not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", value):
            raise ValueError("is no region: small letters, digits and -, such as ap-south-1")
        return value

    @field_validator("ca_file")
    @classmethod
    def _certificates(cls, value: str) -> str:
        if value:
            from ml_backend import certificates

            _refuse(certificates.mistakes(Path(value).expanduser()))
        return str(Path(value).expanduser().absolute()) if value else ""

    @field_validator("basic_auth_user", "exotel_account_sid")
    @classmethod
    def _sent_as_ascii(cls, value: str) -> str:
        if not value.isascii() or not value.isprintable() or ":" in value:
            raise ValueError("may hold letters, digits and ASCII signs only, and no colon")
        return value

    @field_validator("tts_voice_rules")
    @classmethod
    def _voices(cls, value: str) -> str:
        _refuse(setting_values.voice_rules(value)[1])
        return value

    @field_validator("tts_prompts")
    @classmethod
    def _prompts(cls, value: str) -> str:
        bucket, _, prefix = value.strip("/").partition("/")
        if not bucket or not prefix:
            raise ValueError("must be a bucket and a folder in it, such as voice-audio/ivr/")
        return f"{bucket}/{prefix}/"

    @field_validator("asr_device")
    @classmethod
    def _device(cls, value: str) -> str:
        return _one_of(value, ("auto", "cpu", "cuda"))

    @field_validator("log_level")
    @classmethod
    def _level(cls, value: str) -> str:
        return _one_of(value.upper(), ("DEBUG", "INFO", "WARNING", "ERROR"))

    @field_validator("languages")
    @classmethod
    def _codes(cls, value: str) -> str:
        codes = [code_of(code) for code in value.split(",") if code.strip()]
        if wrong := [code for code in codes if not (code.isascii() and code.isalpha() and len(code) in (2, 3))]:
            raise ValueError(f"{wrong[0][:12]!r} is no language code such as hi, mr or en")
        return ",".join(dict.fromkeys(codes))

    @field_validator("log_format")
    @classmethod
    def _format(cls, value: str) -> str:
        return _one_of(value, ("auto", "json", "text"))

    @field_validator("label_studio_webhook_secret", "pseudonym_key", "basic_auth_pass")
    @classmethod
    def _strong(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value()
        _refuse(setting_values.secret(text) if text else [])
        return value

    @field_validator("exotel_webhook_secret")
    @classmethod
    def _strong_and_fit_for_a_path(cls, value: SecretStr) -> SecretStr:
        for part in filter(None, map(str.strip, value.get_secret_value().split(","))):
            _refuse(setting_values.secret(part))
            if re.search(r"[^A-Za-z0-9._~-]", part):
                raise ValueError("is part of an address: letters, digits and . _ ~ - only")
        return value

    @field_validator(
        "minio_access_key", "minio_secret_key", "label_studio_api_key", "exotel_api_key", "exotel_api_token"
    )
    @classmethod
    def _given_by_others(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value()
        _refuse(setting_values.secret(text, least_chars=1) if text else [])
        return value

    @model_validator(mode="after")
    def _belong_together(self) -> Settings:
        wrong: list[str] = []
        if self.object_store.startswith("s3:"):
            for name in ("minio_endpoint", "minio_access_key", "minio_secret_key"):
                value = getattr(self, name)
                if not (value.get_secret_value() if isinstance(value, SecretStr) else value):
                    wrong.append(f"{name.upper()} is needed because OBJECT_STORE is s3://")
        api = urlsplit(self.exotel_api_url)
        if self.exotel_api_token.get_secret_value() and api.scheme == "http" and not _is_loopback(api.hostname or ""):
            wrong.append("EXOTEL_API_URL must be https: key and token could be read on the way")
        if bool(self.basic_auth_user) != bool(self.basic_auth_pass.get_secret_value()):
            wrong.append("BASIC_AUTH_USER and BASIC_AUTH_PASS must be set together")
        if self.label_studio_api_key.get_secret_value() and not self.label_studio_url:
            wrong.append("LABEL_STUDIO_URL is needed because LABEL_STUDIO_API_KEY is set")
        for number, entry in enumerate(filter(None, self.api_tokens.get_secret_value().split(",")), 1):
            _, _, rest = entry.strip().partition(":")
            role, _, token = rest.partition(":")
            if role not in ("read", "operate", "admin", "live"):
                wrong.append(
                    f"API_TOKENS: entry {number} must be name:role:token with role read, operate, admin or live"
                )
            else:
                wrong += [f"API_TOKENS: the token of entry {number} {each}" for each in setting_values.secret(token)]
        wrong += setting_values.rates(self.live_rates, self.token_names)
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    # --- derived

    @property
    def page_address(self) -> str:
        """Where people open the page; empty where nothing says so."""
        return self.page_url or self.public_url

    @property
    def token_names(self) -> tuple[str, ...]:
        """The names of API_TOKENS."""
        return tuple(
            entry.strip().partition(":")[0] for entry in self.api_tokens.get_secret_value().split(",") if entry
        )

    @property
    def rates_by_token(self) -> dict[str, int]:
        """LIVE_RATES: token's name -> requests a minute."""
        entries = (entry.strip().partition(":") for entry in self.live_rates.split(",") if entry.strip())
        return {name: int(rate) for name, _, rate in entries}

    @property
    def spoken(self) -> tuple[str, ...]:
        """The languages that detection chooses among; empty: all that the model knows."""
        return tuple(filter(None, self.languages.split(",")))

    @property
    def database(self) -> str:
        """The database URL in force."""
        return self.database_url or f"sqlite:///{self.data_dir / 'kaan.db'}"

    @property
    def objects(self) -> str:
        """The object store in force: `s3://` or an absolute directory."""
        if self.object_store.startswith("s3:"):
            return "s3://"
        return str(Path(self.object_store or self.data_dir / "objects").expanduser().absolute())

    @property
    def bind(self) -> str:
        """Address to listen on: loopback as long as nothing guards the protocol routes (design D12)."""
        return self.host or ("0.0.0.0" if self.basic_auth_user else "127.0.0.1")  # noqa: S104


def load(**overrides: Any) -> Settings:
    """Settings from the environment and `.env`, or one ConfigurationError that lists every mistake."""
    file = overrides.get("_env_file", Path(".env"))
    written, mistakes = _read(Path(file)) if file else ({}, [])
    if mistakes:
        overrides["_env_file"] = None  # it holds nothing that can be read
    known = [*_names(), *setting_values.COMPOSE]
    slips = [f"{n} is not a setting; did you mean {k}?" for n, k in setting_values.misspelt(os.environ, _names())]
    strays = setting_values.misspelt(written, known, our_file=True)
    mistakes += [*slips, *(f"{n} in {Path(file).name} is not a setting; did you mean {k}?" for n, k in strays)]
    secrets, unread = setting_values.from_files(
        secret_names(), {name.upper(): value for name, value in os.environ.items()}, written
    )
    mistakes += unread
    settings, wrong = _made({**secrets, **overrides})
    mistakes += wrong
    if settings is None or mistakes:
        raise ConfigurationError(
            "bad-settings",
            "These settings are wrong:\n  - " + "\n  - ".join(mistakes),
            "Correct them in the environment or in .env; .env.example describes each one.",
        )
    return settings


def _made(given: dict[str, Any]) -> tuple[Settings | None, list[str]]:
    """The settings, or every mistake in them: each value's own first, then those of values that must fit together."""
    try:
        return Settings(**given), []
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False, include_context=False)
    wrong = {str(one["loc"][0]): one["msg"].removeprefix("Value error, ") for one in found if one["loc"]}
    mistakes = [f"{name.upper()}: {each}" for name, said in wrong.items() for each in said.split("; ")]
    together = "; ".join(one["msg"].removeprefix("Value error, ") for one in found if not one["loc"])
    if wrong:  # those of several settings are looked for only when each can be read: do so without the wrong ones
        try:
            Settings(**{**given, **{name: Settings.model_fields[name].get_default() for name in wrong}})
        except ValidationError as error:
            together = "; ".join(one["msg"].removeprefix("Value error, ") for one in error.errors() if not one["loc"])
    fit = [each for each in together.split("; ") if each and not any(name.upper() in each for name in wrong)]
    return None, mistakes + fit


def use_file(path: Path) -> None:
    """Settings of this file count as environment, for this process and those it starts; the environment goes first."""
    written, mistakes = _read(path)
    strays = setting_values.misspelt(written, [*_names(), *setting_values.COMPOSE], our_file=True)
    mistakes += [f"{name} is not a setting; did you mean {nearest}?" for name, nearest in strays]
    if mistakes:
        raise ConfigurationError("bad-settings", f"In {path}:\n  - " + "\n  - ".join(mistakes), "Correct the file.")
    for name, value in written.items():
        if not os.environ.get(f"{name}_FILE") and not os.environ.get(name.removesuffix("_FILE")):
            os.environ.setdefault(name, value)


def secret_names() -> list[str]:
    """The settings that NAME_FILE works for."""
    kinds = Settings.model_fields.items()
    return [name.upper() for name, info in kinds if info.annotation is SecretStr or name in _ADDRESSES_WITH_PASSWORDS]


def environment_with(prefix: str, chosen: Settings) -> dict[str, str]:
    """The environment with no settings but those that begin so: for a program that needs no secret of ours."""
    ours = {*_names(), *setting_values.COMPOSE}
    others = {name: value for name, value in os.environ.items() if name.upper().removesuffix("_FILE") not in ours}
    kept = (name for name in Settings.model_fields if name.startswith(prefix))
    return others | {name.upper(): str(getattr(chosen, name)) for name in kept}


def describe() -> list[tuple[str, str, str]]:
    """(NAME, default, description) of every setting, in order; secrets have no default to show."""
    rows = []
    for name, info in Settings.model_fields.items():
        default = info.get_default()
        shown = "" if isinstance(default, SecretStr) else str(default)
        rows.append((name.upper(), shown, info.description or ""))
    return rows


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _one_of(value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ValueError(f"must be one of {', '.join(allowed)}")
    return value


def _refuse(mistakes: list[str]) -> None:
    if mistakes:
        raise ValueError("; ".join(mistakes))


def _names() -> list[str]:
    return [*(name.upper() for name in Settings.model_fields), *(f"{name}_FILE" for name in secret_names())]


def _read(file: Path) -> tuple[dict[str, str], list[str]]:
    """Names and values of a settings file, and what cannot be read of it. A file that is not there holds nothing."""
    try:
        with file.open(encoding="utf-8") as stream:
            lines = [
                line.original.line
                for line in parse_stream(stream)
                if line.error or (line.key is not None and line.value is None)
            ]
        values = dotenv_values(file, encoding="utf-8")
    except FileNotFoundError:
        return {}, []
    except UnicodeDecodeError:
        return {}, [f"{file.name} is not UTF-8 text"]
    except OSError as error:
        return {}, [f"{file.name} cannot be read ({error.strerror})"]
    wrong = [f"{file.name}, line {number}: this is not NAME=value" for number in lines]
    return {name.upper(): value for name, value in values.items() if value is not None}, wrong
