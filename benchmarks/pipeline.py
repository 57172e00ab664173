"""How many events a second the pipeline carries, and where the time goes.

    python benchmarks/pipeline.py [--events 1000000] [--profile] [--part observe-packs ...]

Parts, each in a fresh process: OBSERVE alone on packs of 500 and on JSON singles (no Kafka),
JUDGE per pane, and a real worker on Kafka (KAFKA_BROKERS, else an embedded node) that finds a
backlog. 20 float features and a prediction; a published baseline. Counts of what comes out are
checked. `--profile` prints the functions that most time is spent in.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import yaml
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from stream_monitor.baselines.baseline import Baseline
from stream_monitor.baselines.build import build_baseline
from stream_monitor.baselines.directory import BaselineDirectory
from stream_monitor.baselines.records import Activation, encode_activation
from stream_monitor.broker import cluster
from stream_monitor.config import Config, config_from
from stream_monitor.engines.connection import publish
from stream_monitor.engines.topics import ensure_topics
from stream_monitor.events.columns import Column, EventBatch, NumberColumn
from stream_monitor.events.pack import encode_pack
from stream_monitor.events.tick import encode_tick
from stream_monitor.events.times import LATEST
from stream_monitor.processors.judge import JudgePartition
from stream_monitor.processors.observe import ObservePartition
from stream_monitor.records import Record
from stream_monitor.windows.increments import decode_summary

MODEL, VERSION = "bench", "1"
FEATURES = [f"f{i:02d}" for i in range(20)]
START = 1_735_732_800_000_000
PARTITIONS = 4
PACK = 500
SECOND = 1_000_000
EVENTS_PER_SECOND = 2_000
"""Of event time: a pane of 10 s holds 20,000 events."""

Messages = list[tuple[bytes, int]]


def baseline() -> Baseline:
    """Of 20,000 rows."""
    rows = 20_000
    random = np.random.default_rng(1)
    columns: dict[str, Column] = {
        name: NumberColumn(random.normal(size=rows)) for name in [*FEATURES, "prediction"]
    }
    return build_baseline(
        [
            EventBatch(
                model=MODEL,
                version=VERSION,
                time=START - 86_400 * SECOND + np.arange(rows) * SECOND,
                append_ms=np.full(rows, -1),
                offset=np.arange(rows),
                position=np.arange(rows),
                features=columns,
            )
        ],
        source="benchmark",
        pane=10 * SECOND,
    )


def packs(events: int) -> Messages:
    """(message, events in it), in the order of event time."""
    random = np.random.default_rng(2)
    made = []
    for first in range(0, events, PACK):
        rows = np.arange(first, first + PACK)
        values = random.normal(size=(len(FEATURES), PACK))
        value = encode_pack(
            MODEL,
            VERSION,
            ids=[f"e{row}" for row in rows.tolist()],
            times=START + rows * SECOND // EVENTS_PER_SECOND,
            features=dict(zip(FEATURES, values, strict=True)),
            prediction=random.random(PACK),
        )
        made.append((value, PACK))
    return made


def singles(events: int) -> Messages:
    """The same as JSON objects of one event each."""
    random = np.random.default_rng(3)
    made: Messages = []
    for first in range(0, events, 10_000):
        values = random.normal(size=(10_000, len(FEATURES) + 1)).tolist()
        for row, numbers in enumerate(values, first):
            event = {
                "id": f"e{row}",
                "model": MODEL,
                "model_version": VERSION,
                "timestamp": START // 1000 + row * 1000 // EVENTS_PER_SECOND,
                "features": dict(zip(FEATURES, numbers[1:], strict=True)),
                "prediction": numbers[0],
            }
            made.append((orjson.dumps(event), 1))
    return made


def summaries(messages: Messages, directory: BaselineDirectory, step: int) -> Iterator[bytes]:
    """What OBSERVE makes of one partition's messages, `step` of them read at once."""
    observe = ObservePartition(Config(), directory, partition=0, partitions=1, judges=1)
    for first in range(0, len(messages), step):
        observe.process(
            [
                Record("predictions", 0, first + i, -1, None, value)
                for i, (value, _) in enumerate(messages[first : first + step])
            ]
        )
        for output in observe.flush():
            assert output.topic == "summaries"
            assert output.value is not None
            yield output.value


def part_observe(messages: Messages, step: int) -> dict[str, Any]:
    """OBSERVE alone: decode, time, bin, sum, encode; rows that come out are checked."""
    directory = BaselineDirectory([Activation(MODEL, "*", 0, baseline())])
    events = sum(count for _, count in messages)
    size = sum(len(value) for value, _ in messages)
    began = time.perf_counter()
    made = list(summaries(messages, directory, step))
    seconds = time.perf_counter() - began
    rows = sum(int(s.rows.sum()) for value in made if hasattr(s := decode_summary(value), "rows"))
    assert rows == events, f"{rows} rows came out of {events}"
    return {
        "events": events,
        "events/s": events / seconds,
        "µs/event": 1e6 * seconds / events,
        "bytes/event": size / events,
    }


def part_judge(events: int) -> dict[str, Any]:
    """JUDGE alone: milliseconds a pane (20,000 events of 21 features), windows and detectors in it."""
    directory = BaselineDirectory([Activation(MODEL, "*", 0, baseline())])
    made = list(summaries(packs(events), directory, 10))
    judge = JudgePartition(Config(), directory)
    judge.follow()
    began = time.perf_counter()
    for value in made:
        judge.take(decode_summary(value))
    outputs = judge.flush()
    seconds = time.perf_counter() - began
    panes = events // EVENTS_PER_SECOND // 10
    began = time.perf_counter()
    state = sum(len(data) for data in judge.checkpoint().values() if data is not None)
    return {
        "panes": panes,
        "ms/pane": 1e3 * seconds / panes,
        "aggregates": sum(output.topic == "aggregates" for output in outputs),
        "checkpoint ms": 1e3 * (time.perf_counter() - began),
        "checkpoint bytes": state,
    }


def part_kafka(messages: Messages, step: int) -> dict[str, Any]:
    """A worker process that finds a backlog: from its start of reading to the last commit."""
    del step
    prefix = f"bench-{uuid.uuid4().hex[:8]}."
    with tempfile.TemporaryDirectory() as folder, cluster(Path(folder)) as brokers:
        settings: dict[str, Any] = {
            "kafka": {"brokers": brokers, "topic_prefix": prefix, "group": prefix, "start": "earliest",
                      "partitions": PARTITIONS},
            "worker": {"port": 0, "replica": "bench"},
        }  # fmt: skip
        config = config_from(settings, env={})
        ensure_topics(config)
        publish(config.kafka, [encode_activation(Activation(MODEL, "*", 0, baseline()))])
        producer = Producer({"bootstrap.servers": brokers, "linger.ms": 20, "compression.type": "lz4"})
        for i, (value, _) in enumerate(messages):
            while True:
                try:
                    producer.produce(config.kafka.topic("predictions"), value, partition=i % PARTITIONS)
                    break
                except BufferError:
                    producer.poll(0.1)
        producer.flush(60)
        publish(config.kafka, [encode_tick(p, LATEST - 1) for p in range(PARTITIONS)])
        file = Path(folder) / "worker.yaml"
        file.write_text(yaml.safe_dump(settings), encoding="utf-8")
        command = [sys.executable, "-m", "stream_monitor.cli", "worker", "--config", str(file)]
        with (Path(folder) / "worker.log").open("wb") as log:
            worker = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            began, ended = watch(config, len(messages) // PARTITIONS)
            status = Path(f"/proc/{worker.pid}/status").read_text(encoding="utf-8")
            peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
            ticks = Path(f"/proc/{worker.pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
            cpu = (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")
        finally:
            worker.terminate()
            code = worker.wait(40)
        assert code == 0, (Path(folder) / "worker.log").read_text(encoding="utf-8")[-3000:]
        events = sum(count for _, count in messages)
        rows = counted(config)
        assert rows == events, f"{rows} rows were counted of {events}"
    return {
        "events": events,
        "events/s": events / (ended - began),
        "seconds": ended - began,
        "worker CPU s": cpu,
        "worker peak MB": peak / 1024,
    }


def watch(config: Config, last: int) -> tuple[float, float]:
    """When the first commit was seen, less one interval, and when the final tick was judged."""
    prefix = config.kafka.group
    observe = Consumer({"bootstrap.servers": config.kafka.brokers, "group.id": f"{prefix}-observe"})
    reader = Consumer(
        {"bootstrap.servers": config.kafka.brokers, "group.id": "bench", "isolation.level": "read_committed"}
    )
    topic = config.kafka.topic("predictions")
    where = [TopicPartition(topic, p) for p in range(PARTITIONS)]
    began = 0.0
    deadline = time.monotonic() + 300
    aggregates = config.kafka.topic("aggregates")
    reader.assign([TopicPartition(aggregates, p, 0) for p in range(PARTITIONS)])
    end = "1h"  # the longest window closes last
    while time.monotonic() < deadline:
        try:
            positions = [max(0, found.offset) for found in observe.committed(where, timeout=20)]
        except KafkaException:  # the group's coordinator is being made
            time.sleep(0.1)
            continue
        if not began and any(positions):
            began = time.monotonic() - config.worker.commit_interval / 1e6
        if began and min(positions) > last:
            for message in reader.consume(1000, 0.02):
                if message.error() is None and orjson.loads(message.value() or b"")["window"] == end:
                    ended = time.monotonic()
                    observe.close()
                    reader.close()
                    return began, ended
        time.sleep(0.01)
    raise AssertionError("the worker did not finish within 300 s")


def counted(config: Config) -> int:
    """Rows in the newest revision of every 1m window."""
    reader = Consumer(
        {"bootstrap.servers": config.kafka.brokers, "group.id": "bench", "isolation.level": "read_committed",
         "enable.partition.eof": True}
    )  # fmt: skip
    topic = config.kafka.topic("aggregates")
    reader.assign([TopicPartition(topic, p, 0) for p in range(PARTITIONS)])
    newest: dict[str, tuple[int, int]] = {}
    ends = 0
    while ends < PARTITIONS:
        for message in reader.consume(1000, 1.0):
            if message.error() is not None:
                ends += 1
                continue
            view = orjson.loads(message.value() or b"")
            if view["window"] == "1m" and view["part"] == 0:
                newest[view["start"]] = max(
                    newest.get(view["start"], (-1, 0)), (view["revision"], view["rows"])
                )
    reader.close()
    return sum(rows for _, rows in newest.values())


PARTS: dict[str, Callable[[int], dict[str, Any]]] = {
    "observe-packs": lambda events: part_observe(packs(events), 20),
    "observe-json": lambda events: part_observe(singles(events // 5), 1000),
    "judge": part_judge,
    "kafka-packs": lambda events: part_kafka(packs(events), 20),
    "kafka-json": lambda events: part_kafka(singles(events // 5), 1000),
}


def main() -> None:
    """Run the parts in processes of their own and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=1_000_000, help="in packs; of JSON singles a fifth")
    parser.add_argument("--part", action="append", choices=list(PARTS), help="only this one (repeatable)")
    parser.add_argument(
        "--profile", action="store_true", help="functions that take most time (no Kafka parts)"
    )
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.here:
        print(json.dumps(run_here(given.part[0], given.events, profile=given.profile)))
        return
    print(
        f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, {len(FEATURES)} features and a prediction"
    )
    for part in given.part or PARTS:
        command = [sys.executable, __file__, "--here", "--part", part, "--events", str(given.events)]
        done = subprocess.run(
            command + ["--profile"] * given.profile, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{part}: {done.stderr[-3000:]}")
        *told, last = done.stdout.strip().splitlines()
        figures = "   ".join(f"{name} {value:,.4g}" if isinstance(value, float) else f"{name} {value:,}"
                             for name, value in json.loads(last).items())  # fmt: skip
        print(f"{part:<14} {figures}")
        if given.profile:
            print("\n".join(told))


def run_here(part: str, events: int, *, profile: bool) -> dict[str, Any]:
    """One part in this process."""
    if not profile or part.startswith("kafka"):
        figures = PARTS[part](events)
    else:
        profiler = cProfile.Profile()
        figures = profiler.runcall(PARTS[part], events)
        pstats.Stats(profiler).strip_dirs().sort_stats("tottime").print_stats(25)
    if not part.startswith("kafka"):
        figures["peak MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return figures


if __name__ == "__main__":
    main()
