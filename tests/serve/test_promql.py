"""Queries of docs/metrics.md and rules of deploy/prometheus while a model moves under a real Prometheus.

exporter a   m ──────────▌ dropped      restarted, counts from zero
exporter b                  m restored ───────────────────────────▶
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from stream_monitor.processors.readiness import Readiness
from stream_monitor.serve.metrics import Metrics
from stream_monitor.serve.promql import DASHBOARD, MOVES, Query
from stream_monitor.serve.server import Address, MetricsServer
from tests.docs.pages import anchors
from tests.serve.prometheus_process import PrometheusProcess, free_port, program
from tests.serve.views import aggregate, alert, feature, judged

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "rules.yml"
TESTS = ROOT / "deploy" / "prometheus" / "rules.test.yml"
HOUR = {"window": "1h", "start": "2026-03-01T11:00:00Z", "end": "2026-03-01T12:00:00Z"}
INPUTS = 'stream_monitor_inputs_total{stage="observe"}'


def alerts() -> list[dict[str, object]]:
    rules = [rule for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"] for rule in group["rules"]]
    return [rule for rule in rules if "alert" in rule]


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program("promtool"), *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_rules_pass_their_own_tests() -> None:
    done = promtool("check", "rules", str(RULES))
    assert done.returncode == 0, done.stdout + done.stderr
    done = promtool("test", "rules", str(TESTS))
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_that_are_wrong_fail_their_tests(tmp_path: Path) -> None:
    """The tests can fail: with every comparison turned round no alert is right."""
    (tmp_path / "rules.yml").write_text(RULES.read_text("utf-8").replace(" > ", " <= "), "utf-8")
    (tmp_path / "rules.test.yml").write_text(TESTS.read_text("utf-8"), "utf-8")
    assert promtool("test", "rules", str(tmp_path / "rules.test.yml")).returncode != 0


def test_every_alert_is_tested_both_ways_and_has_a_runbook() -> None:
    cases: dict[str, set[bool]] = {}
    for test in yaml.safe_load(TESTS.read_text("utf-8"))["tests"]:
        for case in test["alert_rule_test"]:
            cases.setdefault(case["alertname"], set()).add(bool(case.get("exp_alerts")))
    names = [str(rule["alert"]) for rule in alerts()]
    assert len(names) == len(set(names)) >= 10
    assert cases == {name: {True, False} for name in names}
    for rule in alerts():
        annotations = rule["annotations"]
        assert isinstance(annotations, dict)
        page, _, anchor = annotations["runbook"].partition("#")
        assert anchor == str(rule["alert"]).lower()
        assert anchor in anchors(ROOT / page), f"{page} has no heading {anchor}"


@dataclass
class Moved:
    """A Prometheus that has seen a move: model `m` went from the exporter at `old` to the one at `new`."""

    prometheus: PrometheusProcess
    old: str
    new: str


def shows(metrics: Metrics) -> None:
    metrics.judging(0, judged(("m", "1")) | {("new", "1"): Readiness(ready=False, events=1200, wanted=5000)})
    views = [aggregate({"age": feature(psi=0.3, drifted=True), "job": feature()}, **HOUR)]
    metrics.restored(views, [alert()])


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moved]:
    folder = tmp_path_factory.mktemp("moves")
    a, b = Address("127.0.0.1", free_port()), Address("127.0.0.1", free_port())
    targets = [f"{at.host}:{at.port}" for at in (a, b)]
    one, two = Metrics(), Metrics()
    with PrometheusProcess(folder, targets, rules=RULES.read_text("utf-8")) as prometheus:

        def settled(expression: str) -> None:
            prometheus.wait_for(expression)
            time.sleep(0.5)  # two scrapes more, for rates

        with MetricsServer(two, host=b.host, port=b.port):
            with MetricsServer(one, host=a.host, port=a.port):
                shows(one)
                settled(f'stream_monitor_alerts_total{{model="m",instance="{targets[0]}"}} == 0')
                for metrics in (one, two):
                    metrics.observed("observe", 1000, 1000)
                    metrics.committed("observe", 0.004, 1)
                    metrics.dead_letters({"json": 1})
                one.alert(alert(fingerprint="f2", feature="job"))
                settled(f'stream_monitor_alerts_total{{state="opened",instance="{targets[0]}"}} == 1')
                one.drop_partition("judge", 0)
                settled(f"count({INPUTS} == 1000) == 2")
                shows(two)
                settled(f'stream_monitor_alerts_total{{model="m",instance="{targets[1]}"}} == 0')
                two.alert(alert(fingerprint="f3", feature="income"))
                settled(f'stream_monitor_alerts_total{{state="opened",instance="{targets[1]}"}} == 1')
            # The old owner restarts with nothing.
            with MetricsServer(Metrics(), host=a.host, port=a.port):
                settled(f'{INPUTS[:-1]},instance="{targets[0]}"}} == 0')
                yield Moved(prometheus, *targets)


@pytest.mark.parametrize("query", [*DASHBOARD, *MOVES], ids=lambda query: query.question)
def test_every_query_has_the_answer_that_the_page_says(moved: Moved, query: Query) -> None:
    found = moved.prometheus.query(query.expression)
    assert bool(found) != query.empty, found
    labels = [tuple(sorted(result.labels.items())) for result in found]
    assert len(labels) == len(set(labels))


def value_of(moved: Moved, expression: str) -> float:
    (found,) = moved.prometheus.query(expression)
    return found.value


def test_counters_that_move_are_summed_behind_increase(moved: Moved) -> None:
    expression = next(query.expression for query in MOVES if "opened" in query.expression)
    expression = expression.replace("{", '{model="m",')
    # One alert at each owner. Prometheus extrapolates a little over the ends of the samples.
    assert 1.5 < value_of(moved, expression.replace("[1w]", "[5m]")) < 3
    right = f"sum(increase({INPUTS}[5m]))"
    wrong = f"increase(sum({INPUTS})[5m:200ms])"
    assert 1500 < value_of(moved, right) < 3000
    # The restart of one looks like a new start of both: the 1000 of the other are counted once more.
    assert value_of(moved, wrong) - value_of(moved, right) > 500


def test_a_model_that_learns_and_a_feature_that_fires_are_named(moved: Moved) -> None:
    answers = {
        query.question: moved.prometheus.query(query.expression)
        for query in [*DASHBOARD, *MOVES]
        if "not judged" in query.question or "with learning" in query.question
    }
    assert len(answers) == 3
    for found in answers.values():
        assert [(one.labels["model"], one.labels["version"]) for one in found] == [("new", "1")]
    assert [one.value for one in answers["how far these are with learning"]] == [0.24]
    fires = next(query.expression for query in MOVES if "which features fire" in query.question)
    named = {(one.labels["feature"], one.labels["alertname"]) for one in moved.prometheus.query(fires)}
    assert {("age", "FeatureDrift"), ("income", "FeatureDrift")} <= named


def test_a_gauge_is_bridged_and_not_doubled(moved: Moved) -> None:
    end = time.time()
    expression = next(query.expression for query in MOVES if "stream_monitor_drifted" in query.expression)
    (series,) = moved.prometheus.get(
        "query_range",
        query=expression.replace("stream_monitor_drifted{", 'stream_monitor_drifted{feature="age",'),
        start=str(end - 60), end=str(end), step="0.1",
    )["result"]  # fmt: skip
    times = [float(at) for at, _ in series["values"]]
    assert {value for _, value in series["values"]} == {"1"}
    assert max(later - at for at, later in pairwise(times)) < 0.15
    bare = moved.prometheus.get(
        "query_range",
        query='sum(stream_monitor_drifted{feature="age"})',
        start=str(end - 60), end=str(end), step="0.1",
    )["result"][0]["values"]  # fmt: skip
    gaps = [float(later[0]) - float(at[0]) for at, later in pairwise(bare)]
    assert max(gaps) > 0.3  # the gap is there to be bridged


def test_rules_load_and_one_fires_across_the_move(moved: Moved) -> None:
    groups = moved.prometheus.get("rules")["groups"]
    loaded = {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}
    assert {str(rule["alert"]) for rule in alerts()} < loaded.keys()
    assert set(loaded.values()) == {"ok"}
    found = moved.prometheus.wait_for('ALERTS{alertname="StreamMonitorAlertFiring",alertstate="firing"}')
    assert [(r.labels["model"], r.labels["kind"]) for r in found] == [("m", "FeatureDrift")]
    assert "instance" not in found[0].labels
