"""Detectors for NAB's score: each gives every row of a file a score in [0, 1].

Ours is the e-detector on panes of two rows, with the file's first 15% as the baseline: with W the
mixture and L = ln(1 + W), a pane's last row scores L/(L + 5), the others 0; at L >= 5 it starts anew.
Rows are taken as independent, which they are not: the first few hundred rows of such a series tell
neither its distribution nor its variance inflation. So this says how well the evidence orders the
rows, and nothing of a promise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import ndtr

from stream_monitor.baselines.build import build_baseline
from stream_monitor.config import Defaults
from stream_monitor.detectors.channels import Channels
from stream_monitor.detectors.e_detector import EDetector
from stream_monitor.evaluation.nab import PROFILES, Corpus, Labelled, NabScore
from stream_monitor.evaluation.ours import untimed
from stream_monitor.evaluation.run import Progress
from stream_monitor.evaluation.series import Series
from stream_monitor.events.columns import FloatArray

PANE_ROWS = 2
CEILING = 5.0
"""L at which the e-detector starts anew."""
WINDOW, STEP = 6400, 100
_LEAST_SD = 1e-6
_DIGITS = 12
ALL = "all"


def e_detector(series: Series) -> FloatArray:
    """Scores of our e-detector, shape (n,)."""
    stream = series.stream()
    # without times: hours and panes of a few days tell no season and no inflation worth the name
    baseline = build_baseline([untimed(stream.reference)], source=series.name)
    channels = Channels.build(baseline, effect_floor=Defaults().effect_floor)
    detector = EDetector(channels, threshold=np.exp(CEILING))
    scores = np.zeros(len(series.values))
    (profile,) = baseline.features
    bins = profile.bin(stream.rows["value"])
    for last in range(PANE_ROWS - 1, len(bins), PANE_ROWS):
        counts = np.bincount(bins[last - PANE_ROWS + 1 : last + 1], minlength=profile.n_bins)
        detector.update(channels.sums(counts.astype(np.int64)))
        evidence = float(np.log1p(detector.mixture()))
        scores[series.probation + last] = evidence / (evidence + CEILING)
        if evidence >= CEILING:
            detector.reset()
    return scores


def windowed_gaussian(series: Series) -> FloatArray:
    """Scores of NAB's Windowed Gaussian, shape (n,).

    1 - Q(|x - mean|/sd), mean and deviation of the last 6,400 rows, which move on in steps of 100;
    rounded to 12 digits as NAB's result files are, since its best threshold is 1. A missing value
    scores 0 and is not learned from.
    """
    scores = np.zeros(len(series.values))
    known = np.flatnonzero(~np.isnan(series.values))
    values = series.values[known]
    mean, sd = 0.0, 1.0
    for i, value in enumerate(values.tolist()):
        if i:
            scores[known[i]] = ndtr(abs(value - mean) / sd)
        seen = i + 1
        if seen <= WINDOW or (seen - WINDOW) % STEP == 0:
            window = values[max(0, seen - WINDOW) : seen]
            mean, sd = float(window.mean()), float(window.std()) or _LEAST_SD
    return np.round(scores, _DIGITS)


def every_100_rows(series: Series) -> FloatArray:
    """1 at every hundredth row, else 0."""
    scores = np.zeros(len(series.values))
    scores[99::100] = 1.0
    return scores


def null(series: Series) -> FloatArray:
    """The same score for all rows: as a detector it finds all or nothing."""
    return np.full(len(series.values), 0.5)


DETECTORS: dict[str, Callable[[Series], FloatArray]] = {
    "e-detector": e_detector,
    "windowed-gaussian": windowed_gaussian,
    "every-100-rows": every_100_rows,
    "never": null,
}
"""NAB's contenders by name."""


def score_all(
    series: Sequence[Series], names: Sequence[str], progress: Progress | None = None
) -> list[tuple[str, str, str, NabScore]]:
    """(detector, group, profile, score): one threshold for all files, as NAB has it; then by group at it."""
    found = []
    for name in names:
        files = []
        for one in series:
            if progress is not None:
                progress(f"{name}: {one.name}")
            files.append(Labelled(one.name, DETECTORS[name](one), one.windows))
        for profile, weights in PROFILES.items():
            best = Corpus(files, weights).best()
            found.append((name, ALL, profile, best))
            for group in sorted({one.group for one in series}):
                members = [file for file, one in zip(files, series, strict=True) if one.group == group]
                found.append((name, group, profile, Corpus(members, weights).at(best.threshold)))
    return found
