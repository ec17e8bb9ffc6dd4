"""What holds for all tests."""

from hypothesis import settings

# a machine may be busy: an example that takes long is no failure
settings.register_profile("crossface", deadline=None)
settings.load_profile("crossface")
