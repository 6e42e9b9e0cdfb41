"""How good the annotations are: agreement, time, gold tasks, drafts accepted unread, duplicates and leaks."""
