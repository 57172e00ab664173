"""Event times: RFC 3339 text and milliseconds to microseconds UTC, one at a time.

The grammar is RFC 3339 (a superset of what `datetime.isoformat` writes with a time), with
three liberties that loggers take: no zone means UTC, the zone may lack its colon, and the
fraction may have any number of digits (those past the sixth are cut). It is checked here
and not by the platform's parser, because those differ between versions and between one
value and many: what a time means must not depend on the batch it came in. `time_columns`
does the same for many at once; a test holds the two equal.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime

SECOND = 1_000_000
EARLIEST = 946_684_800 * SECOND
"""2000-01-01T00:00:00Z in microseconds; an event before it has a wrong clock or unit."""
LATEST = 4_102_444_800 * SECOND
"""2100-01-01T00:00:00Z in microseconds."""

_LONGEST = 40
_EPOCH = date(1970, 1, 1).toordinal()
_DAYS_IN_400_YEARS = 146_097
_TEXT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(?:[Zz]|([+-])(\d\d):?(\d\d))?", re.ASCII
)
_FORMAT_HELP = "send RFC 3339 text such as 2026-01-31T12:00:00.5Z, or milliseconds since 1970"


def parse_time(stamp: object) -> int | None:
    """Microseconds UTC of one stamp (text, or a number of milliseconds since 1970).

    None where it is no time between 2000 and 2100; `explain` says why.
    """
    time: int | None = None
    if type(stamp) is str:
        time = _from_text(stamp)
    elif (type(stamp) is int or type(stamp) is float) and abs(stamp) < LATEST / 1000:
        # Below 2**53 after the product, so that float64 is exact to the microsecond.
        time = round(float(stamp) * 1000.0)
    return time if time is not None and EARLIEST <= time < LATEST else None


def explain(stamp: object) -> str:
    """Why a timestamp was refused, naming the likely unit of a number out of range."""
    if type(stamp) is int or type(stamp) is float:
        for unit, in_seconds in (("seconds", 1.0), ("microseconds", 1e6), ("nanoseconds", 1e9)):
            if EARLIEST / SECOND <= stamp / in_seconds < LATEST / SECOND:
                return f"$.timestamp: {stamp!r} looks like {unit}; send milliseconds since 1970"
        return f"$.timestamp: {stamp!r} ms is outside 2000-01-01 to 2100-01-01"
    if type(stamp) is str:
        if _from_text(stamp) is not None:
            return f"$.timestamp: {stamp} is outside 2000-01-01 to 2100-01-01"
        return f"$.timestamp: {stamp[:_LONGEST]!r} is not a time; {_FORMAT_HELP}"
    return f"$.timestamp: {type(stamp).__name__} is not a time; {_FORMAT_HELP}"


def rfc3339(microseconds: int) -> str:
    """`microseconds` UTC as text with a Z; the fraction is written only where there is one."""
    seconds, micro = divmod(microseconds, SECOND)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{micro:06d}Z" if micro else f"{text}Z"


def from_rfc3339(text: str) -> int:
    """Microseconds UTC of one RFC 3339 text; ValueError where it is none."""
    time = _from_text(text)
    if time is None:
        raise ValueError(f"{text[:_LONGEST]!r} is not a time; {_FORMAT_HELP}")
    return time


def _from_text(text: str) -> int | None:
    found = _TEXT.fullmatch(text) if len(text) <= _LONGEST else None
    if found is None:
        return None
    year, month, day, hour, minute, second = map(int, found.group(1, 2, 3, 4, 5, 6))
    if hour > 23 or minute > 59 or second > 60 or (second == 60 and minute < 59):  # a leap second
        return None
    try:
        # The calendar repeats every 400 years; `date` knows no year 0.
        days = date(2000 + year % 400, month, day).toordinal() + (year // 400 - 5) * _DAYS_IN_400_YEARS
    except ValueError:
        return None
    micro = int((found[7] or "").ljust(6, "0")[:6])
    sign, hours, minutes = found.group(8, 9, 10)
    shift = 0
    if sign:
        if int(hours) > 23 or int(minutes) > 59:
            return None
        shift = (int(hours) * 60 + int(minutes)) * (-60 if sign == "-" else 60)
    seconds = (((days - _EPOCH) * 24 + hour) * 60 + minute) * 60 + second - shift
    return seconds * SECOND + micro
