"""Words that people correct repeatedly, and their use in drafts."""
