"""Packs: many events of one model version as one Arrow record batch (schemas/pack.md).

A pack of 500 events of 20 numbers takes a quarter of the bytes of as many JSON objects and
a tenth of the work. Arrow bytes from outside are hostile until checked: frames first, then
the column types, then `validate(full=True)`; without it a damaged pack can end the
interpreter. A row that cannot be counted is named; the others are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stream_monitor.errors import EventError
from stream_monitor.events.arrow_columns import (
    CATEGORY_TYPES,
    category,
    flag_array,
    flags,
    float_array,
    is_readable,
    number_or_category,
    numbers,
    text_array,
    texts,
    time_array,
    to_arrow,
    vector,
)
from stream_monitor.events.arrow_frames import CONTINUATION, check_frames
from stream_monitor.events.columns import (
    CategoryColumn,
    Column,
    FloatArray,
    IntArray,
    NumberColumn,
    VectorColumn,
)
from stream_monitor.events.event_json import MAX_FEATURES, MAX_ID, MAX_SEGMENTS, name_fault, version_text
from stream_monitor.events.rows import vector_summaries
from stream_monitor.events.time_columns import check_times
from stream_monitor.events.times import EARLIEST, LATEST, SECOND

if TYPE_CHECKING:
    from numpy.typing import NDArray

PACK = "pack/v1"
MAX_ROWS = 65_536
_KEY, _MODEL, _VERSION = b"stream_monitor", b"model", b"model_version"
_PER_UNIT = {"s": 1_000_000, "ms": 1_000, "us": 1}


@dataclass(slots=True)
class PackRows:
    """A decoded pack: arrays of shape (rows,), bad rows included.

    `refused` has, by reason, what is wrong and a mask of the rows that it concerns; a row
    stands under one reason only. `times` is 0 where refused.
    """

    model: str
    version: str
    rows: int
    times: IntArray
    ids: pa.Array
    features: dict[str, Column]
    latency_ms: FloatArray | None = None
    error: NDArray[np.bool_] | None = None
    segments: dict[str, CategoryColumn] = field(default_factory=dict)
    refused: dict[str, tuple[str, NDArray[np.bool_]]] = field(default_factory=dict)
    vectors: dict[str, VectorColumn] = field(default_factory=dict)


def is_pack(value: bytes) -> bool:
    """Whether `value` is an Arrow stream, by its first four bytes (never JSON's)."""
    return value[:4] == CONTINUATION


def encode_pack(
    model: str,
    version: str,
    *,
    ids: Sequence[str],
    times: Sequence[int] | IntArray,
    features: Mapping[str, Column | NDArray[np.float64] | Sequence[object]],
    prediction: Column | NDArray[np.float64] | Sequence[object] | None = None,
    probabilities: Mapping[str, Column | NDArray[np.float64]] | None = None,
    latency_ms: FloatArray | None = None,
    error: NDArray[np.bool_] | None = None,
    segments: Mapping[str, CategoryColumn | Sequence[object]] | None = None,
    trace: Sequence[str | None] | None = None,
) -> bytes:
    """One pack of n events. All columns have length n; `times` are microseconds UTC.

    A feature is a column, an array of numbers of shape (n,) (NaN is missing), one of shape
    (n, d) for embeddings, or strings (None is missing). Raises EventError where a column
    mixes numbers and strings: send such events as JSON.
    """
    if not 1 <= len(ids) <= MAX_ROWS:
        raise EventError("too_large", f"a pack has 1 to {MAX_ROWS} rows, not {len(ids)}")
    columns: dict[str, pa.Array] = {
        "id": text_array(ids),
        "timestamp": time_array(np.asarray(times, np.int64)),
    }
    columns.update((f"f:{name}", to_arrow(name, values)) for name, values in features.items())
    if prediction is not None:
        columns["prediction"] = to_arrow("prediction", prediction)
    columns.update((f"p:{name}", to_arrow(name, values)) for name, values in (probabilities or {}).items())
    if latency_ms is not None:
        columns["latency_ms"] = float_array(latency_ms)
    if error is not None:
        columns["error"] = flag_array(error)
    columns.update((f"s:{name}", to_arrow(name, values)) for name, values in (segments or {}).items())
    if trace is not None:
        columns["trace"] = text_array(trace)
    batch = pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
    meta = {_KEY: PACK.encode(), _MODEL: model.encode(), _VERSION: version.encode()}
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema.with_metadata(meta)) as writer:
        writer.write_batch(batch.replace_schema_metadata(meta))
    return bytes(sink.getvalue().to_pybytes())


def read_pack(value: bytes, *, max_features: int = MAX_FEATURES) -> PackRows:
    """Decode one pack; EventError (`arrow`, `arrow_type`, `pack`, `name`, `limit`, ...) if it is none."""
    check_frames(value)
    try:
        return _read(value, max_features)
    except EventError:
        raise
    except Exception as error:  # whatever Arrow finds wrong with foreign bytes, and however it says so
        raise EventError("arrow", f"{type(error).__name__}: {str(error)[:200]}") from error


def _read(value: bytes, max_features: int) -> PackRows:
    reader = pa.ipc.open_stream(pa.py_buffer(value))
    model, version, types = _check_schema(reader.schema, max_features)
    batch = reader.read_next_batch()
    if batch.num_rows < 1:
        raise EventError("pack", "no rows: a pack has at least one")
    if batch.num_rows > MAX_ROWS:
        raise EventError("too_large", f"{batch.num_rows} rows; a pack has at most {MAX_ROWS}")
    batch.validate(full=True)
    arrays = dict(zip(types, batch.columns, strict=True))
    times, late = _times(arrays["timestamp"])
    pack = PackRows(model, version, batch.num_rows, times, arrays["id"], {})
    wrong = np.zeros(batch.num_rows, np.bool_)
    _refuse(pack, wrong, "timestamp", _time_fault(arrays["timestamp"], late), late)
    lengths = np.asarray(pc.fill_null(pc.utf8_length(arrays["id"]), -1))
    _refuse(pack, wrong, "field_missing", "id: null", lengths < 0)
    length_fault = f"id: empty or longer than {MAX_ID}"
    bad_id = (lengths == 0) | (lengths > MAX_ID)
    if "latency_ms" in arrays:
        pack.latency_ms = numbers(arrays["latency_ms"])
        below = pack.latency_ms < 0
        if below.any():
            bad_id, length_fault = bad_id | below, f"{length_fault}; or latency_ms: below 0"
    _refuse(pack, wrong, "field_type", length_fault, bad_id)
    for name, array in arrays.items():
        if name.startswith("f:"):
            _take_feature(pack, name[2:], array, arrays)
        elif name.startswith("s:"):
            pack.segments[name[2:]] = category(array)
    _take_answers(pack, arrays)
    if "error" in arrays:
        failed = flags(arrays["error"])
        pack.error = failed if failed.any() else None
    return pack


def _check_schema(schema: pa.Schema, max_features: int) -> tuple[str, str, dict[str, pa.DataType]]:
    meta = schema.metadata or {}
    if meta.get(_KEY) != PACK.encode():
        raise EventError("pack", f"schema metadata `stream_monitor` is {meta.get(_KEY)!r}, not {PACK!r}")
    if _MODEL not in meta:
        raise EventError("field_missing", "schema metadata `model`: required")
    model = meta[_MODEL].decode()
    version = version_text(meta[_VERSION].decode() if _VERSION in meta else None)
    for what, text in (("model", model), ("model_version", version)):
        wrong = name_fault(text)
        if wrong is not None:
            raise EventError("name", f"schema metadata `{what}`: {wrong}")
    types = dict(zip(schema.names, schema.types, strict=True))
    if len(types) != len(schema.names):
        raise EventError("pack", "two columns have the same name")
    for required in ("id", "timestamp"):
        if required not in types:
            raise EventError("pack", f"column `{required}`: required")
    named = {"features": 0, "classes": 0, "segments": 0}
    for name, kind in types.items():
        if not is_readable(name, kind):
            raise EventError("arrow_type", f"column {name[:80]!r}: {str(kind)[:80]} is not read; see pack.md")
        if name[:2] not in ("f:", "p:", "s:"):
            continue
        named[{"f:": "features", "p:": "classes", "s:": "segments"}[name[:2]]] += 1
        wrong = name_fault(name[2:], feature=name[0] == "f")
        if wrong is not None:
            raise EventError("name", f"column {name[:80]!r}: {wrong}")
    for what, most in (("features", max_features), ("classes", max_features), ("segments", MAX_SEGMENTS)):
        if named[what] > most:
            raise EventError("limit", f"{named[what]} {what}; at most {most} are allowed")
    return model, version, types


def _times(array: pa.Array) -> tuple[IntArray, NDArray[np.bool_]]:
    raw = np.asarray(pc.fill_null(array.view(pa.int64()), 0))
    if array.type.unit == "ns":
        times = raw // 1_000
    else:
        per = _PER_UNIT[array.type.unit]
        times = np.where(np.abs(raw) < 2**62 // per, raw, 0) * per
    late = ~check_times(times)
    return (np.where(late, 0, times) if late.any() else times), late


def _time_fault(array: pa.Array, late: NDArray[np.bool_]) -> str:
    """What is wrong with the first time that is refused, with the likely unit."""
    if not late.any():
        return ""
    row = int(np.flatnonzero(late)[0])
    if not array[row].is_valid:
        return "timestamp: null; each event needs its time"
    raw, unit = int(array[row].value), array.type.unit
    told = f"timestamp: {raw} {unit} is outside 2000-01-01 to 2100-01-01"
    for other, per_second in (("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)):
        if EARLIEST / SECOND <= raw / per_second < LATEST / SECOND:
            return (
                f"{told}; as {other} it would be a time of today: give the column the type timestamp[{other}]"
            )
    return told


def _refuse(
    pack: PackRows, wrong: NDArray[np.bool_], reason: str, detail: str, rows: NDArray[np.bool_]
) -> None:
    new = rows & ~wrong
    if new.any():
        pack.refused[reason] = (detail, new)
        wrong |= new


def _take_feature(pack: PackRows, name: str, array: pa.Array, arrays: Mapping[str, pa.Array]) -> None:
    if not pa.types.is_fixed_size_list(array.type):
        pack.features[name] = number_or_category(array)
        return
    matrix = vector(array)
    pack.vectors[name] = VectorColumn.of_matrix(matrix)
    norm, mean = vector_summaries(matrix)
    for part, values in (("norm", norm), ("mean", mean)):
        if f"f:{name}.{part}" not in arrays:
            pack.features[f"{name}.{part}"] = NumberColumn(values)


def _take_answers(pack: PackRows, arrays: Mapping[str, pa.Array]) -> None:
    """`prediction` and `prediction.<class>`, by the same rules as for JSON."""
    if "prediction" in arrays:
        pack.features["prediction"] = number_or_category(arrays["prediction"])
    classes = sorted(name[2:] for name in arrays if name.startswith("p:"))
    if not classes:
        return
    shares = np.stack([numbers(arrays[f"p:{name}"]) for name in classes])
    pack.features.update(
        (f"prediction.{name}", NumberColumn(row)) for name, row in zip(classes, shares, strict=True)
    )
    if "prediction" in arrays and arrays["prediction"].type in CATEGORY_TYPES:
        return
    known = ~np.isnan(shares).all(axis=0)
    best = np.argmax(np.where(np.isnan(shares), -np.inf, shares), axis=0)
    codes = np.where(known, best, -1).astype(np.int32)
    pack.features["prediction"] = CategoryColumn(codes, tuple(classes))


def pack_ids(pack: PackRows, rows: NDArray[np.bool_] | None) -> tuple[str, ...]:
    """The ids of the pack's rows, or of those in the mask `rows`."""
    return texts(pack.ids if rows is None else pack.ids.filter(flag_array(rows)))
