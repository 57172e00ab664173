"""`stream-monitor replay`: what it writes about a file whose drift is known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import jsonschema
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from stream_monitor.cli.main import main

ROWS, CHANGE = 20_000, 12_000
START = datetime(2026, 3, 1, tzinfo=UTC)
SCHEMA = orjson.loads((Path(__file__).parents[2] / "schemas" / "alert.v1.json").read_bytes())
CONFIG = """
defaults: {pane: 1m, windows: [15m, 1h]}
models:
  loans:
    baseline: reference.parquet
    columns: {id: number, timestamp: when, prediction: score}
"""


def rows(seed: int, change: int, start: datetime) -> pa.Table:
    rng = np.random.default_rng(seed)
    moved = np.arange(ROWS) >= change
    income = rng.lognormal(10.0, 0.5, ROWS) * np.where(moved, 1.3, 1.0)
    return pa.table(
        {
            "number": np.arange(ROWS),
            "when": [(start + timedelta(seconds=2 * i)).isoformat() for i in range(ROWS)],
            "income": income,
            "age": rng.integers(18, 80, ROWS).astype(float),
            "town": rng.choice(["a", "b", "c"], ROWS),
            "score": rng.random(ROWS),
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("replay")
    (folder / "monitor.yaml").write_text(CONFIG)
    pq.write_table(rows(1, ROWS, START - timedelta(days=1)), folder / "reference.parquet")
    pq.write_table(rows(2, CHANGE, START), folder / "served.parquet")
    pa.csv.write_csv(rows(2, CHANGE, START), folder / "served.csv")
    return folder


def replay(folder: Path, *files: str, out: str) -> Path:
    paths = [str(folder / file) for file in files]
    assert main(["replay", *paths, "--config", str(folder / "monitor.yaml"), "--out", str(folder / out)]) == 0
    return folder / out


def lines(path: Path) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def test_the_change_is_found_where_it_is_and_nothing_else(folder: Path) -> None:
    out = replay(folder, "served.parquet", out="found")
    alerts = lines(out / "alerts.jsonl")
    for alert in alerts:
        jsonschema.validate(alert, SCHEMA)
    told = [(a["status"], a["state"], a["labels"]["feature"]) for a in alerts]  # type: ignore[index]
    assert told == [("firing", "opened", "income"), ("firing", "lasting", "income")]
    detections = lines(out / "detections.jsonl")
    assert {d["feature"] for d in detections} == {"income"}
    first = detections[0]
    assert first["role"] == "opened"
    assert CHANGE < int(str(first["row"])) < CHANGE + 600
    # the row is the last of the pane that decided, and panes hold 30 rows
    assert (int(str(first["row"])) + 1) % 30 == 0
    table = pq.read_table(out / "aggregates.parquet").to_pylist()
    hours = [row for row in table if row["window"] == "1h" and row["feature"] == "income"]
    assert sum(row["rows"] for row in hours) == ROWS
    income = rows(2, CHANGE, START)["income"].to_numpy()
    assert hours[0]["mean"] == pytest.approx(income[:1800].mean(), rel=1e-5)
    assert hours[0]["max"] == income[:1800].max()
    assert hours[0]["q0.5"] == pytest.approx(np.quantile(income[:1800], 0.5), rel=0.02)
    # before the change, and the whole hours behind it (the last one is a part)
    assert not any(row["drifted"] for row in hours[:6])
    assert all(row["drifted"] for row in hours[7:-1])


def test_every_format_gives_the_same_decisions(folder: Path) -> None:
    parquet, csv = (replay(folder, f"served.{kind}", out=kind) for kind in ("parquet", "csv"))
    for name in ("alerts.jsonl", "detections.jsonl"):
        assert (parquet / name).read_bytes() == (csv / name).read_bytes()


def test_rows_out_of_order_are_said_to_be_left_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    replay(folder, "served.parquet", "served.parquet", out="twice")
    told = capsys.readouterr().out
    assert told.startswith(f"{2 * ROWS} rows")
    assert "rows were not judged" in told
