"""Replay: what the processors say about files, written to files.

    alerts.jsonl        one alert a line, as on the alerts topic
    detections.jsonl    one detection a line: model, version, feature, channel, detector, row, time,
                        statistic, threshold; window tests have window_start and window_end too
    aggregates.parquet  one row per window and feature, and one per segment and feature

`row` is the row, counted from 0 in the order read, of the last row of the pane that decided.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from stream_monitor.errors import EngineError
from stream_monitor.monitors.detection import Detection
from stream_monitor.records import Output
from stream_monitor.windows.panes import rfc3339

_ROWS = 5_000
_TEXT = (
    "model", "version", "window", "start", "end", "feature", "segment", "kind", "baseline", "config",
    "baseline_origin",
)  # fmt: skip
_COUNTS = ("revision", "rows", "errors", "late", "expired", "count", "missing", "unseen", "below", "above")
_NUMBERS = ("mean", "std", "min", "max")
_QUANTILES = ("0.01", "0.05", "0.25", "0.5", "0.75", "0.95", "0.99")
_DRIFT = (
    "psi", "js", "ks", "hellinger", "total_variation", "chi2", "wasserstein", "wasserstein_u",
    "x2", "x2_threshold", "p_value",
)  # fmt: skip
SCHEMA = pa.schema(
    [(name, pa.string()) for name in _TEXT]
    + [(name, pa.int64()) for name in _COUNTS]
    + [(name, pa.float64()) for name in _NUMBERS]
    + [(f"q{name}", pa.float64()) for name in _QUANTILES]
    + [(name, pa.float64()) for name in _DRIFT]
    + [("df", pa.int64()), ("test_rows", pa.int64()), ("test_start", pa.string()), ("drifted", pa.bool_())]
    + [("top", pa.string())]
)
"""Columns of aggregates.parquet; `top` is JSON, times are RFC 3339, `segment` is null for all rows."""


class ReplayWriter:
    """Writes the three files of a replay into a folder; a context manager."""

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._alerts: IO[bytes] = (folder / "alerts.jsonl").open("wb")
            self._detections: IO[bytes] = (folder / "detections.jsonl").open("wb")
            self._aggregates = pq.ParquetWriter(folder / "aggregates.parquet", SCHEMA, compression="zstd")
        except OSError as error:
            raise EngineError(
                f"{folder}: cannot be written into: {error.strerror}; give a folder by --out"
            ) from error
        self._rows: list[dict[str, Any]] = []
        self.counts: Counter[str] = Counter()
        self.alerts: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._write_rows()
        self._aggregates.close()
        self._alerts.close()
        self._detections.close()

    def write(self, outputs: Iterable[Output]) -> None:
        """Take all outputs of an engine."""
        for output in outputs:
            self.counts[output.topic] += 1
            if output.topic == "alerts":
                assert output.value is not None
                self._alerts.write(output.value + b"\n")
                self.alerts.append(output.view)
            elif output.topic == "detections":
                self._detections.write(orjson.dumps(detection_line(output.view)) + b"\n")
            elif output.topic == "aggregates":
                self._rows.extend(aggregate_rows(output.view))
                if len(self._rows) >= _ROWS:
                    self._write_rows()

    def _write_rows(self) -> None:
        if self._rows:
            self._aggregates.write_table(pa.Table.from_pylist(self._rows, schema=SCHEMA))
            self._rows.clear()


def detection_line(view: dict[str, Any]) -> dict[str, Any]:
    """One detection as a line of detections.jsonl."""
    found: Detection = view["detection"]
    line: dict[str, Any] = {
        "model": view["model"],
        "version": view["version"],
        "feature": found.feature,
        "channel": found.channel,
        "detector": found.detector,
        "role": view["role"],
        "row": max((last for _, last in found.source.values()), default=None),
        "time": rfc3339(found.time),
        "since": rfc3339(found.since),
        "statistic": found.statistic,
        "threshold": found.threshold,
    }
    if found.window is not None:
        line |= {"window_start": found.window["start"], "window_end": found.window["end"]}
    return line


def aggregate_rows(view: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """One row per feature of an aggregate, then one per segment and feature."""
    head = {name: view.get(name) for name in (*_TEXT, *_COUNTS) if name in view}
    for name, feature in view["features"].items():
        row = head | {"feature": name, "kind": feature["kind"]}
        row |= {key: feature.get(key) for key in (*_COUNTS, *_NUMBERS) if key in feature}
        for q, value in (feature.get("quantiles") or {}).items():
            row[f"q{q}"] = value
        if feature.get("top"):
            row["top"] = orjson.dumps(feature["top"]).decode()
        yield row | _scores(feature)
    for segment, of in view.get("segments", {}).items():
        for name, feature in of["features"].items():
            row = head | {"feature": name, "segment": segment, "rows": of["rows"]}
            yield row | {key: feature[key] for key in ("count", "missing")} | _scores(feature)


def _scores(feature: dict[str, Any]) -> dict[str, Any]:
    drift = feature.get("drift")
    if drift is None:
        return {}
    scores = {key: drift[key] for key in (*_DRIFT, "df", "drifted")}
    return scores | {"test_rows": drift["rows"], "test_start": drift["start"]}
