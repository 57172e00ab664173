"""The text of docs/metrics.md, from the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stream_monitor.events.deadletter import REASONS
from stream_monitor.serve.catalogue import METRICS, Group, Metric
from stream_monitor.serve.promql import DASHBOARD, MOVES, TEXT, Query

if TYPE_CHECKING:
    from collections.abc import Sequence

_HEAD = """\
# Metrics

<!-- Written by `make pages`; change `serve/catalogue.py`, not this file. -->

A worker serves these at `http://127.0.0.1:9465/metrics` (`worker.host`, `worker.port`), in the Prometheus text
format or, where the scraper prefers it, OpenMetrics 1.0. `/healthz` answers 200 while the process lives; `/readyz`
answers 503, with the reason, until every stage has restored what it was assigned, and while something is unhealthy.

- Everything is counted after a Kafka commit; what an aborted transaction did is never shown.
- Feature and window series show the latest window in *event time* of each model, version and window length;
  `stream_monitor_window_end_timestamp_seconds` says how old it is. A window that late events correct is shown again.
- A model's series are exported by the one worker that judges it, and [move with it](#queries-that-survive-a-move).
- The values of a window end when it is stale: the watermark is five minutes, and three window lengths, behind its
  end. `stream_monitor_window_end_timestamp_seconds` stays, and says since when there is nothing. It ends with a
  version that was replaced: when its model's newest window is a day (and three window lengths) further.
- One scrape holds a limited number of series with a model label (`worker.series_limit`, 20,000). Whether a model
  version is judged, what a window says as a whole, alert counts and firing alerts are always there. Then come the names
  of features that fire, then features, whole ones only: drifted or firing ones, those of models that the
  configuration names, the others; each by when it was first seen, which is part of the model's state, so that a
  restart or a move changes nothing. `stream_monitor_series_left_out` says what this scrape left out,
  `stream_monitor_omitted_series_total` adds it up.
- Counters begin at zero for every label value that can be known, so that `increase()` sees the first event. What is
  none of them counts as `other`.
- Quantiles carry the label `q`: `quantile` is reserved for summaries.
"""  # noqa: E501

_GROUPS: dict[Group, str] = {
    "worker": "The worker",
    "model": "A model version",
    "window": "A window of a model version",
    "feature": "A feature in a window",
    "alert": "Alerts",
    "exporter": "The exporter itself",
}

_TAIL = """\
The process's own metrics (`process_cpu_seconds_total`, `process_resident_memory_bytes`, ...) come with them.

## Queries

"""

_RULES = """\
## Rules

[deploy/prometheus/rules.yml](../deploy/prometheus/rules.yml) has recording and alerting rules over these, with unit tests
for `promtool` beside it, for a scrape job named `stream-monitor`. What each alert means and what to do:
[operations](operations.md#alerts-from-prometheus). Stream Monitor sends its own alerts to the alerts topic; `StreamMonitorAlertFiring`
is for those who alert from Prometheus.
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
    return "\n".join([*lines, _TAIL + _table(DASHBOARD), TEXT + _table(MOVES), _RULES])


def _table(queries: Sequence[Query]) -> str:
    rows = [f"| {query.question} | `{query.expression}` |" for query in queries]
    return "\n".join(["| question | PromQL |", "|---|---|", *rows]) + "\n"
