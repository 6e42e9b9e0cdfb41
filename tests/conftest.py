"""Fixtures every test may use: settings in an empty folder, a database, a store. Real parts, no mocks."""

from hypothesis import settings

# A busy machine is no fault of the code: properties are judged by their result, slowness by the benchmarks.
settings.register_profile("kaan", deadline=None)
settings.load_profile("kaan")
