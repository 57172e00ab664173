"""The worker as its users meet it: a process beside Kafka and Prometheus."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import numpy as np
import orjson

from stream_monitor.broker.tools import console_produce
from stream_monitor.events.pack import encode_pack
from stream_monitor.windows.increments import Increments, decode_summary
from tests.engines.load import (
    SECOND,
    SETTINGS,
    START,
    Emitted,
    Load,
    final_tick,
    publish_baseline,
    send,
)
from tests.engines.workers import Setup, Watcher, WorkerProcess, read_topic, setup_of, wait_for
from tests.events.pack_fuzz import mutate
from tests.serve.prometheus_process import PrometheusProcess

EVENT = {
    "id": "console-1",
    "model": "console",
    "timestamp": "2025-01-01T12:00:30Z",
    "features": {"age": 41, "job": "nurse"},
    "prediction": 0.25,
}


def test_from_an_event_to_prometheus_and_an_orderly_end(
    broker: str, kafka_prefix: str, tmp_path: Path
) -> None:
    load = Load.make(20_000, 900)
    with setup_of(broker, kafka_prefix, tmp_path, **SETTINGS) as setup, Watcher(setup) as watcher:
        publish_baseline(setup)
        with WorkerProcess(setup) as worker:
            worker.wait_ready()
            assert worker.get("/healthz")[0] == 200
            # Kafka's own producer writes one good event and one that is cut.
            lines = [orjson.dumps(EVENT).decode(), '{"id": "console-2", "model": "console", "time']
            console_produce(broker, setup.topic("predictions"), lines)
            send(setup, load.encoded())
            final_tick(setup)
            wait_for(watcher.done, 60, "lag 0", worker)
            target = worker.url().removeprefix("http://")
            with PrometheusProcess(tmp_path, [target]) as prometheus:
                score = 'stream_monitor_drift_score{model="loans",feature="a",score="psi"}'
                found = prometheus.wait_for(score)
                print(f"\n{score} = {[result.value for result in found]}")
                assert all(0 <= result.value < 10 for result in found)
                assert prometheus.wait_for('stream_monitor_dead_letters_total{reason="json"} == 1')
                prometheus.wait_for('sum(stream_monitor_lag_messages{stage="observe"}) == 0')
                (counted,) = prometheus.wait_for('stream_monitor_inputs_total{stage="observe"}')
            assert worker.stop() == 0, worker.log[-3000:]
        assert watcher.done()
        # Everything that was read was committed, so a second worker has nothing to do.
        with WorkerProcess(setup) as again:
            again.wait_ready()
            assert again.stop() == 0
            assert "replaying" not in again.log
        emitted = Emitted(setup)
        rows = emitted.rows("1m")
        assert rows.pop(("console", START)) == 1
        assert rows == load.rows_per_window(60 * SECOND)
        assert counted.value == len(load) + 1
        (dead,) = emitted.dead
        headers = {name: value.decode() for name, value in dead.headers()}
        assert dead.value() == lines[1].encode()
        assert headers["sm-reason"] == "json"
        topic, _, offset = headers["sm-source"].partition("@")
        assert topic.startswith(setup.topic("predictions") + "[")
        (original,) = (
            m
            for m in read_topic(broker, setup.topic("predictions"))
            if (m.offset(), f"{m.topic()}[{m.partition()}]") == (int(offset), topic)
        )
        assert original.value() == lines[1].encode()


ROWS = 8
MUTATIONS, CONTROLS = 1000, 40


def test_damaged_packs_never_end_the_worker(broker: str, kafka_prefix: str, tmp_path: Path) -> None:
    """Each of 1,000 mutated packs is counted or in dead-letter; good ones between them are whole."""
    random_ = random.Random(5)
    pack = encode_pack(
        "fuzz",
        "1",
        ids=[f"id{row}" for row in range(ROWS)],
        times=[START + row * SECOND for row in range(ROWS)],
        features={
            "x": np.random.default_rng(1).normal(size=ROWS),
            "words": [f"n{row % 3}" for row in range(ROWS)],
            "flag": [True] * ROWS,
            "vector": np.random.default_rng(2).normal(size=(ROWS, 3)),
        },
        prediction=np.linspace(0, 1, ROWS),
    )
    damaged = {random_.randrange(4, 1 << 30): mutate(random_, pack) for _ in range(MUTATIONS)}
    values = [*damaged.values(), *[pack] * CONTROLS]
    random_.shuffle(values)
    # Nothing is learned and nothing expires, so every row travels with its source offset.
    settings = SETTINGS | {"defaults": {"learn": {"events": 100_000}, "allowed_lateness": "99999d"}}
    with setup_of(broker, kafka_prefix, tmp_path, **settings) as setup, Watcher(setup) as watcher:
        with WorkerProcess(setup) as worker:
            send(setup, [(0, value) for value in values])
            wait_for(watcher.done, 60, "lag 0", worker)
            assert worker.stop() == 0, worker.log[-3000:]
        counted: Counter[int] = Counter()
        for message in read_topic(broker, setup.topic("summaries")):
            summary = decode_summary(message.value())
            if isinstance(summary, Increments) and summary.raw is not None:
                counted.update(summary.raw.offset.tolist())
        whole: set[int] = set()
        parts: Counter[int] = Counter()
        reasons: Counter[str] = Counter()
        for message in read_topic(broker, setup.topic("dead-letter")):
            headers = {name: value.decode() for name, value in message.headers()}
            offset = int(headers["sm-source"].partition("@")[2])
            reasons[headers["sm-reason"]] += 1
            assert message.value() == values[offset]
            if "sm-row" in headers:
                parts[offset] += 1
            else:
                whole.add(offset)
    for offset, value in enumerate(values):
        if value == pack:
            assert counted[offset] == ROWS
            assert offset not in whole
        elif offset in whole:
            assert counted[offset] == 0
        else:
            assert counted[offset] + parts[offset] > 0, f"message {offset} left no trace"
    print(f"\n{len(whole)} dead, {len(values) - len(whole)} counted; {dict(reasons)}")
    assert len(whole) > MUTATIONS // 10


def test_no_broker_is_one_clear_line_and_exit_code_1(tmp_path: Path) -> None:
    with WorkerProcess(Setup("127.0.0.1:1", "none.", tmp_path)) as worker:
        assert worker.process.wait(40) == 1
        said = worker.log.strip().splitlines()
        assert said[-1].startswith("stream-monitor: error: Kafka at 127.0.0.1:1: ")
        assert len(said) == 2, worker.log  # beside it only where the metrics were
        assert "Traceback" not in worker.log


def test_missing_topics_are_named_and_exit_code_is_1(broker: str, kafka_prefix: str, tmp_path: Path) -> None:
    with WorkerProcess(Setup(broker, kafka_prefix, tmp_path)) as worker:
        assert worker.process.wait(40) == 1
        last = worker.log.strip().splitlines()[-1]
        assert last.startswith("stream-monitor: error: ")
        assert f"{kafka_prefix}predictions" in last
        assert "stream-monitor topics create" in last
        assert "Traceback" not in worker.log


def test_two_workers_with_one_replica_name(broker: str, kafka_prefix: str, tmp_path: Path) -> None:
    """The first one is fenced; it ends and says which setting is wrong."""
    with setup_of(broker, kafka_prefix, tmp_path, **SETTINGS) as setup, WorkerProcess(setup) as first:
        first.wait_ready()
        with WorkerProcess(setup) as second:
            second.wait_ready()
            send(setup, [(p, orjson.dumps(EVENT)) for p in range(4)] * 50)
            assert first.process.wait(40) == 1
            (said,) = (line for line in first.log.splitlines() if line.startswith("stream-monitor: error: "))
            assert "worker.replica" in said
            second.check()
