"""Label Studio projects: attached, kept in step with ours, drafted anew when a model or a setting changes."""
