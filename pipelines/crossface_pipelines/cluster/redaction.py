"""Secrets, kept out of what people and logs get to see."""

import os
import re

from crossface.config import without_credentials

SECRETS = (
    "KFP_TOKEN",
    "KFP_COOKIES",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
)
"""Environment variables that hold one."""
_BEARER = re.compile(r"(?<=Bearer )\S+")
_SHORTEST = 8  # characters of a cookie that is a secret; lang=en would blot out half a message
_remembered: set[str] = set()


def remember(credential: str) -> None:
    """Keep out of every later message what identifies us: a token, or cookies with the values of each."""
    _remembered.add(credential)
    for cookie in credential.split(";"):
        value = cookie.partition("=")[2].strip(' "')
        if len(value) >= _SHORTEST:
            _remembered.add(value)


def redacted(text: str) -> str:
    """The same text without secrets: the environment's, remembered ones, bearer tokens, those in a URL."""
    known = {os.environ.get(name, "").strip() for name in SECRETS} | _remembered
    for value in sorted(filter(None, known), key=len, reverse=True):  # one may be part of another
        text = text.replace(value, "***")
    return _BEARER.sub("***", without_credentials(text))
