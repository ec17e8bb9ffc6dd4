"""What ``crossface doctor`` says: one line a check, and every check by itself."""

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from crossface.errors import CrossfaceError
from crossface_pipelines.cluster.redaction import redacted


class Finding(NamedTuple):
    """The outcome of one check."""

    state: Literal["ok", "warn", "fail", "skip"]
    subject: str
    text: str
    """What is so, and for a failure what to do."""

    def __str__(self) -> str:
        return redacted(f"{self.state:5} {self.subject}: {' '.join(self.text.split())}")


Check = Callable[[], Iterator[Finding]]


def findings(subject: str, check: Check) -> Iterator[Finding]:
    """Run one check; whatever goes wrong in it is its own failure and hides no other."""
    try:
        yield from check()
    except CrossfaceError as error:
        yield Finding("fail", subject, str(error))
    except Exception as error:
        yield Finding("fail", subject, f"the check itself failed: {type(error).__name__}: {error}")
