"""The command line, one file per noun. `command_line` lists them; none of them is imported before it is called."""
