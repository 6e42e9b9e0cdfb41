"""Quality of annotations: agreement, time, gold tasks, drafts accepted unread, duplicates and leaks."""
