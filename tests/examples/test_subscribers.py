"""The example subscribers, one a language, run against the broker: what each prints, to the line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from confluent_kafka import Producer

from stream_monitor.broker.jars import locked_jars
from tests.examples.toolchains import LANGUAGES, SOURCES
from tests.sdk.alerts import alert_json, eventually, place

TopicMaker = Callable[..., dict[str, str]]

SPOKEN = [
    "firing car_loan 3 income",
    "roll back car_loan 3",
    "firing car_loan 3 age",
    "resolved car_loan 3 income",
    "firing fraud 8 amount",
    "roll back fraud 8",
]


def transactions() -> Iterator[tuple[bool, list[bytes]]]:
    """(whether it is committed, its messages): `SPOKEN` is all that may come of them."""
    income = alert_json("a")
    end = {"status": "resolved", "state": "resolved", "endsAt": "2026-01-31T13:00:00Z"}
    yield True, [income]
    # Two that are aborted, by one producer: a reader that remembers only one of them shows the other.
    yield False, [alert_json("b", labels={"feature": "aborted"})]
    yield False, [alert_json("c", labels={"feature": "aborted"})]
    yield True, [alert_json("d", state="joined", labels={"feature": "age"}), income]
    yield False, [alert_json("e", labels={"feature": "aborted"})] * 30
    yield True, [b"{broken", alert_json("f", **end), alert_json("f", **end)]
    yield True, [alert_json("g", backfill=True, labels={"feature": "past"})]
    yield True, [alert_json("h", labels={"model": "fraud", "version": "8", "feature": "amount"})]


@pytest.fixture(scope="module")
def topic(broker: str) -> Iterator[tuple[str, int]]:
    """An alerts topic, as a worker writes it, and the place behind its last alert."""
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": broker})
    names = [f"examples.{os.getpid()}.{name}" for name in ("alerts", "dead-letter")]
    for future in admin.create_topics([NewTopic(name, 1, 1) for name in names]).values():
        future.result(30)
    producer = Producer(
        {
            "bootstrap.servers": broker,
            "transactional.id": names[0],
            "compression.type": "lz4",  # the workers' own: a client without it reads nothing
            "linger.ms": 100,
        }
    )
    producer.init_transactions(30)
    written: list[int] = []
    for committed, messages in transactions():
        producer.begin_transaction()
        for value in messages:
            producer.produce(
                names[0],
                value,
                b"car_loan\x1f3",
                on_delivery=lambda error, message: written.append(
                    -1 if error is not None else message.offset() or 0
                ),
            )
        producer.flush(30)
        if committed:
            producer.commit_transaction(30)
        else:
            producer.abort_transaction(30)
    assert min(written) == 0
    yield names[0], max(written) + 1
    for future in admin.delete_topics(names).values():
        future.result(30)


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_handles_committed_alerts_once_and_stops_cleanly(
    language: str, broker: str, topic: tuple[str, int], kafka_prefix: str, tmp_path: Path
) -> None:
    command = LANGUAGES[language]()
    name, end = topic
    group = f"{kafka_prefix}{language}"
    environment = os.environ | {"KAFKA_BROKERS": broker, "GROUP": group, "TOPIC": name}
    errors = tmp_path / "stderr"
    with errors.open("wb") as stderr:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True)
    lines: list[str] = []
    assert process.stdout is not None
    reading = threading.Thread(target=lines.extend, args=(map(str.rstrip, process.stdout),))
    reading.start()
    try:
        eventually(
            lambda: process.poll() is not None or place(broker, name, group) == end,
            "the place behind the last alert",
            60,
        )
        process.send_signal(signal.SIGTERM)
        code = process.wait(30)
    finally:
        process.kill()
        process.wait(10)
        reading.join(10)
    said = errors.read_text(errors="replace")[-3000:]
    assert (lines, code) == (SPOKEN, 0), said


# ── what is pinned ──────────────────────────────────────────────────────────────────────────


def test_pom_names_the_jars_that_the_example_is_tested_with() -> None:
    space = {"m": "http://maven.apache.org/POM/4.0.0"}
    pom = ET.parse(SOURCES / "java" / "pom.xml")
    wanted = {
        tuple(one.findtext(f"m:{part}", "", space) for part in ("groupId", "artifactId", "version"))
        for one in pom.iterfind(".//m:dependency", space)
    }
    assert len(wanted) == 4
    assert wanted <= {(jar.group, jar.artifact, jar.version) for jar in locked_jars()}


def test_typescript_packages_are_pinned_and_locked_without_addresses() -> None:
    folder = SOURCES / "typescript"
    package = json.loads((folder / "package.json").read_text())
    locked = json.loads((folder / "package-lock.json").read_text())["packages"]
    for name, version in (package["dependencies"] | package["devDependencies"]).items():
        assert locked[f"node_modules/{name}"]["version"] == version
    packages = {path: entry for path, entry in locked.items() if path}
    assert all(entry["integrity"].startswith("sha512-") for entry in packages.values())
    assert not any("resolved" in entry or entry.get("hasInstallScript") for entry in packages.values())
