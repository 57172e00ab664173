"""What panes are compared with, as people write it: `training`, `rolling(7d)`, `seasonal(day)`."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal, NamedTuple

from msgspec import Meta

from stream_monitor.config.durations import PATTERN as DURATION
from stream_monitor.config.durations import parse_duration

PATTERN: Final = rf"training|rolling\({DURATION}\)|seasonal\((day|week)\)"
_WRITTEN: Final = re.compile(PATTERN)
Against = Annotated[
    str,
    Meta(
        pattern=rf"^({PATTERN})$",
        description="`training`, `rolling(7d)` with any duration, `seasonal(day)` or `seasonal(week)`",
    ),
]
BLOCKS: Final = 7
"""Parts of a rolling reference, of equal length: it moves by one of them."""


class Comparison(NamedTuple):
    """What is compared with: the kind, and the length of what rolls (µs) or the cycle of a season."""

    kind: Literal["training", "rolling", "seasonal"]
    length: int = 0
    cycle: Literal["day", "week"] = "day"


def parse_against(text: str) -> Comparison:
    """`ValueError` for anything but the forms of `Against`."""
    found = _WRITTEN.fullmatch(text)
    if found is None:
        raise ValueError(
            f"{text!r} is neither `training` nor `rolling(7d)`, `seasonal(day)`, `seasonal(week)`"
        )
    if text.startswith("rolling"):
        return Comparison("rolling", length=parse_duration(text[len("rolling(") : -1]))
    if text.startswith("seasonal"):
        return Comparison("seasonal", cycle="week" if "week" in text else "day")
    return Comparison("training")
