"""Label Studio projects: attaching, synchronising, and new drafts when a model or a setting changes."""
