"""A deployment, as for the other routes of the web app."""

from tests.ml_backend.api.conftest import empty_database, serve, serving

__all__ = ["empty_database", "serve", "serving"]
