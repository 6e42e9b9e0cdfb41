"""Objects behind one door: a directory, or any S3 server."""
