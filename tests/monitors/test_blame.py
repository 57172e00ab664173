"""What a drifted window is said to be about: the values, or one rate."""

from __future__ import annotations

import numpy as np
import pytest

from stream_monitor.baselines.profile import FIRST_VALUE_BIN, MISSING_BIN, UNSEEN_BIN
from stream_monitor.monitors.detection import Detection
from tests.monitors.test_drift import BASELINE, monitor, pane, window

HOUR = 3_600_000_000


def detections(seed: int, /, **shares: dict[int, float]) -> list[Detection]:
    rng = np.random.default_rng(seed)
    _, found = monitor().windows.scores(window(pane(rng, 3000, **shares)), HOUR, 1, {0: (0, 2999)})
    return found


@pytest.mark.parametrize(
    ("feature", "shares", "channel"),
    [
        ("age", {MISSING_BIN: 0.3}, "missing"),
        ("kind", {UNSEEN_BIN: 0.3}, "unseen"),
        ("age", {FIRST_VALUE_BIN: 0.3}, "distribution"),
        # both: what the rate cannot account for is the values'
        ("age", {MISSING_BIN: 0.2, FIRST_VALUE_BIN: 0.4}, "distribution"),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_a_window_names_what_accounts_for_it(
    feature: str, shares: dict[int, float], channel: str, seed: int
) -> None:
    (found,) = detections(seed, **{feature: shares})
    assert (found.feature, found.channel) == (feature, channel)
    if channel == "distribution":
        assert found.current_mean is None
    else:
        assert found.current_mean == pytest.approx(0.3, abs=0.03)
        profile = BASELINE.features[BASELINE.index[feature]]
        at = MISSING_BIN if channel == "missing" else UNSEEN_BIN
        assert found.baseline_mean == profile.counts[at] / profile.rows


def test_missing_values_do_not_hold_an_episode_of_the_values() -> None:
    which = monitor()
    rng = np.random.default_rng(9)
    look = which.windows.look(window(pane(rng, 3000, age={MISSING_BIN: 0.3})))
    assert which.windows.holds("age", "location", look, whole=True) is False
    assert which.windows.holds("age", "missing", look, whole=False) is True
