"""What changed, put into the evidence of an episode that opens, in the feature's own unit."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from stream_monitor.alerting.episodes import Episode, Transition, alertname
from stream_monitor.alerting.words import words_of
from stream_monitor.baselines.profile import Baseline
from stream_monitor.detectors.channels import AGREEMENT, RATES
from stream_monitor.monitors.change import agreement_change, curve_change, rate_change
from stream_monitor.monitors.detection import Detection
from stream_monitor.windows.tumbling import Extended

Seen = Callable[[int], Extended]
"""The counts since an onset (µs)."""


def explain(baseline: Baseline, told: Iterable[Transition], found: Iterable[Detection], seen: Seen) -> None:
    """For each episode that opens, from the detection (one of `found`) that opened it."""
    strongest: dict[tuple[str, str], Detection] = {}
    for detection in found:
        name = alertname(detection.parent or detection.feature, detection.channel)
        strongest.setdefault((detection.feature, name), detection)
    for transition in told:
        episode = transition.episode
        _explain(baseline, episode, strongest[episode.feature, episode.alertname], seen)


def _explain(baseline: Baseline, episode: Episode, detection: Detection, seen: Seen) -> None:
    i = baseline.places[detection.feature]
    profile, channel = baseline.profiles[i], detection.channel
    if channel in RATES and detection.current_mean is not None:
        now, rows = detection.current_mean, detection.rows
        change = rate_change(profile, channel, now, rows, detection.since, detection.time)
    else:
        shown = seen(detection.since)
        counts = shown.counts[baseline.offsets[i] : baseline.offsets[i + 1]]
        of = agreement_change(profile, counts, shown.start, shown.end) if channel == AGREEMENT else None
        change = of or curve_change(profile, channel, counts, shown.start, shown.end)
    episode.detection["change"] = change.evidence
    any_number = profile.kind == "number" and profile.form == "quantiles"
    episode.words = words_of(channel, change, detection.rose, numbers=any_number)
