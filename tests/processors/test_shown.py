"""A unit restored from its state shows what its last owner showed: the same views, the same series."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stream_monitor import codec
from stream_monitor.baselines.directory import BaselineDirectory
from stream_monitor.baselines.records import Activation
from stream_monitor.config import config_from
from stream_monitor.events.columns import is_prediction
from stream_monitor.processors.judge import JudgePartition
from stream_monitor.processors.readiness import Readiness
from stream_monitor.records import Output
from stream_monitor.serve.metrics import Metrics
from tests.processors.harness import Play, Played, play
from tests.processors.logs import drifting_baseline, drifting_log, small_config
from tests.serve.exposition import Scrape, scrape

CONFIG = small_config(learn=300, alert_budget={"false_alarms": 5, "per": "day"})
LOG = drifting_log(6, minutes=12, rate=4.0, drift=(5, 12), size=2.0, versions=("1", "1", "2"))
UNLIKE = {"stream_monitor_alerts_total", "stream_monitor_detections_total"}
"""Counters of what this very process has seen."""


def told(played: Played) -> list[dict[str, Any]]:
    """Of each window's newest block the aggregates as tested, and as last revised."""
    newest: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for view in played.views("aggregates"):
        key = view["model"], view["version"], view["window"]
        before = newest.setdefault(key, [])
        if not before or before[0]["start"] < view["start"]:
            newest[key] = [view]
        elif before[0]["start"] == view["start"]:
            before[:] = [v for v in before if v["revision"] in (before[0]["revision"], view["revision"])]
            before.append(view)
            if len(before) > 2:
                del before[1:-1]
    return [view for _, views in sorted(newest.items()) for view in views]


def by_id(views: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {f"{view['id']}.{view['part']}": view for view in views}


def exporter(judge: JudgePartition) -> Metrics:
    metrics = Metrics(clock=lambda: 2e9)
    metrics.judging(0, judge.readiness())
    metrics.watermark("judge", 0, judge.clock.value)
    return metrics


def of_models(metrics: Metrics) -> Scrape:
    read = scrape(metrics.registry)
    return Scrape({k: v for k, v in read.items() if "model" in dict(k[1]) and k[0] not in UNLIKE})


def tell(metrics: Metrics, outputs: list[Output]) -> None:
    for output in outputs:
        if output.topic == "aggregates":
            metrics.aggregate(output.view)
        elif output.topic == "alerts":
            metrics.alert(output.view)


def cut(published: list[Activation], records: int) -> tuple[Played, JudgePartition]:
    """The log played up to so many records of each partition, and a JUDGE restored from there."""
    log = {partition: batch[:records] for partition, batch in LOG.items()}
    played = play(CONFIG, log, published, Play(3, observers_know="later", batches=(30,)))
    judge = JudgePartition(CONFIG, BaselineDirectory([*published, *played.views("baselines")]))
    judge.restore(played.state)
    return played, judge


@pytest.mark.parametrize("learned", [False, True])
def test_views_and_series_before_a_move_and_behind_it(learned: bool) -> None:
    """Cut off in the middle: open windows, revisions, drift, a version that takes over, a new baseline."""
    published = [] if learned else [Activation("loans", "*", 0, drifting_baseline())]
    revised = drifted = firing = 0
    for records in (250, 520, 640, 900):
        played, judge = cut(published, records)
        shown = judge.shown()
        assert shown
        assert by_id(shown) == by_id(told(played))
        before, behind = exporter(played.judge), exporter(judge)
        tell(before, played.outputs)
        behind.restored(shown, judge.firing())
        read = of_models(behind)
        assert of_models(before) == read
        revised += any(view["revision"] for view in shown)
        drifted += 1.0 in read.named("stream_monitor_drifted").values()
        firing += any(read.named("stream_monitor_alerts_firing").values())
    assert revised
    assert drifted
    assert firing


def test_how_far_a_model_is_with_learning_goes_with_its_state() -> None:
    """It learns until it has 300 events, and version 2 takes the baseline over with its first pane."""
    seen: list[dict[tuple[str, str], Readiness]] = []
    for records in (0, 60, 120, 640, 900):
        played, judge = cut([], records)
        assert played.judge.readiness() == judge.readiness()
        assert judge.readiness().keys() == judge.names()
        seen.append(judge.readiness())
    one = [at["loans", "1"] for at in seen if at]
    assert [at.wanted for at in one] == [300] * len(one)
    assert [at.ready for at in one] == sorted(at.ready for at in one)
    learning = [at.events for at in one if not at.ready]
    assert learning == sorted(set(learning))
    assert 0 < learning[-1] < 300
    learned = {at.events for at in one if at.ready}
    assert len(learned) == 1
    assert min(learned) >= 300
    assert seen[-1]["loans", "2"] == one[-1]


def test_a_published_baseline_is_told_before_the_first_pane_closes() -> None:
    published = [Activation("loans", "*", 0, drifting_baseline())]
    played, judge = cut(published, 3)
    assert not played.views("aggregates")
    assert judge.readiness() == played.judge.readiness()
    assert {at.ready for at in judge.readiness().values()} == {True}
    assert {at.events for at in judge.readiness().values()} == {drifting_baseline().rows}


def test_a_baseline_of_which_nothing_is_watched_judges_nothing() -> None:
    config = config_from({"models": {"loans": {"features": ["no such"]}}}, env={})
    baseline = drifting_baseline()
    kept = tuple(profile for profile in baseline.features if not is_prediction(profile.name))
    published = [Activation("loans", "*", 0, replace(baseline, features=kept))]
    log = {partition: batch[:250] for partition, batch in LOG.items()}
    played = play(config, log, published)
    assert {at.ready for at in played.judge.readiness().values()} == {False}


def test_a_feature_is_known_since_the_window_that_showed_it_first() -> None:
    """`extra` appears half-way, and stays where it was seen first when others come and go."""
    played, judge = cut([Activation("loans", "*", 0, drifting_baseline())], 900)
    first: dict[tuple[str, str], str] = {}
    for view in played.views("aggregates"):
        for name, facts in view["features"].items():
            key = view["version"], name
            assert facts["first_seen"] == first.setdefault(key, facts["first_seen"])
            assert facts["first_seen"] <= view["end"]
    assert first["1", "extra"] > first["1", "age"]
    assert all(
        facts["first_seen"] == first[view["version"], name]
        for view in judge.shown()
        for name, facts in view["features"].items()
    )


def test_a_state_of_an_older_worker_shows_its_windows_when_they_close() -> None:
    played, _ = cut([], 250)
    judge = JudgePartition(CONFIG, BaselineDirectory(played.views("baselines")))
    units = {f"{model}\x1e{version}" for model, version in played.judge.names()}
    judge.restore({name: aged(data) if name in units else data for name, data in played.state.items()})
    assert judge.shown() == []
    assert judge.names() == played.judge.names()


def aged(unit: bytes) -> bytes:
    """A unit's record without what older workers did not write."""
    meta, arrays = codec.unpack(unit)
    return codec.pack({key: meta[key] for key in meta.keys() - {"shown", "first_seen"}}, arrays)
