"""When a schedule runs: Kubeflow's six fields, seconds first.

KFP's parser (robfig/cron v1) takes the last field to be optional: the five fields of a crontab would be read
as seconds, minutes, hours, days and months, and run at quite other times.
"""

import re

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_FIELDS = (
    ("seconds", 0, 59, ()),
    ("minutes", 0, 59, ()),
    ("hours", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 6, _DAYS),
)
_PART = re.compile(r"(?:([*?])|(\w+)(?:-(\w+))?)(?:/(\d+))?")


def fault(cron: str) -> str:
    """What is wrong with an expression; empty when nothing is."""
    fields = cron.split()
    if len(fields) != len(_FIELDS):
        names = ", ".join(name for name, *_ in _FIELDS)
        return f"has {len(fields)} fields, and Kubeflow wants {len(_FIELDS)}: {names}"
    for text, (name, least, most, words) in zip(fields, _FIELDS, strict=True):
        if not all(_is_part(part, least, most, words) for part in text.split(",")):
            return f"{name}: {text!r} is not of {least}-{most}"
    return ""


def _is_part(text: str, least: int, most: int, words: tuple[str, ...]) -> bool:
    if not (match := _PART.fullmatch(text)):
        return False
    anything, first, last, step = match.groups()
    if step is not None and int(step) == 0:
        return False
    if anything:
        return True
    ends = [_number(end, least, words) for end in (first, last or first)]
    return least <= ends[0] <= ends[1] <= most


def _number(text: str, least: int, words: tuple[str, ...]) -> int:
    if text.isdecimal():
        return int(text)
    return words.index(text.upper()) + least if text.upper() in words else -1
