"""Secrets, kept out of what people and logs get to see."""

import os
import re

SECRETS = (
    "KFP_TOKEN",
    "KFP_COOKIES",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
)
"""Environment variables that hold one."""
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")
_BEARER = re.compile(r"(?<=Bearer )\S+")


def redacted(text: str) -> str:
    """The same text without credentials: those of the environment, bearer tokens, and those in a URL."""
    for value in filter(None, map(os.environ.get, SECRETS)):
        text = text.replace(value, "***")
    return _BEARER.sub("***", _CREDENTIALS.sub("***@", text))
