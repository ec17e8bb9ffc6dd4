"""What holds for all tests."""

import os

from hypothesis import settings

# several tests at once share the cores: threads that wait for each other would only get in their way
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# a machine may be busy: an example that takes long is no failure
settings.register_profile("crossface", deadline=None)
settings.load_profile("crossface")
