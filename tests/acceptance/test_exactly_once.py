"""Nothing lost, nothing twice: a worker that is killed again and again against one that is not.

200,000 events of two models lie in the log. One consumer group reads them with a worker that
is ended by SIGKILL three times, another one undisturbed. Both must have written the same
aggregates and alerts, byte for byte, each once, with the counts that were published.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import orjson

from tests.engines.load import (
    MODELS,
    SECOND,
    SETTINGS,
    Emitted,
    Load,
    assert_same,
    final_tick,
    publish_baseline,
    send,
    undisturbed_of,
)
from tests.engines.workers import Standing, Watcher, WorkerProcess, setup_of, wait_for

EVENTS = 200_000
CHECKPOINTS = ("30s", "2s", "30s", "2s")
"""The worker's checkpoint interval from start to start: after the long ones it must replay."""


def test_killed_three_times_and_undisturbed_are_equal(broker: str, kafka_prefix: str, tmp_path: Path) -> None:
    load = Load.make(EVENTS, seconds=3600)
    with setup_of(broker, kafka_prefix, tmp_path, **SETTINGS) as killed, Watcher(killed) as watcher:
        publish_baseline(killed)
        began = time.monotonic()
        messages = load.encoded()
        send(killed, messages)
        print(f"\npublished {len(load)} events in {len(messages)} messages: {time.monotonic() - began:.1f} s")
        whole = watcher.standing("observe").lag
        replays = 0
        for number, share in enumerate((0.05, 0.2, 0.45)):
            seen = {watcher.standing("judge").total}
            with WorkerProcess(killed.with_worker(checkpoint_interval=CHECKPOINTS[number])) as worker:

                def far(share: float = share, seen: set[int] = seen) -> bool:
                    # So far into the predictions, and JUDGE has committed twice in this process: its first
                    # commit may carry a checkpoint, and behind that one nothing would be replayed.
                    seen.add(watcher.standing("judge").total)
                    return watcher.standing("observe").total >= share * whole and len(seen) > 2

                wait_for(far, 60, f"observe at {share:.0%}", worker, every=0.005)
                worker.kill()
                observe, judge = watcher.standing("observe"), watcher.standing("judge")
                print(f"SIGKILL {number + 1}: observe {told(observe)}; judge {told(judge)}")
                assert observe.lag + judge.lag > 0
                replays += worker.log.count("replaying to")
        assert watcher.standing("observe").total < whole + 1000
        with WorkerProcess(killed.with_worker(checkpoint_interval=CHECKPOINTS[3])) as worker:
            wait_for(watcher.done, 90, "lag 0", worker)
            final_tick(killed)
            wait_for(watcher.done, 60, "the flush", worker)
            assert worker.stop() == 0, worker.log[-3000:]
            replays += worker.log.count("replaying to")
        assert replays > 0, "no start had to replay: the kills came at the wrong moments"
        mine = Emitted(killed)

        began = time.monotonic()
        theirs = undisturbed_of(killed, Counter(partition for partition, _ in messages))
        print(f"the undisturbed group took {time.monotonic() - began:.1f} s")

    assert mine.rows("1m") == load.rows_per_window(60 * SECOND)
    assert mine.rows("5m") == load.rows_per_window(300 * SECOND)
    for model, expired in load.expired_rows().items():
        newest = mine.newest("1m")
        assert max(view["expired"] for (name, _), view in newest.items() if name == model) == expired
    assert any(view["revision"] for view in mine.newest("1m").values()), "no late row revised a window"
    told_of = {(model, orjson.loads(value)["status"]) for model, _, value in mine.alerts}
    assert {(MODELS[0], "firing"), (MODELS[0], "resolved")} <= told_of, "the shift in the middle was not told"
    assert not mine.dead
    assert_same(mine, theirs)
    print(
        f"equal: {len(mine.aggregates)} aggregates, {len(mine.alerts)} alerts, "
        f"{sum(mine.rows('1m').values())} rows counted, {sum(load.expired_rows().values())} expired"
    )


def told(at: Standing) -> str:
    positions = " ".join(f"{p}:{offset}" for p, offset in sorted(at.committed.items()))
    return f"committed {positions}, lag {at.lag}"
