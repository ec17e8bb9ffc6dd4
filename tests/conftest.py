"""What holds for all tests."""

import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings

# several tests at once share the cores: threads that wait for each other would only get in their way
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# a machine may be busy: an example that takes long is no failure
settings.register_profile("crossface", deadline=None)
settings.load_profile("crossface")


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--golden`` accepts what the golden tests see as what they shall see from now on."""
    parser.addoption("--golden", action="store_true", help="write the golden files anew")


@pytest.fixture(autouse=True)
def no_experiment_is_left_active() -> Iterator[None]:
    """``mlflow.set_experiment`` holds for the process: a later test of it could not register."""
    yield
    fluent = sys.modules.get("mlflow.tracking.fluent")
    assert fluent is None or fluent._active_experiment_id is None, "name the experiment in start_run instead"
