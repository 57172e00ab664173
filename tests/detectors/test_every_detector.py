"""What every detector must keep, found by looking through the package: none can be forgotten."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stream_monitor.detectors
from stream_monitor import codec
from stream_monitor.baselines.slices import pair, within
from stream_monitor.detectors.base import Detector
from stream_monitor.detectors.channels import Channels
from stream_monitor.errors import StateError

RUN_LENGTH = 1e6


def _found() -> list[type[Detector]]:
    classes = set()
    for module in pkgutil.iter_modules(stream_monitor.detectors.__path__):
        loaded = importlib.import_module(f"stream_monitor.detectors.{module.name}")
        for _, member in inspect.getmembers(loaded, inspect.isclass):
            if issubclass(member, Detector) and not inspect.isabstract(member):
                classes.add(member)
    return sorted(classes, key=lambda cls: cls.name)


PAIRS = {"bins×tied", "tied×bins"}
SEGMENTS = {"bins{region=EU}", "bins{region=US}"}
DETECTORS = _found()
every_detector = pytest.mark.parametrize("cls", DETECTORS, ids=lambda cls: cls.name)


@pytest.fixture(scope="module")
def made(feature: Any, baseline: Any) -> Any:
    """Many bins, ties, a rare value, categories, a constant, nothing but missing, dependence; slices."""
    bins, tied = feature("bins", [400] * 64, missing=400), feature("tied", [6_500] * 4, vif=5.0)
    made = baseline(
        bins,
        feature("rare", [25_900, 100], form="values"),
        feature("category", [20_000, 5_000, 900, 100], form="categories"),
        feature("constant", [26_000]),
        feature("void", [], missing=26_000),
        tied,
    )
    few = np.r_[20, 0, 0, 0, [20] * 64]
    slices = [
        within(bins, "region", "EU", few, vif=2.0),
        within(bins, "region", "US", 2 * few, vif=1.0),
        pair(bins, tied, np.array([1_000, 0, 0, 0, 11_000, 1_500, 1_500, 11_000]), vif=1.0),
        pair(tied, bins, np.array([1_000, 0, 0, 0, 12_500, 0, 0, 12_500]), vif=1.0),
    ]
    return replace(made, slices=tuple(sorted(slices, key=lambda profile: profile.name)))


@pytest.fixture(scope="module")
def channels(made: Any) -> Channels:
    return Channels.build(made, effect_floor=0.01)


def _panes(made: Any, seed: int, panes: int, rows: int, shift: float = 0.0) -> np.ndarray:
    """Counts like the baseline's; with `shift`, that share of every feature's rows is its last bin."""
    rng = np.random.default_rng(seed)
    out = np.zeros((panes, made.total_bins), dtype=np.int64)
    for profile, first, last in zip(made.profiles, made.offsets[:-1], made.offsets[1:], strict=True):
        shares = profile.counts / profile.rows * (1 - shift)
        shares[-2 if profile.name in PAIRS else -1] += shift
        out[:, first:last] = rng.multinomial(rows, shares, size=panes)
    return out


def _same(a: Detector, b: Detector) -> bool:
    left, right = a.state(), b.state()
    return left.keys() == right.keys() and all(
        left[k].tobytes() == right[k].tobytes() and left[k].shape == right[k].shape for k in left
    )


def _finite(detector: Detector) -> bool:
    return all(np.isfinite(array).all() for array in detector.state().values())


def test_the_three_detectors_are_found() -> None:
    assert {cls.name for cls in DETECTORS} >= {"e-detector", "page-hinkley", "adwin"}
    assert len({cls.name for cls in DETECTORS}) == len(DETECTORS)


@every_detector
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), cut=st.integers(0, 40), rows=st.sampled_from([1, 7, 300, 20_000]))
def test_restored_equals_never_stopped(
    cls: type[Detector], made: Any, channels: Channels, seed: int, cut: int, rows: int
) -> None:
    panes = _panes(made, seed, 40, rows)
    panes[20:] = _panes(made, seed + 1, 20, rows, shift=0.3)
    whole = cls.calibrated(channels, run_length=RUN_LENGTH)
    parted = cls.calibrated(channels, run_length=RUN_LENGTH)
    for at, counts in enumerate(panes):
        if at == cut:
            stored = codec.unpack(codec.pack({}, parted.state()))[1]
            parted = cls.calibrated(channels, run_length=RUN_LENGTH)
            parted.load(stored)
        one, two = whole.update(channels.sums(counts)), parted.update(channels.sums(counts))
        assert one.statistic.tobytes() == two.statistic.tobytes()
        np.testing.assert_array_equal(one.alarm, two.alarm)
        mask = one.alarm & (np.arange(len(channels)) % 2 == 0)
        whole.reset(mask)
        parted.reset(mask)
    assert _same(whole, parted)


@every_detector
def test_state_is_a_copy(cls: type[Detector], made: Any, channels: Channels) -> None:
    detector = cls.calibrated(channels, run_length=RUN_LENGTH)
    panes = _panes(made, 1, 5, 100, shift=0.1)
    detector.update(channels.sums(panes[0]))
    kept = detector.state()
    before = {name: array.tobytes() for name, array in kept.items()}
    for counts in panes:
        detector.update(channels.sums(counts))
    assert {name: array.tobytes() for name, array in kept.items()} == before
    detector.load(kept)
    detector.update(channels.sums(panes[1]))
    assert {name: array.tobytes() for name, array in kept.items()} == before


@every_detector
@pytest.mark.parametrize("quiet", [0, 3, 400])
@pytest.mark.parametrize("rows", [50, 1_000_000])
def test_a_large_shift_is_always_found(
    cls: type[Detector], made: Any, channels: Channels, quiet: int, rows: int
) -> None:
    """Also after long quiet, after enormous panes, and again after every reset."""
    detector = cls.calibrated(channels, run_length=RUN_LENGTH)
    still = [channels.sums(counts) for counts in _panes(made, 2, 20, rows)]
    moved = [channels.sums(counts) for counts in _panes(made, 3, 20, rows, shift=0.5)]
    location = [
        at
        for at, (name, channel) in enumerate(channels.names)
        if channel == "agreement" or (channel == "location" and name in {"bins", "rare", "tied", *SEGMENTS})
    ]
    assert len(location) == 7
    for _ in range(2):
        for at in range(quiet):
            assert not detector.update(still[at % 20]).alarm.any()
        found = np.zeros(len(channels), dtype=bool)
        for pane in moved:
            found |= detector.update(pane).alarm
        assert found[location].all()
        assert _finite(detector)
        detector.reset()


@every_detector
def test_it_recovers_from_the_most_extreme_panes(cls: type[Detector], made: Any, channels: Channels) -> None:
    """A billion rows in one bin, over and over, and then a plain shift: found, nothing infinite."""
    detector = cls.calibrated(channels, run_length=RUN_LENGTH)
    for position in range(4):
        for _ in range(30):
            counts = np.zeros(made.total_bins, dtype=np.int64)
            counts[made.offsets[:-1] + position] = 10**9
            reading = detector.update(channels.sums(counts))
            assert np.isfinite(reading.statistic).all()
            assert _finite(detector)
    detector.reset()
    fresh = cls.calibrated(channels, run_length=RUN_LENGTH)
    assert _same(detector, fresh)


@every_detector
def test_a_long_alarm_that_nobody_resets_does_not_make_it_deaf(
    cls: type[Detector], made: Any, channels: Channels
) -> None:
    detector = cls.calibrated(channels, run_length=RUN_LENGTH)
    at = channels.names.index(("bins", "location"))
    for counts in _panes(made, 5, 3000, 200, shift=0.5):
        detector.update(channels.sums(counts))
    assert _finite(detector)
    detector.reset(np.ones(len(channels), dtype=bool))
    found = [detector.update(channels.sums(c)).alarm[at] for c in _panes(made, 6, 30, 200, shift=0.5)]
    assert any(found)


@every_detector
def test_an_empty_pane_changes_nothing(cls: type[Detector], made: Any, channels: Channels) -> None:
    detector = cls.calibrated(channels, run_length=RUN_LENGTH)
    detector.update(channels.sums(_panes(made, 7, 1, 40)[0]))
    before = detector.state()
    reading = detector.update(channels.sums(np.zeros(made.total_bins, dtype=np.int64)))
    assert not reading.alarm.any()
    assert all(before[name].tobytes() == array.tobytes() for name, array in detector.state().items())


@every_detector
def test_a_feature_without_rows_keeps_its_state_and_disturbs_no_other(
    cls: type[Detector], made: Any, channels: Channels
) -> None:
    one = cls.calibrated(channels, run_length=RUN_LENGTH)
    two = cls.calibrated(channels, run_length=RUN_LENGTH)
    hidden = made.index["bins"]
    part = slice(int(made.offsets[hidden]), int(made.offsets[hidden + 1]))
    others = channels.feature != hidden
    for counts in _panes(made, 8, 30, 64):
        full = two.update(channels.sums(counts))
        counts[part] = 0
        reading = one.update(channels.sums(counts))
        np.testing.assert_array_equal(reading.statistic[others], full.statistic[others])
    fresh = cls.calibrated(channels, run_length=RUN_LENGTH)
    for counts in _panes(made, 18, 30, 64):  # and now it has rows: as in a detector that starts
        sums = channels.sums(counts)
        late, new = one.update(sums).statistic, fresh.update(sums).statistic
        np.testing.assert_array_equal(late[~others], new[~others])


@every_detector
def test_masked_reset_is_a_fresh_start_for_those_channels_only(
    cls: type[Detector], made: Any, channels: Channels
) -> None:
    detector = cls.calibrated(channels, run_length=RUN_LENGTH)
    before = cls.calibrated(channels, run_length=RUN_LENGTH)
    other = cls.calibrated(channels, run_length=RUN_LENGTH)
    panes = [channels.sums(counts) for counts in _panes(made, 9, 60, 96)]
    for pane in panes[:40]:
        detector.update(pane)
        other.update(pane)
    mask = np.arange(len(channels)) % 3 == 0
    detector.reset(mask)
    for pane in panes[40:]:
        got = detector.update(pane).statistic
        np.testing.assert_array_equal(got[mask], before.update(pane).statistic[mask])
        np.testing.assert_array_equal(got[~mask], other.update(pane).statistic[~mask])


@every_detector
def test_parts_of_a_pane_merged_in_any_order_are_one_pane(
    cls: type[Detector], made: Any, channels: Channels
) -> None:
    one = cls.calibrated(channels, run_length=RUN_LENGTH)
    two = cls.calibrated(channels, run_length=RUN_LENGTH)
    rng = np.random.default_rng(10)
    for counts in _panes(made, 10, 30, 500):
        split = rng.multinomial(1, [0.2, 0.3, 0.5], size=len(counts)).T * counts
        one.update(channels.sums(counts))
        two.update(channels.sums(split[2] + split[0] + split[1]))
    assert _same(one, two)


@every_detector
def test_foreign_or_damaged_state_is_refused(
    cls: type[Detector], channels: Channels, feature: Any, baseline: Any
) -> None:
    detector = cls.calibrated(channels, run_length=RUN_LENGTH)
    good = detector.state()
    other = Channels.build(baseline(feature("a", [10, 20])), effect_floor=0.01)
    with pytest.raises(StateError, match=cls.name):
        cls.calibrated(other, run_length=RUN_LENGTH).load(good)
    for name, array in good.items():
        with pytest.raises(StateError, match=name):
            detector.load({key: value for key, value in good.items() if key != name})
        if array.dtype.kind == "f":
            broken = array.copy()
            broken.flat[0] = np.nan
            with pytest.raises(StateError, match="NaN"):
                detector.load({**good, name: broken})
    assert all(good[name].tobytes() == array.tobytes() for name, array in detector.state().items())


@every_detector
@pytest.mark.parametrize("run_length", [0.0, -1.0, float("nan"), float("inf")])
def test_unusable_run_lengths_are_refused(cls: type[Detector], channels: Channels, run_length: float) -> None:
    if cls.name == "e-detector" and run_length == float("inf"):
        run_length = 0.5
    with pytest.raises(ValueError, match=r"run_length|threshold"):
        cls.calibrated(channels, run_length=run_length)
