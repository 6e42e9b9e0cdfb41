"""The command line, one file per noun. `ml_backend.cli` lists them; nothing here is imported until it is asked for."""
