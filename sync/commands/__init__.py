"""Commands of the upper package; `ml_backend.commands.command_line` names them by dotted path."""
