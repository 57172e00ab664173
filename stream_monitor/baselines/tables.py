"""Tables in files as chunks of columns: Parquet, CSV and JSON lines read alike.

A chunk's column is what an event's would be: numbers, categories (strings and booleans), or
both readings where values are mixed; an embedding (a list of numbers) gives `<name>.norm`,
`<name>.mean` and its vectors. Readings are per value, so they do not depend on where a chunk ends.

CSV has no types. A field that reads as a number is one; true and false (also True, TRUE, ...)
are booleans; an empty field and NA, N/A, NaN, nan, NULL, null are missing; all else is text. In a
column of texts (`types`) whatever is not missing is text.
"""

from __future__ import annotations

import gzip
from collections.abc import Collection, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from stream_monitor.errors import BaselineError
from stream_monitor.events.arrow_columns import category, numbers, vector
from stream_monitor.events.columns import (
    MISTYPED,
    CategoryColumn,
    Column,
    FloatArray,
    IntArray,
    NumberColumn,
    VectorColumn,
)
from stream_monitor.events.rows import category_name, columns_and_vectors, vector_summaries, vectors_of

_ABSENT = ["", "NA", "N/A", "NaN", "nan", "NULL", "null"]
_NUMBER = r"^[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|(?i:inf|infinity))$"
_TRUE, _FALSE = r"^(true|True|TRUE)$", r"^(false|False|FALSE)$"
_CSV_BLOCK = 4 * 1024 * 1024
_JSON_KINDS = frozenset({float, int, str, bool, type(None)})


class Chunk:
    """Some rows of a file: `names` in the file's order, and each column by its name."""

    def __init__(self, source: str, names: list[str], rows: int) -> None:
        self.source, self.names, self.rows = source, names, rows

    def __len__(self) -> int:
        return self.rows

    def raw(self, name: str) -> list[Any]:
        """The column's values as Python objects, for times, ids and versions."""
        raise NotImplementedError

    def micros(self, name: str) -> IntArray | None:  # noqa: ARG002 - text formats have no such type
        """Microseconds UTC where the file stores the column as a time, else None."""
        return None

    def columns(self, names: list[str]) -> dict[str, Column]:
        """The readings of those columns, under their names and the names derived from them."""
        return self.read(names)[0]

    def read(
        self, names: list[str], texts: Collection[str] = ()
    ) -> tuple[dict[str, Column], dict[str, VectorColumn]]:
        """The same, `texts` as strings whatever they look like, and the embeddings' vectors."""
        raise NotImplementedError


def read_chunks(path: str | Path, rows: int) -> Iterator[Chunk]:
    """Chunks of `rows` rows each (the last one may hold less), in the file's order.

    The format follows from the name: .parquet or .pq, .csv, .jsonl or .ndjson, the last two
    also with .gz. `BaselineError` names the file and what is wrong with it.
    """
    path = Path(path)
    kind = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    reader = {
        ".parquet": _read_parquet,
        ".pq": _read_parquet,
        ".csv": _read_csv,
        ".jsonl": _read_json_lines,
        ".ndjson": _read_json_lines,
    }.get(kind.lower())
    if reader is None:
        raise BaselineError(f"{path}: not a format that is read; give .parquet, .csv or .jsonl")
    if path.is_dir():
        raise BaselineError(f"{path}: is a directory; name the files in it")
    try:
        yield from reader(path, rows)
    except OSError as error:
        if isinstance(error, pa.ArrowException):
            raise BaselineError(_unreadable(path, error)) from error
        raise BaselineError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (pa.ArrowException, EOFError, UnicodeDecodeError) as error:
        raise BaselineError(_unreadable(path, error)) from error


def _unreadable(path: Path, error: Exception) -> str:
    said = " ".join(str(error).split())[:200].rstrip(".")
    if "Empty CSV" in said or "file size is 0" in said:
        return f"{path}: the file is empty; give one with a header and rows"
    if "magic bytes" in said:
        return f"{path}: is no Parquet file, or was cut short; write it again, or give it its true suffix"
    return f"{path}: cannot be read as {path.suffix}: {said}"


class _ArrowChunk(Chunk):
    """Rows of Parquet or, with `textual`, of CSV, whose columns are all strings."""

    def __init__(self, source: str, table: pa.Table, *, textual: bool) -> None:
        super().__init__(source, list(table.column_names), table.num_rows)
        self._table, self._textual = table, textual

    def _array(self, name: str) -> pa.Array:
        array = self._table.column(name).combine_chunks()
        return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array

    def raw(self, name: str) -> list[Any]:
        values: list[Any] = self._array(name).to_pylist()
        return values

    def micros(self, name: str) -> IntArray | None:
        array = self._array(name)
        if not (pa.types.is_timestamp(array.type) or pa.types.is_date(array.type)):
            return None
        if array.null_count:
            row = int(np.flatnonzero(np.asarray(array.is_null()))[0])
            raise BaselineError(
                f"{self.source}: column {name!r}: a time is missing, first {row} rows into this chunk; "
                "leave such rows out"
            )
        # A time without a zone is UTC already; finer than a microsecond is cut.
        stamps = array.cast(pa.timestamp("us", getattr(array.type, "tz", None)), safe=False)
        return np.asarray(stamps.view(pa.int64()), np.int64)

    def read(
        self, names: list[str], texts: Collection[str] = ()
    ) -> tuple[dict[str, Column], dict[str, VectorColumn]]:
        found: dict[str, Column] = {}
        derived: dict[str, Column] = {}
        vectors: dict[str, VectorColumn] = {}
        for name in names:
            array = self._array(name)
            if self._textual and name in texts:
                found[name] = category(array)
            elif self._textual:
                found.update(_text_readings(name, array))
            elif _is_vector(array.type):
                columns, vectors[name] = _vector_columns(name, array)
                derived.update(columns)
            else:
                found[name] = _typed_column(self.source, name, array)
        return derived | found, vectors  # what the file itself gives under a derived name wins


def _typed_column(source: str, name: str, array: pa.Array) -> Column:
    kind = array.type
    if pa.types.is_dictionary(kind) and not _is_text(kind.value_type):
        array = array.dictionary_decode()
        kind = array.type
    if pa.types.is_null(kind):
        return NumberColumn(np.full(len(array), np.nan))
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return NumberColumn(numbers(array))
    if pa.types.is_decimal(kind):
        return NumberColumn(numbers(array.cast(pa.float64())))
    if pa.types.is_dictionary(kind) or pa.types.is_boolean(kind):
        return category(array)
    if _is_text(kind):
        return category(array.cast(pa.large_string()))
    # A column of times that came here was not mapped, which is more likely forgotten than meant.
    times = pa.types.is_timestamp(kind) or pa.types.is_date(kind)
    role = "name it under `columns.timestamp` if it is the rows' time, or " if times else ""
    raise BaselineError(
        f"{source}: column {name!r} has type {kind}, which is no feature; {role}"
        "name the features that you want under `features`"
    )


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_vector(kind: pa.DataType) -> bool:
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return bool(lists and (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)))


def _vector_columns(name: str, array: pa.Array) -> tuple[dict[str, Column], VectorColumn]:
    """Norm, mean and rows of an embedding; its length may differ from row to row."""
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
    norm, mean = np.full(len(array), np.nan), np.full(len(array), np.nan)
    parts: list[tuple[IntArray, FloatArray]] = []
    for length in sorted(set(lengths.tolist()) - {0}):
        rows = np.flatnonzero(lengths == length)
        flat = pc.list_flatten(array.take(pa.array(rows))).cast(pa.float64())
        matrix = vector(pa.FixedSizeListArray.from_arrays(flat, int(length)))
        norm[rows], mean[rows] = vector_summaries(matrix)
        parts.append((rows, matrix))
    columns: dict[str, Column] = {f"{name}.norm": NumberColumn(norm), f"{name}.mean": NumberColumn(mean)}
    return columns, vectors_of(parts, len(array))


def _text_readings(name: str, array: pa.Array) -> dict[str, Column]:
    """The one or two readings of a CSV column, value by value."""
    number = pc.fill_null(pc.match_substring_regex(array, _NUMBER), False)
    nothing = pa.scalar(None, array.type)
    values = numbers(pc.if_else(number, array, nothing).cast(pa.float64()))
    is_number = np.asarray(number)
    is_word = np.asarray(array.is_valid()) & ~is_number
    if not is_word.any():
        return {name: NumberColumn(values)}
    words = pc.if_else(number, nothing, array)
    words = pc.replace_substring_regex(pc.replace_substring_regex(words, _TRUE, "true"), _FALSE, "false")
    column = category(words)
    if not is_number.any():
        return {name: column}
    codes = np.where(is_number, np.int32(MISTYPED), column.codes)
    return {
        name: NumberColumn(values, mistyped=is_word),
        category_name(name): CategoryColumn(codes, column.categories),
    }


class _JsonChunk(Chunk):
    def __init__(self, source: str, rows: list[dict[str, Any]]) -> None:
        super().__init__(source, list(dict.fromkeys(chain.from_iterable(rows))), len(rows))
        self._rows = rows

    def raw(self, name: str) -> list[Any]:
        return [row.get(name) for row in self._rows]

    def read(
        self,
        names: list[str],
        texts: Collection[str] = (),  # noqa: ARG002 - JSON says which values are strings
    ) -> tuple[dict[str, Column], dict[str, VectorColumn]]:
        wanted = frozenset(names)
        rows = [{key: value for key, value in row.items() if key in wanted} for row in self._rows]
        for row in rows:
            for key, value in row.items():
                if type(value) not in _JSON_KINDS and not _is_numbers(value):
                    self._refuse(key, value)
        # An empty list has neither norm nor mean: missing, as null is.
        rows = [{key: None if value == [] else value for key, value in row.items()} for row in rows]
        found, vectors = columns_and_vectors(rows)
        # A column of lists only is not a feature itself: nothing but what is derived counts.
        lists = {key for row in rows for key, value in row.items() if type(value) is list}
        plain = {
            key for row in rows for key, value in row.items() if type(value) in _JSON_KINDS - {type(None)}
        }
        for name in lists - plain:
            found.pop(name, None)
        return found, vectors

    def _refuse(self, name: str, value: Any) -> NoReturn:
        raise BaselineError(
            f"{self.source}: column {name!r} holds a {type(value).__name__} such as "
            f"{str(value)[:60]}, which is no feature; name the features that you want under `features`"
        )


def _is_numbers(value: Any) -> bool:
    return type(value) is list and {type(item) for item in value} <= {int, float}


def _read_parquet(path: Path, rows: int) -> Iterator[Chunk]:
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        for table in _rechunk(file.iter_batches(rows), schema, rows):
            yield _ArrowChunk(str(path), table, textual=False)


def _read_csv(path: Path, rows: int) -> Iterator[Chunk]:
    read = pa_csv.ReadOptions(block_size=_CSV_BLOCK)
    parse = pa_csv.ParseOptions(newlines_in_values=True)
    with pa.input_stream(str(path), compression="detect") as stream:
        names = pa_csv.open_csv(stream, read, parse).schema.names
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise BaselineError(f"{path}: column {twice!r} occurs twice in the header")
    convert = pa_csv.ConvertOptions(
        column_types={name: pa.string() for name in names}, null_values=_ABSENT, strings_can_be_null=True
    )
    with pa.input_stream(str(path), compression="detect") as stream:
        reader = pa_csv.open_csv(stream, read, parse, convert)
        for table in _rechunk(reader, reader.schema, rows):
            yield _ArrowChunk(str(path), table, textual=True)


def _rechunk(batches: Iterator[pa.RecordBatch], schema: pa.Schema, rows: int) -> Iterator[pa.Table]:
    """Tables of exactly `rows` rows, so that results do not depend on row groups or blocks."""
    held: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        rest = batch
        while count + rest.num_rows >= rows:
            take = rows - count
            yield pa.Table.from_batches([*held, rest.slice(0, take)], schema)
            rest = rest.slice(take)
            held, count = [], 0
        if rest.num_rows:
            held.append(rest)
            count += rest.num_rows
    if held:
        yield pa.Table.from_batches(held, schema)


def _read_json_lines(path: Path, rows: int) -> Iterator[Chunk]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as file:
        lines = ((number, line) for number, line in enumerate(file, 1) if line.strip())
        while part := list(islice(lines, rows)):
            yield _JsonChunk(str(path), [_object(path, number, line) for number, line in part])


def _object(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise BaselineError(f"{path}: line {number} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise BaselineError(f"{path}: line {number} is a {type(value).__name__}, not an object")
    return value
