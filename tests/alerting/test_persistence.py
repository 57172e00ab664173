"""A short anomaly and a lasting shift are told apart; who of the ensemble had fired is complete."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from stream_monitor.alerting.ensemble import ensemble
from stream_monitor.alerting.ensemble import sentence as who
from stream_monitor.alerting.episodes import Episode, Incidents
from stream_monitor.alerting.persistence import evidence, sentence, suffix, verdict, verdict_at_end
from stream_monitor.alerting.render import AlertContext, render_alert
from stream_monitor.baselines.records import Activation
from stream_monitor.events.alert import decode_alert, encode_alert
from stream_monitor.monitors.detection import Detection
from tests.processors.harness import SECOND, START, Play, Played, ended, play
from tests.processors.logs import drifting_baseline, drifting_log, small_config

MINUTE = 60 * SECOND
SCHEMAS = Path(__file__).parents[2] / "schemas"
CONTEXT = AlertContext("loans", "1", "b" * 64, "c" * 64, False, "", "")


@pytest.mark.parametrize(
    ("views", "expected"),
    [
        ({"1m": None, "15m": None, "1h": None}, "too early to say"),
        ({"1m": True, "15m": None, "1h": None}, "too early to say"),
        ({"1m": True, "15m": True, "1h": None}, "shift"),
        ({"1m": None, "15m": True, "1h": None}, "shift"),  # too few rows in a minute to show it
        ({"1m": True, "15m": False, "1h": None}, "too early to say"),
        ({"1m": False, "15m": None, "1h": None}, "anomaly"),
        ({"1m": False, "15m": True, "1h": True}, "anomaly"),
        ({"1m": None, "15m": False, "1h": True}, "anomaly"),
        ({"1m": None, "15m": None, "1h": True}, "too early to say"),
        ({"1m": True}, "shift"),
        ({"1m": False}, "anomaly"),
        ({"1m": True, "5m": None}, "shift"),
        ({}, "too early to say"),
    ],
)
def test_nested_windows_tell(views: dict[str, bool | None], expected: str) -> None:
    assert verdict(views) == expected


def test_at_the_end_the_time_it_lasted_counts_too() -> None:
    views = {"1m": False, "15m": False, "1h": True}
    length = 15 * MINUTE
    assert verdict_at_end(views, lasting=False, lasted=4 * MINUTE, length=length) == "anomaly"
    assert verdict_at_end(views, lasting=False, lasted=15 * MINUTE, length=length) == "shift"
    assert verdict_at_end(views, lasting=True, lasted=0, length=length) == "shift"
    unseen = {"1m": None, "15m": None, "1h": True}
    assert verdict_at_end(unseen, lasting=False, lasted=MINUTE, length=length) == "too early to say"


# ── played ──────────────────────────────────────────────────────────────────────────────────


def run(minutes: float, how: Play | None = None) -> Played:
    """`amount` is off for so many minutes from the tenth on."""
    config = small_config(
        windows=["30s", "3m", "12m"], learn=10**6, alert_budget={"false_alarms": 1, "per": "week"}
    )
    log = drifting_log(7, minutes=26, drift=(10.2, 10.2 + minutes), size=2.0, new_feature=2, late=0.0)
    published = [Activation("loans", "*", 0, drifting_baseline(rows=6000))]
    return play(config, ended(log), published, how)


@pytest.fixture(scope="module")
def spike() -> Played:
    return run(0.8)


@pytest.fixture(scope="module")
def shift() -> Played:
    return run(11)


def told(played: Played) -> list[dict[str, Any]]:
    return [a for a in played.views("alerts") if a["labels"]["alertname"] == "FeatureDrift"]


def test_a_short_spike_is_an_anomaly(spike: Played) -> None:
    opened, end = told(spike)
    assert opened["state"] == "opened"
    assert opened["evidence"]["persistence"]["verdict"] == "too early to say"
    assert opened["annotations"]["description"].endswith("Too early to say whether it lasts.")
    assert end["status"] == "resolved"
    persistence = end["evidence"]["persistence"]
    assert persistence["verdict"] == "anomaly"
    assert persistence["windows"]["30s"] is False
    assert 20 <= persistence["lasted_seconds"] <= 180
    assert end["annotations"]["summary"].endswith(", a short anomaly")
    assert "A short anomaly: it lasted " in end["annotations"]["description"]


def test_a_lasting_shift_is_told_again_when_it_lasts(shift: Played) -> None:
    opened, lasting, end = told(shift)
    assert [a["state"] for a in (opened, lasting, end)] == ["opened", "lasting", "resolved"]
    assert [a["status"] for a in (opened, lasting, end)] == ["firing", "firing", "resolved"]
    assert len({a["episode"] for a in (opened, lasting, end)}) == 1
    assert len({a["fingerprint"] for a in (opened, lasting, end)}) == 1
    assert len({a["id"] for a in (opened, lasting, end)}) == 3
    assert lasting["startsAt"] == opened["startsAt"]
    assert lasting["endsAt"] is None
    persistence = lasting["evidence"]["persistence"]
    assert persistence == {
        "verdict": "shift",
        "windows": {"30s": True, "3m": True, "12m": None},
        "lasted_seconds": persistence["lasted_seconds"],
    }
    # A whole window of 3m behind the onset, found at the end of the shortest one behind that.
    assert 3 * 60 <= persistence["lasted_seconds"] <= 7 * 60
    assert lasting["annotations"]["summary"].endswith(", a lasting shift")
    assert "windows of 30s and 3m since it began show it" in lasting["annotations"]["description"]
    assert end["evidence"]["persistence"]["verdict"] == "shift"
    assert 10 * 60 <= end["evidence"]["persistence"]["lasted_seconds"] <= 14 * 60
    roles = {view["detection"].detector: view["role"] for view in shift.views("detections")}
    assert roles["window-12m"] == "over", "the longest window still holds it, and opens nothing"
    assert shift.views("alerts").index(lasting) < shift.views("alerts").index(end)


def test_the_ensemble_is_complete(shift: Played) -> None:
    opened, lasting, end = told(shift)
    names = ["e-detector", "page-hinkley", "adwin", "window-30s", "window-3m", "window-12m"]
    for alert in (opened, lasting, end):
        members = alert["evidence"]["ensemble"]
        assert [m["detector"] for m in members] == names
        assert sum(m["share"] for m in members) == pytest.approx(1.0)
        fired = {m["detector"] for m in members if m["fired"]}
        agreeing = {a["detector"] for a in alert["evidence"]["agreeing"]}
        assert agreeing | {alert["evidence"]["detector"]} <= fired
        for member in members:
            assert (member["fired"] is None) == ("statistic" not in member)
            if member["fired"]:
                assert member["statistic"] >= member["threshold"] > 0
    fired_at = [{m["detector"] for m in a["evidence"]["ensemble"] if m["fired"]} for a in (opened, end)]
    assert fired_at[0] < fired_at[1]
    assert "window-12m" not in fired_at[0]
    text = opened["annotations"]["description"]
    assert " have not fired." in text or "No other detector has fired" in text


def test_alerts_fit_the_schema_and_are_read_by_subscribers(spike: Played, shift: Played) -> None:
    loaded = {path.name: orjson.loads(path.read_bytes()) for path in SCHEMAS.glob("*.json")}
    registry: Registry[Any] = Registry().with_resources(
        (file, Resource.from_contents(content)) for file, content in loaded.items()
    )
    check = Draft202012Validator(loaded["alert.v1.json"], registry=registry)
    for played in (spike, shift):
        for view in played.views("alerts"):
            check.validate(view)
            alert = decode_alert(orjson.dumps(view))
            assert alert.evidence.persistence is not None
            assert alert.evidence.persistence.verdict == view["evidence"]["persistence"]["verdict"]
            assert len(alert.evidence.ensemble) == 6
            assert decode_alert(encode_alert(alert)) == alert


@pytest.mark.parametrize("seed", [1, 2])
def test_restarts_change_no_byte(shift: Played, seed: int) -> None:
    again = run(11, Play(seed, observers_know="start", restart=0.02, batches=(400,)))
    assert again.restarts
    mine, other = ([v for k, _, v in p.said["loans"] if k == "alerts"] for p in (again, shift))
    assert [_without_source(v) for v in mine] == [_without_source(v) for v in other]


def _without_source(value: bytes) -> dict[str, Any]:
    view: dict[str, Any] = orjson.loads(value)
    del view["evidence"]["source"]
    return view


# ── alone ───────────────────────────────────────────────────────────────────────────────────


def found(detector: str = "e-detector", channel: str = "location", feature: str = "x") -> Detection:
    return Detection(
        feature, channel, detector, START + MINUTE, START, 9.0, 8.0, 100, START, 0.5, 0.6, None, {}
    )


def episodes(*detections: Detection) -> list[Episode]:
    incidents = Incidents(("m", "1"), resolve_after=1)
    incidents.detect(detections)
    return list(incidents.episodes.values())


SHARES = {"e-detector": 0.7, "page-hinkley": 0.05, "adwin": 0.05, "window-1m": 0.2}


def test_who_fired_where() -> None:
    drift, missing = episodes(
        found(), found("page-hinkley", "spread"), found("adwin", "missing"), found("adwin", "missing", "y")
    )[:2]
    members = {m["detector"]: m for m in ensemble(SHARES, drift, [drift, missing])}
    assert {name: m["fired"] for name, m in members.items()} == {
        "e-detector": "channel",
        "page-hinkley": "feature",
        "adwin": "feature",
        "window-1m": None,
    }
    assert members["adwin"] == {
        "detector": "adwin",
        "share": 0.05,
        "fired": "feature",
        "channel": "missing",
        "statistic": 9.0,
        "threshold": 8.0,
    }
    assert who(members.values(), "e-detector") == " page-hinkley, adwin agree; window-1m has not fired."
    assert who([members["e-detector"], members["window-1m"]], "e-detector") == (
        " No other detector has fired on this feature."
    )
    assert who(None, "adwin") == ""


def test_however_many_channels_fire_no_detector_is_left_out() -> None:
    many = [found(f"d{i}", f"c{i}") for i in range(30)]
    (drift,) = episodes(found(), *many, found("late", "spread"), found("late", "location"))
    members = ensemble({f"d{i}": 0.01 for i in range(30)} | {"late": 0.1}, drift, [drift])
    assert {m["detector"] for m in members if m["fired"]} == {*(f"d{i}" for i in range(30)), "late"}
    assert members[-1]["fired"] == "channel"


def test_windows_do_not_open_again_what_is_over() -> None:
    """Each longer window would tell of a spike in its turn."""
    incidents = Incidents(("m", "1"), resolve_after=1)
    incidents.detect([found()])
    over = START + 5 * MINUTE
    assert incidents.judge(("x", "FeatureDrift"), dirty=False, time=over) is not None
    window = {"start": "", "end": "", "rows": 1, "x2": 1.0, "threshold": 1.0}
    late = replace(found("window-15m", "distribution"), window=window, since=START, time=START + 15 * MINUTE)
    other = Incidents(("m", "1"), resolve_after=1)
    other.load(orjson.loads(orjson.dumps(incidents.state())))
    for one in (incidents, other):
        assert one.is_over(late)
        assert one.detect([late]) == []
        assert one.incident is None
        (elsewhere,) = one.detect([replace(late, feature="y")])
        assert elsewhere.state == "opened"
        assert [t.state for t in one.detect([replace(late, since=over)])] == ["joined"]
        assert one.detect([late]) == [], "it agrees"
        assert [t.state for t in one.detect([found("adwin", "missing")])] == ["joined"]


def test_states_of_older_workers_go_on() -> None:
    """Without the new fields: nothing is said of what is not known."""
    incidents = Incidents(("m", "1"), resolve_after=1)
    incidents.detect([found()])
    state = copy.deepcopy(incidents.state())
    del state["ended"]
    for episode in state["episodes"]:
        del episode["until"], episode["lasting"]
    other = Incidents(("m", "1"), resolve_after=1)
    other.load(state)
    (episode,) = other.episodes.values()
    assert episode.lasted == MINUTE
    end = other.judge(("x", "FeatureDrift"), dirty=False, time=START + 5 * MINUTE)
    assert end is not None
    view = render_alert(end, CONTEXT).view
    assert "persistence" not in view["evidence"]
    assert view["annotations"]["description"].endswith("1 in a row agree with the baseline.")
    assert decode_alert(orjson.dumps(view)).evidence.persistence is None


def test_words() -> None:
    views = {"1m": False, "15m": False, "1h": True}
    over = evidence("anomaly", views, 90 * SECOND)
    assert sentence(over, ended=False) == (
        " A short anomaly: windows of 1m and 15m since it began agree with the baseline again."
    )
    assert sentence(over, ended=True) == " A short anomaly: it lasted 1m 30s."
    assert suffix(over) == ", a short anomaly"
    unknown = evidence("too early to say", views, 0)
    assert suffix(unknown) == suffix(None) == ""
    assert (
        sentence(unknown, ended=True) == " Whether it was an anomaly or a shift cannot be said: it lasted 0s."
    )
    long = evidence("shift", dict.fromkeys(("1m", "15m"), True), (90_061) * SECOND)
    assert "A lasting shift: it lasted 1d 1h 1m 1s." in sentence(long, ended=True)
