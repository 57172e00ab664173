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
_DAY, _CLOCK = r"\d{4}-\d\d-\d\d", r"\d\d:\d\d:\d\d(?:[.,]\d+)?"
_FAULTS = tuple(
    (re.compile(pattern, re.ASCII | re.IGNORECASE), fault)
    for pattern, fault in (
        (r"\s*", "it is empty"),
        (r"\d+(?:\.\d+)?", "a number as text; send it as a number, of milliseconds since 1970"),
        (_DAY, "a day without a time; write it as 2026-01-31T00:00:00Z"),
        (rf"{_DAY}[t ]{_CLOCK}\s*[+-]\d\d?", "the zone lacks its minutes; write it as +05:00"),
        (rf"{_DAY}[t ]{_CLOCK}\s+\S.*", "write the zone right behind the time, as Z or +05:30"),
        (rf"{_DAY}[t ]{_CLOCK}[a-z]+.*", "a zone's name is no offset; write Z or +05:30"),
        (rf"{_DAY}[t ]{_CLOCK}[+-]\d\d:?\d\d", "no such time or zone"),
        (rf"{_DAY}[t ]\d\d:\d\d(?:z|[+-].*)?", "it has no seconds; write it as 2026-01-31T12:00:00Z"),
        (
            r"\d\d?[/.]\d\d?[/.]\d{4}.*",
            "day and month in an order that differs by country; write 2026-01-31T12:00:00Z",
        ),
    )
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
    """Why a timestamp of an event was refused, with the likely unit or fault and the remedy."""
    return f"$.timestamp: {time_fault(stamp)}"


def time_fault(stamp: object) -> str:
    """What is wrong with a stamp that `parse_time` does not take, wherever it comes from."""
    if type(stamp) is int or type(stamp) is float:
        for unit, in_seconds in (("seconds", 1.0), ("microseconds", 1e6), ("nanoseconds", 1e9)):
            if EARLIEST / SECOND <= stamp / in_seconds < LATEST / SECOND:
                return f"{stamp!r} looks like {unit}; send milliseconds since 1970"
        return f"{stamp!r} ms is outside 2000-01-01 to 2100-01-01"
    if stamp is None:
        return f"is missing; {_FORMAT_HELP}"
    if type(stamp) is not str:
        return f"{type(stamp).__name__} is not a time; {_FORMAT_HELP}"
    if _from_text(stamp) is not None:
        return f"{stamp} is outside 2000-01-01 to 2100-01-01"
    for pattern, fault in _FAULTS:
        if pattern.fullmatch(stamp):
            return f"{stamp[:_LONGEST]!r} is not a time: {fault}"
    return f"{stamp[:_LONGEST]!r} is not a time; {_FORMAT_HELP}"


def zone_hint(ahead: int) -> str:
    """What a time that lies `ahead` microseconds too late suggests, where it is as far off as a zone.

    Zones lie in quarters of an hour, up to 14 hours east; two minutes for the event's way are allowed.
    """
    quarters = round(ahead / (15 * 60 * SECOND))
    if not 2 <= quarters <= 56 or abs(ahead - quarters * 15 * 60 * SECOND) > 120 * SECOND:
        return ""
    hours, minutes = divmod(quarters * 15, 60)
    zone = f"+{hours:02d}:{minutes:02d}"
    return f"; it is off by as much as a zone: was a local time at UTC{zone} sent as UTC? Then write {zone}"


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
