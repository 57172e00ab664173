"""docs/metrics.md has every metric."""

from __future__ import annotations

from stream_monitor.serve.catalogue import METRICS
from stream_monitor.serve.reference import reference


def test_page_has_every_metric_once() -> None:
    for metric in METRICS:
        assert reference().count(f"| `{metric.name}` |") == 1
