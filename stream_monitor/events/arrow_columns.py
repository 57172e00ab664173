"""Arrow arrays to columns and back: which types are read, and as what.

Read: integers, floats, booleans, strings, dictionaries of strings, fixed-size lists of
floats. All else (nested, decimal, binary, views, dates) is refused by name, since nobody
could say which number or category it is meant to be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stream_monitor.errors import EventError
from stream_monitor.events.columns import MISSING, CategoryColumn, Column, FloatArray, NumberColumn
from stream_monitor.events.event_json import MAX_VECTOR
from stream_monitor.events.rows import readings

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FLOATS = frozenset({pa.float16(), pa.float32(), pa.float64()})
_NUMBERS = _FLOATS | {
    pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64(),
}  # fmt: skip
_STRINGS = frozenset({pa.string(), pa.large_string()})
_INDICES = (pa.int8(), pa.int16(), pa.int32(), pa.uint8(), pa.uint16())
_DICTIONARIES = frozenset(
    pa.dictionary(index, value, ordered)
    for index in _INDICES
    for value in _STRINGS
    for ordered in (False, True)
)
CATEGORY_TYPES = _STRINGS | _DICTIONARIES | {pa.bool_()}
_SCALARS = _NUMBERS | CATEGORY_TYPES


def is_readable(name: str, kind: pa.DataType) -> bool:
    """Whether a pack's column `name` may have the Arrow type `kind`."""
    if name == "timestamp":
        return pa.types.is_timestamp(kind) and kind.tz in (None, "UTC", "Etc/UTC", "+00:00")
    if name in ("id", "trace"):
        return kind in _STRINGS
    if name == "error":
        return bool(kind == pa.bool_())
    if name == "latency_ms" or name.startswith("p:"):
        return kind in _NUMBERS
    if name.startswith("s:"):
        return kind in _STRINGS or kind in _DICTIONARIES
    if name.startswith("f:") and pa.types.is_fixed_size_list(kind):
        return kind.value_type in _FLOATS and 1 <= kind.list_size <= MAX_VECTOR
    return kind in _SCALARS


def number_or_category(array: pa.Array) -> Column:
    """The column that an array of a readable scalar type stands for."""
    return NumberColumn(numbers(array)) if array.type in _NUMBERS else category(array)


def numbers(array: pa.Array) -> FloatArray:
    """Any number type as float64; null is NaN."""
    floats = array if array.type == pa.float64() else array.cast(pa.float64(), safe=False)
    return _plain(floats, np.dtype(np.float64), math.nan)


def flags(array: pa.Array) -> NDArray[np.bool_]:
    """A boolean array; null is False."""
    return _plain(array.cast(pa.int8()), np.dtype(np.int8), 0).astype(np.bool_)


def _plain(array: pa.Array, dtype: np.dtype[Any], null: float) -> NDArray[Any]:
    """The values of a fixed-width array, nulls replaced; a view where there are none.

    Not `to_numpy`: where pandas is installed that imports it, which takes a second.
    """
    filled = pc.fill_null(array, null) if array.null_count else array
    data = filled.buffers()[1]
    if data is None or not len(filled):
        return np.zeros(0, dtype)
    return np.frombuffer(data, dtype, len(filled), filled.offset * dtype.itemsize)


def category(array: pa.Array) -> CategoryColumn:
    """Strings, dictionaries of strings, or booleans; null is missing."""
    if array.type == pa.bool_():
        codes = _plain(array.cast(pa.int8()).cast(pa.int32()), np.dtype(np.int32), MISSING)
        return CategoryColumn(codes, ("false", "true"))
    if not pa.types.is_dictionary(array.type):
        array = array.dictionary_encode()
    indices = array.indices.cast(pa.int32())
    codes = _plain(indices, np.dtype(np.int32), MISSING)
    words = array.dictionary.to_pylist()
    if array.dictionary.null_count:
        # A dictionary may hold null as an entry: rows that point at it are missing.
        null = np.array([*(word is None for word in words), False])
        codes = np.where(null[codes], np.int32(MISSING), codes)
        words = ["" if word is None else word for word in words]
    return CategoryColumn(codes, tuple(words))


def vector(array: pa.Array) -> NDArray[np.float64]:
    """A fixed-size list array as a matrix (n, d); null rows and items are NaN."""
    size = array.type.list_size
    values = numbers(array.values)[array.offset * size : (array.offset + len(array)) * size]
    matrix = values.reshape(len(array), size)
    if array.null_count:
        matrix = np.where(np.asarray(array.is_null())[:, None], np.nan, matrix)
    return np.ascontiguousarray(matrix)


def texts(array: pa.Array) -> tuple[str, ...]:
    """The strings of a string array."""
    return tuple(array.to_pylist())


def to_arrow(name: str, values: Column | NDArray[np.float64] | Sequence[object]) -> pa.Array:
    """What a pack stores for a column, an array of shape (n,) or (n, d), or JSON scalars."""
    if isinstance(values, np.ndarray):
        if values.ndim == 2:
            return pa.FixedSizeListArray.from_arrays(float_array(values.reshape(-1)), values.shape[1])
        return float_array(values)
    if not isinstance(values, NumberColumn | CategoryColumn):
        found = readings(name, values)
        if len(found) > 1:
            raise EventError("field_type", f"column {name!r} mixes numbers and strings; send JSON")
        values = found[name]
    if isinstance(values, NumberColumn):
        if values.mistyped is not None:
            raise EventError("field_type", f"column {name!r} mixes numbers and strings; send JSON")
        return float_array(values.values)
    known = values.codes >= 0
    buffers = [None if known.all() else _bits(known), _buffer(np.maximum(values.codes, 0), np.int32)]
    codes = pa.Array.from_buffers(pa.int32(), len(known), buffers)
    return pa.DictionaryArray.from_arrays(codes, text_array(values.categories))


# Arrays are made of buffers, and not by `pa.array`: where pandas is installed that imports it,
# which takes a second of the model server that logs.


def float_array(values: NDArray[Any]) -> pa.Array:
    """Numbers of shape (n,) as float64; NaN stays NaN."""
    return pa.Array.from_buffers(pa.float64(), len(values), [None, _buffer(values, np.float64)])


def time_array(microseconds: NDArray[Any]) -> pa.Array:
    """Times of shape (n,), microseconds UTC."""
    kind = pa.timestamp("us", "UTC")
    return pa.Array.from_buffers(kind, len(microseconds), [None, _buffer(microseconds, np.int64)])


def flag_array(values: NDArray[np.bool_]) -> pa.Array:
    """Booleans of shape (n,)."""
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, _bits(values)])


def text_array(texts: Sequence[str | None]) -> pa.Array:
    """Strings; None is null. OverflowError where they have 2 GiB or more together."""
    words = [b"" if text is None else text.encode() for text in texts]
    ends = np.cumsum([0, *map(len, words)], dtype=np.int64)
    if ends[-1] > np.iinfo(np.int32).max:
        raise OverflowError(f"{ends[-1]} bytes of text in one column")
    known = np.fromiter((text is not None for text in texts), np.bool_, len(texts))
    buffers = [None if known.all() else _bits(known), _buffer(ends, np.int32), pa.py_buffer(b"".join(words))]
    return pa.Array.from_buffers(pa.string(), len(words), buffers)


def _buffer(values: NDArray[Any], dtype: type[np.generic]) -> pa.Buffer:
    return pa.py_buffer(np.ascontiguousarray(values, dtype))


def _bits(values: NDArray[np.bool_]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(values, bitorder="little"))
