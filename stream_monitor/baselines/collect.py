"""Gather one feature's values over many batches, so that how rows were split does not matter.

A feature may come as numbers in one batch and as strings in the next, and one batch may carry
both readings of a column whose values are mixed (see `stream_monitor.events.rows`). The kind
is decided over all rows: a feature is a number where at least as many rows hold numbers as
hold strings, else a category; the rows of the other type are mistyped.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from stream_monitor.baselines.feature import Kind
from stream_monitor.events.columns import (
    MISSING,
    MISTYPED,
    CategoryColumn,
    CodeArray,
    Column,
    FloatArray,
    NumberColumn,
)


class FeatureRows:
    """The rows of one feature as they arrive; rows that no batch gave are missing."""

    def __init__(self) -> None:
        self._numbers: list[tuple[int, FloatArray]] = []
        self._codes: list[tuple[int, CodeArray]] = []
        self._code_of: dict[str, int] = {}
        self._n_numbers = 0
        self._n_strings = 0

    def add(self, start: int, column: Column, strings: Column | None = None) -> None:
        """Add the rows from `start` on; `strings` is the category reading of a mixed column."""
        if isinstance(column, CategoryColumn):
            self._add_codes(start, column)
            return
        held = ~np.isnan(column.values)
        if held.any():
            self._n_numbers += int(held.sum())
            self._numbers.append((start, column.values))
        if isinstance(strings, CategoryColumn):
            self._add_codes(start, strings)
        elif column.mistyped is not None and column.mistyped.any():
            codes = np.where(column.mistyped, MISTYPED, MISSING).astype(np.int32)
            self._codes.append((start, codes))

    def _add_codes(self, start: int, column: CategoryColumn) -> None:
        code_of = self._code_of
        table = np.empty(len(column.categories) + 2, dtype=np.int32)
        # A category that no row holds must not be known: register only those that occur.
        used = np.bincount(column.codes[column.codes >= 0], minlength=len(column.categories)).tolist()
        for code, (category, rows) in enumerate(zip(column.categories, used, strict=True)):
            table[code] = code_of.setdefault(category, len(code_of)) if rows else MISSING
        table[-1], table[-2] = MISSING, MISTYPED
        codes = table[column.codes]
        self._n_strings += int((codes >= 0).sum())
        self._codes.append((start, codes))

    @property
    def kind(self) -> Kind:
        """Number or category, by the majority of all rows; a tie (or no value at all) is a number."""
        return "category" if self._n_strings > self._n_numbers else "number"

    def numbers(self, rows: int) -> NumberColumn:
        """All rows read as numbers; strings are mistyped."""
        values = np.full(rows, np.nan)
        for start, part in self._numbers:
            values[start : start + len(part)] = part
        if not self._codes:
            return NumberColumn(values)
        mistyped = np.zeros(rows, dtype=np.bool_)
        for start, codes in self._codes:
            mistyped[start : start + len(codes)] |= codes != MISSING
        mistyped &= np.isnan(values)  # in a mixed column the numbers are the other reading's mistyped
        return NumberColumn(values, mistyped if mistyped.any() else None)

    def categories(self, rows: int) -> CategoryColumn:
        """All rows read as strings; numbers are mistyped."""
        codes = np.full(rows, MISSING, dtype=np.int32)
        for start, values in self._numbers:
            codes[start : start + len(values)][~np.isnan(values)] = MISTYPED
        for start, part in self._codes:
            rows_given = codes[start : start + len(part)]
            np.copyto(rows_given, part, where=part != MISSING)
        return CategoryColumn(codes, tuple(self._code_of))


def rank_categories(column: CategoryColumn, limit: int) -> list[str]:
    """The `limit` most frequent categories; ties in the order of their names."""
    counts = np.bincount(column.codes[column.codes >= 0], minlength=len(column.categories)).tolist()
    total: Counter[str] = Counter()
    for category, count in zip(column.categories, counts, strict=True):
        total[category] += count
    ranked = sorted((-count, category) for category, count in total.items() if count)
    return [category for _, category in ranked[:limit]]


def finite_sorted(values: FloatArray) -> NDArray[np.float64]:
    """The finite values in order, -0.0 as 0.0."""
    finite = np.sort(values[np.isfinite(values)])
    finite += 0.0  # -0.0 and 0.0 compare equal, but not as bytes
    return finite
