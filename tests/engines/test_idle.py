"""Partitions without events: time goes on by ticks in the log, and another reader sees the same."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import orjson

from stream_monitor.events.tick import KIND_HEADER
from stream_monitor.processors.progress import Progress
from stream_monitor.windows.increments import Increments, decode_summary
from tests.engines.load import (
    SECOND,
    SETTINGS,
    START,
    Emitted,
    Load,
    assert_same,
    begin,
    send,
    undisturbed_of,
)
from tests.engines.workers import Setup, Watcher, WorkerProcess, read_topic, setup_of, wait_for


def test_windows_close_although_three_partitions_are_silent(
    broker: str, kafka_prefix: str, tmp_path: Path
) -> None:
    load = Load.make(6_000, 600, partitions=1, late=0.0)
    settings = SETTINGS | {"idle": {"after": "1s"}}
    with setup_of(broker, kafka_prefix, tmp_path, **settings) as setup, Watcher(setup) as watcher:
        aggregates = setup.topic("aggregates")
        begin(setup, {})
        with WorkerProcess(setup) as worker:
            send(setup, load.encoded())
            # The last window closes when the clock has passed it: 5 s of bound, then a pane.
            wait_for(
                lambda: len(closed(broker, aggregates)) >= 2 * 9, 40, "windows without a tick by hand", worker
            )
            wait_for(watcher.done, 30, "lag 0", worker)
            assert worker.stop() == 0, worker.log[-3000:]
        silent = [m for m in read_topic(broker, setup.topic("predictions")) if m.partition() != 0]
        assert {m.partition() for m in silent} == {1, 2, 3}
        assert all(dict(m.headers()).get(KIND_HEADER) == b"tick" for m in silent)
        mine, theirs = Emitted(setup), undisturbed_of(setup, {})
        rows, wanted = mine.rows("1m"), load.rows_per_window(60 * SECOND)
        assert len(rows) >= 2 * 9
        assert rows == {window: wanted[window] for window in rows}
        assert not mine.dead
        assert_same(mine, theirs)


def closed(broker: str, topic: str) -> set[tuple[str, str]]:
    """(model, start) of the shortest windows that were written."""
    views = [orjson.loads(message.value()) for message in read_topic(broker, topic)]
    return {(view["model"], view["start"]) for view in views if view["window"] == "1m"}


def test_a_restart_takes_time_from_the_commit_and_does_not_go_back(
    broker: str, kafka_prefix: str, tmp_path: Path
) -> None:
    """What is late was decided by the log alone, wherever a worker was stopped in it."""
    load = Load.make(8_000, 600, late=0.05)
    messages = load.encoded()
    settings = SETTINGS | {"idle": {"after": "never"}}
    # A static member takes its place back at once.
    kafka = {"properties": {"group.instance.id": "one"}}
    with (
        setup_of(broker, kafka_prefix, tmp_path, kafka=kafka, **settings) as setup,
        Watcher(setup) as watcher,
    ):
        newest: list[dict[int, int]] = []
        third = len(messages) // 3
        for i in range(3):
            send(setup, late_first(load, messages[i * third : (i + 1) * third if i < 2 else None]))
            with WorkerProcess(setup) as worker:
                wait_for(watcher.done, 40, "lag 0", worker)
                assert worker.stop() == 0, worker.log[-3000:]
            told = watcher.metadata("observe")
            known = {p: Progress.decode(text, f"[{p}]") for p, text in told.items()}
            assert {(one.past, one.started) for one in known.values()} == {(0, 4)}, told
            newest.append({p: one.newest for p, one in known.items()})
        for earlier, later in pairwise(newest):
            assert all(later[p] >= earlier[p] >= START for p in earlier)
        for partition, value in newest[-1].items():
            assert value == int(load.time[load.partition == partition].max()) // 1000 * 1000
        theirs = undisturbed_of(setup, Counter(partition for partition, _ in messages[:third]))
        mine = Emitted(setup)
        assert any(view["late"] for view in mine.newest("1m").values())
        assert_same(mine, theirs)
        assert marks(setup) == marks(setup.other("b"))


def late_first(load: Load, messages: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """A late row of each partition moved to the front: only what was committed can tell that it is late."""
    front: dict[int, tuple[int, bytes]] = {}
    for message in messages:
        if message[1][:1] == b"{" and load.late[int(orjson.loads(message[1])["id"][1:])]:
            front.setdefault(message[0], message)
    moved = list(front.values())
    return moved + [message for message in messages if message not in moved]


def marks(setup: Setup) -> Counter[tuple[str, int, int]]:
    """Rows by model, pane and the watermark that they came behind, as OBSERVE told them."""
    rows: Counter[tuple[str, int, int]] = Counter()
    for message in read_topic(setup.broker, setup.topic("summaries")):
        summary = decode_summary(message.value())
        if isinstance(summary, Increments):
            for pane, mark, count in zip(summary.pane, summary.mark, summary.rows, strict=True):
                rows[summary.model, int(pane), int(mark)] += int(count)
    return rows
