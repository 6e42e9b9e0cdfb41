"""Name -> labelling config XML; the annotators' instructions as HTML."""

import re
from importlib import resources

from ml_backend.errors import ConfigurationError
from ml_backend.labelling import labelconfig

NAMES = ("original", "calls", "tts")
RATINGS = ("tts",)  # where people rate a voice; in the others they write what they hear


def read(name: str) -> str:
    """The XML of a ready-made config; another name is a mistake, and the error lists the known ones."""
    if name not in NAMES:
        raise ConfigurationError(
            "labelling-config-unknown",
            f"There is no labelling config named {name!r}.",
            f"Use one of: {', '.join(NAMES)}, or the path of an XML file.",
        )
    return _read(f"{name}.xml")


def instructions(config: str) -> str:
    """HTML for a project's expert instruction; what only the `calls` config has is left out for every other config."""
    if labelconfig.parse(config).rates:
        return _read("instructions_tts.html")
    page = _read("instructions.html")
    if config == read("calls"):
        return re.sub(r"[ \t]*<!-- (calls only|end) -->\n", "", page)
    return re.sub(r"[ \t]*<!-- calls only -->\n.*?<!-- end -->\n", "", page, flags=re.DOTALL)


def _read(file_name: str) -> str:
    return resources.files(__package__).joinpath(file_name).read_text(encoding="utf-8")
