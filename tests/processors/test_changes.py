"""A configuration that changes under traffic: at one pane, for all, whoever knew of it when."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from stream_monitor.baselines.directory import BaselineDirectory
from stream_monitor.baselines.profile import Baseline
from stream_monitor.baselines.records import Activation
from stream_monitor.config import Config, ResolvedModel, config_from
from stream_monitor.config.directory import ConfigDirectory
from stream_monitor.errors import StateError
from stream_monitor.events.times import from_rfc3339
from stream_monitor.monitors.drift import DriftMonitor
from stream_monitor.processors.judge import JudgePartition
from stream_monitor.records import Record
from stream_monitor.windows.increments import decode_summary
from tests.processors.harness import (
    SECOND,
    START,
    Play,
    Played,
    config_records,
    ended,
    play,
)
from tests.processors.logs import (
    TYPES,
    drifting_baseline,
    drifting_log,
    small_config,
    small_logs,
    small_published,
)
from tests.processors.test_same_however_read import same

Know = Literal["start", "later", "never"]
MINUTE = 60 * SECOND


def changed(config: Config, model: str = "loans", **others: Any) -> ResolvedModel:
    """What the file says of a model, but for `others`."""
    return replace(config.model(model), **others)


@settings(max_examples=25, deadline=None, derandomize=True)  # of three runs each
@given(
    log=small_logs(),
    baselines=st.integers(0, 3),
    seed=st.integers(0, 2**16),
    know=st.sampled_from(["start", "later", "never"]),
)
def test_whoever_knows_when_the_same_is_said(
    log: dict[int, list[Record]], baselines: int, seed: int, know: Know
) -> None:
    """Fewer features, other windows and floors: what OBSERVE knows, interleaving, restarts are all one."""
    config, published = small_config(learn=100), small_published(baselines)
    fewer = changed(
        config, features=["x", "z"], windows=(MINUTE, 2 * MINUTE), psi_floor=0.05, resolve_after=1
    )
    changes = [(START + 2 * MINUTE, fewer)]
    whole = ended(log)
    plain = play(config, whole, published, changes=changes)
    same(plain, play(config, whole, published, Play(seed, know, baton=0.2), changes=changes))
    same(plain, play(config, whole, published, Play(seed, know, restart=0.3), changes=changes))


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    log=small_logs(),
    baselines=st.integers(0, 3),
    seed=st.integers(0, 2**16),
    know=st.sampled_from(["start", "later", "never"]),
)
def test_whoever_knows_of_a_text_the_same_is_said(
    log: dict[int, list[Record]], baselines: int, seed: int, know: Know
) -> None:
    """Rows that OBSERVE read as a category, because it did not know yet, JUDGE reads as a text."""
    config, published = small_config(learn=100), small_published(baselines)
    changes = [(START + 2 * MINUTE, changed(config, types=TYPES))]
    whole = ended(log)
    plain = play(config, whole, published, changes=changes)
    same(plain, play(config, whole, published, Play(seed, know, baton=0.2), changes=changes))


def by_window(played: Played, model: str = "loans") -> dict[str, list[tuple[int, str]]]:
    """(start, hash of the settings) of all aggregates, by window."""
    found: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for view in played.views("aggregates", model):
        found[view["window"]].append((from_rfc3339(view["start"]), view["config"]))
    return found


CHANGE = START + 12 * MINUTE  # inside the drift


@pytest.fixture(scope="module")
def long_log() -> dict[int, list[Record]]:
    return ended(
        drifting_log(
            6, minutes=24, rate=3.0, drift=(8, 16), versions=("1", "1", "2"), new_feature=2, late=0.1
        )
    )


@pytest.mark.parametrize("know", ["start", "later", "never"])
def test_a_long_log_with_drift(know: Know, long_log: dict[int, list[Record]]) -> None:
    config = small_config(learn=800, alert_budget={"false_alarms": 5, "per": "day"}, allowed_lateness="3m")
    published = [Activation("loans", "*", 0, drifting_baseline())]
    budget = replace(config.defaults.alert_budget, false_alarms=20, per="day")
    new = changed(
        config,
        features=["amount", "age"],
        windows=(MINUTE, 2 * MINUTE, 4 * MINUTE),
        alert_budget=budget,
        allowed_lateness=2 * MINUTE,
    )
    old, changes = config.model("loans").hash, [(CHANGE, new)]
    plain = play(config, long_log, published, Play(1, know, batches=(40,)), changes=changes)
    same(plain, play(config, long_log, published, Play(2, know, batches=(40,), restart=0.1), changes=changes))

    # Each window names one body, and they change at the bound.
    found = by_window(plain)
    assert set(found) == {"30s", "1m", "2m", "4m"}
    for starts in found.values():
        for start, digest in starts:
            assert digest == (old if start < CHANGE else new.hash)
    assert max(start for start, _ in found["30s"]) == CHANGE - 30 * SECOND
    assert min(start for start, _ in found["1m"]) == CHANGE
    # Revisions of windows before the bound that are told behind it name what judged them.
    views = plain.views("aggregates", "loans")
    first_new = next(i for i, view in enumerate(views) if view["config"] == new.hash)
    assert any(view["revision"] and view["config"] == old for view in views[first_new:])

    # What is not watched any more is not shown, and nothing is missing that nobody asked for.
    for view in views:
        behind = from_rfc3339(view["start"]) >= CHANGE
        watched = {"amount", "age", "prediction"} if behind else {"amount", "age", "kind", "prediction"}
        assert set(view["features"]) == watched or view["revision"]
        assert view["baseline"] == published[0].baseline.hash
        for feature in view["features"].values():
            assert feature["missing"] <= 3 + 0.1 * feature["count"]  # 1% of `age`

    # The incident that was open at the bound goes on: it is told once, and ends under the new settings.
    alerts = plain.views("alerts", "loans")
    assert not [view for view in alerts if view["labels"]["alertname"] == "MissingValues"]
    opened = [view for view in alerts if view["state"] == "opened" and view["startsAt"] < "2026-01-01T00:12"]
    assert opened
    for view in opened:
        assert view["evidence"]["config"] == old
        ends = [other for other in alerts if other["episode"] == view["episode"] and other["endsAt"]]
        assert [end["evidence"]["config"] for end in ends] == [new.hash]


@pytest.mark.parametrize("know", ["later", "never"])
def test_a_feature_that_is_asked_for_anew_is_not_missing_before(
    know: Know, long_log: dict[int, list[Record]]
) -> None:
    """Workers that do not know yet leave it out of panes that are judged by it already."""
    config = small_config(learn=800, alert_budget={"false_alarms": 5, "per": "day"})
    few = config_from({"models": {"loans": {"features": ["amount"]}}}, env={}).models["loans"]
    config = replace(config, models={**config.models, "loans": replace(few, **_shared(config))})
    published = [Activation("loans", "*", 0, drifting_baseline())]
    changes = [(CHANGE, changed(config, features="all"))]
    played = play(config, long_log, published, Play(1, know, batches=(40,)), changes=changes)
    views = [v for v in played.views("aggregates", "loans") if from_rfc3339(v["start"]) >= CHANGE]
    assert views
    counted = sum(view["features"]["age"]["count"] for view in views)
    assert (counted == 0) == (know == "never")
    for view in views:
        for name in ("age", "kind"):
            assert view["features"][name]["missing"] <= 3 + 0.1 * view["features"][name]["count"]
    names = {view["labels"]["alertname"] for view in played.views("alerts", "loans")}
    assert names
    assert "MissingValues" not in names


def _shared(config: Config) -> dict[str, Any]:
    """The defaults, for a model that is written down."""
    return {name: getattr(config.defaults, name) for name in config.defaults.__struct_fields__}


def test_nothing_watched_ends_episodes_in_order(long_log: dict[int, list[Record]]) -> None:
    config = small_config(learn=800, alert_budget={"false_alarms": 5, "per": "day"})
    baseline = drifting_baseline()
    only = replace_features(baseline, "amount")
    nothing = changed(config, features=[])
    played = play(config, long_log, [Activation("loans", "*", 0, only)], Play(1), changes=[(CHANGE, nothing)])
    alerts = [v for v in played.views("alerts", "loans") if v["labels"]["feature"] == "amount"]
    opened = {v["episode"] for v in alerts if v["startsAt"] < "2026-01-01T00:12"}
    assert opened
    assert opened <= {v["episode"] for v in alerts if v["endsAt"]}


def replace_features(baseline: Baseline, *names: str) -> Baseline:
    return dataclasses.replace(baseline, features=tuple(p for p in baseline.features if p.name in names))


def test_what_is_seen_too_late_waits_for_the_next_bound() -> None:
    config = small_config(learn=800)
    published = [Activation("loans", "*", 0, drifting_baseline())]
    new = changed(config, psi_floor=0.03)
    log = ended(drifting_log(3, minutes=10, rate=3.0, new_feature=2))
    late = ConfigDirectory(config, config_records(config, ()))
    run = play(config, log, published, Play(5, batches=(10,)))
    judge = JudgePartition(config, BaselineDirectory(published), late)
    judge.follow()
    outputs = []
    told_at = None
    for message in run.messages:
        judge.take(decode_summary(message))
        outputs += judge.flush()
        if told_at is None and judge.clock.value >= START + 5 * MINUTE + 10 * SECOND:
            told_at = judge.clock.value  # for a pane that is long closed
            for record in config_records(config, [(START + 2 * MINUTE, new)]):
                late.add(record)
            assert judge.follow()
            assert not judge.follow()
    starts = [(from_rfc3339(o.view["start"]), o.view["config"]) for o in outputs if o.topic == "aggregates"]
    assert {d for s, d in starts if s < START + 6 * MINUTE} == {config.model("loans").hash}
    assert {d for s, d in starts if s >= START + 6 * MINUTE} == {new.hash}


def test_a_body_that_is_gone_says_what_to_do() -> None:
    config = small_config(learn=800)
    changes = [(START, changed(config, psi_floor=0.03))]
    state = play(config, ended(drifting_log(1, minutes=2)), changes=changes).state
    with pytest.raises(StateError, match=r"not on the configs topic.*kafka\.group"):
        JudgePartition(config, BaselineDirectory(), ConfigDirectory(config)).restore(state)


def test_panes_stay_what_they_are(caplog: pytest.LogCaptureFixture) -> None:
    """A worker refuses such a file at its start; what comes by another way is not followed."""
    config = small_config(learn=800)
    changes = [(START + 2 * MINUTE, changed(config, pane=30 * SECOND))]
    observers = play(config, ended(drifting_log(1, minutes=5)), how=Play(1, "never"), changes=changes)
    assert {digest for starts in by_window(observers).values() for _, digest in starts} == {
        config.model("loans").hash
    }
    assert caplog.text.count("they cannot last 30s in the same `kafka.group`") == 1


def test_a_baseline_that_no_detector_can_be_set_to_costs_its_model_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """None is known (see tests/monitors/test_any_baseline.py), but a worker has the models of others too."""
    made = DriftMonitor.__init__

    def refuse(self: DriftMonitor, baseline: Baseline, settings: ResolvedModel, budget: Any) -> None:
        if settings.name == "loans":
            raise ValueError("every threshold must be positive and finite")
        made(self, baseline, settings, budget)

    config = small_config(learn=800)
    log = drifting_log(6, minutes=20, rate=3.0, drift=(8, 16))
    for p, records in drifting_log(7, minutes=20, rate=3.0, drift=(8, 16), model="cars").items():
        log[p + 3] = [found._replace(partition=p + 3) for found in records]
    both = ended(log)
    published = [Activation(model, "*", 0, drifting_baseline()) for model in ("loans", "cars")]
    whole = play(config, both, published, Play(1, batches=(40,)))
    monkeypatch.setattr(DriftMonitor, "__init__", refuse)
    broken = play(config, both, published, Play(1, batches=(40,), restart=0.1))
    assert whole.said["cars"] == broken.said["cars"]
    assert whole.views("alerts", "loans")
    assert not broken.views("alerts", "loans")
    counted = [[view["rows"] for view in played.views("aggregates", "loans")] for played in (whole, broken)]
    assert counted[0] == counted[1]
    assert {view["provisional"] for view in broken.views("aggregates", "loans")} == {True}
    ready = {name: at.ready for name, at in broken.judge.readiness().items()}
    assert ready == {("loans", "1"): False, ("cars", "1"): True}
    assert "model loans version 1: counted but not judged" in caplog.text
