"""The object store: a directory, or any S3 server."""
