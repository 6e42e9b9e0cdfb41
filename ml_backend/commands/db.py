"""`db`: bring the database to this release, or show its version."""

from __future__ import annotations

import typer

from ml_backend import db, file_permissions, settings
from ml_backend.commands import printing

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Bring the database to this release.")


@app.command()
def upgrade() -> None:
    """Create or upgrade the tables. Safe to repeat; take a backup first.

    Example: python -m ml_backend db upgrade
    """
    where = settings.load()
    file_permissions.folder(where.data_dir)
    revision = db.upgrade(where.database)
    typer.echo(f"The database is at schema {revision}.")


@app.command()
def version(as_json: printing.AsJson = False) -> None:
    """Show the schema in the database and the one this release needs; exit code 1 when they differ.

    Example: python -m ml_backend db version --json
    """
    database = db.Database(settings.load().database)
    try:
        found = database.schema_version()
    finally:
        database.dispose()
    facts = {"database": found, "release": db.SCHEMA_VERSION, "current": found == db.SCHEMA_VERSION}
    sentence = f"Database: {found or 'no tables yet'}. This release: {db.SCHEMA_VERSION}."
    printing.result(facts, sentence, as_json=as_json)
    raise typer.Exit(0 if found == db.SCHEMA_VERSION else 1)
