"""Whatever rows a baseline is made of, a worker can watch it: nobody's data ends a worker."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_monitor.alerting.budget import Budget
from stream_monitor.baselines.build import build_baseline
from stream_monitor.baselines.profile import Baseline
from stream_monitor.monitors.drift import DriftMonitor
from stream_monitor.windows.tally import Tally
from tests.baselines.rows import json_batch
from tests.processors.harness import SECOND, START
from tests.processors.logs import small_config

PANE = 10 * SECOND
KINDS = [
    "ids",
    "mostly_ids",
    "constant",
    "one_other",
    "missing",
    "mixed",
    "normal",
    "heavy",
    "switch",
    "steps",
]


def column(kind: str, rows: int, rng: np.random.Generator) -> list[Any]:
    """Values as JSON gives them."""
    match kind:
        case "ids":
            return [f"req-{i}" for i in rng.permutation(rows)]
        case "mostly_ids":
            return [f"req-{i}" if rng.random() < 0.99 else "none" for i in range(rows)]
        case "constant":
            return [7.0] * rows
        case "one_other":
            return ["yes"] * (rows - 1) + ["no"]
        case "missing":
            return [1.5 if rng.random() < 0.02 else None for _ in range(rows)]
        case "mixed":
            return [float(i) if i % 2 else f"text {i}" for i in range(rows)]
        case "heavy":
            return list((rng.standard_cauchy(rows) * 1e150).tolist())
        case "switch":
            return list((rng.random(rows) < 0.001).tolist())
        case "steps":
            return [float(i // max(1, rows // 3)) for i in range(rows)]
        case _:
            return list(rng.normal(size=rows).tolist())


def watched(baseline: Baseline, seed: int) -> None:
    """Make the monitor, and let it see rows as the baseline's, all in one bin, and none."""
    of_model = small_config(learn=1000).model("loans")
    monitor = DriftMonitor(baseline, of_model, Budget(1.0, of_model.alert_budget.period, PANE))
    rng = np.random.default_rng(seed)
    for at in range(12):
        tally = Tally(baseline)
        tally.rows = int(rng.integers(0, 200)) if at else 0
        for i, profile in enumerate(baseline.features):
            share = (
                profile.counts / profile.rows if at % 3 else rng.dirichlet(np.full(len(profile.counts), 0.01))
            )
            tally.counts[baseline.offsets[i] : baseline.offsets[i + 1]] = rng.multinomial(tally.rows, share)
        tally.source(0, at, at)
        for found in monitor.pane(tally, START + at * PANE, incident_open=bool(at % 2), active=1 + at // 6):
            assert found.current_mean is not None
            assert np.isfinite([found.statistic, found.threshold, found.current_mean]).all()
            assert found.threshold > 0.0
    again = DriftMonitor(baseline, of_model, Budget(1.0, of_model.alert_budget.period, PANE))
    again.load(*monitor.state())


@settings(max_examples=60, deadline=None)
@given(
    rows=st.sampled_from([1, 2, 3, 20, 199, 1000, 5000]),
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=3, unique=True),
    timed=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_a_monitor_can_be_made_and_run(rows: int, kinds: list[str], *, timed: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    columns = {kind: column(kind, rows, rng) for kind in kinds}
    batch = json_batch([{kind: columns[kind][i] for kind in kinds} for i in range(rows)])
    watched(build_baseline([batch], source="test", pane=PANE if timed else None), seed)


@pytest.mark.parametrize("rows", [1000, 5000, 20_000, 30_000])
def test_values_that_are_all_different(rows: int) -> None:
    """Up to twice as many as a baseline keeps, then none is one that it saw in the rows behind."""
    batch = json_batch([{"request_id": f"{i:08x}", "amount": 50.0 + i % 7} for i in range(rows)])
    watched(build_baseline([batch], source="test"), rows)
