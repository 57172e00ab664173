"""Every event is counted once, where it belongs, or it is said why it was not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import starmap
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stream_monitor.baselines.directory import BaselineDirectory
from stream_monitor.baselines.records import Activation
from stream_monitor.events.prediction import decode_events
from stream_monitor.processors.judge import JudgePartition
from stream_monitor.processors.observe import ObservePartition
from stream_monitor.records import Output, Record
from stream_monitor.windows.increments import WatermarkRecord, decode_summary
from tests.processors.harness import SECOND, START, Log, Play, Played, ended, play, record, tick
from tests.processors.logs import PANES, baseline_of, drifting_log, small_config, small_logs, small_published
from tests.processors.test_same_however_read import ENOUGH

BOUND, LATENESS = 5 * SECOND, 60 * SECOND
PANE = {name: int(text.removesuffix("s")) * SECOND for name, text in PANES.items()}


def fate(log: Log) -> dict[tuple[str, str], dict[str, int]]:
    """What ought to happen to each event, worked out one event at a time."""
    fates: dict[tuple[str, str], dict[str, int]] = defaultdict(lambda: {"kept": 0, "late": 0, "expired": 0})
    for records in log.values():
        newest = None
        for one in records:
            for batch in decode_events([one]).batches:
                pane = PANE.get(batch.model, 10 * SECOND)
                for time in batch.time.tolist():
                    end = time // pane * pane + pane
                    kind = "kept"
                    if newest is not None:
                        watermark = (newest - BOUND) // (10 * SECOND) * 10 * SECOND
                        if end <= watermark:
                            kind = "expired" if end + LATENESS <= watermark else "late"
                    fates[batch.model, batch.version][kind] += 1
                    newest = time if newest is None else max(newest, time)
    return fates


def newest_revisions(played: Played, window: str) -> dict[tuple[str, str], dict[str, Any]]:
    """The last word on each window, by (model, version) and start."""
    found: dict[tuple[str, str], dict[str, Any]] = defaultdict(dict)
    for view in played.views("aggregates"):
        if view["window"] == window:
            found[view["model"], view["version"]][view["start"]] = view
    return found


@ENOUGH
@given(log=small_logs(), baselines=st.integers(0, 3), seed=st.integers(0, 2**16))
def test_rows_of_windows_add_up(log: dict[int, list[Record]], baselines: int, seed: int) -> None:
    played = play(small_config(), ended(log), small_published(baselines), Play(seed))
    expected = fate(log)
    for window in ("30s", "2m"):
        newest = newest_revisions(played, window)
        for who, fates in expected.items():
            views = newest[who].values()
            assert sum(v["rows"] for v in views) == fates["kept"] + fates["late"]
            assert sum(v["late"] for v in views) == fates["late"]
    for unit in played.judge.units():
        assert unit.expired == expected[unit.model, unit.version]["expired"]
        assert not unit.arrivals.panes
        assert not unit.arrivals.late


@ENOUGH
@given(log=small_logs(), seed=st.integers(0, 2**16))
def test_revisions_follow_each_other(log: dict[int, list[Record]], seed: int) -> None:
    played = play(small_config(), ended(log), (), Play(seed))
    seen: dict[tuple[str, str, str, str], dict[str, Any]] = {}
    ids = set()
    for view in played.views("aggregates"):
        key = view["model"], view["version"], view["window"], view["start"]
        before = seen.get(key)
        if before is not None:
            assert view["revision"] == before["revision"] + 1
            assert view["rows"] > before["rows"]
        seen[key] = view
        ids.add(view["id"])
    assert len(ids) == len(played.views("aggregates"))


def at(second: float, offset: int = 0, *, partition: int = 0, version: str = "1", **features: Any) -> Record:
    """An event of `loans` at a second after the start."""
    body = {
        "id": str(offset),
        "model": "loans",
        "model_version": version,
        "timestamp": START // 1000 + second * 1000,
        "features": features,
    }
    return record(partition, offset, body)


def log_of(*events: tuple[float, dict[str, Any]], partition: int = 0) -> list[Record]:
    return [at(second, i, partition=partition, **more) for i, (second, more) in enumerate(events)]


def test_late_rows_revise_their_window() -> None:
    events = [(1, {"x": 1.0}), (2, {"x": 2.0}), (65, {"x": 1.0}), (3, {"x": 5.0}), (4, {}), (110, {})]
    played = play(small_config(), ended({0: log_of(*events)}))
    first = [v for v in played.views("aggregates") if v["window"] == "30s" and v["start"].endswith("00:00Z")]
    assert [(v["revision"], v["rows"], v["late"]) for v in first] == [(0, 2, 0), (1, 4, 2)]
    assert first[1]["features"]["x"]["missing"] == 1
    assert first[1]["source"] == {"0": [0, 4]}


def test_late_rows_due_when_their_window_ends_are_in_it() -> None:
    """A pane can be late while its window is open: no second block, no revision."""
    events: list[tuple[float, dict[str, Any]]] = [(1, {}), (26, {}), (2, {}), (41, {}), (100, {})]
    played = play(small_config(), ended({0: log_of(*events)}))
    first = [v for v in played.views("aggregates") if v["window"] == "30s" and v["start"].endswith("00:00Z")]
    assert [(v["revision"], v["rows"], v["late"]) for v in first] == [(0, 3, 1)]


def test_rows_beyond_the_horizon_are_counted_and_nothing_else() -> None:
    events = [(1, {"x": 1.0}), (200, {"x": 1.0}), (2, {"x": 9.0, "new": 1.0}), (230, {"x": 1.0})]
    played = play(small_config(), ended({0: log_of(*events)}))
    views = played.views("aggregates")
    assert [v["expired"] for v in views if v["window"] == "30s"] == [0, 1, 1]
    assert sum(v["rows"] for v in views if v["window"] == "30s") == 3
    assert all("new" not in v["features"] for v in views)
    assert all(b"new" not in message for message in played.messages), "their columns are not sent"


def _messages(observe: ObservePartition) -> list[bytes]:
    return [o.value for o in observe.flush() if o.topic == "summaries" and o.value is not None]


def test_repeated_ranges_are_dropped() -> None:
    config, directory = small_config(), BaselineDirectory()
    observe = ObservePartition(config, directory, partition=0, partitions=1, judges=1)
    records = drifting_log(3, partitions=1, minutes=2)[0]
    messages: list[bytes] = []
    for start in range(0, len(records), 50):
        observe.process(records[start : start + 50])
        messages += _messages(observe)
    observe.process([tick(0, len(records), START + 3600 * SECOND)])
    messages += _messages(observe)
    outputs = []
    for pattern in (messages, [m for m in messages for _ in range(2)], messages[:8] + messages):
        judge = JudgePartition(config, BaselineDirectory())
        for message in pattern:
            judge.take(decode_summary(message))
        outputs.append([o.value for o in judge.flush() if o.topic == "aggregates"])
        assert len(outputs[-1]) > 4
    assert outputs[0] == outputs[1] == outputs[2]


def _judged(config: Any, messages: Sequence[bytes]) -> tuple[JudgePartition, list[Output]]:
    judge = JudgePartition(config, BaselineDirectory())
    for message in messages:
        judge.take(decode_summary(message))
    return judge, judge.flush()


def _observed(config: Any, log: Mapping[int, Sequence[Record]], partitions: int) -> dict[int, list[bytes]]:
    found = {}
    for partition, records in log.items():
        observe = ObservePartition(
            config, BaselineDirectory(), partition=partition, partitions=partitions, judges=1
        )
        observe.process(records)
        found[partition] = _messages(observe)
    return found


def test_a_partition_that_is_added_is_counted() -> None:
    """Its rows are late by the time that JUDGE has reached; time does not go back for it."""
    config = small_config()
    old = _observed(config, {0: log_of(*[(s, {"x": 1.0}) for s in range(0, 150, 5)])}, 1)[0]
    added = [(40, {"x": 2.0}), (100, {"x": 2.0}), (130, {"x": 2.0}), (85, {"x": 2.0}), (150, {"x": 2.0})]
    new = _observed(config, {1: [*log_of(*added, partition=1), tick(1, 9, START + 900 * SECOND)]}, 2)[1]
    end = WatermarkRecord(0, 2, 99, START + 900 * SECOND).encode()
    judge, outputs = _judged(config, [*old, *new, end])
    views = [o.view for o in outputs if o.topic == "aggregates" and o.view["window"] == "30s"]
    newest = {v["start"]: v for v in views}
    # 145 s less 5 s: JUDGE stood at 140 s, so the pane of 40 s is beyond the horizon of a minute.
    assert judge.units()[0].expired == 1
    assert sum(v["rows"] for v in newest.values()) == 30 + 4
    assert {start[-6:-1]: v["revision"] for start, v in newest.items()} == {
        "00:00": 0,
        "00:30": 0,
        "01:00": 1,
        "01:30": 1,
        "02:00": 0,
        "02:30": 0,
    }


def test_a_version_without_baseline_inherits_and_says_so() -> None:
    published = [Activation("loans", "1", 0, baseline_of([{"x": float(i % 9)} for i in range(200)]))]
    first = [at(s, s, version="1", x=float(s % 9)) for s in range(100)]
    second = [at(s, s, version="2", x=float(s % 9)) for s in range(100, 200)]
    played = play(small_config(learn=500), ended({0: [*first, *second]}), published)
    made = [o.view for o in played.outputs if o.topic == "baselines"]
    assert [(a.version, a.origin, a.inherited_from, a.first_pane) for a in made] == [
        ("2", "inherited", "1", START + 100 * SECOND)
    ]
    assert made[0].baseline == published[0].baseline
    origins = {(v["version"], v["baseline_origin"]) for v in played.views("aggregates")}
    assert origins == {("1", "published"), ("2", "inherited from 1")}


def test_a_new_feature_is_learned_and_extends_the_baseline() -> None:
    published = [Activation("loans", "*", 0, baseline_of([{"x": float(i % 9)} for i in range(200)]))]
    events = [(s, {"x": float(s % 9)} | ({"new": s % 3} if 100 <= s < 150 else {})) for s in range(200)]
    played = play(small_config(learn=40), ended({0: log_of(*events)}), published)
    made = [o.view for o in played.outputs if o.topic == "baselines"]
    assert [(a.origin, a.first_pane, [p.name for p in a.baseline.features]) for a in made] == [
        ("learned", START + 140 * SECOND, ["new", "x"])
    ]
    assert made[0].baseline.features[1] == published[0].baseline.features[0]
    views = [v for v in played.views("aggregates") if v["window"] == "30s" and "new" in v["features"]]
    shown = {v["start"][-6:-1]: v["features"]["new"] for v in views}
    assert {start: (f["kind"], f["missing"]) for start, f in shown.items()} == {
        "01:30": (None, 10),
        "02:00": ("number", 0),
        "02:30": ("number", 30),
        "03:00": ("number", 20),
    }


def test_rows_that_lack_what_is_learned_are_missing_in_it() -> None:
    """Whatever they were read with: `fraction` has a value in every fourth row only."""
    events = [(s / 2, {"x": 1.0} | ({"fraction": s % 3} if s % 4 == 0 else {})) for s in range(400)]
    for batches in ((1,), (400,)):
        played = play(small_config(learn=300), ended({0: log_of(*events)}), (), Play(4, batches=batches))
        made = next(o.view for o in played.outputs if o.topic == "baselines")
        counts = {p.name: (int(p.counts[0]), p.rows) for p in made.baseline.features}
        assert counts == {"fraction": (225, 300), "x": (0, 300)}


def test_a_rare_feature_is_learned_from_the_rows_that_have_it() -> None:
    """Rows without it are counted, not kept."""
    published = [Activation("loans", "*", 0, baseline_of([{"x": float(i % 9)} for i in range(200)]))]
    events = [(s / 2, {"x": float(s % 9)} | ({"rare": s % 3} if s % 10 == 7 else {})) for s in range(600)]
    played = play(small_config(learn=20), ended({0: log_of(*events)}), published)
    made = [o.view for o in played.outputs if o.topic == "baselines"]
    rare = made[0].baseline.features[0]
    assert rare.name == "rare"
    # The 20th row with it is row 197, in the pane that ends with row 199.
    assert (int(rare.counts[0]), rare.rows) == (180, 200)


def test_limits_refuse_and_count() -> None:
    config = small_config(limits={"max_versions": 2, "max_models": 2})
    records = [
        record(
            0,
            i,
            {
                "id": "1",
                "model": model,
                "model_version": version,
                "timestamp": START // 1000 + i * 1000,
                "features": {"x": 1.0},
            },
        )
        for i, (model, version) in enumerate([("a", "1"), ("a", "2"), ("a", "3"), ("b", "1"), ("c", "1")])
    ]
    played = play(config, ended({0: records}))
    judged = {(v["model"], v["version"]) for v in played.views("aggregates")}
    assert judged == {("a", "1"), ("a", "2"), ("b", "1")}
    assert played.judge.refused == {"max_versions": 1, "max_models": 1}


def test_two_models_with_panes_of_different_lengths() -> None:
    """`loans` has panes of 10 s, `fraud` of 30 s; each is judged on its own grid."""
    events = [
        {
            "id": str(i),
            "model": model,
            "model_version": "1",
            "timestamp": START // 1000 + i * 500,
            "features": {"x": float(i % 7)},
        }
        for i in range(400)
        for model in ("loans", "fraud")
    ]
    records = list(starmap(lambda i, e: record(0, i, e), enumerate(events)))
    baseline = baseline_of([{"x": float(i % 7)} for i in range(700)])
    published = [Activation(model, "*", 0, baseline) for model in ("loans", "fraud")]
    whole = play(small_config(), ended({0: records}), published)
    alone = {
        model: play(
            small_config(),
            ended({0: [r for r in records if f'"{model}"'.encode() in (r.value or b"")]}),
            published,
        )
        for model in ("loans", "fraud")
    }
    assert {u.model: u.settings.pane for u in whole.judge.units()} == {
        "loans": 10 * SECOND,
        "fraud": 30 * SECOND,
    }
    for model, one in alone.items():
        together = [v["rows"] for v in whole.views("aggregates", model)]
        assert together == [v["rows"] for v in one.views("aggregates", model)]
        assert sum(together) == 2 * 400  # two window lengths


def test_nameless_features_do_not_grow_without_end() -> None:
    """A sender that puts ids into names: presence keeps the first names only, in any order."""
    events = [(s / 10, {f"id{(s * 7919) % 5000:04}": 1.0}) for s in range(5000)]
    config = small_config(learn=10**6)
    played = play(config, ended({0: log_of(*events)}))
    views = [v for v in played.views("aggregates") if v["window"] == "2m"]
    for view in views:
        assert len(view["features"]) <= 2048
        assert view["rows"] <= 1200
    other = play(config, ended({0: log_of(*events)}), (), Play(2, batches=(50,)))
    assert [v["features"] for v in views] == [
        v["features"] for v in other.views("aggregates") if v["window"] == "2m"
    ]


def test_a_version_that_fell_silent_makes_room() -> None:
    """The limit bounds versions that are alive; the oldest silent one goes, its state with it."""
    day = 86_400
    config = small_config(limits={"max_versions": 2})
    times = {"1": 0, "2": 3600, "3": day + 1800, "4": day + 1900, "5": day + 7200}
    records = []
    for i, (version, t) in enumerate(times.items()):
        # Other traffic, so to say: time has come that far when a version begins.
        records += [tick(0, 2 * i, START + (t - 20) * SECOND), at(t, 2 * i + 1, version=version, x=1.0)]
    log = {0: [*records, tick(0, 99, START + 2 * day * SECOND)]}
    for restart in (0.0, 0.5):
        played = play(config, log, (), Play(1, batches=(1,), restart=restart))
        judged = [v["version"] for v in played.views("aggregates") if v["window"] == "30s"]
        assert judged == ["1", "2", "3", "5"]
        assert played.judge.refused == ({"max_versions": 1} if not restart else played.judge.refused)
        assert set(played.state) == {"clock", "loans\x1e3", "loans\x1e5"}
