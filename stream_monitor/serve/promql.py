"""The queries of `docs/metrics.md` as data: a test runs each on a Prometheus, with a model that moves."""

from __future__ import annotations

from typing import NamedTuple


class Query(NamedTuple):
    """A question and the expression that answers it. `empty`: that nothing comes back is the good answer."""

    question: str
    expression: str
    empty: bool = False


DASHBOARD = (
    Query("which models are not judged yet", "stream_monitor_baseline_ready == 0"),
    Query(
        "how far these are with learning",
        "stream_monitor_learned_events / stream_monitor_learn_events and stream_monitor_baseline_ready == 0",
    ),
    Query("which features fire now, and for what", "stream_monitor_feature_firing == 1"),
    Query("which features drifted in the last hour's window", 'stream_monitor_drifted{window="1h"} == 1'),
    Query(
        "how far over the threshold",
        'stream_monitor_drift_score{score="x2"} / stream_monitor_drift_threshold{score="x2"}',
    ),
    Query(
        "the worst feature of each model",
        'topk by (model, version) (1, stream_monitor_drift_score{score="psi",window="1h"})',
    ),
    Query("the largest score of each model", 'stream_monitor_drift_score_max{score="psi",window="1h"}'),
    Query("events a second taken in", 'sum(rate(stream_monitor_inputs_total{stage="observe"}[1m]))'),
    Query(
        "99th percentile of a commit",
        "histogram_quantile(0.99, sum by (le) (rate(stream_monitor_commit_duration_seconds_bucket[5m])))",
    ),
    Query("which worker judges a model", "group by (model, instance) (stream_monitor_alerts_firing)"),
)
"""At a moment, for a person who looks."""

MOVES = (
    Query(
        "a gauge of a model, across the gap of a move",
        'max by (model, version, feature, window) (last_over_time(stream_monitor_drifted{window="1h"}[2m]))',
    ),
    Query(
        "what fires, across the gap",
        "max by (model, version, alertname, severity) (last_over_time(stream_monitor_alerts_firing[2m])) > 0",
    ),
    Query(
        "which features fire, across the gap (and for two minutes longer)",
        "max by (model, version, feature, alertname) (last_over_time(stream_monitor_feature_firing[2m]))",
    ),
    Query(
        "which models are not judged yet, across the gap",
        "max by (model, version) (last_over_time(stream_monitor_baseline_ready[2m])) == 0",
    ),
    Query(
        "alerts opened in a week",
        'sum by (model, version) (increase(stream_monitor_alerts_total{state="opened"}[1w]))',
    ),
    Query(
        "dead letters in a day, over all workers",
        "sum by (reason) (increase(stream_monitor_dead_letters_total[1d]))",
    ),
    Query(
        "models without a new window for a quarter of an hour",
        "time() - max by (model) (last_over_time(stream_monitor_window_end_timestamp_seconds[2m])) > 900",
    ),
    Query(
        "models shown by two workers",
        "count by (model) (group by (model, instance) (stream_monitor_alerts_firing)) > 1",
        empty=True,
    ),
)
"""Over time, for rules and panels: what they answer does not change because a model changed its worker."""

TEXT = """\
## Queries that survive a move

When workers join, leave or crash, models move. A model's series end at the old owner when it has committed its last
work and before it gives the partition up; the new owner shows the same windows, scores and firing alerts as soon as
it has restored the model's state, long before its next window closes. In between, for as long as the rebalance takes
(a second or two; after a crash until the group notices, 12 s by default), nobody has them. The label `instance`
changes. (A worker that stood still for longer than its session, and wakes up, may show what it had until it has heard
that others own it: a scrape at the most.) So:

- **Gauges: `max by` the model's own labels, without `instance`.** At any moment there is one owner, so `max` changes
  nothing; `sum` would double a value for the scrape or two in which Prometheus has not yet noticed the end of the old
  series. `last_over_time(...[2m])` carries the last value across the gap; take more than a rebalance and a scrape
  interval, and know that a value which falls is shown as fallen by so much later.
- **Counters: `sum` of `rate` or `increase`, never `rate` of `sum`.** Each worker's counters begin at zero when it
  starts, and those of a model (`stream_monitor_alerts_total`) when it begins to judge the model. `rate()` and
  `increase()` take a fall of *one* series for such a new start. In a sum the fall of one member looks like a new
  start of all: the others' counts are added once more. What is exported at zero from the start (all reasons, limits,
  stages, states) loses no first event to `increase()`; `stream_monitor_detections_total`, whose features nobody
  knows beforehand, begins at 1 and does.
- **Age: compare `stream_monitor_window_end_timestamp_seconds` with `time()`.** A window is stale when the watermark
  is five minutes, and three window lengths, behind its end: the model has no traffic. Its values end then and only
  the end stays. A model's newest window, over all versions and lengths, says when it was judged last.

"""  # noqa: E501 - the page's lines
