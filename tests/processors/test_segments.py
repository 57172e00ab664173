"""Segments and pairs from rows to alerts: what only a slice shows is found, and named by it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from msgspec.structs import replace

from stream_monitor.baselines.build import build_baseline
from stream_monitor.baselines.profile import Baseline
from stream_monitor.baselines.records import Activation
from stream_monitor.config import config_from
from stream_monitor.engines.local import LocalEngine
from stream_monitor.engines.replay import SCHEMA, aggregate_rows
from stream_monitor.events.columns import CategoryColumn, EventBatch, NumberColumn
from stream_monitor.records import Output
from tests.events.test_schemas import errors

SECOND = 1_000_000
START = 1_767_225_600 * SECOND
REGIONS = ("EU", "US", "Asia", "rare")
SHARES = np.array([0.1, 0.5, 0.395, 0.005])
CONFIG = config_from(
    {
        "defaults": {"segments": ["region"], "windows": ["1m", "15m"], "allowed_lateness": "1m"},
        "models": {"loans": {}},
    },
    env={},
)


def _rows(
    rng: np.random.Generator, rows: int, rate: float = 40.0, *, eu: float = 0.0, rho: float = 0.8
) -> EventBatch:
    """`income` is `eu` deviations higher in region EU, `age` and `tenure` have correlation `rho`."""
    region = rng.choice(len(REGIONS), rows, p=SHARES).astype(np.int32)
    age = rng.normal(size=rows)
    tenure = rho * age + (1 - rho**2) ** 0.5 * rng.normal(size=rows)
    income = rng.normal(size=rows) + eu * (region == 0)
    at = np.arange(rows)
    return EventBatch(
        "loans",
        "1",
        time=START + (at / rate * SECOND).astype(np.int64),
        append_ms=np.full(rows, -1),
        offset=at,
        position=at,
        features={"age": NumberColumn(age), "income": NumberColumn(income), "tenure": NumberColumn(tenure)},
        segments={"region": CategoryColumn(region, REGIONS)},
    )


def _after(batch: EventBatch, others: EventBatch, rate: float = 40.0) -> list[EventBatch]:
    """`others` behind `batch`, in time and offset, cut to batches of 2,000."""
    first = len(batch)
    moved = [(batch, 0, START), (others, first, START + int(first / rate * SECOND))]
    parts = []
    for one, offset, start in moved:
        for a in range(0, len(one), 2_000):
            rows = slice(a, a + 2_000)
            at = np.arange(a, min(a + 2_000, len(one)))
            parts.append(
                EventBatch(
                    "loans",
                    "1",
                    time=start + one.time[rows] - START,
                    append_ms=one.append_ms[rows],
                    offset=at + offset,
                    position=at,
                    features={name: column.take(rows) for name, column in one.features.items()},
                    segments={name: column.take(rows) for name, column in one.segments.items()},
                )
            )
    return parts


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    return build_baseline([_rows(np.random.default_rng(1), 40_000)], source="test", segments=["region"])


def _play(baseline: Baseline, quiet: EventBatch, changed: EventBatch) -> list[Output]:
    engine = LocalEngine(CONFIG, [Activation("loans", "*", 0, baseline)])
    return list(engine.run(_after(quiet, changed)))


def _alerts(outputs: list[Output]) -> list[dict[str, Any]]:
    return [output.view for output in outputs if output.topic == "alerts"]


def test_the_baseline_has_a_slice_per_frequent_value_and_the_pair_that_depends(baseline: Baseline) -> None:
    assert [profile.name for profile in baseline.slices] == [
        *(f"{name}{{region={value}}}" for name in ("age",) for value in ("Asia", "EU", "US")),
        "age×tenure",
        *(f"{name}{{region={value}}}" for name in ("income", "tenure") for value in ("Asia", "EU", "US")),
    ]
    assert baseline.unsliced == {"region": 1}  # some 200 rows are too few
    assert errors("baseline.v1", baseline.to_dict()) == []
    eu = baseline.profiles[baseline.places["income{region=EU}"]]
    assert eu.rows == pytest.approx(4_000, rel=0.1)
    pair = baseline.profiles[baseline.places["age×tenure"]]
    # Of a bivariate normal 1/2 + arcsin(rho)/pi lie in the quadrants that agree (Sheppard 1899).
    agreement = pair.counts[[4, 7]].sum() / pair.counts[4:].sum()
    assert agreement == pytest.approx(0.5 + np.arcsin(0.8) / np.pi, abs=0.01)


def test_a_shift_in_one_segment_is_found_there_while_the_whole_hardly_moves(baseline: Baseline) -> None:
    rng = np.random.default_rng(2)
    outputs = _play(baseline, _rows(rng, 20_000), _rows(rng, 20_000, eu=0.5))
    alerts = _alerts(outputs)
    opened = alerts[0]
    assert opened["state"] == "opened"
    assert opened["labels"]["alertname"] == "FeatureDrift"
    assert opened["labels"]["feature"] == "income"
    assert opened["labels"]["segment"] == "region=EU"
    assert {alert["labels"].get("segment") for alert in alerts} == {"region=EU"}
    assert [errors("alert.v1", alert) for alert in alerts] == [[]] * len(alerts)
    assert "income where region=EU: its values are higher (median" in opened["annotations"]["summary"]
    change = opened["evidence"]["change"]
    assert change["baseline"] == pytest.approx(0.0, abs=0.1)
    assert 0.1 < change["current"] < 0.7  # the window began before the shift


def test_a_dependence_that_breaks_is_found_by_agreement_and_by_nothing_else(baseline: Baseline) -> None:
    rng = np.random.default_rng(3)
    outputs = _play(baseline, _rows(rng, 20_000), _rows(rng, 20_000, rho=0.0))
    detections = [output.view["detection"] for output in outputs if output.topic == "detections"]
    assert {(found.feature, found.channel) for found in detections} == {("age×tenure", "agreement")}
    alert = _alerts(outputs)[0]
    assert {one["episode"] for one in _alerts(outputs)} == {alert["episode"]}
    assert errors("alert.v1", alert) == []
    assert alert["labels"]["alertname"] == "JointDrift"
    assert alert["labels"]["feature"] == "age×tenure"
    assert alert["annotations"]["summary"].startswith(
        "loans 1: age×tenure: the two no longer move together as they did (they agreed in 7"
    )
    assert alert["evidence"]["change"]["current"] == pytest.approx(0.5, abs=0.1)


def test_an_episode_of_a_segment_ends_when_it_is_over(baseline: Baseline) -> None:
    rng = np.random.default_rng(4)
    outputs = _play(baseline, _rows(rng, 12_000, eu=0.8), _rows(rng, 40_000))
    states = [(alert["state"], alert["labels"].get("segment")) for alert in _alerts(outputs)]
    assert states[0] == ("opened", "region=EU")
    assert states[-1][0] in {"resolved", "transient"}
    ended = Counter(alert["episode"] for alert in _alerts(outputs) if alert["status"] == "resolved")
    assert ended == Counter({alert["episode"] for alert in _alerts(outputs)})


def test_nothing_is_found_where_nothing_changes(baseline: Baseline) -> None:
    rng = np.random.default_rng(5)
    assert not _alerts(_play(baseline, _rows(rng, 60_000), _rows(rng, 60_000)))


def test_learned_baselines_have_slices_whatever_worker_binned(baseline: Baseline) -> None:
    """The segment travels with rows that wait for a baseline."""
    rng = np.random.default_rng(6)
    config = config_from(
        {
            "defaults": {"segments": ["region"], "windows": ["1m", "15m"], "learn": {"events": 20_000}},
            "models": {"loans": {}},
        },
        env={},
    )
    engine = LocalEngine(config)
    outputs = list(engine.run(_after(_rows(rng, 30_000), _rows(rng, 30_000, eu=0.7))))
    (learned,) = [output.view.baseline for output in outputs if output.topic == "baselines"]
    assert [p.name for p in learned.slices] == [p.name for p in baseline.slices]
    rows = [p.rows for p in learned.slices if p.segment]
    assert sum(rows) <= 3 * learned.rows
    assert sum(rows) >= 0.99 * 3 * learned.rows * (1 - SHARES[3])
    assert _alerts(outputs)[0]["labels"]["segment"] == "region=EU"


def test_settings_without_segments_watch_no_slice_of_them(baseline: Baseline) -> None:
    rng = np.random.default_rng(7)
    config = config_from({"defaults": {"windows": ["1m", "15m"]}, "models": {"loans": {}}}, env={})
    engine = LocalEngine(config, [Activation("loans", "*", 0, baseline)])
    alerts = _alerts(list(engine.run(_after(_rows(rng, 4_000), _rows(rng, 12_000, eu=3.0)))))
    assert alerts
    assert all("segment" not in alert["labels"] for alert in alerts)


def test_aggregates_show_segments_and_pairs_and_are_cut_to_fit(baseline: Baseline) -> None:
    rng = np.random.default_rng(8)
    outputs = _play(baseline, _rows(rng, 6_000), _rows(rng, 2_000, eu=1.0))
    views = [output.view for output in outputs if output.topic == "aggregates"]
    assert [errors("aggregate.v1", view) for view in views] == [[]] * len(views)
    last = [view for view in views if view["window"] == "15m"][-1]
    assert set(last["segments"]) == {"region=EU", "region=US", "region=Asia"}
    eu = last["segments"]["region=EU"]
    assert set(eu["features"]) == {"age", "income", "tenure"}
    assert eu["rows"] == eu["features"]["income"]["count"] == pytest.approx(800, rel=0.2)
    assert eu["features"]["income"]["drift"]["psi"] > 2 * eu["features"]["age"]["drift"]["psi"]
    assert last["pairs"]["age×tenure"]["agreement"] == pytest.approx(0.795, abs=0.03)
    assert last["pairs"]["age×tenure"]["rows"] == last["rows"]

    rows = [row for view in views for row in aggregate_rows(view) if row.get("segment") == "region=EU"]
    assert {row["feature"] for row in rows} == {"age", "income", "tenure"}
    table = pa.Table.from_pylist(rows, schema=SCHEMA).to_pylist()
    assert table[-1]["rows"] == eu["rows"]
    assert table[-1]["psi"] == eu["features"][table[-1]["feature"]]["drift"]["psi"]

    few = replace(CONFIG, limits=replace(CONFIG.limits, max_message_bytes=5_000))
    engine = LocalEngine(few, [Activation("loans", "*", 0, baseline)])
    rng = np.random.default_rng(8)
    cut = list(engine.run(_after(_rows(rng, 6_000), _rows(rng, 2_000, eu=1.0))))
    told = [output for output in cut if output.topic == "aggregates"]
    assert max(len(output.value or b"") for output in told) <= 5_000
    parts = [output.view for output in told if output.view["id"] == last["id"]]
    assert len(parts) > 1
    joined: dict[str, Any] = {"features": {}, "segments": {}, "pairs": {}}
    for part in parts:
        assert errors("aggregate.v1", part) == []
        joined["features"] |= part["features"]
        joined["pairs"] |= part.get("pairs", {})
        for name, of in part.get("segments", {}).items():
            joined["segments"].setdefault(name, {"rows": of["rows"], "features": {}})["features"] |= of[
                "features"
            ]
    assert joined.keys() == {"features", "segments", "pairs"}
    assert joined["segments"].keys() == last["segments"].keys()
    assert all(of["features"].keys() == eu["features"].keys() for of in joined["segments"].values())


def test_a_feature_that_leaves_its_median_is_no_joint_drift(baseline: Baseline) -> None:
    rng = np.random.default_rng(9)
    moved = _rows(rng, 8_000)
    age = moved.features["age"]
    assert isinstance(age, NumberColumn)
    age.values[:] += 2.0
    outputs = _play(baseline, _rows(rng, 8_000), moved)
    detections = [output.view["detection"] for output in outputs if output.topic == "detections"]
    assert "age×tenure" in {found.feature for found in detections}
    told = {(alert["labels"]["alertname"], alert["labels"]["feature"]) for alert in _alerts(outputs)}
    assert ("FeatureDrift", "age") in told
    assert "JointDrift" not in {name for name, _ in told}
