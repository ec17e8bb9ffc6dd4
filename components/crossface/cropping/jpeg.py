"""JPEG files as their decoder does not show them: how many scans they hold, where their height stands."""

import io

MAX_SCANS = 500
"""A progressive photo has about ten scans. Thousands of them, of a few bytes each, keep a decoder busy for
hours (libjpeg-turbo.org, "Two issues with the JPEG standard and their mitigation", 2.1)."""

_START_OF_SCAN = b"\xff\xda"
_END = b"\xff\xd9"
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # start of frame; the others are tables
_END_OF_HEADER = frozenset({0xD8, 0xD9, 0xDA})


def scans(data: bytes) -> int:
    """Number of scans, at most; segments of metadata can hold what looks like one."""
    return data.count(_START_OF_SCAN)


def shorten(data: bytes, rows: int) -> io.BytesIO | None:
    """The same photo without what lies below its first ``rows`` rows, as far as a decoder is concerned.

    Rows are coded from top to bottom, in every scan, so a decoder that is told a smaller height stops early
    and then skips to the end of the file, many times as fast as it decodes. Only the last row can differ
    from that of the whole photo: where colour is subsampled, it lacks the neighbour below it.

    Args:
        data: a JPEG file.
        rows: from 1.

    Returns:
        The shorter photo, or None if it would be no shorter, if the header is unusual, or if the file has no
        end: who decodes all of a truncated photo will notice.
    """
    place = _height_place(data)
    if place is None or int.from_bytes(data[place : place + 2], "big") <= rows:
        return None
    if data.rfind(_END, place) < 0:
        return None
    shorter = io.BytesIO(data)
    shorter.getbuffer()[place : place + 2] = rows.to_bytes(2, "big")
    return shorter


def _height_place(data: bytes) -> int | None:
    """Where the height stands in the frame header (ITU T.81, B.2.2): two bytes, the highest first."""
    place = 2  # after the start of the image
    while place + 9 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker in _FRAMES:
            return place + 5
        if marker in _END_OF_HEADER:
            return None
        if marker == 0xFF:  # a filler
            place += 1
        else:
            place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return None
