"""From drift to one alert and one resolve of each episode; what is told fits the schemas."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from stream_monitor.alerting.episodes import Incidents, alertname
from stream_monitor.alerting.render import AlertContext, render_alert
from stream_monitor.baselines.records import Activation
from stream_monitor.config import config_from
from stream_monitor.events.alert import decode_alert
from stream_monitor.monitors.detection import Detection
from tests.processors.harness import SECOND, START, Play, Played, ended, play
from tests.processors.logs import drifting_baseline, drifting_log, small_config

SCHEMAS = Path(__file__).parents[2] / "schemas"


def validator(name: str) -> Draft202012Validator:
    loaded = {path.name: orjson.loads(path.read_bytes()) for path in SCHEMAS.glob("*.json")}
    registry: Registry[Any] = Registry().with_resources(
        (file, Resource.from_contents(content)) for file, content in loaded.items()
    )
    return Draft202012Validator(loaded[name], registry=registry)


def week(**changes: Any) -> Any:
    return small_config(alert_budget={"false_alarms": 1, "per": "week"}, learn=10**6, **changes)


def drift(size: float, until: float, seed: int = 7, **log: Any) -> Played:
    published = [Activation("loans", "*", 0, drifting_baseline(rows=6000))]
    events = drifting_log(seed, minutes=30, drift=(10, until), size=size, new_feature=2, late=0.0, **log)
    return play(week(), ended(events), published)


@pytest.fixture(scope="module")
def came_and_went() -> Played:
    return drift(size=0.8, until=18)


def test_one_alert_and_one_resolve(came_and_went: Played) -> None:
    alerts = came_and_went.views("alerts")
    assert [(a["status"], a["state"], a["labels"]["feature"]) for a in alerts] == [
        ("firing", "opened", "amount"),
        ("firing", "lasting", "amount"),
        ("resolved", "resolved", "amount"),
    ]
    opened, lasting, resolved = alerts
    assert "2026-01-01T00:10:10Z" <= opened["startsAt"] <= "2026-01-01T00:11:30Z"
    assert opened["endsAt"] is None
    assert "2026-01-01T00:19:00Z" <= resolved["endsAt"] <= "2026-01-01T00:22:00Z"
    assert resolved["startsAt"] == opened["startsAt"]
    for same in ("episode", "incident", "fingerprint", "labels"):
        assert opened[same] == lasting[same] == resolved[same]
    assert len({alert["id"] for alert in alerts}) == 3
    assert opened["labels"]["alertname"] == "FeatureDrift"
    assert opened["evidence"]["current_mean"] > opened["evidence"]["baseline_mean"]
    assert "2026-01-01T00:08:00Z" <= opened["evidence"]["since"] <= "2026-01-01T00:10:20Z"


def test_other_detectors_agree_and_tell_nothing_more(came_and_went: Played) -> None:
    roles = [view["role"] for view in came_and_went.views("detections")]
    assert roles.count("opened") == 1
    assert roles.count("agrees") == len(roles) - 1 > 2
    agreeing = came_and_went.views("alerts")[-1]["evidence"]["agreeing"]
    assert {"page-hinkley", "adwin"} & {found["detector"] for found in agreeing}


def test_nothing_is_told_where_nothing_drifts() -> None:
    for seed in (1, 2, 3):
        assert drift(size=0.0, until=18, seed=seed).views("alerts") == []


def test_two_features_are_one_incident() -> None:
    """`amount` opens it, missing `age` joins; the incident ends with its last episode."""
    log = drifting_log(3, minutes=30, drift=(10, 20), size=1.0, new_feature=2, late=0.0)
    for records in log.values():
        for i, one in enumerate(records):
            body = orjson.loads(one.value or b"")
            if 12 * 60_000 <= body["timestamp"] - START // 1000 < 18 * 60_000:
                body["features"]["age"] = None
                records[i] = one._replace(value=orjson.dumps(body))
    played = play(week(), ended(log), [Activation("loans", "*", 0, drifting_baseline(rows=6000))])
    alerts = played.views("alerts")
    told = [(a["state"], a["labels"]["alertname"], a["labels"]["feature"]) for a in alerts]
    assert told[0] == ("opened", "FeatureDrift", "amount")
    assert ("joined", "MissingValues", "age") in told
    states = [state for state, _, _ in told if state != "lasting"]
    assert sorted(states) == sorted(
        ["opened"] + ["joined"] * (len(states) // 2 - 1) + ["resolved"] * (len(states) // 2)
    )
    assert len({a["incident"] for a in alerts}) == 1
    assert played.judge.units()[0].alarms.incidents.incident is None


def test_alerts_and_aggregates_fit_their_schemas(came_and_went: Played) -> None:
    learned = play(
        small_config(learn=500),
        ended(drifting_log(2, minutes=12, drift=(6, 12), size=2.0, versions=("1", "2"))),
        (),
        Play(5, observers_know="later", batches=(50,)),
    )
    for topic, schema in (("alerts", "alert.v1.json"), ("aggregates", "aggregate.v1.json")):
        check = validator(schema)
        written = [
            value
            for played in (came_and_went, learned)
            for said in played.said.values()
            for kind, _, value in said
            if kind == topic
        ]
        assert len(written) >= 4
        for value in written:
            check.validate(orjson.loads(value))


def test_subscribers_read_what_is_written(came_and_went: Played) -> None:
    for topic, _, value in came_and_went.said["loans"]:
        if topic == "alerts":
            alert = decode_alert(value)
            assert alert.id == orjson.loads(value)["id"]


# ── the state machine alone ─────────────────────────────────────────────────────────────────


def found(feature: str = "x", channel: str = "location", *, time: int = 0, window: bool = False) -> Detection:
    return Detection(
        feature=feature,
        channel=channel,
        detector="window-1m" if window else "e-detector",
        time=START + time * SECOND,
        pane_start=START,
        statistic=9.0,
        threshold=8.0,
        rows=100,
        since=START,
        baseline_mean=0.5,
        current_mean=0.6,
        window={"start": "", "end": "", "rows": 1, "x2": 1.0, "threshold": 1.0} if window else None,
    )


def test_unconfirmed_episodes_end_as_transient() -> None:
    incidents = Incidents(("m", "1"), resolve_after=3)
    (opened,) = incidents.detect([found()])
    key = "x", "FeatureDrift"
    assert incidents.judge(key, dirty=False, time=1) is None
    assert incidents.judge(key, dirty=False, time=2) is None
    end = incidents.judge(key, dirty=False, time=3)
    assert end is not None
    assert (opened.state, end.state, end.time) == ("opened", "transient", 3)
    assert incidents.incident is None


@pytest.mark.parametrize("by_window", [True, False])
def test_confirmed_episodes_end_as_resolved(by_window: bool) -> None:
    incidents = Incidents(("m", "1"), resolve_after=2)
    incidents.detect([found(window=by_window)])
    key = "x", "FeatureDrift"
    if not by_window:
        assert incidents.judge(key, dirty=True, time=1) is None
    assert incidents.judge(key, dirty=False, time=2) is None
    end = incidents.judge(key, dirty=False, time=3)
    assert end is not None
    assert end.state == "resolved"


def test_a_dirty_window_or_an_agreeing_detector_starts_the_count_anew() -> None:
    incidents = Incidents(("m", "1"), resolve_after=2)
    incidents.detect([found()])
    key = "x", "FeatureDrift"
    incidents.judge(key, dirty=False, time=1)
    incidents.detect([found(channel="spread", time=5)])
    assert incidents.judge(key, dirty=False, time=2) is None
    incidents.judge(key, dirty=True, time=3)
    assert incidents.judge(key, dirty=False, time=4) is None
    assert incidents.judge(key, dirty=False, time=5) is not None


def test_an_incident_opens_once_and_the_next_one_has_another_id() -> None:
    incidents = Incidents(("m", "1"), resolve_after=1)
    told = incidents.detect([found(), found("y"), found("x", "missing")])
    assert [t.state for t in told] == ["opened", "joined", "joined"]
    assert len({t.episode.incident for t in told}) == 1
    assert len({t.episode.id for t in told}) == 3
    for key in list(incidents.episodes):
        assert incidents.incident is not None
        incidents.judge(key, dirty=False, time=1)
    assert incidents.incident is None
    (again,) = incidents.detect([found(time=9)])
    assert again.state == "opened"
    assert again.episode.incident != told[0].episode.incident
    assert again.episode.id != told[0].episode.id


def test_agreeing_evidence_is_kept_once_and_bounded() -> None:
    incidents = Incidents(("m", "1"), resolve_after=1)
    incidents.detect([found()])
    for i in range(100):
        incidents.detect([found(channel=f"c{i}"), found(channel="spread")])
    (episode,) = incidents.episodes.values()
    assert len(episode.agreeing) == 16
    for i in range(100):
        incidents.detect([found(channel="spread"), Detection(**{**_fields(found()), "detector": f"d{i}"})])
    assert len(episode.agreeing) == 64
    pairs = [(a["detector"], a["channel"]) for a in episode.agreeing]
    assert len(set(pairs)) == len(pairs)


def _fields(detection: Detection) -> dict[str, Any]:
    return {name: getattr(detection, name) for name in Detection.__slots__}


def test_state_goes_on_where_it_stood() -> None:
    incidents = Incidents(("m", "1"), resolve_after=2)
    incidents.detect([found(), found("y", "unseen")])
    incidents.judge(("x", "FeatureDrift"), dirty=False, time=1)
    other = Incidents(("m", "1"), resolve_after=2)
    other.load(orjson.loads(orjson.dumps(incidents.state())))
    assert other.state() == incidents.state()
    for one in (incidents, other):
        end = one.judge(("x", "FeatureDrift"), dirty=False, time=2)
        assert end is not None
        assert end.state == "transient"
    assert other.state() == incidents.state()


def test_names_of_trouble() -> None:
    assert alertname("x", "spread") == "FeatureDrift"
    assert alertname("prediction.yes", "distribution") == "PredictionDrift"
    assert alertname("prediction", "missing") == "MissingValues"
    assert alertname("x", "out_of_range") == "OutOfRangeValues"
    assert alertname("x", "unseen") == "UnseenValues"


@pytest.mark.parametrize(
    ("statistic", "text"),
    [
        (41_200.0, "statistic 41200 against a threshold of 40320, over "),
        (40_320_000.0, "statistic more than 1,000 times its threshold of 40320, over "),
        (7.1e127, "statistic more than 1,000 times its threshold of 40320, over "),
    ],
)
def test_a_statistic_is_written_as_people_read_it(statistic: float, text: str) -> None:
    context = AlertContext("m", "1", "b" * 64, "c" * 64, False, "", "")
    detection = dataclasses.replace(found(), statistic=statistic, threshold=40_320.0)
    (opened,) = Incidents(("m", "1"), resolve_after=1).detect([detection])
    view = render_alert(opened, context).view
    assert text in view["annotations"]["description"]
    assert view["evidence"]["statistic"] == statistic


def test_text_of_every_state() -> None:
    links = "https://example.org/g", "https://example.org/r"
    context = AlertContext("m", "1", "b" * 64, "c" * 64, False, *links)
    incidents = Incidents(("m", "1"), resolve_after=1)
    first, second = incidents.detect([found(), found("y", window=True)])
    texts = [render_alert(t, context).view for t in (first, second)]
    for key in (("x", "FeatureDrift"), ("y", "FeatureDrift")):
        end = incidents.judge(key, dirty=False, time=START)
        assert end is not None
        texts.append(render_alert(end, context).view)
    check = validator("alert.v1.json")
    for view in texts:
        if view["evidence"]["window"] is None:
            check.validate(view)
    descriptions = [view["annotations"]["description"] for view in texts]
    assert "joined an incident" in descriptions[1]
    assert descriptions[2].endswith(
        "Transient: no window confirmed it, and 1 in a row agree with the baseline."
    )
    assert descriptions[3].endswith("Resolved: 1 windows in a row agree with the baseline again.")
    assert texts[0]["annotations"]["runbook_url"] == "https://example.org/r"
    assert config_from({}, env={}).alert.runbook_url == ""


def test_an_alert_of_a_segment_names_feature_and_segment() -> None:
    context = AlertContext("m", "1", "b" * 64, "c" * 64, provisional=False, generator_url="", runbook_url="")
    incidents = Incidents(("m", "1"), 3)
    names = ["prediction", "prediction{region=EU}", "prediction{region=US}"]
    found = [
        Detection(
            name, "location", "adwin", START + 10 * SECOND, START, 9.0, 1.0, 100, START, 0.5, 0.6,
            parent="prediction" if "{" in name else "", segment=name[11:-1],
        )
        for name in names
    ]  # fmt: skip
    views = [render_alert(told, context).view for told in incidents.detect(found)]
    assert [view["labels"].get("segment") for view in views] == [None, "region=EU", "region=US"]
    assert {(view["labels"]["alertname"], view["labels"]["feature"]) for view in views} == {
        ("PredictionDrift", "prediction")
    }
    assert len({view["incident"] for view in views}) == 1
    assert len({view["fingerprint"] for view in views}) == len({view["episode"] for view in views}) == 3
    assert "prediction where region=EU: its values moved" in views[1]["annotations"]["summary"]
    for view in views:
        assert not list(validator("alert.v1.json").iter_errors(view))
        read = decode_alert(orjson.dumps(view))
        assert read.labels.segment == view["labels"].get("segment", "")
    again = Incidents(("m", "1"), 3)
    again.load(incidents.state())
    assert {episode.segment for episode in again.episodes.values()} == {"", "region=EU", "region=US"}
