"""`serve`: the models answer the phone system on a port of their own."""

from __future__ import annotations

import typer

from ml_backend import settings as settings_module
from ml_backend.commands import web
from ml_backend.errors import ConfigurationError
from ml_backend.settings import Settings

app = typer.Typer(add_completion=False, help="Answer the phone system: /v1 with the models in memory.")


@app.command()
def serve(
    workers: int = typer.Option(1, min=1, max=64, help="Processes; each holds its own models."),
) -> None:
    """Answer /v1 (transcriptions, intents, speech) until Ctrl-C. Tokens of role live may ask.

    Example: python -m ml_backend serve
    """
    settings = settings_module.load()
    require_a_caller(settings)
    web.check_schema(settings)
    web.check_port(settings, port=settings.live_port, setting="LIVE_PORT")
    from ml_backend.api import server

    server.LiveServer(settings, workers=workers).run()


def require_a_caller(settings: Settings) -> None:
    """ConfigurationError when no token may ask."""
    from ml_backend.api import auth

    if not any(token.role in auth.LIVE_ROLES for token in auth.tokens(settings)):
        raise ConfigurationError(
            "nobody-may-ask", "No token may ask the live routes.",
            "Add one to API_TOKENS, as phone:live:TOKEN, with a TOKEN of `openssl rand -hex 24`.",
        )  # fmt: skip
