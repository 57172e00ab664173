"""From rows to columns: dicts of JSON values become typed columns.

What a value says must not depend on the rows that happened to be read with it, or a replay
with another batch size would decide otherwise. So a column is read value by value:

* numbers (or nulls) only: a `NumberColumn` under its name
* strings and booleans (or nulls) only: a `CategoryColumn` under its name
* both: both readings. Under the name a `NumberColumn` that marks what is no number as
  mistyped; under `category_name(name)` a `CategoryColumn` that marks numbers as mistyped.

Whoever knows which kind is expected takes that reading; a column that came in the other
kind alone is mistyped wherever it has a value. A list of numbers (an embedding) becomes the
numbers `<name>.norm` and `<name>.mean`, and is missing under `<name>` itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_monitor.events.columns import (
    MISSING,
    MISTYPED,
    CategoryColumn,
    Column,
    FloatArray,
    NumberColumn,
)

Scalar = float | int | str | bool | None
Row = Mapping[str, Any]
_NUMBERS: frozenset[type] = frozenset({float, int, type(None)})
_WORDS: frozenset[type] = frozenset({str, bool, type(None)})
_SPARSE = 8
_DENSE_CELLS = 1_000_000


def category_name(name: str) -> str:
    """The reserved key of the category reading of a column that mixes numbers and words."""
    return f"{name}\x00category"


def kinds_of(rows: Sequence[dict[str, Any]]) -> set[type]:
    """The types of all values in `rows`."""
    return set(map(type, chain.from_iterable(map(dict.values, rows))))


def is_uniform(rows: Sequence[dict[str, Any]]) -> bool:
    """Whether all rows have the same names in the same order."""
    return all(map(tuple(rows[0]).__eq__, map(tuple, rows)))


def is_sparse(rows: Sequence[dict[str, Any]]) -> bool:
    """Whether a table over all names of `rows` would be much larger than what they hold.

    Then one table per layout is right: memory stays in proportion to the input whatever
    names it invents.
    """
    if not rows or is_uniform(rows):
        return False
    cells = sum(map(len, rows))
    names = len(set(chain.from_iterable(rows)))
    return names * len(rows) > max(_DENSE_CELLS, _SPARSE * cells)


def columns_of(rows: Sequence[dict[str, Any]], kinds: set[type] | None = None) -> dict[str, Column]:
    """Typed columns, each of length len(rows), of rows of JSON scalars and lists of numbers.

    `kinds` is `kinds_of(rows)` where the caller has it already. An absent name is missing.
    """
    if not rows:
        return {}
    kinds = kinds_of(rows) if kinds is None else kinds
    if list in kinds:
        rows = derive(rows)
        kinds = kinds_of(rows)
    if is_uniform(rows):
        names = tuple(rows[0])
        if kinds <= _NUMBERS:
            cells = np.fromiter(
                chain.from_iterable(map(dict.values, rows)), np.float64, len(rows) * len(names)
            )
            block = np.ascontiguousarray(cells.reshape(len(rows), len(names)).T)
            return {name: NumberColumn(values) for name, values in zip(names, block, strict=True)}
        columns: dict[str, Column] = {}
        for name, values in zip(names, zip(*map(dict.values, rows), strict=True), strict=True):
            columns.update(readings(name, values))
        return columns
    columns = {}
    for name in sorted(set(chain.from_iterable(rows))):
        columns.update(readings(name, [row.get(name) for row in rows]))
    return columns


def readings(name: str, values: Sequence[Any]) -> dict[str, Column]:
    """The one or two readings of a column of JSON scalars; see the module's text."""
    kinds = set(map(type, values))
    if kinds <= _NUMBERS:
        return {name: NumberColumn(np.fromiter(values, np.float64, len(values)))}
    if kinds <= _WORDS:
        return {name: category_column(values)}
    word = np.fromiter((type(value) in (str, bool) for value in values), np.bool_, len(values))
    number = np.fromiter((type(value) in (int, float) for value in values), np.bool_, len(values))
    numbers = [value if is_number else None for value, is_number in zip(values, number, strict=True)]
    words = category_column([value if is_word else None for value, is_word in zip(values, word, strict=True)])
    codes = np.where(number, np.int32(MISTYPED), words.codes)
    return {
        name: NumberColumn(np.fromiter(numbers, np.float64, len(values)), mistyped=word),
        category_name(name): CategoryColumn(codes, words.categories),
    }


def category_column(values: Sequence[Any]) -> CategoryColumn:
    """Strings, booleans ("true", "false") and None (missing) as codes; order of appearance."""
    distinct = dict.fromkeys(values)
    index: dict[Any, int] = {}
    names: dict[str, int] = {}
    for value in distinct:
        if value is None:
            index[value] = MISSING
        else:
            text = value if isinstance(value, str) else ("true" if value else "false")
            index[value] = names.setdefault(text, len(names))
    codes = np.fromiter(map(index.__getitem__, values), np.int32, len(values))
    return CategoryColumn(codes, tuple(names))


def derive(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Replace lists of numbers by `<name>.norm` and `<name>.mean`; a sent value wins."""
    found: dict[tuple[str, int], list[tuple[int, list[float]]]] = {}
    result: list[dict[str, Any]] = []
    for at, row in enumerate(rows):
        lists = [name for name, value in row.items() if type(value) is list]
        for name in lists:
            found.setdefault((name, len(row[name])), []).append((at, row[name]))
        result.append({name: row[name] for name in row if name not in lists} if lists else row)
    for (name, length), members in found.items():
        cells = chain.from_iterable(vector for _, vector in members)
        matrix = np.fromiter(cells, np.float64, length * len(members)).reshape(len(members), length)
        norm, mean = vector_summaries(matrix)
        for (at, _), one_norm, one_mean in zip(members, norm.tolist(), mean.tolist(), strict=True):
            result[at].setdefault(f"{name}.norm", one_norm)
            result[at].setdefault(f"{name}.mean", one_mean)
    return result


def vector_summaries(matrix: NDArray[np.float64]) -> tuple[FloatArray, FloatArray]:
    """Euclidean norm and mean of each row of a C-contiguous matrix (n, d), d >= 1.

    Sums run along the contiguous axis, row by row, so a row's result does not depend on the
    rows beside it (no BLAS, no einsum).
    """
    with np.errstate(over="ignore", invalid="ignore"):
        norm = np.sqrt(np.add.reduce(matrix * matrix, axis=1))
        mean = np.add.reduce(matrix, axis=1) / matrix.shape[1]
    return norm, mean
