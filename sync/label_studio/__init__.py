"""Label Studio: its client, and the changes that attaching makes there."""
