"""Label Studio: its client, and what attaching keeps in order there."""
