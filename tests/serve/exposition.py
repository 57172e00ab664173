"""Reading a scrape back with prometheus_client's own parsers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from stream_monitor.serve.negotiate import encoder

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client.core import Metric

Labels = tuple[tuple[str, str], ...]


class Scrape(dict[tuple[str, Labels], float]):
    """Samples of one scrape; refuses a series that comes twice."""

    def one(self, name: str, **labels: str) -> float:
        """The value of exactly this series."""
        return self[name, tuple(sorted(labels.items()))]

    def named(self, name: str) -> dict[Labels, float]:
        """Every series of a name."""
        return {labels: value for (sample, labels), value in self.items() if sample == name}


def _samples(families: Iterable[Metric]) -> Scrape:
    scrape = Scrape()
    for family in families:
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in scrape, f"{key} comes twice"
            scrape[key] = sample.value
    return scrape


def text(body: str) -> Scrape:
    """A body in the Prometheus text format."""
    return _samples(parse_text(body))


def open_metrics(body: str) -> Scrape:
    """A body in OpenMetrics."""
    return _samples(parse_openmetrics(body))  # type: ignore[no-untyped-call]


def scrape(registry: CollectorRegistry) -> Scrape:
    """What the registry holds, through both formats, which must agree on everything of ours."""
    plain = text(generate_latest(registry).decode())
    opened = open_metrics(encoder("application/openmetrics-text")[0](registry).decode())
    assert _steady(plain) == _steady(opened)
    return plain


def _steady(read: Scrape) -> dict[tuple[str, Labels], float]:
    """Series of ours that a scrape does not change."""
    return {
        key: value
        for key, value in read.items()
        if key[0].startswith("stream_monitor") and key[0] != "stream_monitor_omitted_series_total"
    }
