"""`budget explain`: the ledger adds up to no more than the budget; its JSON keeps its shape."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_monitor.alerting.budget import Budget
from stream_monitor.alerting.ledger import RESTS_ON, ledger
from stream_monitor.cli import main
from stream_monitor.config import Shares, config_from
from stream_monitor.monitors.drift import DriftMonitor
from tests.processors.logs import baseline_of, drifting_baseline

BASELINE = drifting_baseline(rows=2000, gap=3.0)
MODEL = config_from({}, env={}).model("loans")
SECOND = 1_000_000


def monitor(shares: Shares | None = None) -> DriftMonitor:
    return DriftMonitor(BASELINE, MODEL, replace(Budget.of(MODEL), shares=shares or Shares()))


@settings(deadline=None, max_examples=30)
@given(
    rate=st.floats(1e-3, 1e5),
    parts=st.lists(st.sampled_from([0, 1, 3, 20]), min_size=4, max_size=4).filter(any),
)
def test_what_is_expected_is_never_more_than_the_share(rate: float, parts: list[int]) -> None:
    names = ("e_detector", "window", "page_hinkley", "adwin")
    shares = Shares(**{name: part / sum(parts) for name, part in zip(names, parts, strict=True)})
    which = monitor(shares)
    rows = rate * MODEL.alert_budget.period / SECOND
    which.expect(rows)
    entries = ledger(which, rows)
    assert [entry.detector for entry in entries] == list(shares.by_name)
    for entry in entries:
        assert entry.share == shares.by_name[entry.detector]
        assert 0.0 <= entry.expected <= entry.share * (1 + 1e-9)
        assert (entry.threshold is None) == (entry.share == 0.0)
    for name in ("e-detector", "window"):
        (entry,) = (e for e in entries if e.detector == name)
        assert entry.expected == pytest.approx(entry.share)


def test_a_worker_that_sees_the_traffic_has_the_thresholds_that_are_explained() -> None:
    """Run lengths cover 1.5 times the traffic they were bought for: no rise within is over the budget."""
    which, rows = monitor(), 1e9
    which.expect(rows)
    bought = which.run_length("adwin")
    for more in (1.0, 1.3, 1.49):
        which.expect(rows * more)
        assert which.run_length("adwin") == bought
        assert sum(entry.expected for entry in ledger(which, rows * more)) <= 1.0 + 1e-9
    which.expect(rows * 1.6)
    assert which.run_length("adwin") == pytest.approx(1.6 * bought)


# ── the command ─────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "past.json").write_bytes(BASELINE.to_json())
    (tmp_path / "monitor.yaml").write_text("models: {loans: {baseline: past.json}, new: {}}")
    return tmp_path


def explain(folder: Path, *arguments: str) -> int:
    return main(["budget", "explain", "--config", str(folder / "monitor.yaml"), *arguments])


def shape(value: Any) -> Any:
    """Types, with what can stand for each other joined."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(value[0])]
    return {int: "number", float: "number", str: "text", bool: "boolean"}[type(value)]


SMALLEST = {"size": "number", "detector": "text"}
SHAPE = {
    "models": [
        {
            "model": "text",
            "config": "text",
            "baseline": "text",
            "budget": {"false_alarms": "number", "per": "text"},
            "provisional": "boolean",
            "largest_vif": "number",
            "traffic": {"events_per_second": "number", "source": "text"},
            "detectors": [
                {
                    "detector": "text",
                    "share": "number",
                    "threshold": {"panes": "number"},
                    "expected_false_alarms": "number",
                    "rests_on": "text",
                }
            ],
            "expected_false_alarms": "number",
            "within": "text",
            "features": [
                {
                    "feature": "text",
                    "tolerance": {"location": "number", "missing": "number"},
                    "smallest_shift": {"up": SMALLEST, "down": SMALLEST},
                    "smallest_rise_of_missing": SMALLEST | {"from": "number"},
                    "in_its_unit": {
                        "measure": "text",
                        "of": "text",
                        "baseline": "number",
                        "changed": "number",
                    },
                }
            ],
            "features_left_out": "number",
        }
    ]
}


def test_json_keeps_its_shape(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(folder, "--model", "loans", "--rate", "100", "--within", "5m", "--json") == 0
    found = orjson.loads(capsys.readouterr().out)
    (model,) = found["models"]
    kind = next(feature for feature in model["features"] if feature["feature"] == "kind")
    assert shape({"models": [model | {"features": [kind]}]}) == SHAPE
    assert model["traffic"] == {"events_per_second": 100.0, "source": "as given"}
    assert [entry["detector"] for entry in model["detectors"]] == list(Shares().by_name)
    assert {entry["rests_on"] for entry in model["detectors"]} <= set(RESTS_ON)
    assert model["expected_false_alarms"] <= 1.0
    assert len(model["features"]) == len(BASELINE.features)
    sizes = [feature["smallest_shift"]["up"]["size"] for feature in model["features"]]
    assert all(0.02 < size < 0.2 for size in sizes)
    assert model["provisional"] is (BASELINE.vif_panes == 0)


def test_text_says_who_what_and_how_sure(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(folder, "--model", "loans", "--within", "5m") == 0
    text = capsys.readouterr().out
    assert (
        "loans: at most 1 false alarm per week, pane 10s, 0.334 events a second (the baseline's own)" in text
    )
    assert "provisional: variance inflation was not estimated" in text
    assert "e-detector    0.7    0.7                A = 86,400 panes" in text
    assert "the chi-square approximation" in text
    assert "found within 5m (the weakest first)" in text
    (folder / "monitor.yaml").write_text(
        "models: {loans: {baseline: past.json, alert_budget: {shares: {adwin: 0, window: 0}}}}"
    )
    assert explain(folder, "--rate", "1000", "--within", "1m") == 0
    text = capsys.readouterr().out
    assert "adwin         0      0                  off" in text
    assert "together      0.75   0.733" in text


def test_many_features_are_cut_by_the_widest_tolerance(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{f"x{k:02d}": (i * (k + 3)) % 97 for k in range(30)} for i in range(400)]
    for row in rows[50:]:
        row["x07"] = None  # type: ignore[assignment]  # fewer of its own rows, so a wider tolerance
    (folder / "wide.json").write_bytes(baseline_of(rows).to_json())
    arguments = ["--model", "new", "--baseline", str(folder / "wide.json"), "--within", "1m", "--rate", "9"]
    assert explain(folder, *arguments) == 0
    text = capsys.readouterr().out
    assert "(the 20 weakest, 10 more by --all)" in text
    assert explain(folder, *arguments, "--all", "--json") == 0
    (model,) = orjson.loads(capsys.readouterr().out)["models"]
    assert (len(model["features"]), model["features_left_out"]) == (30, 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "new: it is learned from its first events, so there is no baseline yet"),
        (("--baseline", "past.json"), "--baseline is of one model, .* names 2: say which by --model"),
        (("--model", "new", "--baseline", "untimed.json"), "no event times, .* give it by --rate"),
        (("--model", "new", "--baseline", "absent.json"), "absent.json: cannot be read"),
    ],
)
def test_what_is_needed_is_asked_for(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    words: str,
) -> None:
    monkeypatch.chdir(folder)
    untimed = replace(BASELINE, first_time=None, last_time=None)
    (folder / "untimed.json").write_bytes(untimed.to_json())
    assert explain(folder, "--within", "1m", *arguments) == 1
    assert re.search(words, capsys.readouterr().err)


@pytest.mark.parametrize(("option", "value"), [("--rate", "0"), ("--rate", "x"), ("--within", "60")])
def test_numbers_that_cannot_be_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    with pytest.raises(SystemExit):
        explain(folder, option, value)
    assert value in capsys.readouterr().err
