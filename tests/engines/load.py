"""A log of events with drift, late rows and packs, and what must come out of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
from confluent_kafka import Consumer, Producer, TopicPartition

from stream_monitor.baselines.build import build_baseline
from stream_monitor.baselines.records import Activation, encode_activation
from stream_monitor.config import Config
from stream_monitor.engines.connection import publish
from stream_monitor.events.columns import CategoryColumn, EventBatch, NumberColumn
from stream_monitor.events.pack import encode_pack
from stream_monitor.events.tick import encode_tick
from stream_monitor.events.times import LATEST
from stream_monitor.processors.progress import Progress
from tests.engines.workers import Setup, Watcher, WorkerProcess, read_topic, wait_for

SECOND = 1_000_000
START = 1_735_732_800 * SECOND
"""2025-01-01T12:00:00Z."""
MODELS = ("loans", "cars")
VERSION = "3"
COLOURS = ("red", "green", "blue", "white")
PACK = 250

SETTINGS: dict[str, Any] = {
    "defaults": {
        "pane": "10s",
        "windows": ["1m", "5m"],
        "allowed_lateness": "10m",
        "learn": {"events": 2000},
    }
}


@dataclass(frozen=True)
class Load:
    """Events in the order of their arrival; times in µs. `late` rows are kept, `expired` ones are not."""

    partition: Any
    model: Any
    time: Any
    late: Any
    expired: Any
    numbers: Any  # (3, n)
    colour: Any
    seconds: int
    packed: Any  # rows that travel in packs
    messages: list[tuple[int, bytes]] = field(default_factory=list)

    @classmethod
    def make(
        cls, events: int, seconds: int, *, partitions: int = 4, seed: int = 7, late: float = 0.01
    ) -> Load:
        """Two models over `seconds` of event time; `loans` is shifted from 40% to 70% of it."""
        random = np.random.default_rng(seed)
        moment = np.sort(random.integers(0, seconds * SECOND, events))
        lot = random.random(events)
        was_late = (lot < late) & (moment > 400 * SECOND)
        expired = (lot > 1 - late / 4) & (moment > 2000 * SECOND)
        time = moment - random.integers(0, 4 * SECOND, events)
        time[was_late] -= random.integers(60, 300, int(was_late.sum())) * SECOND
        time[expired] -= random.integers(1200, 1900, int(expired.sum())) * SECOND
        model = random.integers(0, len(MODELS), events)
        numbers = random.normal(size=(3, events))
        middle = (moment > 0.4 * seconds * SECOND) & (moment < 0.7 * seconds * SECOND)
        numbers[0, (model == 0) & middle] += 0.7
        return cls(
            partition=random.integers(0, partitions, events),
            model=model,
            time=START + np.maximum(time, 0),
            late=was_late,
            expired=expired,
            numbers=numbers,
            colour=random.integers(0, len(COLOURS), events),
            seconds=seconds,
            # Every fourth stretch of arrivals is sent in packs.
            packed=(np.arange(events) // (PACK * 16)) % 4 == 3,
        )

    def __len__(self) -> int:
        return len(self.time)

    def encoded(self) -> list[tuple[int, bytes]]:
        """(partition, message) in the order of arrival."""
        messages: list[tuple[int, bytes]] = []
        waiting: dict[tuple[int, int], list[int]] = {}

        def send(key: tuple[int, int]) -> None:
            rows = np.array(waiting.pop(key))
            messages.append((key[0], self._pack(MODELS[key[1]], rows)))

        a, b, c = self.numbers.tolist()
        columns = zip(
            self.partition.tolist(), self.model.tolist(), (self.time // 1000).tolist(), self.packed.tolist(),
            a, b, c, self.colour.tolist(), strict=True,
        )  # fmt: skip
        for i, (partition, model, stamp, packed, x, y, z, colour) in enumerate(columns):
            if packed:
                rows = waiting.setdefault((partition, model), [])
                rows.append(i)
                if len(rows) == PACK // 4:
                    send((partition, model))
                continue
            for key in list(waiting):
                send(key)
            event = {
                "id": f"e{i}", "model": MODELS[model], "model_version": VERSION, "timestamp": stamp,
                "features": {"a": x, "b": y, "colour": COLOURS[colour]}, "prediction": z,
            }  # fmt: skip
            messages.append((partition, orjson.dumps(event)))
        for key in list(waiting):
            send(key)
        return messages

    def _pack(self, model: str, rows: Any) -> bytes:
        return encode_pack(
            model,
            VERSION,
            ids=[f"e{i}" for i in rows.tolist()],
            times=self.time[rows] // 1000 * 1000,
            features={
                "a": self.numbers[0][rows],
                "b": self.numbers[1][rows],
                "colour": CategoryColumn(self.colour[rows].astype(np.int32), COLOURS),
            },
            prediction=self.numbers[2][rows],
        )

    def rows_per_window(self, length: int) -> dict[tuple[str, int], int]:
        """(model, window start) -> rows that its newest aggregate must show."""
        kept = ~self.expired
        starts = self.time[kept] // 1000 * 1000
        starts = starts - starts % length
        found = Counter(zip(self.model[kept].tolist(), starts.tolist(), strict=True))
        return {(MODELS[model], start): rows for (model, start), rows in found.items()}

    def expired_rows(self) -> dict[str, int]:
        return {name: int(self.expired[self.model == i].sum()) for i, name in enumerate(MODELS)}


def publish_baseline(setup: Setup, model: str = MODELS[0], rows: int = 6000) -> None:
    """A published baseline for one model; the other one is learned."""
    random = np.random.default_rng(1)
    times = START - 86_400 * SECOND + np.arange(rows) * SECOND
    batch = EventBatch(
        model=model,
        version=VERSION,
        time=times,
        append_ms=np.full(rows, -1),
        offset=np.arange(rows),
        position=np.arange(rows),
        features={
            "a": NumberColumn(random.normal(size=rows)),
            "b": NumberColumn(random.normal(size=rows)),
            "colour": CategoryColumn(random.integers(0, 4, rows).astype(np.int32), COLOURS),
            "prediction": NumberColumn(random.normal(size=rows)),
        },
    )
    config: Config = setup.config
    baseline = build_baseline([batch], source="test", pane=config.model(model).pane)
    publish(config.kafka, [encode_activation(Activation(model, "*", 0, baseline))])


def producer_of(setup: Setup) -> Producer:
    """For `send`, where it is called often."""
    return Producer(
        {
            "bootstrap.servers": setup.broker,
            "enable.idempotence": True,
            "linger.ms": 5,
            "queue.buffering.max.messages": 1_000_000,
            "compression.type": "lz4",
        }
    )


def send(setup: Setup, messages: list[tuple[int, bytes]], producer: Producer | None = None) -> None:
    """Write messages to their partitions, in order, and wait until they are there."""
    client = producer or producer_of(setup)
    topic = setup.topic("predictions")
    failed: list[Any] = []

    def told(error: Any, _: Any) -> None:
        if error is not None:
            failed.append(error)

    for partition, value in messages:
        client.produce(topic, value, partition=partition, on_delivery=told)
        client.poll(0)
    left = client.flush(60)
    assert not failed, failed[:3]
    assert left == 0


def final_tick(setup: Setup) -> None:
    """Ends the stream in every partition."""
    partitions = range(int(setup.settings["kafka"]["partitions"]))
    publish(setup.config.kafka, [encode_tick(p, LATEST - 1) for p in partitions])


class Emitted:
    """What a group wrote: aggregates and alerts, checked for repeats."""

    def __init__(self, setup: Setup) -> None:
        self.aggregates = self._read(setup, "aggregates")
        self.alerts = self._read(setup, "alerts")
        self.dead = read_topic(setup.broker, setup.topic("dead-letter"))

    @staticmethod
    def _read(setup: Setup, logical: str) -> list[tuple[str, str, bytes]]:
        found = []
        for message in read_topic(setup.broker, setup.topic(logical)):
            value = message.value()
            view = orjson.loads(value)
            model = view.get("model") or view["labels"]["model"]
            found.append((model, f"{view['id']}.{view.get('part', 0)}", value))
        names = Counter((model, name) for model, name, _ in found)
        repeats = [(n, t) for n, t in names.items() if t > 1]
        assert not repeats, f"{logical}: {len(repeats)} ids occur more than once, such as {repeats[:3]}"
        return sorted(found)

    def newest(self, window: str) -> dict[tuple[str, int], dict[str, Any]]:
        """(model, start in µs) -> the newest revision of each window of that length."""
        newest: dict[tuple[str, int], dict[str, Any]] = {}
        for model, _, value in self.aggregates:
            view = orjson.loads(value)
            if view["window"] != window or view["part"]:
                continue
            start = int(np.datetime64(view["start"].removesuffix("Z"), "us").astype(np.int64))
            known = newest.get((model, start))
            if known is None or view["revision"] > known["revision"]:
                newest[model, start] = view
        return newest

    def rows(self, window: str) -> dict[tuple[str, int], int]:
        return {where: view["rows"] for where, view in self.newest(window).items()}


def assert_same(one: Emitted, other: Emitted) -> None:
    """Byte for byte the same aggregates and alerts."""
    for name in ("alerts", "aggregates"):
        mine, theirs = getattr(one, name), getattr(other, name)
        if mine == theirs:
            continue
        a, b = {(m, i): v for m, i, v in mine}, {(m, i): v for m, i, v in theirs}
        differing = [key for key in a.keys() & b.keys() if a[key] != b[key]]
        example = [(a[key], b[key]) for key in sorted(differing)[:1]]
        raise AssertionError(
            f"{name}: {len(a.keys() - b.keys())} only in the first, {len(b.keys() - a.keys())} only in the "
            f"second, {len(differing)} differ; {example}"
        )


def begin(setup: Setup, past: Mapping[int, int]) -> None:
    """Have the group stand where it would stand after a first start by which `past` lay in the log.

    `past` counts a partition's messages; what a group calls past depends on when it started.
    """
    partitions = int(setup.settings["kafka"]["partitions"])
    consumer = Consumer(
        {"bootstrap.servers": setup.broker, "group.id": f"{setup.config.kafka.group}-observe"}
    )
    wanted = [
        TopicPartition(
            setup.topic("predictions"), p, 0, Progress(past=past.get(p, 0), started=partitions).encode()
        )
        for p in range(partitions)
    ]
    consumer.commit(offsets=wanted, asynchronous=False)
    consumer.close()


def undisturbed_of(setup: Setup, past: Mapping[int, int]) -> Emitted:
    """What another group writes that reads the same log with one worker, left alone (see `begin`)."""
    other = setup.other("b", idle={"after": "never"})
    other.make_topics()
    begin(other, past)
    with WorkerProcess(other) as worker, Watcher(other) as watcher:
        wait_for(watcher.done, 90, "the other group's lag 0", worker)
        assert worker.stop() == 0, worker.log[-3000:]
    return Emitted(other)
