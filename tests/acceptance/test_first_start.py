"""A first start on topics that hold events already: what it reads, and what it makes of the past."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import orjson
from confluent_kafka.admin import AdminClient, NewPartitions

from stream_monitor.engines.connection import publish
from stream_monitor.events.alert import Alert, decode_alert
from stream_monitor.events.tick import encode_tick
from stream_monitor.events.times import LATEST
from stream_monitor.sdk import AlertSubscriber
from tests.engines.load import (
    MODELS,
    SECOND,
    SETTINGS,
    START,
    Emitted,
    Load,
    assert_same,
    final_tick,
    publish_baseline,
    send,
    undisturbed_of,
)
from tests.engines.workers import Setup, Watcher, WorkerProcess, setup_of, wait_for

HOUR = 3600 * SECOND


def test_the_past_is_marked_and_what_is_live_is_told(broker: str, kafka_prefix: str, tmp_path: Path) -> None:
    """A drift in the topic, a first start that is killed in the middle of it, then a drift while it runs."""
    past = Load.make(24_000, 1200, seed=3)
    now = Load.make(24_000, 1200, seed=4)
    now = replace(now, time=now.time + HOUR)
    lying = past.encoded()
    settings = SETTINGS | {"idle": {"after": "never"}, "worker": {"checkpoint_interval": "2s"}}
    kafka = {"properties": {"group.instance.id": "one"}}  # a static member takes its place back at once
    with (
        setup_of(broker, kafka_prefix, tmp_path, kafka=kafka, **settings) as setup,
        Watcher(setup) as watcher,
    ):
        publish_baseline(setup)
        send(setup, lying)
        whole = watcher.standing("observe").lag
        with WorkerProcess(setup) as worker:
            wait_for(lambda: watcher.standing("observe").total > 0.3 * whole, 60, "30%", worker, 0.005)
            worker.kill()
        assert watcher.standing("observe").lag > 0, "the kill came too late"
        with WorkerProcess(setup) as worker:
            wait_for(watcher.done, 60, "lag 0", worker)
            before = alerts_of(setup)
            assert Counter(alert.backfill for alert in before)[True] >= 2
            send(setup, now.encoded())
            final_tick(setup)
            wait_for(watcher.done, 60, "lag 0", worker)
            assert worker.stop() == 0, worker.log[-3000:]
        mine = alerts_of(setup)
        old = [alert for alert in mine if alert.starts_at < "2025-01-01T13:00:00Z"]
        new = [alert for alert in mine if alert.starts_at >= "2025-01-01T13:00:00Z"]
        assert {alert.backfill for alert in old} == {True}
        assert {alert.status for alert in old} == {"firing", "resolved"}
        assert {alert.backfill for alert in new} == {False}
        assert {(alert.labels.model, alert.status) for alert in new} >= {
            (MODELS[0], "firing"),
            (MODELS[0], "resolved"),
        }
        seen: list[str] = []
        subscriber = AlertSubscriber(
            broker,
            f"{kafka_prefix}automation",
            lambda alert: seen.append(alert.id),
            topic=setup.topic("alerts"),
            from_beginning=True,
        )
        with subscriber:
            wait_for(lambda: len(seen) + subscriber.passed_over == len(mine), 30, "all alerts passed by")
        assert sorted(seen) == sorted(alert.id for alert in new)
        assert_same(Emitted(setup), undisturbed_of(setup, Counter(partition for partition, _ in lying)))


def alerts_of(setup: Setup) -> list[Alert]:
    return [decode_alert(value) for _, _, value in Emitted(setup).alerts]


def test_latest_loses_nothing_that_is_published_to_a_worker_that_is_ready(
    broker: str, kafka_prefix: str, tmp_path: Path, admin: AdminClient
) -> None:
    """Neither before its first commit, nor in a partition that the topic gets later."""
    with setup_of(broker, kafka_prefix, tmp_path, kafka={"start": "latest"}, **SETTINGS) as setup:
        send(setup, [(partition, event(second=5)) for partition in range(4)])
        with WorkerProcess(setup) as worker:
            worker.wait_ready()
            worker.kill()
        send(setup, [(partition, event(second=15)) for partition in (0, 1, 2, 3, 3)])
        topic = setup.topic("predictions")
        for future in admin.create_partitions([NewPartitions(topic, 5)]).values():
            future.result(30)
        wait_for(lambda: len(admin.list_topics(topic, 10).topics[topic].partitions) == 5, 30, "a fifth one")
        send(setup, [(4, event(second=25))] * 3)
        with WorkerProcess(setup) as worker:
            worker.wait_ready()
            publish(setup.config.kafka, [encode_tick(p, LATEST - 1) for p in range(5)])
            wait_for(lambda: bool(Emitted(setup).aggregates), 60, "a window", worker)
            assert worker.stop() == 0, worker.log[-3000:]
        written = Emitted(setup)
        assert written.rows("1m") == {("m", START): 8}
        assert not any(orjson.loads(value)["backfill"] for _, _, value in written.aggregates)


def event(second: int) -> bytes:
    return orjson.dumps(
        {
            "id": "e",
            "model": "m",
            "model_version": "1",
            "timestamp": START // 1000 + second * 1000,
            "features": {"x": 1.0},
            "prediction": 0.5,
        }
    )
