"""The same events over more or fewer partitions, in another order of arrival: the same verdicts."""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest

from stream_monitor.baselines.records import Activation
from stream_monitor.records import Record
from tests.processors.harness import Play, Played, ended, play, record
from tests.processors.logs import drifting_baseline, drifting_log, small_config

BOUND = 5_000
"""Out-of-orderness bound of `small_config`, ms."""


def events() -> list[dict[str, Any]]:
    log = drifting_log(11, partitions=1, minutes=20, rate=3.0, late=0.0, size=1.5, versions=("1", "1", "2"))
    return [orjson.loads(one.value or b"") for one in log[0]]


def arriving(bodies: list[dict[str, Any]], partitions: int, seed: int) -> dict[int, list[Record]]:
    """Each event up to just under the bound behind its time, in a partition that chance picks."""
    rng = random.Random(seed)
    rows: dict[int, list[tuple[float, int, dict[str, Any]]]] = {p: [] for p in range(partitions)}
    for i, body in enumerate(bodies):
        arrival = body["timestamp"] + rng.uniform(0, BOUND - 1)
        rows[rng.randrange(partitions)].append((arrival, i, body))
    return {
        p: [record(p, at, body) for at, (_, _, body) in enumerate(sorted(found, key=lambda row: row[:2]))]
        for p, found in rows.items()
    }


def verdicts(played: Played) -> list[tuple[str, bytes]]:
    """Everything said, without the offsets that it came from."""
    found = []
    for output in played.outputs:
        value = output.value or b""
        if output.topic == "alerts":
            view = orjson.loads(value)
            view["evidence"].pop("source")
            value = orjson.dumps(view)
        elif output.topic == "aggregates":
            view = orjson.loads(value)
            view.pop("source")
            value = orjson.dumps(view)
        elif output.topic == "detections":
            evidence = dict(output.view["detection"].evidence)
            evidence.pop("source")
            value = repr((output.view["role"], output.view["version"], evidence)).encode()
        found.append((output.topic, value))
    return found


@pytest.mark.parametrize("learned", [False, True])
def test_verdicts_follow_from_the_events_alone(learned: bool) -> None:
    config = small_config(learn=600, alert_budget={"false_alarms": 5, "per": "day"})
    published = [] if learned else [Activation("loans", "*", 0, drifting_baseline())]
    bodies = events()
    said = {}
    for partitions in (1, 3, 8):
        for order in (1, 2):
            log = ended(arriving(bodies, partitions, seed=10 * partitions + order))
            played = play(config, log, published, Play(order, batches=(7, 40, 400)))
            assert not any(view["late"] or view["expired"] for view in played.views("aggregates"))
            said[partitions, order] = verdicts(played)
    first = said[1, 1]
    topics = [topic for topic, _ in first]
    assert topics.count("alerts") >= 2
    assert topics.count("detections") >= 3
    for way, found in said.items():
        assert found == first, way


def test_a_detector_in_each_partition_would_not_agree() -> None:
    """What the test above is worth: partitions judged by themselves, and it fails."""
    config = small_config(alert_budget={"false_alarms": 5, "per": "day"})
    published = [Activation("loans", "*", 0, drifting_baseline())]
    bodies = events()
    found = []
    for partitions in (1, 3):
        log = ended(arriving(bodies, partitions, seed=partitions))
        alerts = [
            view["startsAt"]
            for records in log.values()
            for view in play(config, {0: [record_at(one) for one in records]}, published).views("alerts")
        ]
        found.append(sorted(set(alerts)))
    assert found[0] != found[1]


def record_at(one: Record) -> Record:
    """The same record in the only partition of a log of its own."""
    return Record(one.topic, 0, one.offset, one.timestamp_ms, one.key, one.value, one.headers)
