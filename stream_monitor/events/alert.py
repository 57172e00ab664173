"""Alerts as subscribers read them (schemas/alert.v1.json): typed, tolerant of newer fields.

The shape is that of a Prometheus Alertmanager alert (`labels`, `annotations`, `startsAt`,
`endsAt`, `generatorURL`), so it can be posted there as it is, plus what automation needs:
which incident it belongs to, how sure it is, and the evidence that reproduces it.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from stream_monitor.errors import EventError

SCHEMA = "stream-monitor/alert/v1"

State = Literal["opened", "joined", "lasting", "resolved", "transient"]

ALERTNAMES = (
    "FeatureDrift",
    "PredictionDrift",
    "MissingValues",
    "OutOfRangeValues",
    "UnseenValues",
    "JointDrift",
)
"""All kinds of trouble there are: what the schema lists for `labels.alertname`."""


class Labels(msgspec.Struct, frozen=True, omit_defaults=True):
    """What identifies an alert: equal labels, equal fingerprint.

    `segment` (`region=EU`) is empty where the alert is about all rows.
    """

    alertname: str
    model: str
    version: str
    feature: str
    severity: str
    segment: str = ""


class Annotations(msgspec.Struct, frozen=True):
    """Text for people."""

    summary: str
    description: str
    runbook_url: str | None = None


class Finding(msgspec.Struct, frozen=True):
    """One detector's word: it fired since `statistic` passed `threshold` on `channel`."""

    detector: str
    channel: str
    statistic: float
    threshold: float


class WindowTest(msgspec.Struct, frozen=True):
    """The window that confirmed the finding: pooled chi-square against the baseline."""

    start: str
    end: str
    rows: int
    x2: float
    threshold: float


class Change(msgspec.Struct, frozen=True):
    """What changed, in the feature's own unit, over `rows` rows of [start, end).

    `measure` is "median", "mean", "share" (of `of`: a rate's channel, or a part of the
    distribution) or "middle half" (two values each). `outside`: the median now lies "below" or
    "above" the baseline's range, whose end is given. None is what cannot be told.
    """

    measure: str
    baseline: float | tuple[float, float] | None
    current: float | tuple[float, float] | None
    rows: int
    start: str
    end: str
    of: str | None = None
    outside: str | None = None


class Persistence(msgspec.Struct, frozen=True):
    """Whether it is a short "anomaly" or a lasting "shift", or "too early to say".

    `windows`: by length, whether the newest ones behind the onset show it; None where none is
    there yet or its rows are too few. `lasted_seconds`: from the onset to when it last showed.
    """

    verdict: str
    windows: dict[str, bool | None]
    lasted_seconds: float


class Member(msgspec.Struct, frozen=True, omit_defaults=True):
    """A detector of the ensemble with its share of the alert budget, and what it says of the feature.

    `fired`: on the alert's "channel", on another one of the "feature", or None.
    """

    detector: str
    share: float
    fired: str | None
    channel: str | None = None
    statistic: float | None = None
    threshold: float | None = None


class Evidence(Finding, frozen=True, kw_only=True):
    """Why the alert was raised, and all that is needed to raise it again.

    Means are those of the channel (0 to 1 for location); `change` is in the feature's own unit and
    decides nothing. `source` gives the first and last
    offset that were counted, by partition of the predictions topic.
    """

    rows: int
    pane_start: str
    pane_end: str
    since: str
    baseline: str
    config: str
    window: WindowTest | None = None
    baseline_mean: float | None = None
    current_mean: float | None = None
    change: Change | None = None
    source: dict[str, tuple[int, int]] = {}
    agreeing: tuple[Finding, ...] = ()
    ensemble: tuple[Member, ...] = ()
    persistence: Persistence | None = None


class Alert(
    msgspec.Struct,
    frozen=True,
    rename={"starts_at": "startsAt", "ends_at": "endsAt", "generator_url": "generatorURL"},
):
    """One alert. `id` is the same wherever the same events are judged: drop repeats by it.

    `backfill`: about the past that a worker read at its first start; for the record, not to act on.
    """

    schema: str
    id: str
    fingerprint: str
    status: Literal["firing", "resolved"]
    labels: Labels
    annotations: Annotations
    starts_at: str
    incident: str
    state: State
    evidence: Evidence
    ends_at: str | None = None
    generator_url: str = ""
    provisional: bool = False
    episode: str | None = None
    backfill: bool = False


_decoder = msgspec.json.Decoder(Alert)


def decode_alert(value: bytes) -> Alert:
    """Read one record of the alerts topic; EventError where it is not an alert of version 1.

    Fields that this version does not know are passed over.
    """
    try:
        alert = _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        reason = "field_type" if isinstance(error, msgspec.ValidationError) else "json"
        raise EventError(reason, f"alert: {error}") from error
    if alert.schema != SCHEMA:
        raise EventError("field_type", f"alert: $.schema is {alert.schema!r}; this version reads {SCHEMA!r}")
    return alert


def encode_alert(alert: Alert) -> bytes:
    """The JSON of `alert`; equal alerts give equal bytes."""
    return msgspec.json.encode(alert, order="sorted")
