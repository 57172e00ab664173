"""Rows of files as event batches: what a baseline is built from, and what a replay reads.

Which column is the id, the time, the answer is said by a `ColumnMapping`; those that have a
role are not features. A role without a name in the mapping is looked for under the name that
events use (`id`, `timestamp`, `prediction`, `label`, `model_version`, `latency_ms`) and may be
absent; a name that the mapping gives must be in the file.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from stream_monitor.baselines.build import NO_TIME
from stream_monitor.baselines.tables import Chunk, read_chunks
from stream_monitor.config import ColumnMapping
from stream_monitor.errors import BaselineError
from stream_monitor.events.columns import Column, EventBatch, FloatArray, IntArray, NumberColumn
from stream_monitor.events.derived import features_of, selects
from stream_monitor.events.time_columns import check_times, parse_times
from stream_monitor.events.times import time_fault

ROWS = 65_536
_DECIMAL = re.compile(r"\d+\.\d+", re.ASCII)
_EVENT_NAMES = {
    "id": "id",
    "timestamp": "timestamp",
    "prediction": "prediction",
    "prediction_class": None,
    "label": "label",
    "version": "model_version",
    "latency_ms": "latency_ms",
}


def read_batches(
    path: str | Path | Sequence[str | Path],
    columns: ColumnMapping | None = None,
    features: Collection[str] | None = None,
    model: str = "",
    version: str = "",
    rows: int = ROWS,
    *,
    texts: Collection[str] = (),
    keep_ids: bool = False,
    need_time: bool = False,
    segments: Collection[str] = (),
) -> Iterator[EventBatch]:
    """Batches of at most `rows` rows of one file, or of several in the order given.

    `offset` and `position` count rows from 0 over all files; `append_ms` is -1. Where a column
    gives the model's version, a chunk makes one batch per version. `prediction` is read as the
    feature of that name; `prediction_class` takes its place where only that one is given.
    Without times, `time` is `NO_TIME`, unless `need_time` asks for them. `texts` are strings also
    where a file without types has numbers in them. `segments` are columns too, features or not;
    those that have a role can be meant.

    Raises `BaselineError` naming the file, and for a column that is not there, the ones that are.
    """
    columns = columns or ColumnMapping()
    start = 0
    for one in [path] if isinstance(path, str | Path) else path:
        roles: dict[str, str] | None = None
        for chunk in read_chunks(one, rows):
            if roles is None:
                roles = _roles(chunk, columns, features)
                if need_time and "timestamp" not in roles:
                    raise BaselineError(
                        f"{one}: no column gives the time; name it under `columns.timestamp`; "
                        f"the file has {', '.join(chunk.names)}"
                    )
                for name in segments:
                    if name not in chunk.names:
                        raise BaselineError(_absent(chunk, name, " (`segments`)"))
            yield from _batches(chunk, roles, features, texts, model, version, start, keep_ids, segments)
            start += len(chunk)


def _roles(chunk: Chunk, columns: ColumnMapping, features: Collection[str] | None) -> dict[str, str]:
    """Role -> column, of those that the file has; checked once, on the first rows."""
    found = {}
    for role, usual in _EVENT_NAMES.items():
        given = getattr(columns, role)
        # Labels come late, so files of predictions may lack them.
        if given is not None and given not in chunk.names and role != "label":
            raise BaselineError(_absent(chunk, given, f" (`columns.{role}`)"))
        name = usual if given is None else given
        if name in chunk.names and name is not None:
            found[role] = name
    named = [name for name in msgspec.structs.astuple(columns) if name is not None]
    if len(set(named)) != len(named):
        raise BaselineError(f"{chunk.source}: a column has two roles in `columns`: {', '.join(named)}")
    for name in sorted(features or ()):
        if name not in chunk.names and name.rpartition(".")[0] not in chunk.names:
            raise BaselineError(_absent(chunk, name, " (`features`)"))
    return found


def _absent(chunk: Chunk, name: str, where: str) -> str:
    near = get_close_matches(name, chunk.names, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{chunk.source}: no column {name!r}{where}{hint}; the file has {', '.join(chunk.names)}"


def _batches(
    chunk: Chunk,
    roles: dict[str, str],
    features: Collection[str] | None,
    texts: Collection[str],
    model: str,
    version: str,
    start: int,
    keep_ids: bool,
    segments: Collection[str],
) -> Iterator[EventBatch]:
    taken = set(roles.values())
    wanted = [
        name for name in chunk.names if name not in taken and (features is None or _asked(name, features))
    ]
    found, vectors = chunk.read(wanted, texts)
    if features is not None:
        found = {
            name: column
            for name, column in found.items()
            if selects(features, name.split("\x00")[0]) or name.split("\x00")[0] in texts
        }
    answer = roles.get("prediction", roles.get("prediction_class"))
    if answer is not None:
        for name, column in chunk.columns([answer]).items():
            found["prediction" + name.removeprefix(answer)] = column
    n = len(chunk)
    offset = np.arange(start, start + n, dtype=np.int64)
    ids = tuple(map(str, chunk.raw(roles["id"]))) if keep_ids and "id" in roles else None
    batch = EventBatch(
        model=model,
        version=version,
        time=_times(chunk, roles.get("timestamp"), start),
        append_ms=np.full(n, -1, np.int64),
        offset=offset,
        position=offset,
        features=found,
        latency_ms=_latency(chunk, roles.get("latency_ms")),
        ids=ids,
        vectors=vectors,
        segments=chunk.columns(list(segments)),
    )
    yield from _by_version(batch, chunk, roles.get("version"))


def _asked(name: str, features: Collection[str]) -> bool:
    return name in features or not features_of(name).isdisjoint(features)


def _times(chunk: Chunk, name: str | None, start: int) -> IntArray:
    if name is None:
        return np.full(len(chunk), NO_TIME, np.int64)
    micros = chunk.micros(name)
    if micros is not None:
        wrong = np.flatnonzero(~check_times(micros))
        if len(wrong):
            at = micros[wrong[0]].astype("datetime64[us]")
            what = f"{at} is outside 2000-01-01 to 2100-01-01; was it written in another unit?"
            raise BaselineError(_bad_time(chunk, name, start + int(wrong[0]), what))
        return micros
    stamps = chunk.raw(name)
    read = [_stamp(stamp) for stamp in stamps]
    times, bad = parse_times(read)
    if bad:
        row = min(bad)
        raise BaselineError(_bad_time(chunk, name, start + row, time_fault(read[row])))
    return times


def _stamp(stamp: Any) -> Any:
    """A day alone is its midnight; digits (CSV has text only) are milliseconds."""
    if isinstance(stamp, str):
        if len(stamp) == 10 and stamp[4] == "-":
            return stamp + "T00:00:00"
        if stamp.isdecimal():
            return int(stamp)
        if _DECIMAL.fullmatch(stamp):
            return float(stamp)
    return stamp


def _bad_time(chunk: Chunk, name: str, row: int, what: str) -> str:
    return f"{chunk.source}: column {name!r}, row {row} (from 0, over all files): {what}"


def _latency(chunk: Chunk, name: str | None) -> FloatArray | None:
    if name is None:
        return None
    column: Column | None = chunk.columns([name]).get(name)
    if column is None:  # JSON lines, none of which has it here
        return np.full(len(chunk), np.nan)
    if not isinstance(column, NumberColumn):
        raise BaselineError(f"{chunk.source}: column {name!r} (`columns.latency_ms`) holds no numbers")
    return np.where(column.values >= 0, column.values, np.nan)


def _by_version(batch: EventBatch, chunk: Chunk, name: str | None) -> Iterator[EventBatch]:
    """One batch for each version in the rows; a row without one has the caller's."""
    if name is None:
        yield batch
        return
    versions = [batch.version if value is None else str(value) for value in chunk.raw(name)]
    for version in dict.fromkeys(versions):
        rows = np.array([one == version for one in versions])
        ids = batch.ids
        yield EventBatch(
            model=batch.model,
            version=version,
            time=batch.time[rows],
            append_ms=batch.append_ms[rows],
            offset=batch.offset[rows],
            position=batch.position[rows],
            features={key: column.take(rows) for key, column in batch.features.items()},
            latency_ms=None if batch.latency_ms is None else batch.latency_ms[rows],
            segments={key: column.take(rows) for key, column in batch.segments.items()},
            ids=None if ids is None else tuple(one for one, keep in zip(ids, rows, strict=True) if keep),
            vectors={key: column.take(rows) for key, column in batch.vectors.items()},
        )
