"""The clock of this machine against the brokers'.

No answer of Kafka carries its time, so it is read off the append times of `predictions`: the
newest one is asked for some times in a row. A record that comes meanwhile (events, or a worker's
ticks) was appended between two questions, which places the broker's clock to a fraction of a
second. Without one, only an append time in this machine's future tells anything.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec, TopicDescription

from stream_monitor.config import KafkaConfig
from stream_monitor.engines.doctor.finding import Finding

WATCH_S = 2.0
"""Ticks come once a second at least while partitions are idle."""
TOLERATED_S = 2.0
_EVERY_S = 0.1
_TIMEOUT_S = 5.0


def examine_clock(
    admin: AdminClient, kafka: KafkaConfig, present: Mapping[str, TopicDescription]
) -> Iterator[Finding]:
    """Within `TOLERATED_S` of the brokers', or by how much not."""
    if "predictions" not in present:
        return
    name = kafka.topic("predictions")
    newest_of_all: OffsetSpec = OffsetSpec.max_timestamp()  # type: ignore[no-untyped-call] # the client has no type there
    wanted = {TopicPartition(name, one.id): newest_of_all for one in present["predictions"].partitions}

    def newest() -> float:
        found = admin.list_offsets(wanted, request_timeout=_TIMEOUT_S)
        return max(float(future.result(_TIMEOUT_S + 1.0).timestamp) for future in found.values()) / 1000

    first = newest()
    last = time.time()  # what follows is about this machine's clock itself
    if first <= 0:
        yield Finding("ok", "clock", f"not compared: {name} is empty")
        return
    ahead = first - last
    until = time.monotonic() + WATCH_S
    while time.monotonic() < until:
        time.sleep(_EVERY_S)
        before, last = last, time.time()
        if (at := newest()) > first:
            # Appended between the last two questions.
            ahead = at - (before + time.time()) / 2
            yield _judged(ahead, f"by a record that {name} got just now")
            return
    if ahead > 0:
        yield _judged(ahead, f"by the newest record of {name}, at least")
    else:
        yield Finding(
            "ok", "clock", f"not behind the brokers'; whether ahead could not be told: nothing came to {name}"
        )


def _judged(ahead: float, how: str) -> Finding:
    if abs(ahead) <= TOLERATED_S:
        return Finding("ok", "clock", f"within {TOLERATED_S:g} s of the brokers' ({how})")
    said = f"{abs(ahead):.1f} s {'behind' if ahead > 0 else 'ahead of'} the brokers' clock ({how})"
    return Finding("warn", "clock", said, "set the clocks by NTP, here and on the brokers")
