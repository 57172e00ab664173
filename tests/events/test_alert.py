from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stream_monitor.errors import EventError
from stream_monitor.events.alert import Alert, decode_alert, encode_alert
from stream_monitor.events.label import decode_label

SCHEMA = json.loads((Path(__file__).parents[2] / "schemas" / "alert.v1.json").read_bytes())
EXAMPLE: dict[str, Any] = SCHEMA["examples"][0]


def read(**changes: Any) -> Alert:
    return decode_alert(json.dumps(EXAMPLE | changes).encode())


def test_reading_loses_nothing_and_writing_is_stable() -> None:
    alert = read()
    written = encode_alert(alert)
    back = json.loads(written)
    del back["annotations"]["runbook_url"]
    assert back == EXAMPLE
    assert encode_alert(decode_alert(written)) == written


def test_an_alert_that_says_nothing_of_backfill_is_live() -> None:
    older = {name: value for name, value in EXAMPLE.items() if name != "backfill"}
    assert decode_alert(json.dumps(older).encode()).backfill is False
    assert read(backfill=True).backfill is True


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"schema": "stream-monitor/alert/v2"}, "this version reads"),
        ({"status": "on"}, r"\$.status"),
        ({"labels": {}}, r"\$.labels"),
        ({"evidence": EXAMPLE["evidence"] | {"rows": "many"}}, r"\$.evidence.rows"),
        ({"evidence": EXAMPLE["evidence"] | {"source": {"0": [1]}}}, r"\$.evidence.source"),
    ],
)
def test_what_is_no_alert_is_said(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(EventError, match=says) as caught:
        read(**changes)
    assert caught.value.reason == "field_type"


def test_broken_text_is_no_alert() -> None:
    with pytest.raises(EventError, match="alert") as caught:
        decode_alert(b"{")
    assert caught.value.reason == "json"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "empty"),
        (b"[", "json"),
        (b"[]", "not_an_object"),
        (b'{"label":1,"timestamp":1769860800000}', "field_missing"),
        (b'{"id":1,"label":1,"timestamp":1769860800000}', "field_type"),
        (b'{"id":"a","label":[1],"timestamp":1769860800000}', "field_type"),
        (b'{"id":"a","label":1,"timestamp":true}', "field_type"),
        (b'{"id":"a","label":1,"timestamp":1769860800}', "timestamp"),
        (b'{"id":"a","label":1,"timestamp":1769860800000,"model":3}', "field_type"),
        (b'{"id":"a","label":1,"timestamp":1769860800000,"model":"\\n"}', "name"),
    ],
)
def test_what_is_no_label(value: bytes | None, reason: str) -> None:
    with pytest.raises(EventError) as caught:
        decode_label(value)
    assert caught.value.reason == reason
