"""The short form of `make real`: whisper-base and people's voices. Skipped where they cannot be had; never in CI."""
