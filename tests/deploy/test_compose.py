"""docker-compose.yml as the Compose reference loader reads it: valid, pinned, locked down, consistent."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from stream_monitor.broker.jars import KAFKA_VERSION
from stream_monitor.config import load_config
from tests.deploy.go_checker import ROOT, Checker, RefusedError

# The first one compiles the checker, which takes a minute on a machine that never did.
pytestmark = pytest.mark.timeout(600)
COMPOSE = ROOT / "docker-compose.yml"
OURS = ("topics", "worker-1", "worker-2", "producer")
SERVICES = (*OURS, "kafka", "prometheus", "alertmanager", "grafana")
ONCE_OR_SILENT = ("topics", "producer")


def test_services_are_all_there(project: dict[str, Any]) -> None:
    assert sorted(project["services"]) == sorted(SERVICES)


@pytest.mark.parametrize(
    ("wrong", "right", "said"),
    [
        ("condition: service_healthy", "condition: service_well", "condition value must be one of"),
        ("    read_only: false", "    readonly: false", "services.kafka"),
        ("\n  worker-1:\n", "\n  worker-one:\n", 'depends on undefined service "worker-1"'),
        ("      - grafana:/var", "      - dashboards:/var", "undefined volume dashboards"),
        ("networks: [pipeline]", "networks: [pipe]", "undefined network pipe"),
        ("memory: 768M", "memory: much", "much"),
    ],
)
def test_a_broken_file_would_be_refused(
    checker: Checker, tmp_path: Path, wrong: str, right: str, said: str
) -> None:
    text = COMPOSE.read_text(encoding="utf-8")
    assert wrong in text
    broken = tmp_path / "docker-compose.yml"
    broken.write_text(text.replace(wrong, right), encoding="utf-8")
    with pytest.raises(RefusedError, match=re.escape(said)):
        checker.compose(broken)


def test_images_are_pinned(project: dict[str, Any]) -> None:
    for name, service in project["services"].items():
        assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+", service["image"]), name
    assert project["services"]["kafka"]["image"] == f"apache/kafka:{KAFKA_VERSION}"
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    for name in OURS:
        assert project["services"][name]["image"] == f"stream-monitor:{version}"
        assert project["services"][name]["build"]["dockerfile"] == "deploy/Dockerfile"


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_container_may(project: dict[str, Any], name: str) -> None:
    service = project["services"][name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("privileged") is None
    # Kafka's image writes its settings below its program's folder.
    assert service.get("read_only", False) == (name != "kafka")
    limits = service["deploy"]["resources"]["limits"]
    assert 0 < limits["cpus"] <= 2
    assert 0 < int(limits["memory"]) <= 1536 * 2**20
    assert 0 < limits["pids"] <= 512
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    for port in service.get("ports", []):
        assert port["host_ip"] == "127.0.0.1"
    for mount in service.get("volumes") or []:
        if mount["type"] == "bind":
            assert mount["read_only"]
            assert (ROOT / mount["source"]).exists()
        else:
            assert mount["source"] in project["volumes"]


@pytest.mark.parametrize("name", SERVICES)
def test_health(project: dict[str, Any], name: str) -> None:
    check = project["services"][name]["healthcheck"]
    if name in ONCE_OR_SILENT:
        assert check == {"disable": True}
        return
    assert check["test"][0] == "CMD"
    assert check.keys() >= {"interval", "timeout", "retries", "start_period"}


def test_nothing_starts_before_what_it_needs(project: dict[str, Any]) -> None:
    wanted = {
        "topics": {"kafka": "service_healthy"},
        "worker-1": {"topics": "service_completed_successfully"},
        "worker-2": {"topics": "service_completed_successfully"},
        "producer": {"worker-1": "service_healthy", "worker-2": "service_healthy"},
        "prometheus": {"alertmanager": "service_healthy"},
        "grafana": {"prometheus": "service_healthy"},
    }
    for name, service in project["services"].items():
        found = {other: need["condition"] for other, need in service.get("depends_on", {}).items()}
        assert found == wanted.get(name, {}), name


def test_no_two_containers_share_a_port_or_a_replica_name(project: dict[str, Any]) -> None:
    services = project["services"].values()
    ports = [port["published"] for service in services for port in service.get("ports", [])]
    assert len(ports) == len(set(ports))
    names = [project["services"][name]["environment"]["REPLICA"] for name in ("worker-1", "worker-2")]
    assert names == ["worker-1", "worker-2"]
    assert all("replicas" not in service["deploy"] for service in services)


@pytest.mark.parametrize("name", ["topics", "worker-1", "worker-2"])
def test_the_mounted_configuration_is_what_the_command_reads(project: dict[str, Any], name: str) -> None:
    service = project["services"][name]
    (mount,) = service["volumes"]
    assert service["command"][-2:] == ["--config", mount["target"]]
    config = load_config(ROOT / mount["source"], env=service["environment"])
    assert config.worker.replica == name
    # Its own loopback is of no use to a scraper or a health check of another container.
    assert config.worker.host == "0.0.0.0"
    if name != "topics":
        assert [port["target"] for port in service["ports"]] == [config.worker.port]
        assert f":{config.worker.port}/readyz" in service["healthcheck"]["test"][-1]


def test_there_are_no_secrets(project: dict[str, Any]) -> None:
    for name, service in project["services"].items():
        for key in service.get("environment") or {}:
            assert not re.search("PASSWORD|SECRET|TOKEN|_KEY", key), (name, key)


def test_grafana_finds_prometheus_and_the_dashboard(project: dict[str, Any]) -> None:
    service = project["services"]["grafana"]
    mounts = {m["target"]: ROOT / m["source"] for m in service["volumes"] if m["type"] == "bind"}
    provisioning = mounts["/etc/grafana/provisioning"]
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text("utf-8"))[
        "datasources"
    ]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((provisioning / "dashboards/stream-monitor.yml").read_text("utf-8"))[
        "providers"
    ]
    dashboards = mounts[provider["options"]["path"]]
    (home,) = dashboards.glob("*.json")
    path = service["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert path == f"{provider['options']['path']}/{home.name}"
    used = set(re.findall(r'"datasource": {\s*"type": "(\w+)",\s*"uid": "(\w+)"', home.read_text("utf-8")))
    assert used == {(source["type"], source["uid"])}


def test_prometheus_scrapes_the_services(project: dict[str, Any]) -> None:
    content = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text("utf-8"))
    (job,) = (job for job in content["scrape_configs"] if job["job_name"] == "stream-monitor")
    (targets,) = (each["targets"] for each in job["static_configs"])
    assert targets == [f"{name}:9465" for name in project["services"] if name.startswith("worker")]
    (managers,) = content["alerting"]["alertmanagers"]
    assert managers["static_configs"][0]["targets"] == ["alertmanager:9093"]
    assert (ROOT / "deploy/prometheus" / content["rule_files"][0]).is_file()
    for name in ("prometheus", "alertmanager", *(target.split(":")[0] for target in targets)):
        assert "monitoring" in project["services"][name]["networks"]


def test_alerts_that_silence_others_exist() -> None:
    rules = yaml.safe_load((ROOT / "deploy/prometheus/rules.yml").read_text("utf-8"))
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule}
    inhibit = yaml.safe_load((ROOT / "deploy/alertmanager/alertmanager.yml").read_text("utf-8"))[
        "inhibit_rules"
    ]
    for rule in inhibit:
        (source,) = rule["source_matchers"]
        assert source.removeprefix("alertname = ") in alerts
        (target,) = rule["target_matchers"]
        stem, names = re.fullmatch(r'alertname =~ "(\w+)\(([\w|]+)\)"', target).groups()  # type: ignore[union-attr]
        assert {stem + name for name in names.split("|")} <= alerts


def test_variables_set_what_the_page_says(checker: Checker, project: dict[str, Any]) -> None:
    changed = checker.compose(COMPOSE, PRODUCER_RATE="7", PRODUCER_DRIFT_AFTER="9")
    plain, given = (p["services"]["producer"]["command"] for p in (project, changed))
    assert plain[:2] == ["--rate", "200"]
    assert given[:2] == ["--rate", "7"]
    assert [a for a, b in zip(given, plain, strict=True) if a != b] == ["7", "9"]
    assert json.dumps(changed).count("9465") == json.dumps(project).count("9465")


def test_the_page_and_the_file_agree(project: dict[str, Any]) -> None:
    page = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    published = {port["published"] for each in project["services"].values() for port in each.get("ports", [])}
    assert set(re.findall(r"localhost:(\d+)", page)) == published
    for name in ("kafka", "producer", "prometheus", "worker-1"):
        limits = project["services"][name]["deploy"]["resources"]["limits"]
        row = re.search(
            rf"^\| {name.removesuffix('-1')} \| ([\d.]+)(?: cores?)? \| ([\d.]+) (MB|GB) \|",
            page,
            re.MULTILINE | re.IGNORECASE,
        )
        assert row is not None, name
        assert float(row[1]) == limits["cpus"]
        assert float(row[2]) * (1024 if row[3] == "GB" else 1) == int(limits["memory"]) / 2**20
