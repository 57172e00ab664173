"""The stream's timetable: what is due when, many days of 2013 in each second. It knows no Kafka."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]

TICK_SECONDS = 0.05
MAX_STEP = 12 * 60
"""Minutes of event time in one step at most, however late the playback is."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Step:
    """What happens up to `minute` (UTC minutes since the epoch) and had not happened before."""

    minute: int
    departed: IntArray  # rows whose prediction is due
    landed: IntArray  # rows whose label is due


def playback(
    departed: IntArray,
    landed: IntArray,
    *,
    speed: float,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Step]:
    """Play event time at `speed` event seconds a second, from the first departure on.

    `departed` ascends; `landed` is -1 where no landing is known. Every row comes once as
    departed and, if it landed, once as landed, in the order of time and never landed first.
    Where the caller is slower than `speed`, the playback is late; it skips nothing.
    """
    takes_off = np.arange(len(departed), dtype=np.int64)
    touches_down = np.argsort(landed, kind="stable")[int((landed < 0).sum()) :]
    landings = landed[touches_down]
    end = int(max(departed[-1], landed.max()))
    began = now()
    gone = down = 0
    minute = int(departed[0]) - 1
    while minute < end:
        due = int(departed[0]) + int((now() - began) * speed / 60)
        minute = min(end, due, minute + MAX_STEP)
        up_to = int(np.searchsorted(departed, minute, side="right"))
        down_to = int(np.searchsorted(landings, minute, side="right"))
        yield Step(minute, takes_off[gone:up_to], touches_down[down:down_to])
        gone, down = up_to, down_to
        if minute == due:
            sleep(TICK_SECONDS)


def moment(minute: int) -> datetime:
    """UTC minutes since the epoch as a datetime."""
    return _EPOCH + timedelta(minutes=minute)
