"""The web entry: `app` for gunicorn or the upstream runner. Nobody imports this module."""

from ml_backend import settings
from ml_backend.api.app import create_app, load_plugin

_settings = settings.load()
app = create_app(_settings, load_plugin(_settings.plugin))
