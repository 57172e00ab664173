"""The power goes at every step of a commit: what the next start makes of it is what was published."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.engines.load import (
    SECOND,
    SETTINGS,
    Emitted,
    Load,
    assert_same,
    begin,
    final_tick,
    publish_baseline,
    send,
    undisturbed_of,
)
from tests.engines.workers import Watcher, WorkerProcess, setup_of, wait_for

POINTS = (
    # (where, how often it is passed before the end); both stages pass them.
    ("begun", 2),
    ("produced", 3),
    ("offsets-sent", 3),
    ("committed", 4),
    ("restored", 3),
    ("offsets-sent", 6),
)


def test_the_power_goes_at_every_step(broker: str, kafka_prefix: str, tmp_path: Path) -> None:
    load = Load.make(24_000, 1200)
    messages = load.encoded()
    share = -(-len(messages) // (len(POINTS) + 1))
    # A static member takes its place back at once; any other is waited for until its session ends.
    kafka = {"properties": {"group.instance.id": "one"}}
    settings = SETTINGS | {"worker": {"checkpoint_interval": "3s", "commit_interval": "50ms"}}
    with setup_of(broker, kafka_prefix, tmp_path, kafka=kafka, **settings) as setup:
        publish_baseline(setup)
        past = Counter(partition for partition, _ in messages[:share])
        begin(setup, past)
        for i, (point, times) in enumerate(POINTS):
            send(setup, messages[i * share : (i + 1) * share])
            with WorkerProcess(setup, failpoint=f"{point}:{times}") as worker:
                worker.wait_killed()
        send(setup, messages[len(POINTS) * share :])
        with WorkerProcess(setup) as worker, Watcher(setup) as watcher:
            final_tick(setup)
            wait_for(watcher.done, 60, "lag 0", worker)
            assert worker.stop() == 0, worker.log[-3000:]
        mine, theirs = Emitted(setup), undisturbed_of(setup, past)
        assert mine.rows("1m") == load.rows_per_window(60 * SECOND)
        assert mine.alerts
        assert_same(mine, theirs)
