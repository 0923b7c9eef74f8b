"""Slow machines are no failure: examples have no deadline."""

from hypothesis import settings

settings.register_profile("aecodec", deadline=None)
settings.load_profile("aecodec")
