"""`sync`: bring in what was missed, or was there before us. Each command's own file says what it does."""

from __future__ import annotations

import typer

from sync.commands.listing import exotel
from sync.commands.objects import objects

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Bring in calls from Exotel's listing and from the object store."
)
app.command("exotel")(exotel)
app.command("objects")(objects)
