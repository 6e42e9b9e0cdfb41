"""Model versions: files, manifest, registry and aliases, and which version a recording gets."""
