"""Workers that join, leave, and sleep through their session while events flow."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.engines.load import (
    SECOND,
    SETTINGS,
    Emitted,
    Load,
    assert_same,
    final_tick,
    producer_of,
    publish_baseline,
    send,
    undisturbed_of,
)
from tests.engines.workers import Setup, Watcher, WorkerProcess, setup_of, wait_for

EVENTS, SECONDS, PARTITIONS = 40_000, 1800, 4


@contextmanager
def flowing(setup: Setup, messages: list[tuple[int, bytes]], seconds: float) -> Iterator[None]:
    """Publish in a thread of its own, evenly over that time; all is published when the block ends."""
    problems: list[BaseException] = []

    def run() -> None:
        try:
            slices = max(1, int(seconds * 10))
            size = -(-len(messages) // slices)
            producer = producer_of(setup)
            began = time.monotonic()
            for i in range(slices):
                send(setup, messages[i * size : (i + 1) * size], producer)
                time.sleep(max(0.0, began + (i + 1) / 10 - time.monotonic()))
        except BaseException as error:  # noqa: BLE001 - told by the test's own thread
            problems.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    assert not problems, problems


def partitions_of(worker: WorkerProcess, stage: str) -> int:
    """How many partitions of a stage's input the worker shows a lag for."""
    try:
        body = worker.get("/metrics")[1]
    except OSError:  # it ended meanwhile
        return -1
    return sum(
        line.startswith("stream_monitor_lag_messages{") and f'stage="{stage}"' in line
        for line in body.splitlines()
    )


def owns_all(worker: WorkerProcess) -> bool:
    return all(partitions_of(worker, stage) == PARTITIONS for stage in ("observe", "judge"))


def test_workers_that_join_leave_and_sleep_through_their_session(
    broker: str, kafka_prefix: str, tmp_path: Path
) -> None:
    """What a worker had in hand when its partitions were given away must not be committed."""
    load = Load.make(EVENTS, SECONDS)
    with setup_of(broker, kafka_prefix, tmp_path, **SETTINGS) as setup, Watcher(setup) as watcher:
        publish_baseline(setup)
        with WorkerProcess(setup) as one:
            one.wait_ready()
            with flowing(setup, load.encoded(), 20.0):
                with WorkerProcess(setup.with_worker(replica="two")) as two:
                    two.wait_ready()
                    wait_for(lambda: partitions_of(two, "judge") > 0, 30, "work for the second", two)
                    wait_for(lambda: partitions_of(two, "observe") > 0, 30, "work for the second", two)
                    assert partitions_of(one, "observe") < PARTITIONS
                    assert partitions_of(one, "judge") < PARTITIONS
                    assert two.stop() == 0, two.log[-3000:]
                wait_for(lambda: partitions_of(one, "judge") == PARTITIONS, 30, "all back", one)
                assert "lost" not in one.log + two.log
                with WorkerProcess(setup.with_worker(replica="three")) as three:
                    three.wait_ready()
                    wait_for(lambda: partitions_of(three, "judge") > 0, 30, "work for the third", three)
                    one.signal(signal.SIGSTOP)
                    wait_for(lambda: partitions_of(three, "observe") == PARTITIONS, 30, "all", three)
                    wait_for(lambda: partitions_of(three, "judge") == PARTITIONS, 30, "all", three)
                    one.signal(signal.SIGCONT)
                    wait_for(lambda: one.log.count("lost") == 2, 30, "both stages know")
                    assert three.stop() == 0, three.log[-3000:]
                wait_for(lambda: not one.alive or owns_all(one), 30, "all back again")
            if not one.alive:
                # It was stopped inside a transaction, which the broker ended: only a new start helps.
                assert one.process.returncode == 1
                assert "stood still inside a transaction" in one.log
            with one if one.alive else WorkerProcess(setup) as last:
                final_tick(setup)
                wait_for(watcher.done, 60, "lag 0", last)
                assert last.stop() == 0, last.log[-3000:]
        mine, theirs = Emitted(setup), undisturbed_of(setup, {})
        assert mine.rows("1m") == load.rows_per_window(60 * SECOND)
        assert mine.alerts
        assert_same(mine, theirs)
