"""What a baseline is made of, in one place to import from: bins, a feature's profile, all of them."""

from stream_monitor.baselines.baseline import Baseline
from stream_monitor.baselines.feature import (
    ABOVE_BIN,
    BELOW_BIN,
    FIRST_VALUE_BIN,
    MAX_VALUE_BINS,
    MISSING_BIN,
    UNSEEN_BIN,
    FeatureProfile,
)
from stream_monitor.baselines.slice_kinds import Pair, Within

__all__ = [
    "ABOVE_BIN",
    "BELOW_BIN",
    "FIRST_VALUE_BIN",
    "MAX_VALUE_BINS",
    "MISSING_BIN",
    "UNSEEN_BIN",
    "Baseline",
    "FeatureProfile",
    "Pair",
    "Within",
]
