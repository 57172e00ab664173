"""What goes wrong while it runs: codecs, types, sizes, ports, twins, states, an outage."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Producer

from stream_monitor.broker import EmbeddedBroker, console_produce
from stream_monitor.config import config_from
from stream_monitor.engines.connection import publish
from stream_monitor.errors import BrokerError
from stream_monitor.events.pack import encode_pack
from stream_monitor.events.prediction import decode_events
from stream_monitor.records import TOPICS, Output, Record
from stream_monitor.sdk import PredictionLogger
from stream_monitor.windows.increments import Increments, decode_summary
from tests.engines.workers import Setup, Watcher, WorkerProcess, read_topic, setup_of, wait_for
from tests.errors.conftest import Command

TopicMaker = Callable[..., dict[str, str]]
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
SECOND = 1_000_000
NOON = 1_767_268_800 * SECOND


def event(number: int, **features: object) -> bytes:
    body: dict[str, object] = {"id": f"e{number}", "model": "m", "timestamp": NOON // 1000 + number}
    body["features"] = features or {"x": 1.5}
    return json.dumps(body).encode()


def wide(number: int) -> dict[str, object]:
    return {f"f{k}": number * 0.37 + k for k in range(50)}


def pack(rows: int, start: int, model: str = "m") -> bytes:
    return encode_pack(
        model,
        "unversioned",
        ids=[f"p{start + i}" for i in range(rows)],
        times=NOON + np.arange(rows),
        features={"x": np.arange(rows, dtype=np.float64)},
    )


@pytest.fixture
def setup(broker: str, kafka_prefix: str, tmp_path: Path) -> Iterator[Setup]:
    with setup_of(broker, kafka_prefix, tmp_path, limits={"max_message_bytes": 20_000}) as made:
        yield made


def counted(setup: Setup) -> int:
    """Rows that OBSERVE passed on, once each or the test fails."""
    found = 0
    for record in read_topic(setup.broker, setup.topic("summaries")):
        summary = decode_summary(record.value() or b"")
        if isinstance(summary, Increments):
            found += int(summary.rows.sum())
    return found


def send(setup: Setup, values: list[bytes], **properties: Any) -> None:
    producer = Producer({"bootstrap.servers": setup.broker, **properties})
    for value in values:
        producer.produce(setup.topic("predictions"), value)
    assert producer.flush(30) == 0


def test_every_codec_and_kafkas_own_client_are_read(setup: Setup) -> None:
    for at, codec in enumerate(CODECS):
        values = [event(1000 * at + i) for i in range(20)] + [pack(30, 1000 * at)]
        send(setup, values, **{"compression.type": codec, "linger.ms": 50})
    lines = [event(9000 + i).decode() for i in range(10)]
    console_produce(setup.broker, setup.topic("predictions"), lines, properties=["compression.type=zstd"])
    with Watcher(setup) as watcher, WorkerProcess(setup) as worker:
        worker.wait_ready()
        wait_for(watcher.done, 60, "all is read", worker)
        metrics = worker.get("/metrics")[1]
        assert 'stream_monitor_dead_letters_total{reason="arrow"} 0' in metrics
    assert counted(setup) == len(CODECS) * 50 + 10


@pytest.mark.parametrize(
    ("feature", "change"), [("n", str), ("s", lambda s: 1 if s == "a" else 2), ("n", lambda n: bool(n % 2))]
)
def test_a_feature_that_changes_its_type_is_told_by_name(
    feature: str, change: Callable[[Any], object], tmp_path: Path, command: Command
) -> None:
    rows = [{"timestamp": NOON // 1000 + i * 1000, "n": i * 37 % 101, "s": "ab"[i % 2]} for i in range(4000)]
    (tmp_path / "base.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    later = [row | {feature: change(row[feature])} if i >= 2000 else row for i, row in enumerate(rows)]
    (tmp_path / "later.jsonl").write_text("".join(json.dumps(row) + "\n" for row in later))
    config = tmp_path / "monitor.yaml"
    config.write_text("models: {m: {baseline: base.jsonl, windows: [1m]}}\n")
    out = tmp_path / "found"
    said = command("replay", tmp_path / "later.jsonl", "--config", config, "--out", out)
    assert said.code == 0
    alerts = [json.loads(line) for line in (out / "alerts.jsonl").read_bytes().splitlines()]
    unseen = next(alert for alert in alerts if alert["labels"]["alertname"] == "UnseenValues")
    assert unseen["labels"]["feature"] == feature
    assert {alert["labels"]["feature"] for alert in alerts} == {feature}
    assert "4000 rows" in said.out, "none is lost"


def test_a_type_change_in_a_pack_counts_as_in_json() -> None:
    def read(value: object) -> Any:
        packed = encode_pack("m", "1", ids=["a"], times=[NOON], features={"x": [value]})
        single = event(0, x=value)
        return [
            decode_events([Record("p", 0, 0, NOON // 1000, None, raw)]).batches[0].features
            for raw in (packed, single)
        ]

    for value in (1.5, "1.5", True):
        in_pack, in_json = read(value)
        assert set(in_pack) == set(in_json) == {"x"}
        assert type(in_pack["x"]) is type(in_json["x"]), value


def test_an_event_over_the_topics_limit_is_counted_and_named(broker: str, kafka_topics: TopicMaker) -> None:
    topic = kafka_topics("predictions", partitions=1, config={"max.message.bytes": "2000"})["predictions"]
    noise = np.random.default_rng(1).bytes(6000).hex()
    log = PredictionLogger(broker, "m", topic=topic)
    log.log({"text": noise})
    log.flush(20)
    log.log({"text": "small"})  # apart: what Kafka refuses is the batch that a large one travels in
    end = time.monotonic() + 20
    while log.sent + log.failed < 2 and time.monotonic() < end:
        log.flush(1)
    assert (log.sent, log.failed, log.dropped) == (1, 1, 0)
    assert "MSG_SIZE_TOO_LARGE" in str(log.last_error)
    log.log({"text": np.random.default_rng(1).bytes(600_000).hex()})
    log.close()
    assert log.failed == 2
    assert "too_large" in str(log.last_error)
    assert "at most 900000 are sent" in str(log.last_error)


def test_a_command_whose_record_is_over_the_topics_limit(
    broker: str, kafka_topics: TopicMaker, kafka_prefix: str
) -> None:
    kafka_topics("baselines", partitions=1, config={"max.message.bytes": "2000"})
    kafka = config_from({"kafka": {"brokers": broker, "topic_prefix": kafka_prefix}}, env={}).kafka
    noise = np.random.default_rng(1).bytes(9000)
    with pytest.raises(BrokerError, match=r"baselines\[0\]: larger than the topic's `max\.message\.bytes`"):
        publish(kafka, [Output("baselines", b"k", noise)])


def test_a_worker_whose_output_is_over_a_topics_limit_says_which(
    broker: str, kafka_prefix: str, kafka_topics: TopicMaker, tmp_path: Path
) -> None:
    kafka_topics("summaries", config={"max.message.bytes": "300"})
    others = tuple(name for name in TOPICS if name not in ("summaries", "baselines"))
    kafka_topics(*others)
    kafka_topics("baselines", partitions=1)
    setup = Setup(broker, kafka_prefix, tmp_path)
    send(setup, [event(i, **wide(i)) for i in range(50)])
    with WorkerProcess(setup) as worker:
        assert worker.process.wait(60) == 1
    last = worker.log.strip().splitlines()[-1]
    assert "stream-monitor: error: observe: " in last
    assert "max.message.bytes" in last
    assert setup.topic("summaries") in last
    assert "Traceback" not in worker.log


def test_a_message_as_large_as_may_be_becomes_a_dead_letter_and_stops_nothing(setup: Setup) -> None:
    large = b"{" + np.random.default_rng(1).bytes(523_999).hex().encode()
    producer = Producer({"bootstrap.servers": setup.broker, "message.max.bytes": 1_200_000})
    wide = setup.topic("predictions")
    producer.produce(wide, large)
    assert producer.flush(30) == 0
    with WorkerProcess(setup) as worker:
        worker.wait_ready()
        wait_for(lambda: 'reason="json"} 1' in worker.get("/metrics")[1], 30, "a dead letter", worker)
    (letter,) = read_topic(setup.broker, setup.topic("dead-letter"))
    assert large.startswith(letter.value()), "cut to what we may write"
    assert ("sm-truncated", str(len(large)).encode()) in letter.headers()


def test_ports_in_use(command: Command, broker: str, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = command("worker", "--brokers", broker, "--port", port)
        assert said.code == 1
        assert f"cannot serve metrics at http://127.0.0.1:{port}: Address already in use" in said.err
        assert "set `worker.host` and `worker.port` to a free address" in said.err
        said = command("broker", "--data", tmp_path, "--port", port)
        assert said.code == 1
        assert f"port {port} of 127.0.0.1 is in use" in said.err


def test_of_two_workers_with_one_name_the_older_ends_and_says_why(setup: Setup) -> None:
    send(setup, [event(i) for i in range(100)])
    with WorkerProcess(setup) as first:
        first.wait_ready()
        with WorkerProcess(setup) as second:
            at = 1000

            def fenced() -> bool:
                nonlocal at
                send(setup, [event(at + i) for i in range(20)])
                at += 20
                return not first.alive

            wait_for(fenced, 60, "the first one ends", second, every=0.3)
            assert first.process.wait(60) == 1
            last = first.log.strip().splitlines()[-1]
            assert "another worker has the same `worker.replica`" in last
            assert "Traceback" not in first.log
            second.wait_ready()


def test_a_state_that_another_version_wrote(setup: Setup) -> None:
    group = f"{setup.config.kafka.group}-judge"
    key = f"{group}\x1fclock\x1f0".encode()
    publish(setup.config.kafka, [Output("state", key, b"not a state", 0)])
    with WorkerProcess(setup) as worker:
        assert worker.process.wait(60) == 1
    last = worker.log.strip().splitlines()[-1]
    assert f"{setup.topic('state')}[0]@0: state of 'clock' cannot be restored" in last
    assert "Run the version that wrote it, or give up this state by a new `kafka.group`" in last
    assert "Traceback" not in worker.log


def test_a_broker_that_is_away_for_a_while_costs_no_event(tmp_path: Path, kafka_prefix: str) -> None:
    with EmbeddedBroker(tmp_path / "kafka") as broker:
        setup = Setup(broker.bootstrap, kafka_prefix, tmp_path, kafka={"partitions": 2})
        setup.make_topics()
        with Watcher(setup) as watcher:
            worker = WorkerProcess(setup)
            worker.wait_ready()
            send(setup, [event(i) for i in range(500)])
            broker.stop()
            # What is sent while it is away waits in the sender.
            producer = Producer({"bootstrap.servers": broker.bootstrap, "log_level": 0})
            for i in range(500, 1000):
                producer.produce(setup.topic("predictions"), event(i))
            time.sleep(6)
            broker.start()
            assert producer.flush(60) == 0
            end = time.monotonic() + 110  # a group that lost its broker may take two sessions to stand again
            # Asked once at a time: a tick that idle partitions write is again something to read.
            while not (done := watcher.done()) and time.monotonic() < end:
                if not worker.alive:  # as a supervisor would
                    assert worker.process.returncode == 1
                    assert "Traceback" not in worker.log
                    worker = WorkerProcess(setup)
                time.sleep(0.5)
            assert done, worker.log[-3000:]
            worker.stop()
        assert counted(setup) == 1000


def test_static_membership_spares_the_wait_after_a_kill(
    broker: str, kafka_prefix: str, tmp_path: Path
) -> None:
    properties = {"group.instance.id": f"{kafka_prefix}one", "session.timeout.ms": 30_000}
    with setup_of(broker, kafka_prefix, tmp_path, kafka={"properties": properties}) as setup:
        with WorkerProcess(setup) as first:
            first.wait_ready()
            first.signal(signal.SIGKILL)
            first.process.wait(20)
        began = time.monotonic()
        with WorkerProcess(setup) as second:
            second.wait_ready()
            assert time.monotonic() - began < 20, "well below the session of 30 s"
