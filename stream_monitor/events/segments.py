"""Which segment a row belongs to: by the event's `segments`, or by a feature of that name.

Read row by row: a row's segment must not depend on the rows that it was read with. What the
event's `segments` say goes before a feature of the same name. Numbers are named as people write
them (`3`, `2.5`), booleans `true` and `false`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from stream_monitor.events.columns import (
    MISSING,
    CategoryColumn,
    Column,
    EventBatch,
    FloatArray,
    IntArray,
    NumberColumn,
)
from stream_monitor.events.rows import category_name

Segments = Mapping[str, Column]
"""Readings by name, those of mixed columns under two names (`events.rows`)."""


def segment_columns(batch: EventBatch, names: Iterable[str]) -> dict[str, Column]:
    """The readings of each segment that the batch has something of."""
    found: dict[str, Column] = {}
    for name in names:
        numbers, words = _readings(batch.features, name)
        said_numbers, said_words = _readings(batch.segments, name)
        here = np.zeros(len(batch), np.bool_)
        if said_numbers is not None:
            here |= ~np.isnan(said_numbers)
        if said_words is not None:
            here |= said_words.codes >= 0
        if here.any():
            numbers = said_numbers if numbers is None else np.where(here, _numbers(said_numbers), numbers)
            words = _over(said_words, here, words)
        if numbers is not None:
            found[name] = NumberColumn(numbers)
        if words is not None:
            found[name if numbers is None else category_name(name)] = words
    return found


def _readings(columns: Segments, name: str) -> tuple[FloatArray | None, CategoryColumn | None]:
    plain, words = columns.get(name), columns.get(category_name(name))
    if isinstance(plain, CategoryColumn):
        return None, plain
    return None if plain is None else plain.values, words if isinstance(words, CategoryColumn) else None


def _numbers(values: FloatArray | None) -> FloatArray | float:
    return np.nan if values is None else values


def _over(
    said: CategoryColumn | None, here: NDArray[np.bool_], words: CategoryColumn | None
) -> CategoryColumn | None:
    """`said` where the row is `here`, `words` elsewhere."""
    if words is None:
        return said
    if said is None:
        return CategoryColumn(np.where(here, np.int32(MISSING), words.codes), words.categories)
    place = {word: code for code, word in enumerate(said.categories)}
    table = np.array([place.setdefault(word, len(place)) for word in words.categories] + [MISSING] * 2)
    return CategoryColumn(np.where(here, said.codes, table[words.codes]).astype(np.int32), tuple(place))


def there(columns: Segments, rows: int) -> NDArray[np.bool_]:
    """Rows that have a value of any segment, shape (rows,)."""
    found = np.zeros(rows, np.bool_)
    for column in columns.values():
        found |= column.codes >= 0 if isinstance(column, CategoryColumn) else ~np.isnan(column.values)
    return found


def value_codes(columns: Segments, name: str, values: Sequence[str], rows: int) -> IntArray:
    """Position in `values` of each row's segment, shape (rows,); len(values) where it is none of them."""
    none = len(values)
    codes = np.full(rows, none, np.int64)
    for key in (name, category_name(name)):
        column = columns.get(key)
        if isinstance(column, CategoryColumn):
            known = {value: code for code, value in enumerate(values)}
            # The last two entries are what "missing" and "mistyped" index.
            table = np.array([known.get(word, none) for word in column.categories] + [none] * 2, np.int64)
            codes = np.minimum(codes, table[column.codes])
        elif isinstance(column, NumberColumn):
            codes = np.minimum(codes, _number_codes(column, values))
    return codes


def _number_codes(column: NumberColumn, values: Sequence[str]) -> IntArray:
    none = len(values)
    known = sorted(
        (number, code) for code, value in enumerate(values) if (number := number_of(value)) is not None
    )
    if not known:
        return np.full(len(column), none, np.int64)
    numbers, codes = np.array([number for number, _ in known]), np.array([code for _, code in known])
    at = np.minimum(numbers.searchsorted(column.values), len(numbers) - 1)
    return np.where(numbers[at] == column.values, codes[at], none)


def label(number: float) -> str:
    """A finite number as the name of a segment's value; equal numbers have equal names."""
    return str(int(number)) if number == math.floor(number) and abs(number) < 2**53 else repr(float(number))


def number_of(value: str) -> float | None:
    """The number that is named so, or None."""
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) and label(number) == value else None
