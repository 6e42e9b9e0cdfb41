"""Fixtures every test may use: settings in an empty folder, a database, a store. Real parts, no mocks."""
