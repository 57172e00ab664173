"""Every schema is a schema, its examples obey it, and what the code writes obeys it too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from stream_monitor.alerting.episodes import alertname
from stream_monitor.baselines.build import build_baseline
from stream_monitor.baselines.records import Activation, encode_activation
from stream_monitor.detectors.channels import CHANNELS
from stream_monitor.events.alert import ALERTNAMES, decode_alert
from stream_monitor.events.deadletter import MAX_DETAIL, REASONS, SUBSCRIBER_REASONS, DeadLetter
from stream_monitor.events.label import Label, decode_label, encode_label
from stream_monitor.events.tick import decode_tick, encode_tick
from stream_monitor.sdk.encode import encode
from tests.events.build import NOON, decode, event, record

FOLDER = Path(__file__).parents[2] / "schemas"
SCHEMAS: dict[str, dict[str, Any]] = {
    path.name.removesuffix(".json"): json.loads(path.read_bytes()) for path in sorted(FOLDER.glob("*.json"))
}
REGISTRY: Registry[Any] = Registry().with_resources(
    (f"{name}.json", Resource.from_contents(schema)) for name, schema in SCHEMAS.items()
)


def errors(name: str, value: object) -> list[str]:
    validator = Draft202012Validator(
        SCHEMAS[name], registry=REGISTRY, format_checker=Draft202012Validator.FORMAT_CHECKER
    )
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


def example(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(SCHEMAS[name]["examples"][0]))
    return found


def test_all_that_travels_has_a_schema() -> None:
    assert SCHEMAS.keys() == {
        "activation.v1", "aggregate.v1", "alert.v1", "baseline.v1", "config.v1", "config-activation.v1",
        "config-body.v1", "dead-letter.v1", "event.v1", "label.v1", "tick.v1",
    }  # fmt: skip
    assert (FOLDER / "pack.md").exists()


@pytest.mark.parametrize("name", list(SCHEMAS))
def test_schema_and_examples(name: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[name])
    for one in SCHEMAS[name].get("examples", []):
        assert errors(name, one) == []


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("event.v1", ["model"], "a\n"),
        ("event.v1", ["features", "prediction"], 1),
        ("event.v1", ["features", "nested"], {"a": 1}),
        ("event.v1", ["timestamp"], 1_769_860_800),
        ("event.v1", ["latency_ms"], -1),
        ("label.v1", ["label"], None),
        ("label.v1", ["timestamp"], "yesterday"),
        ("tick.v1", ["watermark"], 1_769_860_800_000),
        ("dead-letter.v1", ["sm-reason"], "because"),
        ("dead-letter.v1", ["sm-source"], "predictions"),
        ("alert.v1", ["state"], "closed"),
        ("alert.v1", ["endsAt"], "2026-01-31T12:00:00Z"),
        ("alert.v1", ["evidence", "source", "0"], [1]),
        ("alert.v1", ["labels", "alertname"], "Drift"),
        ("aggregate.v1", ["rows"], -1),
        ("aggregate.v1", ["features", "income", "drift", "p_value"], 2),
        ("aggregate.v1", ["window"], "soon"),
    ],
)
def test_schemas_refuse(name: str, path: list[str], value: object) -> None:
    changed = example(name)
    at = changed
    for part in path[:-1]:
        at = at[part]
    at[path[-1]] = value
    assert errors(name, changed)


@pytest.mark.parametrize(
    "name", ["event.v1", "label.v1", "tick.v1", "alert.v1", "aggregate.v1", "dead-letter.v1"]
)
def test_required_fields_are_required(name: str) -> None:
    for field in SCHEMAS[name]["required"]:
        assert errors(name, {key: value for key, value in example(name).items() if key != field}), field


def test_the_examples_of_events_are_counted() -> None:
    assert decode(SCHEMAS["event.v1"]["examples"]).rows == 2


def test_events_as_the_logger_writes_them() -> None:
    sent = [
        event(timestamp=NOON + 0.25, features={"x": np.float64(2), "y": np.nan}, trace={"traceparent": "00"})
    ]
    (message,), refused = encode(sent, packing=None, max_bytes=10_000)
    assert not refused
    assert errors("event.v1", json.loads(message.value)) == []


def test_labels() -> None:
    assert decode_label(json.dumps(example("label.v1")).encode()).label == "repaid"
    for label in ("repaid", 1, 0.5, True):
        for model in (None, "loans"):
            one = Label("a", label, NOON * 1000 + 7, model)
            assert errors("label.v1", json.loads(encode_label(one))) == []
            assert decode_label(encode_label(one)) == one


def test_ticks() -> None:
    value = encode_tick(0, NOON * 1000).value
    assert value is not None
    assert errors("tick.v1", json.loads(value)) == []
    assert decode_tick(record(json.dumps(example("tick.v1")).encode())).watermark == NOON * 1000


def test_dead_letters() -> None:
    assert set(SCHEMAS["dead-letter.v1"]["properties"]["sm-reason"]["enum"]) == REASONS | SUBSCRIBER_REASONS
    assert SCHEMAS["dead-letter.v1"]["properties"]["sm-detail"]["maxLength"] == MAX_DETAIL
    for rows in ((), (0,), (1, 2, 3, 9), tuple(range(0, 5000, 2))):
        letter = DeadLetter(record(b"x" * 2000), "timestamp", "d" * 1000, rows).to_output(max_bytes=1000)
        assert errors("dead-letter.v1", {name: value.decode() for name, value in letter.headers}) == []


def test_alerts_are_read_as_the_schema_says() -> None:
    alert = decode_alert(json.dumps(example("alert.v1") | {"added_later": [1]}).encode())
    assert (alert.state, alert.labels.feature, alert.evidence.source["3"]) == ("opened", "income", (99, 301))
    assert alert.evidence.agreeing[0].detector == "page-hinkley"


def test_baselines_and_activations() -> None:
    batches = decode(
        event(features={"x": float(row), "n": row % 3, "c": "ab"[row % 2], "none": None})
        for row in range(300)
    ).batches
    baseline = build_baseline(batches, source="test", pane=10_000_000)
    assert errors("baseline.v1", json.loads(baseline.to_json())) == []
    written = encode_activation(Activation("loans", "3", 0, baseline))
    assert written.value is not None
    assert errors("activation.v1", json.loads(written.value)) == []


def test_alert_names_are_those_of_the_schema() -> None:
    labels = SCHEMAS["alert.v1"]["properties"]["labels"]["properties"]
    assert labels["alertname"]["enum"] == list(ALERTNAMES)
    assert {alertname(feature, channel) for feature in ("x", "prediction") for channel in CHANNELS} == set(
        ALERTNAMES
    )
