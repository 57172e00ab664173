"""Baselines with counts chosen by hand, for tests that need to know every share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from stream_monitor.baselines.profile import Baseline, FeatureProfile

MakeFeature = Callable[..., FeatureProfile]
MakeBaseline = Callable[..., Baseline]


def _feature(
    name: str,
    values: Sequence[int],
    *,
    missing: int = 0,
    below: int = 0,
    above: int = 0,
    unseen: int = 0,
    form: str = "quantiles",
    vif: float = 1.0,
    groups: tuple[tuple[str, ...], ...] | None = None,
) -> FeatureProfile:
    bins = len(values)
    number = form != "categories"
    edges = {"quantiles": np.arange(1.0, bins), "values": np.arange(1.0, bins + 1), "categories": np.zeros(0)}
    if not values:  # a feature without any finite value has no range
        edges["quantiles"] = np.zeros(0)
    low, high = {"quantiles": (0.0, float(bins)), "values": (1.0, float(bins))}.get(
        form if values else "", (float("nan"), float("nan"))
    )
    return FeatureProfile(
        name=name,
        kind="number" if number else "category",
        form=form,  # type: ignore[arg-type]
        edges=edges[form],
        low=low,
        high=high,
        categories=() if number else (groups or tuple((f"c{i:03d}",) for i in range(bins))),
        counts=np.array([missing, below, above, unseen, *values], dtype=np.int64),
        vif=vif,
    )


def _baseline(*features: FeatureProfile) -> Baseline:
    ordered = tuple(sorted(features, key=lambda profile: profile.name))
    return Baseline(features=ordered, rows=ordered[0].rows)


@pytest.fixture(scope="session")
def feature() -> MakeFeature:
    """feature(name, value_counts, missing=, below=, above=, unseen=, form=, vif=, groups=)."""
    return _feature


@pytest.fixture(scope="session")
def baseline() -> MakeBaseline:
    """baseline(*features): all with the same number of rows."""
    return _baseline
