"""The whole of docker-compose.yml at work, natively: from the producer to an alert, Prometheus, Alertmanager.

The producer is set to a higher rate and an earlier drift by the variables that the Compose file has for it.
Grafana does not run here: its dashboard's queries are put to Prometheus.
"""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from stream_monitor.events.alert import Alert
from stream_monitor.sdk import read_alerts
from tests.deploy.go_checker import ROOT, Checker
from tests.deploy.native_image import NativeImage
from tests.deploy.native_services import OTHERS, Services, program
from tests.engines.workers import read_topic

pytestmark = pytest.mark.timeout(600)
WORKERS = ("worker-1", "worker-2")
DASHBOARD = ROOT / "deploy/grafana/dashboards/stream-monitor.json"
MAY_BE_EMPTY = {"Missing and unseen values", "Features firing"}
"""Panels that show what is above zero only."""


class Stack(NamedTuple):
    """What runs, and the first alert that came of it."""

    services: Services
    alert: Alert
    files: set[Path]


@pytest.fixture(scope="module")
def stack(checker: Checker, image: NativeImage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    for names in OTHERS.values():
        program(names)
    before = set(image.folder.rglob("*"))
    project = checker.compose(ROOT / "docker-compose.yml", PRODUCER_RATE="400", PRODUCER_DRIFT_AFTER="15")
    began = time.monotonic()

    def tell(what: str) -> None:
        print(f"{time.monotonic() - began:5.1f} s  {what}")

    with Services(project, image, tmp_path_factory.mktemp("stack")) as services:
        services.start_kafka()
        tell("Kafka healthy")
        services.start("alertmanager")
        services.start("prometheus")
        assert services.start("topics").process.wait(60) == 0, services.running["topics"].log
        tell("topics made")
        for name in WORKERS:
            services.start(name)
        for name in WORKERS:
            services.wait_healthy(name)
        tell("workers ready")
        services.start("producer")
        alerts = read_alerts(services.address("kafka"), from_beginning=True, idle_timeout=90)
        alert = next(alerts, None)
        assert alert is not None, services.running["producer"].log + services.running["worker-1"].log
        tell(f"alert: {alert.annotations.summary}")
        yield Stack(services, alert, before)


def wait_for(ask: Callable[[], Any], what: str, timeout: float = 60.0) -> Any:
    """The first answer that is something."""
    end = time.monotonic() + timeout
    while not (found := ask()):
        assert time.monotonic() < end, f"{what}: not within {timeout:g} s"
        time.sleep(0.5)
    return found


def get(stack: Stack, name: str, path: str, **parameters: str) -> Any:
    url = f"http://{stack.services.address(name)}{path}?{urllib.parse.urlencode(parameters)}"
    with urllib.request.urlopen(url, timeout=20) as answer:
        return json.load(answer)


def query(stack: Stack, expression: str) -> list[Any]:
    found: list[Any] = get(stack, "prometheus", "/api/v1/query", query=expression)["data"]["result"]
    return found


def test_the_injected_drift_opens_an_alert(stack: Stack) -> None:
    assert (stack.alert.labels.model, stack.alert.labels.version) == ("car_loan", "7")
    assert stack.alert.state == "opened"
    # What the producer shifts is the income; the prediction follows from it.
    assert stack.alert.labels.feature in {"income", "prediction"}


def test_aggregates_flow_and_nothing_is_refused(stack: Stack) -> None:
    kafka = stack.services.address("kafka")
    windows = [json.loads(message.value()) for message in read_topic(kafka, "aggregates")]
    assert {each["model"] for each in windows} == {"car_loan"}
    assert sum(each["rows"] for each in windows if each["window"] == "10s") >= 2000
    assert read_topic(kafka, "dead-letter") == []


def test_both_workers_share_the_partitions(stack: Stack) -> None:
    shares = wait_for(
        lambda: query(stack, 'count by (instance) (stream_monitor_lag_messages{stage="observe"})'), "lag"
    )
    found = {each["metric"]["instance"]: each["value"][1] for each in shares}
    assert found == {stack.services.address(name): "2" for name in WORKERS}


@pytest.mark.parametrize("name", ["worker-1", "worker-2", "prometheus", "alertmanager"])
def test_health_checks_are_content(stack: Stack, name: str) -> None:
    assert stack.services.healthy(name)


def test_prometheus_scrapes_all_and_loads_our_rules(stack: Stack) -> None:
    targets = get(stack, "prometheus", "/api/v1/targets")["data"]["activeTargets"]
    assert {(each["labels"]["job"], each["health"]) for each in targets} == {
        ("stream-monitor", "up"),
        ("prometheus", "up"),
    }
    assert len(targets) == 3
    rules = yaml.safe_load((ROOT / "deploy/prometheus/rules.yml").read_text(encoding="utf-8"))
    groups = get(stack, "prometheus", "/api/v1/rules")["data"]["groups"]
    assert {group["name"] for group in groups} == {group["name"] for group in rules["groups"]}
    assert [rule for group in groups for rule in group["rules"] if rule["health"] == "err"] == []


def test_an_alert_of_prometheus_reaches_alertmanager(stack: Stack) -> None:
    found = wait_for(
        lambda: [
            each
            for each in get(stack, "alertmanager", "/api/v2/alerts")
            if each["labels"].get("model") == "car_loan"
        ],
        "an alert about car_loan in Alertmanager",
    )
    assert all(each["receivers"] == [{"name": "on-call"}] for each in found)


def expressions() -> list[tuple[str, str]]:
    """Title and PromQL of each of the dashboard's queries, its variables filled in as Grafana does."""
    content = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    filled = []
    for panel in content["panels"]:
        for target in panel.get("targets", []):
            text = target["expr"]
            for name, value in {
                "model": ".*",
                "version": ".*",
                "window": "10s",
                "__rate_interval": "1m",
            }.items():
                text = text.replace(f"${name}", value)
            assert "$" not in text
            filled.append((panel["title"], text))
    return filled


def test_every_query_of_the_dashboard_has_an_answer(stack: Stack) -> None:
    wait_for(lambda: query(stack, "stream_monitor_drift_threshold"), "drift in Prometheus")
    asked = expressions()
    assert len(asked) > 20
    empty = {title for title, expression in asked if not query(stack, expression)}
    assert empty <= MAY_BE_EMPTY


def test_the_dashboards_variables_have_values(stack: Stack) -> None:
    content = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    found = {}
    for variable in content["templating"]["list"]:
        series, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"]).groups()  # type: ignore[union-attr]
        parameters = {"match[]": series.replace("$model", ".*")}
        found[variable["name"]] = get(stack, "prometheus", f"/api/v1/label/{label}/values", **parameters)[
            "data"
        ]
    assert found["model"] == ["car_loan"]
    assert found["version"] == ["7"]
    assert "10s" in found["window"]


def test_a_query_of_an_unknown_metric_would_be_found(stack: Stack) -> None:
    assert query(stack, 'stream_monitor_drift_scored{score="x2"}') == []


def test_ours_write_nowhere_but_to_the_temporary_folder(stack: Stack) -> None:
    """As far as it shows from outside: what a read-only root file system would refuse."""
    for name in (*WORKERS, "producer"):
        service = stack.services.running[name]
        service.check()
        for link in Path(f"/proc/{service.process.pid}/fd").iterdir():
            flags = int(
                Path(f"/proc/{service.process.pid}/fdinfo/{link.name}")
                .read_text()
                .split("flags:")[1]
                .split()[0],
                8,
            )
            if flags & os.O_ACCMODE != os.O_RDONLY and stat.S_ISREG(link.stat().st_mode):
                assert link.readlink() == service.log_path, name
    assert set(stack.services.image.folder.rglob("*")) == stack.files


def test_the_limits_leave_room(stack: Stack) -> None:
    """A trial's load needs less than half of the memory and threads that the Compose file allows."""
    assert stack.services.broker is not None
    processes = {name: service.process.pid for name, service in stack.services.running.items()}
    processes["kafka"] = stack.services.broker.pid
    del processes["topics"]  # it has ended
    for name, pid in processes.items():
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        memory, threads = int(status["VmHWM"].split()[0]) * 1024, int(status["Threads"])
        limits = stack.services.project[name]["deploy"]["resources"]["limits"]
        print(f"{name}: {memory / 2**20:.0f} MB at most, {threads} threads")
        assert memory < int(limits["memory"]) / 2, name
        assert threads < limits["pids"] / 2, name


def test_sigterm_ends_each_of_ours_in_order(stack: Stack) -> None:
    """Last in this module: nothing runs behind it."""
    for name in ("producer", *WORKERS, "prometheus", "alertmanager"):
        service = stack.services.running[name]
        assert service.stop() == 0, service.log[-3000:]
    for name in WORKERS:
        assert "Traceback" not in stack.services.running[name].log


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("promtool", ["check", "config", "deploy/prometheus/prometheus.yml"]),
        ("amtool", ["check-config", "deploy/alertmanager/alertmanager.yml"]),
    ],
)
def test_their_own_tools_accept_the_files(tool: str, arguments: list[str]) -> None:
    done = subprocess.run(
        [program([tool]), *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_their_own_tools_would_object(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yml"
    wrong.write_text("route: {receiver: nobody}\nscrape_configs: [{job: x}]\n", encoding="utf-8")
    for tool in (["promtool", "check", "config"], ["amtool", "check-config"]):
        done = subprocess.run(
            [program(tool[:1]), *tool[1:], str(wrong)], capture_output=True, timeout=60, check=False
        )
        assert done.returncode != 0
