"""The provisioned dashboard: what Grafana's own typed model knows of it, and that it names our metrics.

Its queries are put to a Prometheus in `test_stack`.
"""

from __future__ import annotations

import copy
import importlib
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from stream_monitor.serve.catalogue import METRICS
from tests.deploy.go_checker import ROOT

CONTENT: dict[str, Any] = json.loads(
    (ROOT / "deploy/grafana/dashboards/stream-monitor.json").read_text(encoding="utf-8")
)
PANELS: list[dict[str, Any]] = CONTENT["panels"]


def lost(content: dict[str, Any]) -> list[str]:
    """Paths of what Grafana's model does not take over, or takes over as something else."""
    pytest.importorskip(
        "grafana_foundation_sdk", reason="grafana-foundation-sdk is not installed: make setup"
    )
    models = importlib.import_module("grafana_foundation_sdk.models.dashboard")
    encoder = importlib.import_module("grafana_foundation_sdk.cog.encoder").JSONEncoder
    importlib.import_module("grafana_foundation_sdk.cog.plugins").register_default_plugins()
    taken = json.loads(json.dumps(models.Dashboard.from_json(copy.deepcopy(content)), cls=encoder))
    return list(_differences(content, taken, ""))


def _differences(given: Any, taken: Any, path: str) -> Iterator[str]:
    if isinstance(given, dict) and isinstance(taken, dict):
        for key, value in given.items():
            yield from _differences(value, taken.get(key, KeyError), f"{path}/{key}")
    elif isinstance(given, list) and isinstance(taken, list) and len(given) == len(taken):
        for at, value in enumerate(given):
            yield from _differences(value, taken[at], f"{path}/{at}")
    elif given != taken:
        yield path


def test_grafanas_model_takes_all_of_it() -> None:
    assert lost(CONTENT) == []


def test_what_grafana_does_not_know_would_be_found() -> None:
    wrong = copy.deepcopy(CONTENT)
    wrong["panels"][1]["gridpos"] = wrong["panels"][1].pop("gridPos")
    wrong["refrehs"] = "10s"
    assert lost(wrong) == ["/panels/1/gridpos", "/refrehs"]


def test_panels_have_numbers_titles_and_a_place_of_their_own() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        assert panel["title"]
        if panel["type"] != "row":
            assert panel["description"]
            assert panel["targets"]


def test_metrics_exist() -> None:
    known = {metric.name for metric in METRICS}
    named = set(re.findall(r"\bstream_monitor_[a-z_]+\b", json.dumps(CONTENT)))
    assert len(named) > 15
    assert {re.sub(r"_bucket$", "", name) for name in named} <= known
