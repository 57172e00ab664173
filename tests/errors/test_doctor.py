"""`stream-monitor doctor`: a healthy set-up, broken ones, and that it leaves all as it was."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AclOperation, AdminClient, ResourceType

from stream_monitor.engines import reach
from stream_monitor.engines.doctor import transactions
from stream_monitor.records import TOPICS
from tests.engines.workers import Setup, WorkerProcess, setup_of
from tests.errors.conftest import Command, Locked, Said, sasl, until

TopicMaker = Callable[..., dict[str, str]]
READ, WRITE, DESCRIBE = AclOperation.READ, AclOperation.WRITE, AclOperation.DESCRIBE


def findings(said: Said) -> list[dict[str, str]]:
    assert said.err == ""
    return [json.loads(line) for line in said.out.splitlines()]


def failed(said: Said) -> list[dict[str, str]]:
    """Those that failed; the exit code says the same."""
    found = [one for one in findings(said) if one["status"] == "fail"]
    assert said.code == (1 if found else 0)
    return found


class Case:
    """A configuration file over topics of the test's own."""

    def __init__(self, broker: str, prefix: str, folder: Path, make: TopicMaker, command: Command) -> None:
        self.prefix, self.make = prefix, make
        self.file = folder / "monitor.yaml"
        self.kafka: dict[str, Any] = {"brokers": broker, "topic_prefix": prefix, "group": f"{prefix}g"}
        self.rest: dict[str, Any] = {"worker": {"port": 0}}
        self.command = command

    def make_all(self) -> None:
        self.make(*(name for name in TOPICS if name != "baselines"))
        self.make("baselines", partitions=1)
        admin = AdminClient({"bootstrap.servers": self.kafka["brokers"]})
        until(lambda: len(topics_of(admin, self.prefix)) == len(TOPICS), "all topics are known")

    def doctor(self, *options: str) -> Said:
        self.file.write_text(json.dumps({"kafka": self.kafka} | self.rest))
        return self.command("doctor", "--config", self.file, *options)


@pytest.fixture
def case(broker: str, kafka_prefix: str, tmp_path: Path, kafka_topics: TopicMaker, command: Command) -> Case:
    return Case(broker, kafka_prefix, tmp_path, kafka_topics, command)


def the_failure(case: Case) -> dict[str, str]:
    found = failed(case.doctor("--json"))
    assert len(found) == 1, found
    return found[0]


def standing(admin: AdminClient, prefix: str) -> tuple[object, ...]:
    """What a change to the cluster would show in."""
    until(lambda: len(topics_of(admin, prefix)) == len(TOPICS), "all topics are known")
    topics = topics_of(admin, prefix)
    reader = Consumer({"bootstrap.servers": broker_of(admin), "group.id": "looks"})
    ends = []
    for name in topics:
        for number in admin.list_topics(name, timeout=10).topics[name].partitions:
            until(partial(leads, reader, name, number), "a leader of a topic that was made just now")
            ends.append(reader.get_watermark_offsets(TopicPartition(name, number), timeout=10))
    reader.close()
    groups = {one.group_id for one in admin.list_consumer_groups().result(10).valid}
    return topics, ends, sorted(group for group in groups if group.startswith(prefix))


def topics_of(admin: AdminClient, prefix: str) -> list[str]:
    return sorted(name for name in admin.list_topics(timeout=10).topics if name.startswith(prefix))


def leads(reader: Consumer, name: str, number: int) -> bool:
    try:
        reader.get_watermark_offsets(TopicPartition(name, number), timeout=10)
    except KafkaException:
        return False
    return True


def broker_of(admin: AdminClient) -> str:
    (one,) = admin.list_topics(timeout=10).brokers.values()
    return f"{one.host}:{one.port}"


def test_all_is_well_and_stays_as_it_was(case: Case, admin: AdminClient) -> None:
    case.make_all()
    before = standing(admin, case.prefix)
    said = case.doctor("--json")
    assert failed(said) == []
    assert standing(admin, case.prefix) == before
    checks = {one["check"] for one in findings(said)}
    assert {"config", "versions", "port", "brokers", "address", "protocol", "rights", "clock"} <= checks
    assert {f"topic {case.prefix}predictions", "transactions", f"group {case.prefix}g-judge"} <= checks
    protocol = next(one for one in findings(said) if one["check"] == "protocol")
    assert protocol["what"] == "the brokers speak what transactions need (Kafka 4.0 or newer)"
    text = case.doctor()
    assert text.code == 0
    assert text.out.splitlines()[1].startswith("ok    versions: stream-monitor ")


def test_beside_a_running_worker(broker: str, kafka_prefix: str, tmp_path: Path, command: Command) -> None:
    fast = {"defaults": {"pane": "1s", "windows": ["1m"]}, "idle": {"after": "500ms"}}
    with setup_of(broker, kafka_prefix, tmp_path, **fast) as setup, WorkerProcess(setup) as worker:
        worker.wait_ready()
        config, port = port_of(setup, worker)
        produce(broker, setup.topic("predictions"), event(time.time()))
        said = command("doctor", "--config", config, "--port", port, "--json")
        assert failed(said) == []
        by_check = {one["check"]: one["what"] for one in findings(said)}
        assert by_check["port"] == f"a worker answers at 127.0.0.1:{port} (ready)"
        assert "stable, 1 members" in by_check[f"group {kafka_prefix}a-observe"]
        # The worker's ticks: a record came while the doctor watched.
        assert by_check["clock"].startswith("within 2 s of the brokers' (by a record")


def port_of(setup: Setup, worker: WorkerProcess) -> tuple[Path, str]:
    (config,) = setup.folder.glob("worker-*.yaml")
    return config, worker.url().rsplit(":", 1)[1]


def event(at: float) -> bytes:
    return json.dumps({"id": "a", "model": "m", "timestamp": round(at * 1000), "features": {"x": 1}}).encode()


def produce(broker: str, topic: str, value: bytes, **settings: Any) -> None:
    producer = Producer({"bootstrap.servers": broker})
    producer.produce(topic, value, partition=0, **settings)
    assert producer.flush(20) == 0


def test_no_broker(command: Command, closed_port: int) -> None:
    said = command("doctor", "--brokers", f"127.0.0.1:{closed_port}", "--port", "0", "--json")
    assert said.seconds < 15
    (found,) = failed(said)
    assert found["check"] == "brokers"
    assert "Nothing listens there" in found["what"]


@pytest.mark.parametrize(
    ("door", "properties", "says"),
    [
        ("ASTRAY", {}, "mend the brokers' `advertised.listeners`"),
        ("SASL", sasl("alice", "wrong"), "Mend `sasl.username` and `sasl.password`"),
        ("TLS", {}, "`security.protocol` (plaintext) does not fit"),
    ],
)
def test_a_door_that_is_locked(
    door: str,
    properties: dict[str, str],
    says: str,
    locked: Locked,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reach, "REACH_S", 2.5)
    config = locked.config(door, kafka={"properties": properties}, worker={"port": 0})
    (found,) = failed(command("doctor", "--config", config, "--json"))
    assert found["check"] == "brokers"
    assert says in found["what"]


def test_rights_that_are_missing_come_with_the_command_that_gives_them(
    locked: Locked, command: Command
) -> None:
    kafka = {"topic_prefix": "doc.", "group": "doc"}
    root = locked.config("PLAINTEXT", "root.yaml", kafka=kafka)
    assert command("topics", "create", "--config", root).code == 0
    config = locked.config("SASL", kafka=kafka, worker={"port": 0})

    def lacking() -> dict[str, str]:
        said = command("doctor", "--config", config, "--json")
        return {one["what"]: one["mend"] for one in failed(said) if one["check"] == "rights"}

    locked.allow(ResourceType.TOPIC, "doc.", DESCRIBE, READ)
    found = lacking()
    command_of = found["lacks write on topic doc.summaries"]
    address = locked.broker.address("SASL")
    assert command_of == (
        f"kafka-acls --bootstrap-server {address} --add --allow-principal User:alice "
        "--operation Write --topic 'doc.summaries'"
    )
    assert "lacks read on topic doc.summaries" not in found
    assert "--operation Read --group 'doc-judge'" in found["lacks read on group doc-judge"]
    (transactional,) = (mend for what, mend in found.items() if "transactional-id doc-" in what)
    assert transactional.endswith("--transactional-id 'doc-' --resource-pattern-type prefixed")
    locked.allow(ResourceType.TOPIC, "doc.", WRITE)
    locked.allow(ResourceType.GROUP, "doc-", READ)
    locked.allow(ResourceType.TRANSACTIONAL_ID, "doc-", WRITE)
    assert lacking() == {}


def test_topics_that_are_missing_or_differ(case: Case, admin: AdminClient) -> None:
    case.make("summaries", partitions=4)
    case.make("state", partitions=2)
    case.make("predictions", config={"message.timestamp.type": "CreateTime", "max.message.bytes": "1000"})
    case.make("alerts", config={"retention.ms": "1000"})
    found = failed(case.doctor("--json"))
    by_check: dict[str, list[dict[str, str]]] = {}
    for one in found:
        by_check.setdefault(one["check"].removeprefix(f"topic {case.prefix}"), []).append(one)
    assert "`stream-monitor topics create` makes what is missing" in by_check["baselines"][0]["what"]
    assert "message.timestamp.type is CreateTime, planned LogAppendTime" in by_check["predictions"][0]["what"]
    assert by_check["predictions"][0]["mend"].endswith(
        f"--entity-name {case.prefix}predictions "
        "--add-config max.message.bytes=1100000,message.timestamp.type=LogAppendTime"
    )
    assert any("2 partitions, but" in one["what"] for one in by_check["state"])
    assert "alerts" not in by_check, "a matter of taste is a warning"
    assert "labels" not in by_check, "no worker reads it"
    settings = admin.list_topics(timeout=10).topics
    assert len(settings[f"{case.prefix}state"].partitions) == 2


def all_joined(members: list[Consumer]) -> bool:
    for member in members:
        member.poll(0.1)
    return all(member.assignment() for member in members)


def test_a_replica_name_used_twice(case: Case, broker: str, kafka_prefix: str) -> None:
    case.make_all()
    group = f"{kafka_prefix}g-observe"
    settings = {"bootstrap.servers": broker, "group.id": group, "client.id": f"{group}-one"}
    twins = [Consumer(settings) for _ in range(2)]
    for twin in twins:
        twin.subscribe([f"{kafka_prefix}predictions"])
    try:
        until(partial(all_joined, twins), "both are members")
        found = the_failure(case)
        assert found["check"] == f"group {group}"
        assert "2 members are the replica 'one'" in found["what"]
        assert "worker.replica" in found["mend"]
    finally:
        for twin in twins:
            twin.close()


def test_a_transaction_that_was_left_open(case: Case, broker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case.make_all()
    monkeypatch.setattr(transactions, "LONGEST_S", 0.5)
    producer = Producer({"bootstrap.servers": broker, "transactional.id": f"{case.prefix}hangs"})
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(f"{case.prefix}alerts", b"x", partition=1)
    producer.flush(20)
    time.sleep(0.6)
    found = the_failure(case)
    assert found["what"].startswith(f"{case.prefix}alerts[1]: one is open since ")
    assert f"find-hanging --topic {case.prefix}alerts --partition 1" in found["mend"]
    producer.abort_transaction(20)
    assert failed(case.doctor("--json")) == []


def test_a_clock_that_is_behind(case: Case, broker: str) -> None:
    case.make("summaries", "state", "alerts", "aggregates", "baselines", "dead-letter", "labels")
    topics = case.make("predictions", config={"message.timestamp.type": "CreateTime"})
    # By the sender's clock, ten minutes ahead of this one, in the place of a broker's.
    produce(broker, topics["predictions"], b"x", timestamp=round((time.time() + 600) * 1000))
    clock = next(one for one in findings(case.doctor("--json")) if one["check"] == "clock")
    assert clock["status"] == "warn"
    assert "behind the brokers' clock" in clock["what"]
    assert "NTP" in clock["mend"]


def test_this_machine(case: Case, tmp_path: Path, closed_port: int, command: Command) -> None:
    case.kafka["brokers"] = f"127.0.0.1:{closed_port}"
    case.rest["models"] = {"a": {"baseline": "gone.csv"}, "b": {"baseline": "rows.csv"}}
    (tmp_path / "rows.csv").write_text("age\n" + "".join(f"{i}\n" for i in range(100)))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        said = case.doctor("--port", port, "--json")
    found = {one["check"]: one for one in findings(said)}
    assert said.code == 1
    assert found["baseline of a"]["status"] == "fail"
    assert "gone.csv" in found["baseline of a"]["what"]
    assert found["baseline of b"]["status"] == "warn"
    assert found["port"]["status"] == "fail"
    assert f"127.0.0.1:{port}: Address already in use" in found["port"]["what"]
    case.file.write_text("kafak: {}\n")
    broken = command("doctor", "--config", case.file)
    assert broken.code == 1
    assert "`kafak`: unknown key; did you mean `kafka`?" in broken.out
