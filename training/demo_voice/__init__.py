"""Makes the bundled voice from synthetic speech; see `training.demo_voice.__main__`."""
