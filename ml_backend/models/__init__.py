"""Model versions: files, manifest, registry and aliases, and which version transcribes a recording."""
