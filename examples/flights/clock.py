"""Local clock times to UTC, and when a flight landed.

The data give local clock times: New York's for departures, the destination's for arrivals.
All times here are int64 minutes since the Unix epoch; "local" ones count minutes as the
local calendar shows them. Zone rules come from `zoneinfo`, one look-up per distinct hour.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]

HOUR, DAY = 60, 24 * 60
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def local_minutes(year: IntArray, month: IntArray, day: IntArray, hhmm: IntArray) -> IntArray:
    """Calendar date and clock reading (517 is 5:17; 2400 is the end of the day) in local minutes."""
    months = (year - 1970) * 12 + (month - 1)
    first = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    return (first + day - 1) * DAY + (hhmm // 100) * HOUR + hhmm % 100


def to_utc(local: IntArray, zone: str) -> IntArray:
    """Local minutes in `zone` to UTC minutes.

    A reading that the autumn change makes twice is taken as the first of the two; one that
    the spring change leaves out is read with the offset before the change.
    """
    tz = ZoneInfo(zone)
    hours, place = np.unique(local // HOUR, return_inverse=True)
    offsets = [(_EPOCH + timedelta(hours=int(hour))).replace(tzinfo=tz).utcoffset() for hour in hours]
    return local - _minutes(offsets)[place]


def utc_offset(utc: IntArray, zone: str) -> IntArray:
    """What `zone`'s clock shows minus UTC, in minutes, at the UTC minutes given."""
    tz = ZoneInfo(zone)
    hours, place = np.unique(utc // HOUR, return_inverse=True)
    offsets = [(_EPOCH + timedelta(hours=int(hour))).astimezone(tz).utcoffset() for hour in hours]
    return _minutes(offsets)[place]


def landing(departed: IntArray, clock: IntArray, zone: str) -> IntArray:
    """UTC minutes at which flights landed whose destination's clock then read `clock` (hhmm).

    The data give no arrival date. No flight from New York takes a day, so the landing is the
    first moment after departure with that reading; the offset is looked up again at that
    moment, for flights in the air when the destination changes its clocks.
    """
    reading = (clock // 100) * HOUR + clock % 100
    landed = departed
    for _ in range(2):
        leaving_by_its_clock = departed + utc_offset(landed, zone)
        flown = (reading - leaving_by_its_clock) % DAY
        landed = departed + flown
    return landed


def _minutes(offsets: list[timedelta | None]) -> IntArray:
    return np.array([0 if o is None else round(o.total_seconds() / 60) for o in offsets], dtype=np.int64)
