"""Name -> labelling config XML; the annotators' instructions as HTML."""

from importlib import resources

from ml_backend.errors import ConfigurationError

NAMES = ("original", "calls")


def read(name: str) -> str:
    """The XML of a ready-made config; another name is a mistake, and the error lists the known ones."""
    if name not in NAMES:
        raise ConfigurationError(
            "labelling-config-unknown",
            f"There is no labelling config named {name!r}.",
            f"Use one of: {', '.join(NAMES)}, or the path of an XML file.",
        )
    return _read(f"{name}.xml")


def instructions() -> str:
    """HTML for a project's expert instruction, shown to annotators in Label Studio."""
    return _read("instructions.html")


def _read(file_name: str) -> str:
    return resources.files(__package__).joinpath(file_name).read_text(encoding="utf-8")
