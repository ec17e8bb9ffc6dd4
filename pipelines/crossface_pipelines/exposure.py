"""Environment variables that would put a secret where everybody who sees a run sees it."""

import re

_NAMES = re.compile(r"PASSW|(^|_)PASS($|_)|SECRET|TOKEN|CREDENTIAL|(^|_)KEY(_ID)?$", re.IGNORECASE)
_VALUES = re.compile(r"://[^/@\s]*:[^/@\s]*@")


def is_exposed(name: str, value: str) -> bool:
    """Whether a variable looks like a secret: by its name, or by a password in a URL."""
    return bool(_NAMES.search(name) or _VALUES.search(value))
