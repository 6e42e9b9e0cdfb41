"""The page for people: signed in by an API token, rendered on the server, readable without a script."""
