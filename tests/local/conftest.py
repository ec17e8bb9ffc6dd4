"""What the runs of whole pipelines share."""

import pytest
from workplace import new_workplace


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    return new_workplace(tmp_path_factory.mktemp("workplace"))
