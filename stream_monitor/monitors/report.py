"""Aggregates: what a window showed, as JSON for the aggregates topic and Prometheus.

Everything here is shown, nothing decides. A record is split between features where it would
pass the message limit; each part repeats the window's totals.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from stream_monitor.baselines.profile import (
    ABOVE_BIN,
    BELOW_BIN,
    FIRST_VALUE_BIN,
    MISSING_BIN,
    UNSEEN_BIN,
    FeatureProfile,
    Within,
)
from stream_monitor.baselines.slices import AGREE
from stream_monitor.events.columns import IntArray
from stream_monitor.records import Output
from stream_monitor.sketches.quantile import quantile
from stream_monitor.windows.panes import duration_name, rfc3339
from stream_monitor.windows.tally import Tally

SCHEMA = "stream-monitor/aggregate/v1"
QUANTILES = np.array([0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99])
_NAMES = [f"{q:g}" for q in QUANTILES]
_LATENCY = np.array([0.5, 0.95, 0.99, 1.0])
_TOP = 5


def feature_report(tally: Tally, i: int) -> dict[str, Any]:
    """One feature with a profile: counts, mean, std, range, quantiles or top categories."""
    assert tally.baseline is not None
    profile = tally.baseline.features[i]
    counts = tally.counts[tally.baseline.offsets[i] : tally.baseline.offsets[i + 1]]
    earlier = tally.presence.get(profile.name, 0)  # rows from before it had this profile
    rows = tally.rows - tally.unasked.get(profile.name, 0)
    report: dict[str, Any] = {
        "kind": profile.kind,
        "count": rows,
        "missing": rows - earlier - int(counts.sum() - counts[MISSING_BIN]),
        "unseen": int(counts[UNSEEN_BIN]),
        "below": int(counts[BELOW_BIN]),
        "above": int(counts[ABOVE_BIN]),
    }
    if profile.kind == "number":
        report |= _numbers(tally, i, profile)
    else:
        report["top"] = _top(profile, counts)
    return report


def _numbers(tally: Tally, i: int, profile: FeatureProfile) -> dict[str, Any]:
    keys, n = tally.sketch.of(i)
    total = int(n.sum())
    if not total:
        return {"mean": None, "std": None, "min": None, "max": None, "quantiles": None}
    mean = int(tally.sums[i]) / total
    coarse = profile.quantum * 256
    variance = max(0.0, int(tally.squares[i]) / total - (mean / 256) ** 2)
    low, high = float(tally.low[i]), float(tally.high[i])
    return {
        "mean": profile.center + profile.quantum * mean,
        "std": coarse * variance**0.5,
        "min": low if np.isfinite(low) else None,
        "max": high if np.isfinite(high) else None,
        "quantiles": dict(zip(_NAMES, quantile(keys, n, QUANTILES).tolist(), strict=True)),
    }


def _top(profile: FeatureProfile, counts: Any) -> list[list[Any]]:
    values = counts[FIRST_VALUE_BIN:]
    order = np.argsort(-values, kind="stable")[:_TOP]
    return [
        [names[0] if len(names := profile.categories[k]) == 1 else f"{len(names)} others", int(values[k])]
        for k in order.tolist()
        if values[k]
    ]


def window_report(
    *,
    model: str,
    version: str,
    length: int,
    start: int,
    revision: int,
    tally: Tally,
    baseline: str | None,
    config: str,
    origin: str | None,
    provisional: bool,
    backfill: bool,
    expired: int,
    drift: dict[str, dict[str, Any]],
    first_seen: Mapping[str, int],
    max_bytes: int,
) -> list[Output]:
    """The records of one closed window.

    `baseline` is the hash of the one that it is judged by, which may hold features that are not
    watched. `drift` has a feature's scores where it was tested, `origin` says how the baseline came to be,
    `expired` counts all rows so far that came later than is allowed, `first_seen` has the time (µs)
    since when each feature is known.
    """
    features: dict[str, Any] = {}
    profiles = () if tally.baseline is None else tally.baseline.features
    for i, profile in enumerate(profiles):
        features[profile.name] = feature_report(tally, i) | {"drift": drift.get(profile.name)}
    for name, present in tally.present().items():
        if name not in features:
            features[name] = {
                "kind": None,
                "count": tally.rows,
                "missing": tally.rows - present,
                "drift": None,
            }
    for name, report in features.items():
        report["first_seen"] = rfc3339(first_seen[name])
    window = duration_name(length)
    identity = "\x1f".join(["aggregate", model, version, window, str(start), str(revision)])
    head: dict[str, Any] = {
        "schema": SCHEMA,
        "id": hashlib.sha256(identity.encode()).hexdigest()[:32],
        "model": model,
        "version": version,
        "window": window,
        "start": rfc3339(start),
        "end": rfc3339(start + length),
        "revision": revision,
        "rows": tally.rows,
        "errors": tally.errors,
        "late": tally.late,
        "expired": expired,
        "latency_ms": _latency(tally),
        "baseline": baseline,
        "baseline_origin": origin,
        "config": config,
        "provisional": provisional,
        "backfill": backfill,
        "source": {str(p): list(offsets) for p, offsets in sorted(tally.sources.items())},
    }
    sections = {"features": features} | slice_reports(tally, drift)
    parts = _parts(sections, max_bytes - len(orjson.dumps(head)) - 128)
    key = f"{model}\x1f{version}\x1f{window}".encode()
    whole = len(parts)
    views = [head | {"part": i, "parts": whole} | part for i, part in enumerate(parts)]
    return [Output("aggregates", key, orjson.dumps(v, option=orjson.OPT_SORT_KEYS), view=v) for v in views]


def _latency(tally: Tally) -> dict[str, Any] | None:
    keys, n = tally.sketch.of(tally.latency_feature)
    if not len(n):
        return None
    p50, p95, p99, top = quantile(keys, n, _LATENCY).tolist()
    return {"count": int(n.sum()), "p50": p50, "p95": p95, "p99": p99, "max": top}


def slice_reports(tally: Tally, drift: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """`pairs` by name, `segments` by segment and then feature; neither where there are none.

    `drift` has the scores of those slices that were tested.
    """
    pairs: dict[str, Any] = {}
    segments: dict[str, dict[str, Any]] = {}
    baseline = tally.baseline
    for profile in () if baseline is None else baseline.slices:
        assert baseline is not None
        i = baseline.places[profile.name]
        counts = tally.counts[baseline.offsets[i] : baseline.offsets[i + 1]]
        if isinstance(profile.of, Within):
            report = {"count": int(counts.sum()), "missing": int(counts[MISSING_BIN])}
            of = segments.setdefault(profile.segment, {"rows": 0, "features": {}})
            of["rows"] = max(of["rows"], report["count"])
            of["features"][profile.feature] = report | {"drift": drift.get(profile.name)}
        else:
            pairs[profile.name] = _agreement(counts) | {"baseline": _agreement(profile.counts)["agreement"]}
    return {name: found for name, found in (("pairs", pairs), ("segments", segments)) if found}


def _agreement(counts: IntArray) -> dict[str, Any]:
    both = int(counts[FIRST_VALUE_BIN:].sum())
    return {"rows": both, "agreement": int(counts[list(AGREE)].sum()) / both if both else None}


def _parts(sections: dict[str, dict[str, Any]], limit: int) -> list[dict[str, Any]]:
    """What each message holds of the sections: every part has `features`, and has the rest behind them."""
    parts: list[dict[str, Any]] = [{"features": {}}]
    size = 0
    for section, reports in sections.items():
        for name, report in reports.items():
            # A segment is cut between its features; its rows are said again.
            inner = report["features"] if section == "segments" else {"": report}
            for feature, one in inner.items():
                cost = len(orjson.dumps([name, feature, one])) + len(section) + 32
                if size and size + cost > limit:
                    parts.append({"features": {}})
                    size = 0
                held = parts[-1].setdefault(section, {})
                if section == "segments":
                    held.setdefault(name, report | {"features": {}})["features"][feature] = one
                else:
                    held[name] = one
                size += cost
    return parts
