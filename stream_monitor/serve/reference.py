"""Writes `docs/metrics.md` from the catalogue: `python -m stream_monitor.serve.reference docs/metrics.md`.

Without a path the text goes to standard output.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from stream_monitor.events.deadletter import REASONS
from stream_monitor.serve.catalogue import METRICS, Group, Metric

if TYPE_CHECKING:
    from collections.abc import Sequence

RULES = """\
groups:
  - name: stream-monitor
    rules:
      - alert: StreamMonitorAlertFiring
        expr: sum by (model, version, severity) (stream_monitor_alerts_firing) > 0
        annotations:
          summary: "{{ $labels.model }} {{ $labels.version }}: Stream Monitor reports drift or broken data"
      - alert: StreamMonitorBehind
        expr: max by (stage) (stream_monitor_watermark_delay_seconds) > 300
        for: 5m
        annotations:
          summary: "stage {{ $labels.stage }} is more than 5 minutes behind its events, or a source is silent"
      - alert: StreamMonitorDeadLetters
        expr: sum by (reason) (rate(stream_monitor_dead_letters_total[5m])) > 0
        for: 10m
        annotations:
          summary: "events are refused: {{ $labels.reason }}"
"""
"""Alerting rules to begin with."""

_HEAD = """\
# Metrics

<!-- Written by `python -m stream_monitor.serve.reference docs/metrics.md`; change `serve/catalogue.py`, not this file. -->

A worker serves these at `http://127.0.0.1:9465/metrics` (`worker.host`, `worker.port`), in the Prometheus text
format or, where the scraper prefers it, OpenMetrics 1.0. `/healthz` answers 200 while the process lives; `/readyz`
answers 503, with the reason, until every stage has restored what it was assigned, and while something is unhealthy.

- Everything is counted after a Kafka commit; what an aborted transaction did is never shown.
- Feature and window series show the latest window in *event time* of each model, version and window length;
  `stream_monitor_window_end_timestamp_seconds` says how old it is. A window that late events correct is shown again.
- A model's series are exported by the one worker that judges it. They end there when its partition moves, and
  begin at the next owner; counters begin at zero again, which `rate()` and `increase()` expect. Do not sum the
  feature gauges over instances; `max by (model, version, feature, window)` bridges the moment of a move.
- A version that stops serving keeps its last window until its model's newest window is a day (and three window
  lengths) further; then its window series end.
- One scrape holds a limited number of series with a model label (20,000 unless set otherwise). Firing alerts and what a
  window says as a whole are always there; features that are drifted or firing come first, then the others by name.
  `stream_monitor_series_left_out` says what found no room.
- Quantiles carry the label `q`: `quantile` is reserved for summaries.
"""  # noqa: E501

_GROUPS: dict[Group, str] = {
    "worker": "The worker",
    "window": "A window of a model version",
    "feature": "A feature in a window",
    "alert": "Alerts",
    "exporter": "The exporter itself",
}

_TAIL = """\
The process's own metrics (`process_cpu_seconds_total`, `process_resident_memory_bytes`, ...) come with them.

## Queries

| question | PromQL |
|---|---|
| which features drifted in the last hour's window | `stream_monitor_drifted{window="1h"} == 1` |
| how far over the threshold | `stream_monitor_drift_score{score="x2"} / stream_monitor_drift_threshold` |
| the worst feature of each model | `topk by (model, version) (1, stream_monitor_drift_score{score="psi",window="1h"})` |
| events a second taken in | `sum(rate(stream_monitor_inputs_total{stage="observe"}[1m]))` |
| 99th percentile of a commit | `histogram_quantile(0.99, sum by (le) (rate(stream_monitor_commit_duration_seconds_bucket[5m])))` |
| detections a week | `sum by (model, version) (increase(stream_monitor_detections_total{state="opened"}[1w]))` |

## Alerting rules

Stream Monitor sends its own alerts to the alerts topic; these are for those who alert from Prometheus.

```yaml
"""  # noqa: E501


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{name}`" for name in metric.labels) or "none"
    return f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |"


def reference() -> str:
    """The whole page."""
    lines = [_HEAD]
    for group, title in _GROUPS.items():
        lines += [f"## {title}", "", "| name | kind | labels | meaning |", "|---|---|---|---|"]
        lines += [_row(metric) for metric in METRICS if metric.group == group]
        lines.append("")
    lines.append("Reasons of dead letters: " + ", ".join(f"`{reason}`" for reason in sorted(REASONS)) + ".")
    return "\n".join(lines) + "\n" + _TAIL + RULES + "```\n"


def main(arguments: Sequence[str]) -> int:
    """Write the page to the path given, or to standard output."""
    if len(arguments) > 1:
        sys.stderr.write("usage: python -m stream_monitor.serve.reference [path]\n")
        return 2
    if arguments:
        Path(arguments[0]).write_text(reference(), encoding="utf-8")
    else:
        sys.stdout.write(reference())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
