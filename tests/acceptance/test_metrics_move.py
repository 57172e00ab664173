"""Models move between two workers while a real Prometheus scrapes both: what does its user see?

    worker one   ████████████████████████▌ SIGTERM
    worker two            ▐ joins ███████████████████
                   some models move    the rest move

Per model and window: one owner at a time, a gap no longer than the rebalance itself, the same
values in front of it and behind it, and nothing left at the old owner.
"""

from __future__ import annotations

import re
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
from confluent_kafka import Producer

from tests.engines.load import producer_of, send
from tests.engines.workers import Setup, WorkerProcess, setup_of, wait_for
from tests.serve.prometheus_process import PrometheusProcess, free_port

MODELS = tuple(f"model-{number}" for number in range(8))
PARTITIONS = 4
ROWS = 800  # a model, before the first move
HISTORY_S = 1300
SCRAPE_S = 0.5
STAY_S = 3.0  # how long each owner is left alone
END = "stream_monitor_window_end_timestamp_seconds"
SCORE = "stream_monitor_drift_score"
LONG = "10m"
SETTINGS: dict[str, Any] = {
    "defaults": {
        "pane": "5s",
        "windows": ["5s", LONG],
        "out_of_orderness": "1s",
        "allowed_lateness": "1m",
        "learn": {"events": 300},
    },
    "kafka": {"start": "earliest"},
    "worker": {"series_limit": 5000},
}


class Traffic:
    """Events of all models: some history at once, then at the pace of the clock."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._producer: Producer = producer_of(setup)
        self._random = np.random.default_rng(4)
        self._sent = 0

    def history(self) -> None:
        """`HISTORY_S` seconds that end now."""
        now = time.time()
        times = np.sort(self._random.uniform(now - HISTORY_S, now, ROWS))
        self._send([(model, float(at)) for at in times for model in MODELS])

    @contextmanager
    def flowing(self) -> Iterator[None]:
        """Ten events a second of each model, until the block ends."""
        stop = threading.Event()
        problems: list[BaseException] = []

        def run() -> None:
            try:
                while not stop.wait(0.1):
                    self._send([(model, time.time()) for model in MODELS])
            except BaseException as error:  # noqa: BLE001 - told by the test's own thread
                problems.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
        assert not problems, problems

    def _send(self, rows: list[tuple[str, float]]) -> None:
        values = self._random.normal(size=(len(rows), 2)).tolist()
        messages = []
        for (model, at), (x, y) in zip(rows, values, strict=True):
            event = {
                "id": f"e{self._sent}", "model": model, "model_version": "1", "timestamp": int(at * 1000),
                "features": {"x": x, "colour": ("red", "blue")[x > 0]}, "prediction": y,
            }  # fmt: skip
            messages.append((self._sent % PARTITIONS, orjson.dumps(event)))
            self._sent += 1
        send(self._setup, messages, self._producer)


def has_models(worker: WorkerProcess) -> set[str]:
    """Models with a long window at this worker's endpoint."""
    body = worker.get("/metrics")[1]
    return {
        found[1] for found in re.finditer(rf'^{END}{{model="([^"]*)".*window="{LONG}"', body, re.MULTILINE)
    }


Series = tuple[tuple[str, str], ...]


class Tenure(NamedTuple):
    """One owner's stretch of samples of one series: (time, value) pairs."""

    instance: str
    samples: list[tuple[float, float]]

    @property
    def first(self) -> float:
        return self.samples[0][0]

    @property
    def last(self) -> float:
        return self.samples[-1][0]


def tenures(prometheus: PrometheusProcess, selector: str) -> dict[Series, list[Tenure]]:
    """Every scraped sample by series without its instance, owners in the order of their first sample.

    A range selector gives samples as they were scraped, without staleness markers.
    """
    found: dict[Series, list[Tenure]] = defaultdict(list)
    for series in prometheus.get("query", query=f"{selector}[10m]")["result"]:
        labels = {k: v for k, v in series["metric"].items() if k not in ("instance", "job")}
        samples = [(float(at), float(value)) for at, value in series["values"]]
        found[tuple(sorted(labels.items()))].append(Tenure(series["metric"]["instance"], samples))
    return {key: sorted(owners, key=lambda owner: owner.first) for key, owners in found.items()}


def logged(worker: WorkerProcess, pattern: str) -> list[float]:
    """Times (seconds since the epoch) of the lines of a worker's log that match."""
    return [
        datetime.strptime(line[:23], "%Y-%m-%d %H:%M:%S,%f").timestamp()  # noqa: DTZ007 - local, as logged
        for line in worker.log.splitlines()
        if re.search(pattern, line)
    ]


def test_models_that_move_have_no_gap_no_double_and_no_stale_series(
    broker: str, kafka_prefix: str, tmp_path: Path
) -> None:
    ports = [free_port(), free_port()]
    targets = [f"127.0.0.1:{port}" for port in ports]
    with setup_of(broker, kafka_prefix, tmp_path, **SETTINGS) as setup:
        traffic = Traffic(setup)
        traffic.history()
        with (
            PrometheusProcess(tmp_path, targets, interval=f"{int(SCRAPE_S * 1000)}ms") as prometheus,
            traffic.flowing(),
            WorkerProcess(setup.with_worker(replica="one", port=ports[0])) as one,
        ):
            wait_for(lambda: has_models(one) == set(MODELS), 40, "all models at the first", one)
            assert "\nstream_monitor_series_limit 5000.0\n" in one.get("/metrics")[1]
            prometheus.wait_for(f'count({END}{{window="{LONG}"}}) == {len(MODELS)}')
            time.sleep(STAY_S)
            with WorkerProcess(setup.with_worker(replica="two", port=ports[1])) as two:
                wait_for(lambda: bool(has_models(two)), 40, "models at the second", two)
                joined = has_models(two)
                assert not joined & has_models(one)
                time.sleep(STAY_S)
                leaves = time.time()
                assert one.stop() == 0, one.log[-3000:]
                wait_for(lambda: has_models(two) == set(MODELS), 40, "all models at the second", two)
                time.sleep(STAY_S)
                end = time.time()
                began = end - 120.0
                every = tenures(prometheus, '{model!=""}')
                counted = prometheus.get(
                    "query_range",
                    query=f"count by (model, version, window) ({END})",
                    start=str(began), end=str(end), step="0.1",
                )["result"]  # fmt: skip
                left = prometheus.query(f'{{instance="{targets[0]}",model!=""}}')
                bridged = prometheus.get(
                    "query_range",
                    query=f"max by (model, version, window) (last_over_time({END}[15s]))",
                    start=str(began), end=str(end), step="0.1",
                )["result"]  # fmt: skip
                revoked = logged(one, r"judge: revoked")
                restored = logged(two, r"judge: .*summaries\[\d\] from offset")
                assert two.stop() == 0, two.log[-3000:]
    assert 0 < len(joined) < len(MODELS), joined
    # ── one owner at a time: the old one's last sample lies before the new one's first ──────────
    for key, owners in every.items():
        assert len({owner.instance for owner in owners}) == len(owners) <= 2, key
        assert all(old.last < new.first for old, new in pairwise(owners)), key
    moves, scores = ({k: o for k, o in every.items() if ("__name__", name) in k} for name in (END, SCORE))
    assert len(moves) == 2 * len(MODELS)
    gaps: dict[str, list[float]] = {"joins": [], "leaves": []}
    for key, (old, new) in moves.items():
        assert (old.instance, new.instance) == (targets[0], targets[1]), key
        gaps["leaves" if new.first >= leaves else "joins"].append(new.first - old.last)
    rebalance = {
        "joins": max(at for at in restored if at < leaves) - min(at for at in revoked if at < leaves),
        "leaves": max(restored) - leaves,
    }
    said = {"joins": "the second worker joins", "leaves": "the first worker leaves"}
    print(f"\n{len(every)} series with a model, {sum(len(o) == 2 for o in every.values())} of them moved")
    for move, seen in gaps.items():
        assert seen
        scrapes = max(seen) / SCRAPE_S
        print(
            f"\n{said[move]}: {len(seen)} windows moved, gap "
            f"{min(seen):.2f} to {max(seen):.2f} s ({scrapes:.1f} scrapes of {SCRAPE_S} s), of which the "
            f"rebalance took {rebalance[move]:.2f} s"
        )
        # What the hand-over took, on each side a scrape that came just too early, and two that failed.
        assert max(seen) <= rebalance[move] + 4 * SCRAPE_S
    # ── what an instant query sees, staleness markers and all ───────────────────────────────────
    doubled = 0.0
    for series in counted:
        twice = [float(at) for at, value in series["values"] if float(value) > 1]
        doubled = max(doubled, len(twice) * 0.1)
    print(f"two owners in an instant query: at most {doubled:.1f} s")
    # Until the old owner's next scrape marks the end of its series, should the hand-over be that quick.
    assert doubled <= SCRAPE_S
    assert left == []
    # ── the same values at once, and a bridge across the gap ────────────────────────────────────
    same = 0
    assert scores
    for key, (old, new) in scores.items():
        of = dict(key)
        if of["window"] != LONG:
            continue  # a new one closes every 5 s
        window = {name: of[name] for name in ("model", "version", "window")} | {"__name__": END}
        ends = moves[tuple(sorted(window.items()))]
        if ends[0].samples[-1][1] == ends[1].samples[0][1]:
            assert new.samples[0][1] == old.samples[-1][1], key
            same += 1
    assert same
    print(f"{same} scores of the {LONG} window: the same in front of the move and at once behind it")
    for series in bridged:
        times = [float(at) for at, _ in series["values"]]
        assert max(b - a for a, b in pairwise(times)) < 0.15, series["metric"]
