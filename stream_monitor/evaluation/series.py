"""A directory of CSV files `timestamp,value`, and the windows that label their anomalies.

As in the Numenta Anomaly Benchmark: the windows are a JSON object from a file's path below the
directory to a list of [first time, last time]. The first 15% of a file's rows (750 at the most)
are the reference, the rest is judged.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from stream_monitor.errors import EvaluationError
from stream_monitor.evaluation.nab import probation_rows
from stream_monitor.evaluation.stream import Span, Stream, numbers
from stream_monitor.events.columns import FloatArray, IntArray

HEADER = ("timestamp", "value")
LEAST_ROWS = 200
PANE_PART = 50
"""Into how many panes the reference is parted at least."""
_MOST_PANE_ROWS = 12
_MILLION = 1_000_000

Windows = Mapping[str, Sequence[tuple[int, int]]]


@dataclass(frozen=True)
class Series:
    """One file: `name` is its path below the directory, `time` in microseconds UTC, shapes (n,).

    `windows` holds each labelled window's first and last row.
    """

    name: str
    time: IntArray
    values: FloatArray
    windows: tuple[tuple[int, int], ...] = ()

    @property
    def group(self) -> str:
        """The folder that it lies in, or its own name."""
        return self.name.rpartition("/")[0] or self.name

    @property
    def probation(self) -> int:
        """Rows that are for learning."""
        return probation_rows(len(self.values))

    @property
    def pane_rows(self) -> int:
        """Rows of a pane: at most 12, fewer where the reference is short."""
        return max(1, min(_MOST_PANE_ROWS, self.probation // PANE_PART))

    def stream(self) -> Stream:
        """The file as a stream: its first rows are the reference."""
        first = self.probation
        gaps = np.diff(self.time)
        step = int(np.median(gaps[gaps > 0])) if (gaps > 0).any() else _MILLION
        spans = tuple(Span(max(a, first) - first, b + 1 - first) for a, b in self.windows if b >= first)
        return Stream(
            group=self.group,
            reference={"value": numbers(self.values[:first])},
            rows={"value": numbers(self.values[first:])},
            spans=spans,
            changed=frozenset({"value"}) if spans else frozenset(),
            step=step,
            pane_rows=self.pane_rows,
        )


def read_directory(directory: Path, windows: Path | None = None) -> list[Series]:
    """All CSV files (also .csv.gz) below `directory` by path; `EvaluationError` says what is wrong."""
    if not directory.is_dir():
        what = (
            "is a file; give the directory that holds it"
            if directory.exists()
            else "there is no such directory"
        )
        raise EvaluationError(f"{directory}: {what}")
    paths = sorted(p for p in directory.rglob("*") if p.is_file() and p.name.endswith((".csv", ".csv.gz")))
    if not paths:
        raise EvaluationError(
            f"{directory}: holds no .csv or .csv.gz file; each needs a header `timestamp,value`"
        )
    names = {path: path.relative_to(directory).as_posix().removesuffix(".gz") for path in paths}
    labelled = _read_windows(windows, sorted(names.values())) if windows is not None else {}
    return [_label(read_series(path, names[path]), labelled, windows) for path in paths]


def read_series(path: Path, name: str) -> Series:
    """One file without labels."""
    time, values = [], []
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8", newline="")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8", newline="") as file
        ):
            rows = csv.reader(file)
            header = tuple(cell.strip() for cell in next(rows, ()))
            if header != HEADER:
                found = ",".join(header) or "an empty file"
                raise EvaluationError(f"{path}:1: found {found}; the first line must be `timestamp,value`")
            for row in rows:
                if row:
                    at, value = _row(path, rows.line_num, row)
                    time.append(at)
                    values.append(value)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise EvaluationError(f"{path}: cannot be read as CSV: {error}") from error
    if len(values) < LEAST_ROWS:
        raise EvaluationError(
            f"{path}: has {len(values)} rows; at least {LEAST_ROWS} are needed, since the first 15% are "
            "what the rest is compared with"
        )
    return Series(name, np.array(time, dtype=np.int64), np.array(values))


def _row(path: Path, line: int, row: Sequence[str]) -> tuple[int, float]:
    if len(row) != len(HEADER):
        raise EvaluationError(f"{path}:{line}: has {len(row)} fields; a row is a time and a value")
    try:
        time = _time(row[0])
    except ValueError as error:
        raise EvaluationError(
            f"{path}:{line}: {row[0]!r} is no time; write it as 2024-01-31 23:59:00 (UTC) or RFC 3339"
        ) from error
    try:
        value = float(row[1]) if row[1].strip() else math.nan
    except ValueError as error:
        raise EvaluationError(
            f"{path}:{line}: {row[1]!r} is no number; leave missing values empty"
        ) from error
    if math.isinf(value):
        raise EvaluationError(f"{path}:{line}: {row[1]} is no finite number; leave missing values empty")
    return time, value


def _time(text: str) -> int:
    """Microseconds UTC; a time without a zone is UTC."""
    found = datetime.fromisoformat(text.strip())
    aware = found if found.tzinfo else found.replace(tzinfo=UTC)
    return round(aware.timestamp() * _MILLION)


def _read_windows(path: Path, names: Sequence[str]) -> Windows:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise EvaluationError(f"{path}: cannot be read: {error.strerror}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise EvaluationError(f"{path}: is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise EvaluationError(
            f"{path}: found a {type(content).__name__}; an object from file to windows is needed"
        )
    absent = [name for name in names if name not in content]
    if absent:
        near = get_close_matches(absent[0], content, 1)
        hint = f"; it has {near[0]!r}" if near else ""
        raise EvaluationError(
            f"{path}: has no windows of {absent[0]!r}{hint}; name every file by its path below "
            "the directory, with [] where nothing is labelled"
        )
    return {name: [_window(path, name, one) for one in _list(path, name, content[name])] for name in names}


def _list(path: Path, name: str, content: Any) -> list[Any]:
    if not isinstance(content, list):
        raise EvaluationError(
            f"{path}: {name!r}: found {content!r}; a list of [first time, last time] is needed"
        )
    return content


def _window(path: Path, name: str, content: Any) -> tuple[int, int]:
    try:
        first, last = content
        found = _time(first), _time(last)
    except (TypeError, ValueError, AttributeError) as error:
        raise EvaluationError(f"{path}: {name!r}: {content!r} is not [first time, last time]") from error
    if found[0] > found[1]:
        raise EvaluationError(f"{path}: {name!r}: the window {first} to {last} ends before it begins")
    return found


def _label(series: Series, labelled: Windows, source: Path | None) -> Series:
    rows = list(_rows(series, labelled.get(series.name, ()), source))
    for (_, last), (first, _) in pairwise(rows):
        if first <= last:
            raise EvaluationError(f"{source}: {series.name!r}: two windows overlap; join them")
    return Series(series.name, series.time, series.values, tuple(rows))


def _rows(
    series: Series, windows: Sequence[tuple[int, int]], source: Path | None
) -> Iterator[tuple[int, int]]:
    for first, last in sorted(windows):
        inside = np.flatnonzero((series.time >= first) & (series.time <= last))
        if not len(inside):
            when = datetime.fromtimestamp(first / _MILLION, UTC).isoformat(sep=" ")
            raise EvaluationError(f"{source}: {series.name!r}: no row lies in the window that begins {when}")
        yield int(inside[0]), int(inside[-1])
