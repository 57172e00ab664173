"""Durations as people write them (`200ms`, `10s`, `15m`, `1h`, `7d`) and calendar periods."""

from __future__ import annotations

import re
from typing import Final, Literal

MILLISECOND: Final = 1_000
SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

_UNITS: Final = {"ms": MILLISECOND, "s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY}
PATTERN: Final = r"([0-9]{1,9})(ms|s|m|h|d)"
"""How a duration is written: a regular expression that the JSON Schema shares."""
_WRITTEN: Final = re.compile(PATTERN)

Period = Literal["day", "week", "month", "year"]
PERIODS: Final[dict[Period, int]] = {"day": DAY, "week": 7 * DAY, "month": 30 * DAY, "year": 365 * DAY}
"""Length of each period, microseconds; a month is 30 days and a year 365."""


def parse_duration(text: object) -> int:
    """Microseconds of a duration such as `10s`; `ValueError` says what is wrong.

    A bare number is refused, because nobody can tell its unit.
    """
    found = _WRITTEN.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None:
        raise ValueError(
            f"{text!r} is not a duration; write a whole number and ms, s, m, h or d, as in `10s`"
        )
    return int(found[1]) * _UNITS[found[2]]


def duration_name(length: int) -> str:
    """A duration in microseconds as people write it: `200ms`, `10s`, `15m`, `1h`, `7d`."""
    for unit, size in (("d", DAY), ("h", HOUR), ("m", MINUTE), ("s", SECOND)):
        if length and length % size == 0:
            return f"{length // size}{unit}"
    return f"{length // MILLISECOND}ms" if length else "0s"
