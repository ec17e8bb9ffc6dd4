"""A workplace of their own for tests with containers."""

import pytest
from workplace import new_workplace


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    # containers run as somebody else, and pytest's folders are its user's alone
    root = tmp_path_factory.mktemp("workplace")
    for folder in (root, *root.parents):
        if folder.name.startswith("pytest-"):
            folder.chmod(0o755)
    root.chmod(0o755)
    return new_workplace(root)
