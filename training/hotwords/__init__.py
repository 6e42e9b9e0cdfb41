"""Words that people correct again and again, and how they reach the drafts."""
