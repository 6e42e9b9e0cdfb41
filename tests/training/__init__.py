"""The promises of the project, mirroring its tree."""
