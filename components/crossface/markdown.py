"""Text from outside in Markdown."""

import re

_MARKUP = re.compile(r"([\\`*_\[\]<>|&~#$])")


def plain(words: str) -> str:
    """On one line, and nothing in it is markup: a dataset may be called ``<script>`` or ``a|b``."""
    return _MARKUP.sub(r"\\\1", " ".join(words.split()))
