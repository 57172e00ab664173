"""From rows to columns: dicts of JSON values become typed columns.

What a value says must not depend on the rows that happened to be read with it, or a replay
with another batch size would decide otherwise. So a column is read value by value:

* numbers (or nulls) only: a `NumberColumn` under its name
* strings and booleans (or nulls) only: a `CategoryColumn` under its name
* both: both readings. Under the name a `NumberColumn` that marks what is no number as
  mistyped; under `category_name(name)` a `CategoryColumn` that marks numbers as mistyped.

Whoever knows which kind is expected takes that reading; a column that came in the other
kind alone is mistyped wherever it has a value. A list of numbers (an embedding) becomes the
numbers `<name>.norm` and `<name>.mean` and a row of a `VectorColumn`; it is missing under
`<name>` itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from stream_monitor.events.columns import (
    MISSING,
    MISTYPED,
    CategoryColumn,
    Column,
    FloatArray,
    NumberColumn,
    VectorColumn,
    float32,
)
from stream_monitor.events.table import Table

if TYPE_CHECKING:
    from numpy.typing import NDArray

Scalar = float | int | str | bool | None
Row = Mapping[str, Any]
_NUMBERS: frozenset[type] = frozenset({float, int, type(None)})
_WORDS: frozenset[type] = frozenset({str, bool, type(None)})


def category_name(name: str) -> str:
    """The reserved key of the category reading of a column that mixes numbers and words."""
    return f"{name}\x00category"


def columns_of(rows: Sequence[dict[str, Any]] | Table) -> dict[str, Column]:
    """Typed columns, each of length len(rows), of rows of JSON scalars and lists of numbers.

    An absent name is missing. Of lists there are norm and mean only.
    """
    return columns_and_vectors(rows)[0]


def columns_and_vectors(
    rows: Sequence[dict[str, Any]] | Table,
) -> tuple[dict[str, Column], dict[str, VectorColumn]]:
    """The same, and the lists themselves."""
    table = rows if isinstance(rows, Table) else Table(rows)
    vectors: dict[str, VectorColumn] = {}
    if list in table.kinds:
        plain, vectors = derive(table.rows)
        table = Table(plain)
    count, names = len(table.rows), table.names
    columns: dict[str, Column] = {}
    if names is None:
        for name in sorted(table.all_names()):
            columns.update(readings(name, [row.get(name) for row in table.rows]))
    elif table.kinds <= _NUMBERS:
        cells = np.fromiter(table.cells, np.float64, len(table.cells))
        block = np.ascontiguousarray(cells.reshape(count, len(names)).T)
        columns.update(zip(names, map(NumberColumn, block), strict=True))
    else:
        for at, name in enumerate(names):
            columns.update(readings(name, table.cells[at :: len(names)]))
    return columns, vectors


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


def derive(rows: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, VectorColumn]]:
    """Take lists of numbers out, for `<name>.norm` and `<name>.mean`; a sent value wins."""
    found: dict[tuple[str, int], list[tuple[int, list[float]]]] = {}
    result: list[dict[str, Any]] = []
    for at, row in enumerate(rows):
        lists = [name for name, value in row.items() if type(value) is list]
        for name in lists:
            found.setdefault((name, len(row[name])), []).append((at, row[name]))
        result.append({name: row[name] for name in row if name not in lists} if lists else row)
    parts: dict[str, list[tuple[NDArray[np.int64], FloatArray]]] = {}
    for (name, length), members in found.items():
        cells = chain.from_iterable(vector for _, vector in members)
        matrix = np.fromiter(cells, np.float64, length * len(members)).reshape(len(members), length)
        norm, mean = vector_summaries(matrix)
        for (at, _), one_norm, one_mean in zip(members, norm.tolist(), mean.tolist(), strict=True):
            result[at].setdefault(f"{name}.norm", one_norm)
            result[at].setdefault(f"{name}.mean", one_mean)
        parts.setdefault(name, []).append((np.array([at for at, _ in members]), matrix))
    return result, {name: vectors_of(matrices, len(rows)) for name, matrices in parts.items()}


def vectors_of(parts: Sequence[tuple[NDArray[np.int64], NDArray[Any]]], count: int) -> VectorColumn:
    """A column of `count` rows from matrices (m, d), each with the rows (m,) that it holds."""
    if len(parts) == 1:
        return VectorColumn.of_matrix(parts[0][1], parts[0][0], count)
    lengths = np.zeros(count, np.int32)
    for rows, matrix in parts:
        lengths[rows] = matrix.shape[1]
    starts = np.cumsum(lengths, dtype=np.int64) - lengths
    values = np.empty(int(lengths.sum(dtype=np.int64)), np.float32)
    for rows, matrix in parts:
        values[starts[rows][:, None] + np.arange(matrix.shape[1])] = float32(matrix)
    return VectorColumn(values, lengths)


def vector_summaries(matrix: NDArray[np.float64]) -> tuple[FloatArray, FloatArray]:
    """Euclidean norm and mean of each row of a C-contiguous matrix (n, d), d >= 1.

    Sums run along the contiguous axis, row by row, so a row's result does not depend on the
    rows beside it (no BLAS, no einsum).
    """
    with np.errstate(over="ignore", invalid="ignore"):
        norm = np.sqrt(np.add.reduce(matrix * matrix, axis=1))
        mean = np.add.reduce(matrix, axis=1) / matrix.shape[1]
    return norm, mean
