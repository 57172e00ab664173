"""Aggregates and alerts as the worker shows them, for the tests of the exporter."""

from __future__ import annotations

from typing import Any

from stream_monitor.processors.readiness import Readiness

QUANTILES = {"0.01": 1.0, "0.05": 2.0, "0.25": 3.0, "0.5": 4.0, "0.75": 5.0, "0.95": 6.0, "0.99": 7.0}


def judged(*names: tuple[str, str]) -> dict[tuple[str, str], Readiness]:
    """These (model, version), each with a baseline of 5,000 events."""
    return dict.fromkeys(names, Readiness(ready=True, events=5000, wanted=5000))


def feature(
    *, psi: float = 0.01, drifted: bool = False, kind: str = "number", drift: bool = True, **changes: Any
) -> dict[str, Any]:
    """One feature of an aggregate: 17 series for a number, 9 for a category."""
    number = kind == "number"
    facts: dict[str, Any] = {
        "kind": kind, "count": 1000, "missing": 100, "unseen": 50, "below": 10, "above": 20,
        "mean": 4.25 if number else None, "std": 1.0 if number else None,
        "min": 1.0 if number else None, "max": 7.0 if number else None,
        "quantiles": dict(QUANTILES) if number else None, "top": None if number else [["a", 900]],
        "drift": {
            "psi": psi, "ks": 0.03, "js": 0.04, "x2": 12.5, "x2_threshold": 31.5, "df": 9, "p_value": 0.2,
            "drifted": drifted, "rows": 1000, "start": "2026-03-01T11:00:00Z",
        } if drift else None,
    }  # fmt: skip
    return facts | changes


def aggregate(features: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """An aggregate of one part for model m, version 1, window 1m ending 2026-03-01T12:01:00Z."""
    return {
        "schema": "stream-monitor/aggregate/v1", "id": "00", "model": "m", "version": "1", "window": "1m",
        "start": "2026-03-01T12:00:00Z", "end": "2026-03-01T12:01:00Z", "revision": 0, "part": 0, "parts": 1,
        "rows": 1000, "errors": 3, "late": 2,
        "latency_ms": {"count": 900, "p50": 5.0, "p95": 9.0, "p99": 12.0, "max": 250.0},
        "baseline": "b", "config": "c", "provisional": False,
        "features": {"age": feature()} if features is None else features, "source": {"0": [0, 999]},
    } | changes  # fmt: skip


def alert(
    *, fingerprint: str = "f1", status: str = "firing", state: str = "opened", detector: str = "e_detector",
    channel: str = "location", **labels: str,
) -> dict[str, Any]:  # fmt: skip
    """An alert message; `labels` change its labels."""
    return {
        "schema": "stream-monitor/alert/v1", "id": "00", "fingerprint": fingerprint, "status": status,
        "labels": {
            "alertname": "FeatureDrift", "model": "m", "version": "1", "feature": "age",
            "severity": "warning",
        } | labels,
        "annotations": {"summary": "s", "description": "d"}, "startsAt": "2026-03-01T12:00:00Z",
        "endsAt": None, "generatorURL": "",
        "incident": "i", "state": state, "provisional": False,
        "evidence": {"detector": detector, "channel": channel, "statistic": 9.0, "threshold": 8.0},
    }  # fmt: skip
