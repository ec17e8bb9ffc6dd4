"""One promotion at a time: the registry moves an alias without looking where it was.

The lock belongs to a connection to PostgreSQL, or to an open file. Either ends with the process that holds
it, however that ends, so there is nothing to clean up after a crash.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from crossface.errors import ConfigError, CrossfaceError

LOCK_VARIABLE = "CROSSFACE_LOCK_URI"
"""Environment variable; no parameter, for it may hold a password, and no message repeats it."""
WAIT_S = 300.0
"""How long to wait for others: comparing two models may be part of a promotion, and takes a while."""
_DEAD_PEER = {"tcp_keepalives_idle": "30", "tcp_keepalives_interval": "10", "tcp_keepalives_count": "3"}
"""Has PostgreSQL notice within a minute that the holder's machine is gone; by default after two hours."""


class LockError(CrossfaceError):
    """The lock was not to be had; nothing has been done."""


@contextmanager
def registry_lock(name: str, store_uri: str) -> Iterator[None]:
    """Hold the lock of a registered model. It is not reentrant.

    In PostgreSQL it is the advisory lock ``hashtext(name)`` on a connection of its own; beside SQLite it is
    the file ``<database>.lock``, one for all models.

    Args:
        name: of the registered model.
        store_uri: of the registry. When it is no database itself, ``CROSSFACE_LOCK_URI`` says where the
            lock is: ``postgresql://...``, or ``sqlite:///PATH``, which need not exist.

    Raises:
        ConfigError: neither says where the lock is.
        LockError: PostgreSQL cannot be reached, the file cannot be opened, or others hold the lock for longer
            than ``WAIT_S``.
    """
    uri = _lock_uri(store_uri)
    lock = _advisory_lock(name, uri) if _kind(uri) == "postgresql" else _file_lock(name, uri)
    with lock:
        yield


def _lock_uri(store_uri: str) -> str:
    for uri in (store_uri, os.environ.get(LOCK_VARIABLE, "")):
        if _kind(uri) in {"postgresql", "sqlite"}:
            return uri
    raise ConfigError(
        f"{LOCK_VARIABLE}: required with a registry at {_kind(store_uri)}://, or two promotions may cross: "
        "postgresql://... of the server's database, the same for all who promote; when all of them work on "
        "this machine, sqlite:///PATH of any file"
    )


def _kind(uri: str) -> str:
    """``postgresql`` of ``postgresql+psycopg://user@host/name``."""
    return uri.partition(":")[0].partition("+")[0]


@contextmanager
def _advisory_lock(name: str, uri: str) -> Iterator[None]:
    import psycopg

    settings = {"lock_timeout": f"{WAIT_S:.3f}s", **_DEAD_PEER}
    with ExitStack() as stack:
        try:
            connection = psycopg.connect(_libpq(uri), autocommit=True, connect_timeout=10)
            stack.enter_context(closing(connection))
            for setting, value in settings.items():
                connection.execute("SELECT set_config(%s, %s, false)", (setting, value))
            connection.execute("SELECT pg_advisory_lock(hashtext(%s))", (name,))
        except psycopg.errors.LockNotAvailable:
            raise _taken(name) from None
        except psycopg.Error as error:
            # what the driver says may repeat the password
            kind = type(error).__name__
            raise LockError(f"PostgreSQL, which keeps the lock, cannot be used ({kind})") from None
        yield


def _libpq(uri: str) -> str:
    """The URI without SQLAlchemy's choice of a driver."""
    return f"postgresql:{uri.partition(':')[2]}"


@contextmanager
def _file_lock(name: str, uri: str) -> Iterator[None]:
    from filelock import FileLock, Timeout

    database = uri.partition(":///")[2].partition("?")[0]
    path = Path(f"{Path(database).resolve()}.lock")
    lock = FileLock(path, timeout=WAIT_S)
    try:
        lock.acquire()
    except Timeout:
        raise _taken(name) from None
    except OSError as error:
        raise LockError(f"{path}: cannot be locked: {error.strerror}") from None
    try:
        yield
    finally:
        lock.release()


def _taken(name: str) -> LockError:
    return LockError(
        f"another promotion or rollback of {name} has held the lock for {WAIT_S:.0f} s; "
        "try again when it is done"
    )
