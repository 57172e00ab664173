"""Series of windows, features and alerts: which window is shown, what ends, what the limit leaves out."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import generate_latest

from stream_monitor.serve.catalogue import MAX_LABEL, label
from stream_monitor.serve.metrics import Metrics
from tests.serve.exposition import Scrape, scrape, text
from tests.serve.views import aggregate, alert, feature, judged

W = {"model": "m", "version": "1", "window": "1m"}
AGE = W | {"feature": "age"}


def shown(*views: dict[str, Any], **options: Any) -> Scrape:
    metrics = Metrics(**options)
    for view in views:
        metrics.aggregate(view)
    read = scrape(metrics.registry)
    assert read.one("stream_monitor_unreadable_views_total", view="aggregate") == 0
    return read


def test_values_of_a_window() -> None:
    read = shown(aggregate({"age": feature(psi=0.3, drifted=True), "job": feature(kind="category", psi=0.1)}))
    assert read.one("stream_monitor_window_events", **W) == 1000
    assert read.one("stream_monitor_window_errors", **W) == 3
    assert read.one("stream_monitor_window_late_events", **W) == 2
    assert read.one("stream_monitor_window_provisional", **W) == 0
    # 2026-03-01T12:01:00Z by `date -ud @1772366460`
    assert read.one("stream_monitor_window_end_timestamp_seconds", **W) == 1_772_366_460
    assert read.one("stream_monitor_latency_seconds", **W, q="0.99") == pytest.approx(0.012)
    assert read.one("stream_monitor_latency_seconds", **W, q="1") == pytest.approx(0.25)
    scores = {"psi": 0.3, "ks": 0.03, "js": 0.04, "x2": 12.5}
    for score, value in scores.items():
        assert read.one("stream_monitor_drift_score", **AGE, score=score) == value
    assert read.one("stream_monitor_drift_threshold", **AGE, score="x2") == 31.5
    assert read.one("stream_monitor_drifted", **AGE) == 1
    assert read.one("stream_monitor_drifted", **W, feature="job") == 0
    assert read.one("stream_monitor_missing_ratio", **AGE) == pytest.approx(0.1)
    assert read.one("stream_monitor_unseen_ratio", **AGE) == pytest.approx(0.05)
    assert read.one("stream_monitor_out_of_range_ratio", **AGE) == pytest.approx(0.03)
    assert read.one("stream_monitor_feature_mean", **AGE) == 4.25
    assert read.one("stream_monitor_feature_quantile", **AGE, q="0.95") == 6
    assert read.one("stream_monitor_drift_score_max", **W, score="psi") == 0.3
    assert read.one("stream_monitor_drifted_features", **W) == 1
    assert {dict(k)["feature"] for k in read.named("stream_monitor_feature_mean")} == {"age"}


def test_what_is_not_known_has_no_series() -> None:
    empty = aggregate({}, rows=0, model="none", latency_ms=None)
    read = shown(aggregate({"age": feature(drift=False)}, latency_ms=None), empty)
    assert read.named("stream_monitor_drift_score") == {}
    assert read.named("stream_monitor_drifted") == {}
    assert read.named("stream_monitor_drift_score_max") == {}
    assert read.named("stream_monitor_latency_seconds") == {}
    assert read.one("stream_monitor_drifted_features", **W) == 0
    assert read.one("stream_monitor_missing_ratio", **AGE) == pytest.approx(0.1)
    assert read.one("stream_monitor_window_events", **W | {"model": "none"}) == 0


VERSIONS = [
    ("2026-03-01T12:01:00Z", 0, 10),
    ("2026-03-01T12:01:00Z", 1, 11),
    ("2026-03-01T12:02:00Z", 0, 12),
    ("2026-03-01T14:03:00.000001+02:00", 0, 13),
]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_newest_window_and_revision_win_in_any_order(order: tuple[int, ...]) -> None:
    views = [aggregate(end=end, revision=revision, rows=rows) for end, revision, rows in VERSIONS]
    for seen in range(1, 5):
        read = shown(*(views[at] for at in order[:seen]))
        assert read.one("stream_monitor_window_events", **W) == 10 + max(order[:seen])


def test_series_of_a_feature_end_with_its_window() -> None:
    read = shown(
        aggregate({"age": feature(), "gone": feature()}),
        aggregate({"age": feature()}, end="2026-03-01T12:02:00Z"),
    )
    assert {dict(k)["feature"] for k in read.named("stream_monitor_drift_score")} == {"age"}


def test_a_window_in_parts_is_shown_whole() -> None:
    metrics = Metrics()
    old, new = {"revision": 0, "parts": 3}, {"revision": 1, "parts": 3}

    def features() -> set[str]:
        return {dict(k)["feature"] for k in scrape(metrics.registry).named("stream_monitor_drifted")}

    # Nothing older exists: parts are shown as they come.
    for part, names in enumerate(({"a0"}, {"a0", "a1"}, {"a0", "a1", "a2"})):
        metrics.aggregate(aggregate({f"a{part}": feature()}, part=part, **old))
        assert features() == names
    metrics.aggregate(aggregate({"b2": feature()}, part=2, rows=7, **new))
    metrics.aggregate(aggregate({"b0": feature()}, part=0, rows=7, **new))
    assert features() == {"a0", "a1", "a2"}
    assert scrape(metrics.registry).one("stream_monitor_window_events", **W) == 1000
    metrics.aggregate(aggregate({"b1": feature()}, part=1, rows=7, **new))
    assert features() == {"b0", "b1", "b2"}
    assert scrape(metrics.registry).one("stream_monitor_window_events", **W) == 7


def test_a_version_that_no_longer_serves_is_forgotten() -> None:
    old = aggregate(version="1")
    read = shown(old, aggregate(version="2", start="2026-03-02T12:00:00Z", end="2026-03-02T12:01:00Z"))
    assert {dict(k)["version"] for k in read.named("stream_monitor_window_events")} == {"1", "2"}
    newer = aggregate(version="2", start="2026-03-02T12:01:00Z", end="2026-03-02T12:02:00Z")
    for views in ((old, newer), (newer, old)):
        read = shown(*views, aggregate(model="other"))
        left = {(dict(k)["model"], dict(k)["version"]) for k in read.named("stream_monitor_window_events")}
        assert left == {("m", "2"), ("other", "1")}


def test_detections_and_firing() -> None:
    metrics = Metrics()
    age = {"model": "m", "version": "1", "feature": "age", "channel": "location", "detector": "e_detector"}
    group = {"model": "m", "version": "1", "alertname": "FeatureDrift", "severity": "warning"}
    metrics.alert(alert())
    metrics.alert(alert(fingerprint="f2", feature="job"))
    metrics.alert(alert(state="joined"))
    read = scrape(metrics.registry)
    assert read.one("stream_monitor_detections_total", **age, state="opened") == 1
    assert read.one("stream_monitor_detections_total", **age, state="joined") == 1
    assert read.one("stream_monitor_alerts_firing", **group) == 2
    metrics.alert(alert(severity="critical"))
    read = scrape(metrics.registry)
    assert read.one("stream_monitor_alerts_firing", **group) == 1
    assert read.one("stream_monitor_alerts_firing", **group | {"severity": "critical"}) == 1
    metrics.alert(alert(fingerprint="f2", feature="job", status="resolved", state="resolved"))
    metrics.alert(alert(fingerprint="unknown", status="resolved", state="resolved"))
    assert scrape(metrics.registry).one("stream_monitor_alerts_firing", **group) == 0


def test_alerts_about_the_past_neither_fire_nor_count() -> None:
    metrics = Metrics()
    metrics.alert(alert() | {"backfill": True})
    metrics.restored([], [alert(fingerprint="f2") | {"backfill": True}])
    assert sum(scrape(metrics.registry).named("stream_monitor_alerts_firing").values()) == 0
    assert sum(scrape(metrics.registry).named("stream_monitor_alerts_total").values()) == 0
    assert not scrape(metrics.registry).named("stream_monitor_detections_total")
    metrics.alert(alert() | {"backfill": False})
    assert sum(scrape(metrics.registry).named("stream_monitor_alerts_firing").values()) == 1


def test_restored_alerts_fire_and_are_not_counted() -> None:
    metrics = Metrics()
    metrics.restored([], [alert(), alert(fingerprint="f2"), alert(fingerprint="f2")])
    read = scrape(metrics.registry)
    assert list(read.named("stream_monitor_alerts_firing").values()) == [2]
    assert read.named("stream_monitor_detections_total") == {}
    assert read.named("stream_monitor_alerts_total") == {}


def exported(read: Scrape) -> set[str]:
    return {dict(k)["feature"] for k in read.named("stream_monitor_missing_ratio")}


def with_model(read: Scrape) -> int:
    return sum("model" in dict(labels) for _, labels in read)


def test_limit_keeps_what_matters() -> None:
    features = {f"f{n:02}": feature(psi=n / 100) for n in range(40)} | {"z": feature(psi=9, drifted=True)}
    everything = with_model(shown(aggregate(features)))
    metrics = Metrics(series_limit=120)
    metrics.alert(alert(feature="f33"))
    metrics.aggregate(aggregate(features))
    read = scrape(metrics.registry)
    assert with_model(read) <= 120
    # 120 less the 13 of the window and the 4 of the alert leave room for 6 features of 17.
    assert exported(read) == {"z", "f33", "f00", "f01", "f02", "f03"}
    assert read.one("stream_monitor_series_left_out") == everything + 4 - with_model(read)
    assert read.one("stream_monitor_series_limit") == 120
    assert read.one("stream_monitor_drift_score_max", **W, score="psi") == 9
    assert read.one("stream_monitor_drifted_features", **W) == 1
    metrics.alert(alert(feature="f33", status="resolved", state="resolved"))
    assert exported(scrape(metrics.registry)) == {"z", "f00", "f01", "f02", "f03", "f04"}
    metrics.aggregate(aggregate({"a": feature()}, revision=1))
    assert scrape(metrics.registry).one("stream_monitor_series_left_out") == 0


MINUTES: dict[str, dict[str, Any]] = {
    length: {"window": length, "start": "2026-03-01T12:00:00Z", "end": f"2026-03-01T12:{minutes:02}:00Z"}
    for length, minutes in (("1m", 1), ("15m", 15))
}


def seen(day: int, **changes: Any) -> dict[str, Any]:
    return feature(first_seen=f"2026-02-{day:02}T00:00:00Z", **changes)


def test_order_is_firing_then_configured_then_first_seen() -> None:
    loose = {"new": seen(9), "old": seen(1), "a": seen(5), "fires": seen(8), "drifts": seen(7, drifted=True)}
    named = {"late": seen(10)}
    order = ["drifts", "fires", "late", "old", "a", "new"]
    for there in range(len(order) + 1):
        # 13 series of each window, 4 of the alert, 17 of a feature.
        metrics = Metrics(series_limit=30 + 17 * there, configured={"named"})
        for model, features in (("m", loose), ("named", named)):
            metrics.aggregate(aggregate(features, model=model))
        metrics.alert(alert(feature="fires"))
        assert exported(scrape(metrics.registry)) == set(order[:there])


def firing(metrics: Metrics) -> set[tuple[str, str]]:
    read = scrape(metrics.registry).named("stream_monitor_feature_firing")
    assert set(read.values()) <= {1.0}
    return {(dict(key)["feature"], dict(key)["alertname"]) for key in read}


def test_features_that_fire_have_a_series_as_long_as_they_do() -> None:
    metrics = Metrics()
    assert firing(metrics) == set()
    metrics.alert(alert())
    metrics.alert(alert(fingerprint="f2", state="joined", alertname="MissingValues"))
    metrics.restored([], [alert(fingerprint="f3", feature="job")])
    metrics.alert(alert(fingerprint="f4", feature="past") | {"backfill": True})
    assert firing(metrics) == {("age", "FeatureDrift"), ("age", "MissingValues"), ("job", "FeatureDrift")}
    metrics.alert(alert(status="resolved", state="resolved"))
    assert firing(metrics) == {("age", "MissingValues"), ("job", "FeatureDrift")}


def test_a_segment_that_fires_has_a_series_beside_that_of_all_rows() -> None:
    metrics = Metrics()
    metrics.alert(alert())
    within = alert(fingerprint="f2", state="joined")
    metrics.alert(within | {"labels": within["labels"] | {"segment": "region=EU"}})
    read = scrape(metrics.registry).named("stream_monitor_feature_firing")
    assert sorted((dict(key)["feature"], dict(key)["segment"]) for key in read) == [
        ("age", ""),
        ("age", "region=EU"),
    ]


@pytest.mark.parametrize(("room", "named", "whole"), [(3, 3, 0), (5, 5, 0), (21, 5, 0), (22, 5, 1)])
def test_features_that_fire_stay_within_the_limit(room: int, named: int, whole: int) -> None:
    # 13 of the window, 1 of the firing alerts, 1 of the alerts told, 5 of the detections.
    metrics = Metrics(series_limit=20 + room)
    metrics.aggregate(aggregate({"age": feature()}))
    for number in range(5):
        metrics.alert(alert(fingerprint=f"f{number}", feature=f"f{number}"))
    assert firing(metrics) == {(f"f{number}", "FeatureDrift") for number in range(named)}
    read = scrape(metrics.registry)
    assert with_model(read) == 20 + named + 17 * whole
    assert read.one("stream_monitor_series_left_out") == 5 - named + 17 * (1 - whole)


def test_order_does_not_depend_on_what_was_told_first() -> None:
    views = [
        aggregate({"x": seen(2), "y": seen(3)}, model="b"),
        aggregate({"x": seen(4)}, model="a"),
        aggregate({"z": seen(1), "y": feature(first_seen=None)}, model="c"),
    ]
    reads = [shown(*order, series_limit=3 * 13 + 2 * 17) for order in itertools.permutations(views)]
    for read in reads:
        found = {(dict(k)["model"], dict(k)["feature"]) for k in read.named("stream_monitor_missing_ratio")}
        assert found == {("c", "z"), ("b", "x")}


def test_a_feature_is_there_in_all_windows_or_in_none() -> None:
    features = {"a": seen(1), "b": seen(2)}
    views = [aggregate(features, **times) for times in MINUTES.values()]
    read = shown(*views, series_limit=2 * 13 + 3 * 17)
    found = {(dict(k)["feature"], dict(k)["window"]) for k in read.named("stream_monitor_missing_ratio")}
    assert found == {("a", "1m"), ("a", "15m")}
    assert read.one("stream_monitor_series_left_out") == 2 * 17


def test_what_is_left_out_is_also_counted_over_scrapes() -> None:
    metrics = Metrics(series_limit=13 + 17)
    metrics.aggregate(aggregate({"a": feature(), "b": feature()}))
    counted = [
        text(generate_latest(metrics.registry).decode()).one("stream_monitor_omitted_series_total")
        for _ in range(3)
    ]
    assert counted == [17, 34, 51]


ENDS = "stream_monitor_window_end_timestamp_seconds"
END = 1_772_366_460  # of the window of one minute


@pytest.mark.parametrize(
    ("behind", "current"),
    [(300, {"1m", "15m"}), (301, {"15m"}), (840 + 2700, {"15m"}), (840 + 2701, set())],
)
def test_values_of_a_window_end_when_the_watermark_has_left_it_behind(behind: int, current: set[str]) -> None:
    metrics = Metrics(clock=lambda: 2e9)
    for times in MINUTES.values():
        metrics.aggregate(aggregate(**times))
    metrics.judging(3, judged(("m", "1")))
    metrics.watermark("judge", 3, (END + behind) * 1_000_000)
    metrics.watermark("judge", 4, 2**60)  # another partition's time says nothing about it
    metrics.watermark("observe", 3, 2**60)
    read = scrape(metrics.registry)
    ends = read.named(ENDS)
    assert {dict(labels)["window"]: end for labels, end in ends.items()} == {"1m": END, "15m": END + 840}
    for name, labels in read:
        window = dict(labels).get("window")
        if window is not None and name != ENDS:
            assert window in current, name
    assert {dict(k)["window"] for k in read.named("stream_monitor_window_events")} == current
    assert {dict(k)["window"] for k in read.named("stream_monitor_drifted")} == current
    metrics.aggregate(aggregate(start="2026-03-01T13:30:00Z", end="2026-03-01T13:31:00Z"))  # it is back
    assert scrape(metrics.registry).one("stream_monitor_window_events", **W) == 1000


def test_a_smaller_quiet_feature_does_not_pass_a_larger_one() -> None:
    # Room for 13 + 17 + 16: the second drifted number needs 17, the quiet category only 9.
    features = {"x": feature(drifted=True), "y": feature(drifted=True), "a": feature(kind="category")}
    read = shown(aggregate(features), series_limit=46)
    assert exported(read) == {"x"}
    assert read.one("stream_monitor_series_left_out") == 17 + 9


@settings(max_examples=30, deadline=None)
@given(
    limit=st.integers(1, 400),
    sizes=st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=1, max_size=5),
    drifted=st.sets(st.integers(0, 11)),
)
def test_limit_holds_and_nothing_goes_uncounted(
    limit: int, sizes: list[tuple[int, bool]], drifted: set[int]
) -> None:
    views = [
        aggregate(
            {
                f"f{n}": feature(drifted=n in drifted, kind="number" if wide else "category")
                for n in range(size)
            },
            model=f"m{at}",
        )
        for at, (size, wide) in enumerate(sizes)
    ]
    full = shown(*views)
    # The same rows with room for everything in memory: a limit of series only, no eviction.
    metrics = Metrics(series_limit=limit)
    for view in views:
        metrics.aggregate(view)
    read = scrape(metrics.registry)
    if read.one("stream_monitor_views_forgotten_total", view="aggregate") == 0:
        assert with_model(read) + read.one("stream_monitor_series_left_out") == with_model(full)
    # Only what a window says as a whole, 13 series, may pass the limit.
    assert with_model(read) <= max(limit, 13 * len(sizes))
    there = read.named("stream_monitor_drifted")
    if any(
        value == 1 and series not in there for series, value in full.named("stream_monitor_drifted").items()
    ):
        assert 0 not in there.values(), "a quiet feature took the place of a drifted one"


def test_memory_is_bounded() -> None:
    metrics = Metrics(series_limit=10)
    for number in range(25):
        metrics.aggregate(aggregate({}, model=f"m{number:02}"))
    read = scrape(metrics.registry)
    models = {dict(k)["model"] for k in read.named("stream_monitor_window_events")}
    assert models == {f"m{number:02}" for number in range(15, 25)}
    assert read.one("stream_monitor_views_forgotten_total", view="aggregate") == 15
    wide = {f"f{n}": feature() for n in range(60)}
    metrics.aggregate(aggregate(wide, model="wide"))
    metrics.aggregate(aggregate(wide, model="wider"))
    models = {dict(k)["model"] for k in scrape(metrics.registry).named("stream_monitor_window_events")}
    assert "wider" in models
    assert "wide" not in models


def test_detections_behind_the_bound_keep_the_sum() -> None:
    metrics = Metrics(series_limit=40)
    for number in range(200):
        metrics.alert(alert(fingerprint=str(number), feature=f"f{number:03}"))
    read = scrape(metrics.registry)
    counted = read.named("stream_monitor_detections_total")
    assert len(counted) == 11
    assert sum(counted.values()) == 200
    assert {dict(k)["feature"]: v for k, v in counted.items()}[""] == 190
    assert sum(read.named("stream_monitor_alerts_firing").values()) == 40
    assert read.one("stream_monitor_views_forgotten_total", view="alert") == 160


ODD = [
    'say "hi"', "line\nbreak", "back\\slash", "tab\tcr\r", "größe Ω 名前 🦆", "", " ", "a,b={c}", "#",
    "\x00\x7f", "\u2028",
]  # fmt: skip


def test_odd_names_come_back_as_they_were() -> None:
    read = shown(aggregate({name: feature() for name in ODD}, model='m"\n\\', window="1m"))
    assert exported(read) == set(ODD)
    assert {dict(k)["model"] for k in read.named("stream_monitor_missing_ratio")} == {'m"\n\\'}


@settings(max_examples=60, deadline=None)
@given(st.sets(st.text(st.characters(exclude_categories=()), max_size=12), max_size=6))
def test_any_text_is_a_label(names: set[str]) -> None:
    read = shown(aggregate({name: feature(kind="category") for name in names}))
    assert exported(read) == {label(name) for name in names}
    assert {name for name in names if name.isprintable()} <= exported(read)


def test_long_names_are_cut_and_stay_apart() -> None:
    names = ["x" * 5000 + end for end in ("a", "b")] + ["é" * MAX_LABEL]
    read = shown(aggregate({name: feature() for name in names}))
    assert len(exported(read)) == 3
    assert all(len(name) <= MAX_LABEL for name in exported(read))
    assert "é" * MAX_LABEL in exported(read)


def test_a_revision_keeps_the_scores_that_were_tested() -> None:
    tested = aggregate({"age": feature(psi=0.25, drifted=True)})
    revised = aggregate({"age": feature(drift=False, missing=200)}, revision=1)
    read = shown(tested, revised)
    assert read.one("stream_monitor_drift_score", **AGE, score="psi") == 0.25
    assert read.one("stream_monitor_missing_ratio", **AGE) == 0.2
    later = {"start": "2026-03-01T12:01:00Z", "end": "2026-03-01T12:02:00Z"}
    read = shown(tested, revised, aggregate({"age": feature(drift=False)}, **later))
    assert not read.named("stream_monitor_drift_score")
