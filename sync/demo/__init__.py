"""The demo's replacements for a telephone company and for annotators."""
