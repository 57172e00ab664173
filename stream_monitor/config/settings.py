"""What can be configured, with every default. Durations are int microseconds here.

How these are read from YAML stands in `load`; a key that is not a field below is refused there.
"""

from __future__ import annotations

import hashlib
import math
import socket
from functools import cached_property
from typing import Annotated, Any, Literal

import msgspec
import orjson
from msgspec import Meta, Struct, field
from msgspec.structs import fields

from stream_monitor.config.against import Against, Comparison, parse_against
from stream_monitor.config.durations import (
    HOUR,
    MILLISECOND,
    MINUTE,
    PERIODS,
    SECOND,
    Period,
)
from stream_monitor.errors import ConfigError
from stream_monitor.records import TOPICS

Duration = Annotated[int, Meta(ge=0, extra={"duration": "always"})]
DurationOrNever = Annotated[int, Meta(ge=0, extra={"duration": "or never"})] | None
Count = Annotated[int, Meta(ge=1)]
Name = Annotated[str, Meta(min_length=1)]
FeatureType = Literal["text"]


class KafkaConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where Kafka is. The environment's KAFKA_BROKERS wins over `brokers`.

    `properties` are librdkafka's; `topics` gives a topic another name, which `topic_prefix`
    does not touch. `partitions` and `replication` are for topics that we create. `start` says
    where a group without a committed offset begins.
    """

    brokers: Name = "localhost:9092"
    properties: dict[str, str | int | bool | float] = {}
    topic_prefix: str = ""
    topics: dict[str, str] = {}
    partitions: Count = 4
    replication: Count = 1
    group: Name = "stream-monitor"
    start: Literal["latest", "earliest"] = "latest"

    def __repr__(self) -> str:
        """Without the properties' values: some are passwords."""
        names = sorted(self.properties)
        return f"KafkaConfig(brokers={self.brokers!r}, properties={names}, group={self.group!r})"

    def topic(self, logical: str) -> str:
        """The broker's name for one of `stream_monitor.records.TOPICS`."""
        if logical not in TOPICS:
            raise ConfigError(f"`kafka.topics.{logical}`: no such topic; there are {', '.join(TOPICS)}")
        return self.topics.get(logical, f"{self.topic_prefix}{logical}")


Share = Annotated[float, Meta(ge=0, le=1)]


class Shares(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """Who may spend how much of the alert budget; together at most 1, and 0 turns a detector off."""

    e_detector: Share = 0.7
    window: Share = 0.2
    page_hinkley: Share = 0.05
    adwin: Share = 0.05

    @property
    def by_name(self) -> dict[str, float]:
        """Share of each detector, by the name that it has in alerts (of windows: the kind)."""
        return {found.encode_name: getattr(self, found.name) for found in fields(self)}


class AlertBudget(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many false openings of an incident are expected at most, per model and period."""

    false_alarms: Annotated[float, Meta(gt=0, le=1_000_000)] = 1.0
    per: Period = "week"
    shares: Shares = field(default_factory=Shares)

    @property
    def period(self) -> int:
        """Length of the period, microseconds."""
        return PERIODS[self.per]


Opinion = Literal["river.ADWIN", "river.KSWIN", "river.PageHinkley"]
NEED_LABELS = ("river.DDM", "river.EDDM", "river.FHDDM", "river.HDDMA", "river.HDDMW")
"""river's other detectors: they watch whether answers were right."""


class LearnConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many events a model without a baseline is learned from."""

    events: Annotated[int, Meta(ge=100, le=1_000_000)] = 5000


class ColumnMapping(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Names of a file's columns that are not features. Events on Kafka need none of it.

    A role that is not named is looked for under the role's own name (`id`, `timestamp`, ...)
    and may be absent; a name that is given must be there.
    """

    id: str | None = None
    timestamp: str | None = None
    prediction: str | None = None
    prediction_class: str | None = None
    label: str | None = None
    version: str | None = None
    latency_ms: str | None = None


class Defaults(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of every model that does not say otherwise.

    `pane` is the smallest interval of event time that is judged; `windows` are what aggregates
    are shown and confirmed for. `effect_floor` is the least shift on the 0..1 scale of a
    feature's own distribution that counts as drift; `psi_floor` is the same for the window test,
    on the scale of the population stability index. `segments` are what rows are told apart by.
    `reference` is what is compared with, and where that moves, a change of `anchor_floor` against
    the baseline itself is told all the same.
    `resolve_after` clean windows end an episode.
    `second_opinions` are river's detectors, for comparison.
    """

    pane: Duration = 10 * SECOND
    windows: tuple[Duration, ...] = (MINUTE, 15 * MINUTE, HOUR)
    out_of_orderness: Duration = 5 * SECOND
    allowed_lateness: Duration = HOUR
    alert_budget: AlertBudget = field(default_factory=AlertBudget)
    effect_floor: Annotated[float, Meta(ge=0, le=0.4)] = 0.01
    psi_floor: Annotated[float, Meta(ge=0, le=10)] = 0.02
    learn: LearnConfig = field(default_factory=LearnConfig)
    segments: tuple[Name, ...] = ()
    reference: Against = "training"
    anchor_floor: Annotated[float, Meta(ge=0, le=0.4)] = 0.1
    resolve_after: Count = 3
    second_opinions: tuple[Opinion, ...] = ()


class ModelConfig(Defaults, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model's settings, the defaults filled in.

    `baseline` is a file of rows or a profile; a relative path starts from the directory of
    the configuration file. None means that the model is learned from its first events.
    """

    columns: ColumnMapping = field(default_factory=ColumnMapping)
    features: Literal["all"] | list[str] = "all"
    types: dict[str, FeatureType] = {}
    baseline: Name | None = None


class ResolvedModel(ModelConfig, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """A model's settings together with its name: what processors are given."""

    name: str

    @property
    def body(self) -> dict[str, Any]:
        """What affects decisions, as JSON values: no connection, no secret, no path.

        The name, the files' columns and the baseline's path are left out: alerts name the
        model and the baseline's own hash beside this one's.
        """
        content: dict[str, Any] = msgspec.to_builtins(self)
        for key in ("name", "columns", "baseline"):
            content.pop(key)
        if isinstance(content["features"], list):
            content["features"] = sorted(set(content["features"]))
        content["segments"] = tuple(sorted(content["segments"]))
        for path in CAME_LATER:
            _drop_default(content, path)
        return content

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) of `body`."""
        return body_hash(self.body)

    @classmethod
    def of_body(cls, body: Any, digest: str, name: str) -> ResolvedModel:
        """The settings that a body of that hash stands for; `ConfigError` if another version wrote it."""
        try:
            settings = msgspec.convert({**body, "name": name}, cls)
        except (msgspec.ValidationError, TypeError) as error:
            raise ConfigError(f"its content is of another version of Stream Monitor: {error}") from error
        # Named as it was written: a version that came later may have more keys, with their defaults.
        settings.__dict__["hash"] = digest
        return settings

    @cached_property
    def compared(self) -> Comparison:
        """`reference`, read."""
        return parse_against(self.reference)

    @cached_property
    def selected(self) -> frozenset[str] | None:
        """Features that are watched beside what the model answered; None for all."""
        return None if self.features == "all" else frozenset(self.features)

    @cached_property
    def texts(self) -> frozenset[str]:
        """Features that are read as texts, the only type there is to be declared."""
        return frozenset(self.types)


CAME_LATER = (
    "alert_budget.shares",
    "anchor_floor",
    "reference",
    "second_opinions",
    "segments",
    "types",
)
"""Keys that older versions did not have. A body leaves them out where they hold their default: the settings
of an older version keep their hash, so that its state goes on. Their defaults must never change."""
_NOTHING_SAID: dict[str, Any] = msgspec.to_builtins(ModelConfig())


def _drop_default(content: dict[str, Any], path: str) -> None:
    *outer, key = path.split(".")
    inner, default = content, _NOTHING_SAID
    for name in outer:
        inner, default = inner[name], default[name]
    if inner[key] == default[key]:
        del inner[key]


def body_hash(body: Any) -> str:
    """SHA-256 (hex) of a body's canonical JSON."""
    return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds, so that no input makes a worker grow without end. `max_versions` is per model."""

    max_models: Count = 200
    max_versions: Count = 20
    max_features: Count = 2000
    max_categories: Count = 10_000
    max_message_bytes: Annotated[int, Meta(ge=10_000)] = 900_000


class WorkerConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The worker process. `replica` must be the same after a restart (default: the host's name).

    `max_ahead` is how far, in event time, a partition may run ahead of the others. `series_limit`
    bounds the series with a model label that one scrape of Prometheus holds.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 9465
    commit_interval: Duration = 200 * MILLISECOND
    checkpoint_interval: Duration = 30 * SECOND
    replica: Name | None = None
    max_ahead: Duration = HOUR
    series_limit: Count = 20_000

    @property
    def replica_name(self) -> str:
        """`replica`, or the host's name."""
        return self.replica or socket.gethostname()


class IdleConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """After how long without a record a partition counts as idle; None is never."""

    after: DurationOrNever = 5 * SECOND


class AlertConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Links that alerts carry; empty for none."""

    generator_url: str = ""
    runbook_url: str = ""


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything. `models` holds the models that the file names, defaults filled in."""

    kafka: KafkaConfig = field(default_factory=KafkaConfig)
    defaults: Defaults = field(default_factory=Defaults)
    models: dict[str, ModelConfig] = {}
    limits: Limits = field(default_factory=Limits)
    worker: WorkerConfig = field(default_factory=WorkerConfig)
    idle: IdleConfig = field(default_factory=IdleConfig)
    alert: AlertConfig = field(default_factory=AlertConfig)

    def model(self, name: str) -> ResolvedModel:
        """The settings of a model, whether the file names it or not."""
        settings: Defaults = self.models.get(name, self.defaults)
        given = {key: getattr(settings, key) for key in settings.__struct_fields__}
        return ResolvedModel(name=name, **given)

    @property
    def pane_quantum(self) -> int:
        """The greatest length (microseconds) that divides every model's pane, undeclared ones' too."""
        return math.gcd(self.defaults.pane, *(model.pane for model in self.models.values()))

    def with_brokers(self, brokers: str) -> Config:
        """The same with other brokers (a command line's `--brokers`)."""
        return msgspec.structs.replace(self, kafka=msgspec.structs.replace(self.kafka, brokers=brokers))
