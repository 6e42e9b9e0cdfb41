"""`web`: check the settings and the port, then serve."""

from __future__ import annotations

import gc
import socket

import typer

from ml_backend import settings as settings_module
from ml_backend.db import Database
from ml_backend.errors import ConfigurationError
from ml_backend.settings import Settings

LOOPBACK = ("127.0.0.1", "::1", "localhost")

app = typer.Typer(add_completion=False, help="Serve the Label Studio protocol, webhooks and /api.")


@app.command()
def web(
    workers: int = typer.Option(1, min=1, max=64, help="Server processes; one is enough for most."),
) -> None:
    """Serve the Label Studio protocol, webhooks and /api until Ctrl-C.

    Example: python -m ml_backend web
    """
    serve(settings_module.load(), workers=workers)


def serve(settings: Settings, *, workers: int = 1) -> None:
    """Check the settings and the port, then serve until stopped."""
    gc.disable()  # loading modules makes no garbage; `Server.load` enables it again
    from ml_backend.api import server
    from ml_backend.api.app import load_plugin

    for sentence in check_exposure(settings):
        typer.echo(sentence, err=True)
    check_schema(settings)
    load_plugin(settings.plugin)
    check_port(settings)
    server.Server(settings, workers=workers).run()


def check_schema(settings: Settings) -> None:
    """ConfigurationError for a database that is not of this release."""
    database = Database(settings.database)
    try:
        database.check_schema()
    finally:
        database.dispose()


def check_exposure(settings: Settings) -> list[str]:
    """Sentences about who can reach this server; ConfigurationError if anyone could use it without credentials."""
    guarded = bool(settings.basic_auth_user)
    if settings.bind not in LOOPBACK and not guarded:
        raise ConfigurationError(
            "open-to-the-network",
            f"HOST={settings.bind} would open this server to the network without credentials.",
            "Set BASIC_AUTH_USER and BASIC_AUTH_PASS, or leave HOST empty to listen on this machine only.",
        )
    if not guarded:
        return [
            f"No BASIC_AUTH_USER is set: listening on {settings.bind}:{settings.port} of this machine only,"
            " without credentials."
        ]
    return []


def check_port(settings: Settings, *, port: int | None = None, setting: str = "PORT") -> None:
    """Raise an error for a busy port; gunicorn would retry."""
    port = port or settings.port
    family = socket.AF_INET6 if ":" in settings.bind else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.bind, port))
        except OSError as error:
            raise ConfigurationError(
                "port-busy",
                f"Cannot listen on {settings.bind}:{port} ({error.strerror}).",
                f"Stop what listens there, or set {setting} to another number.",
            ) from error
