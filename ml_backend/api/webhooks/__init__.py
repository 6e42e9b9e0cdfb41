"""Requests from outside -> rows in `events`: Label Studio, Exotel, the object store."""
