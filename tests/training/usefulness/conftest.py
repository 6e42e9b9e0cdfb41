"""The databases of the kernel's tests: SQLite and PostgreSQL."""

from tests.ml_backend.conftest import context, database_url, postgres_server, postgres_url

__all__ = ["context", "database_url", "postgres_server", "postgres_url"]
