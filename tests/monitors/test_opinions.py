"""Second opinions are river's own detectors on pane means; nothing follows from them."""

from __future__ import annotations

import builtins
import logging
from typing import Any

import numpy as np
import pytest
from river import drift

from stream_monitor.baselines.records import Activation
from stream_monitor.config import config_from
from stream_monitor.config.settings import NEED_LABELS
from stream_monitor.detectors.channels import Channels, PaneSums
from stream_monitor.errors import ConfigError
from stream_monitor.monitors.opinions import Opinions
from stream_monitor.serve.metrics import Metrics
from tests.processors.harness import Play, Played, ended, play
from tests.processors.logs import baseline_of, drifting_baseline, drifting_log, small_config
from tests.serve.exposition import scrape

NAMES = ("river.ADWIN", "river.KSWIN", "river.PageHinkley")
BASELINE = baseline_of([{"a": i / 100, "b": i % 50, "same": 1.0} for i in range(500)])
CHANNELS = Channels.build(BASELINE, effect_floor=0.01)
PANE = 10_000_000


def panes(seed: int, count: int) -> list[PaneSums]:
    """Of 60 rows; `a` rises from the middle on. Some panes have no rows at all."""
    rng = np.random.default_rng(seed)
    out = []
    for at in range(count):
        counts = np.zeros(BASELINE.total_bins, np.int64)
        for i, profile in enumerate(BASELINE.features):
            p = profile.counts * (
                1.0 + 3.0 * (profile.name == "a" and 2 * at > count) * np.arange(profile.n_bins)
            )
            begin, end = BASELINE.offsets[i], BASELINE.offsets[i + 1]
            counts[begin:end] = rng.multinomial(0 if at % 7 == 3 else 60, p / p.sum())
        out.append(CHANNELS.sums(counts))
    return out


def test_they_decide_as_river_s_own_objects_on_the_same_means() -> None:
    opinions = Opinions(NAMES, CHANNELS)
    river: Any = drift
    alone = {("river.ADWIN", name): river.ADWIN() for name in ("a", "b")} | {
        ("river.PageHinkley", name): river.PageHinkley() for name in ("a", "b")
    }
    seen, expected = [], []
    channel = {"a": CHANNELS.names.index(("a", "location")), "b": CHANNELS.names.index(("b", "location"))}
    for at, sums in enumerate(panes(1, 800)):
        found = opinions.update(sums, at * PANE, (at + 1) * PANE, {"0": [at, at]})
        assert all((d.time, d.pane_start) == ((at + 1) * PANE, at * PANE) for d in found)
        assert {d.channel for d in found} <= {"location"}
        seen += [(at, d.detector, d.feature) for d in found if d.detector != "river.KSWIN"]
        for (name, feature), detector in alone.items():
            c = channel[feature]
            if sums.n[c]:
                detector.update(float(sums.s1[c]) / int(sums.n[c]))
                if detector.drift_detected:
                    expected.append((at, name, feature))
    assert sorted(seen) == sorted(expected)
    assert {feature for _, _, feature in seen} == {"a"}
    assert "same" not in {feature for _, feature in opinions._at}, "a constant has no location"


def test_what_draws_random_numbers_is_seeded() -> None:
    def said() -> list[Any]:
        opinions = Opinions(["river.KSWIN"], CHANNELS)
        return [
            (at, d.feature)
            for at, sums in enumerate(panes(2, 600))
            for d in opinions.update(sums, at, at + 1, {})
        ]

    first = said()
    assert first
    assert said() == first


def test_names_are_checked() -> None:
    def message(*names: str) -> str:
        with pytest.raises(ConfigError) as caught:
            config_from({"defaults": {"second_opinions": list(names)}}, env={})
        return str(caught.value)

    assert "`defaults.second_opinions[0]`: expected `river.ADWIN` or" in message("river.AdWin")
    assert "did you mean `river.ADWIN`?" in message("river.ADWN")
    for name in NEED_LABELS:
        assert "labels are not joined to events yet" in message(name)
    assert "given twice" in message("river.ADWIN", "river.ADWIN")
    assert config_from({"defaults": {"second_opinions": list(NAMES)}}, env={}).model("m").second_opinions
    with pytest.raises(ConfigError, match=r"`models.a.second_opinions\[0\]`"):
        config_from({"models": {"a": {"second_opinions": ["river.DDM"]}}}, env={})


def test_without_river_the_error_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = builtins.__import__

    def absent(name: str, *rest: Any, **named: Any) -> Any:
        if name == "river" or name.startswith("river."):
            raise ModuleNotFoundError("No module named 'river'", name="river")
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", absent)
    with caplog.at_level(logging.ERROR):
        assert Opinions.of(NAMES, CHANNELS) is None
    assert "install stream-monitor[river]" in caplog.text
    monkeypatch.setattr("stream_monitor.config.load.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"install stream-monitor\[river\]"):
        config_from({"defaults": {"second_opinions": ["river.ADWIN"]}}, env={})
    assert config_from({}, env={}).defaults.second_opinions == ()


def run(how: Play | None = None, **settings: Any) -> Played:
    config = small_config(learn=10**6, **settings)
    log = drifting_log(7, minutes=26, rate=4.0, drift=(18, 26), size=2.0, new_feature=2, late=0.0)
    return play(config, ended(log), [Activation("loans", "*", 0, drifting_baseline(rows=3000))], how)


def test_they_change_nothing_that_is_told_or_saved() -> None:
    plain, asked = run(), run(second_opinions=list(NAMES))
    mine = [view for view in asked.views("detections") if view["role"] == "second opinion"]
    assert mine
    assert {view["detection"].detector for view in mine} <= set(NAMES)
    own = [[v for v in p.views("detections") if v["role"] != "second opinion"] for p in (plain, asked)]
    assert own[0] == own[1]
    for one, other in zip(plain.views("alerts"), asked.views("alerts"), strict=True):
        for view in (one, other):
            del view["evidence"]["config"]
        assert one == other
    key = "loans\x1e1"
    # The settings' hash, and what names it, aside: a checkpoint has no room for them.
    assert abs(len(plain.state[key]) - len(asked.state[key])) < 100
    again = run(Play(3, restart=0.2, batches=(100,)), second_opinions=list(NAMES))
    assert again.restarts
    told = [[(v["id"], v["state"]) for v in p.views("alerts")] for p in (asked, again)]
    assert told[0] == told[1]


def test_they_are_counted() -> None:
    asked = run(second_opinions=["river.KSWIN"])
    metrics = Metrics()
    views = [view for view in asked.views("detections") if view["role"] == "second opinion"]
    for view in views:
        metrics.opinion(view)
    counted = scrape(metrics.registry).named("stream_monitor_second_opinions_total")
    assert sum(counted.values()) == len(views) > 0
    metrics.opinion({"model": "m"})
    assert scrape(metrics.registry).one("stream_monitor_unreadable_views_total", view="opinion") == 1
