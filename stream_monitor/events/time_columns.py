"""Event times, many at once: the columns' side of `times`, whose grammar and limits hold here.

Texts of one length are read as a matrix, a row per character, because a call per event
would cost more than all else that is done to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stream_monitor.events.times import EARLIEST, LATEST, SECOND, explain

if TYPE_CHECKING:
    from stream_monitor.events.columns import FloatArray, IntArray

_BoolArray = NDArray[np.bool_]
_SHORTEST, _LONGEST = 19, 40
_DIGITS = (0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18)
_PLUS, _MINUS, _DOT, _COMMA, _COLON, _ZERO = 43, 45, 46, 44, 58, 48


def parse_times(stamps: Sequence[object]) -> tuple[IntArray, dict[int, str]]:
    """Times of `stamps` (str, int or float each) and, by row, what is wrong with the others.

    Returns an int64 array of shape (n,) in microseconds UTC (0 where wrong) and a dict of
    row -> message. Numbers are milliseconds since the epoch.
    """
    kinds = set(map(type, stamps))
    if kinds == {str}:
        times, ok = _from_text(stamps)  # type: ignore[arg-type]
    elif kinds <= {int, float}:
        times, ok = _from_numbers(stamps)  # type: ignore[arg-type]
    else:
        times = np.zeros(len(stamps), np.int64)
        ok = np.zeros(len(stamps), np.bool_)
        text = [row for row, stamp in enumerate(stamps) if type(stamp) is str]
        numbers = [row for row, stamp in enumerate(stamps) if type(stamp) in (int, float)]
        times[text], ok[text] = _from_text([str(stamps[row]) for row in text])
        times[numbers], ok[numbers] = _from_numbers([stamps[row] for row in numbers])  # type: ignore[misc]
    ok &= (times >= EARLIEST) & (times < LATEST)
    if ok.all():
        return times, {}
    wrong = {row: explain(stamps[row]) for row in np.flatnonzero(~ok).tolist()}
    times[~ok] = 0
    return times, wrong


def check_times(times: IntArray) -> _BoolArray:
    """Which of `times` (int64 microseconds, any shape) lie between 2000 and 2100."""
    return (times >= EARLIEST) & (times < LATEST)


def _from_numbers(stamps: Sequence[float]) -> tuple[IntArray, _BoolArray]:
    # Milliseconds up to the year 2100 times 1000 are below 2**53, so float64 is exact here.
    milliseconds: FloatArray = np.array(stamps, dtype=np.float64)
    ok = np.abs(milliseconds) < 1e13
    return np.rint(np.where(ok, milliseconds, 0.0) * 1000.0).astype(np.int64), ok


def _from_text(texts: Sequence[str]) -> tuple[IntArray, _BoolArray]:
    times = np.zeros(len(texts), np.int64)
    ok = np.zeros(len(texts), np.bool_)
    lengths = set(map(len, texts))
    if len(lengths) == 1:
        length = lengths.pop()
        return _one_length(texts, length) if _SHORTEST <= length <= _LONGEST else (times, ok)
    each = np.fromiter(map(len, texts), np.int64, len(texts))
    for length in sorted(lengths):
        if _SHORTEST <= length <= _LONGEST:
            rows = np.flatnonzero(each == length)
            times[rows], ok[rows] = _one_length([texts[row] for row in rows.tolist()], length)
    return times, ok


def _one_length(texts: Sequence[str], length: int) -> tuple[IntArray, _BoolArray]:
    """Texts of `length` characters each, read as a matrix: one row of it per character."""
    raw = "".join(texts).encode("ascii", "replace")
    chars = np.ascontiguousarray(np.frombuffer(raw, np.uint8).reshape(len(texts), length).T)
    digits = (chars - np.uint8(_ZERO)).astype(np.int64)  # wraps to > 9 for what is no digit
    ok = (digits[list(_DIGITS)] <= 9).all(axis=0)
    ok &= (chars[4] == _MINUS) & (chars[7] == _MINUS) & (chars[13] == _COLON) & (chars[16] == _COLON)
    ok &= (chars[10] == ord("T")) | (chars[10] == ord(" ")) | (chars[10] == ord("t"))
    year = digits[0] * 1000 + digits[1] * 100 + digits[2] * 10 + digits[3]
    month, day = digits[5] * 10 + digits[6], digits[8] * 10 + digits[9]
    hour, minute = digits[11] * 10 + digits[12], digits[14] * 10 + digits[15]
    second = digits[17] * 10 + digits[18]
    ok &= (month >= 1) & (month <= 12) & (day >= 1) & (hour <= 23) & (minute <= 59)
    ok &= (second <= 59) | ((second == 60) & (minute == 59))  # a leap second
    months = np.where(ok, (year - 1970) * 12 + month - 1, 0)
    first = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    after = (months + 1).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    ok &= day <= after - first
    seconds = (((first + day - 1) * 24 + hour) * 60 + minute) * 60 + second
    width, shift, zone_ok = _zones(chars, digits, length)
    ok &= zone_ok
    micro = np.zeros(len(texts), np.int64)
    for size in set(width.tolist()):
        rows = width == size
        fraction, fraction_ok = _fraction(chars, digits, length - size)
        micro = np.where(rows, fraction, micro)
        ok &= fraction_ok | ~rows
    return np.where(ok, (seconds - shift) * SECOND + micro, 0), ok


def _zones(chars: NDArray[np.uint8], digits: IntArray, length: int) -> tuple[IntArray, IntArray, _BoolArray]:
    """Per row: characters that the zone takes, its offset in seconds, whether it is one."""
    rows = chars.shape[1]
    zulu = (chars[-1] == ord("Z")) | (chars[-1] == ord("z"))
    width, shift = zulu.astype(np.int64), np.zeros(rows, np.int64)
    ok = np.ones(rows, np.bool_)
    for size, at in ((6, (-5, -4, -2, -1)), (5, (-4, -3, -2, -1))):
        if length < _SHORTEST + size or zulu.all():
            continue
        sign = chars[-size]
        here = ((sign == _PLUS) | (sign == _MINUS)) & (width == 0)
        if size == 6:
            here &= chars[-3] == _COLON
        number = [digits[position] for position in at]
        hours, minutes = number[0] * 10 + number[1], number[2] * 10 + number[3]
        fine = (np.max(number, axis=0) <= 9) & (hours <= 23) & (minutes <= 59)
        ok &= fine | ~here
        width[here] = size
        shift = np.where(here & fine, np.where(sign == _MINUS, -60, 60) * (hours * 60 + minutes), shift)
    return width, shift, ok


def _fraction(chars: NDArray[np.uint8], digits: IntArray, end: int) -> tuple[IntArray, _BoolArray]:
    """Microseconds of the characters [19, end), which are nothing or a point and digits."""
    rows = chars.shape[1]
    micro = np.zeros(rows, np.int64)
    if end == _SHORTEST:
        return micro, np.ones(rows, np.bool_)
    if end < _SHORTEST + 2:
        return micro, np.zeros(rows, np.bool_)
    ok = (chars[19] == _DOT) | (chars[19] == _COMMA)
    ok &= (digits[20:end] <= 9).all(axis=0)
    for place, row in zip((100_000, 10_000, 1_000, 100, 10, 1), digits[20 : min(end, 26)], strict=False):
        micro += np.where(ok, row, 0) * place
    return micro, ok
