"""The text of docs/configuration.md: every key with its type, default and meaning.

Keys, types, limits and defaults are read from the classes of `settings`, whose docstrings head
the sections. What a single key means stands below; a key without a meaning, and a meaning without
a key, is an error, so the page cannot fall behind the code.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from inspect import getdoc
from typing import Any, Final

import msgspec

from stream_monitor.config.durations import DAY, PERIODS, duration_name
from stream_monitor.config.settings import (
    AlertBudget,
    AlertConfig,
    ColumnMapping,
    Config,
    Defaults,
    IdleConfig,
    KafkaConfig,
    LearnConfig,
    Limits,
    ModelConfig,
    Shares,
    WorkerConfig,
)
from stream_monitor.config.words import duration_rule, type_words
from stream_monitor.records import TOPICS

SECTIONS: Final[tuple[tuple[str, type[msgspec.Struct]], ...]] = (
    ("kafka", KafkaConfig),
    ("defaults", Defaults),
    ("models.NAME", ModelConfig),
    ("limits", Limits),
    ("worker", WorkerConfig),
    ("idle", IdleConfig),
    ("alert", AlertConfig),
)
"""Path and class of each section, in the page's order."""
NESTED: Final[Mapping[type, str]] = {
    AlertBudget: "alert_budget",
    Shares: "shares",
    LearnConfig: "learn",
    ColumnMapping: "columns",
}
"""Classes that are shown inside the section of the key that holds them."""

_MEANINGS = """\
kafka.brokers: Kafka's bootstrap addresses, `host:port` with commas between.
kafka.properties: Settings of the Kafka client (librdkafka) by their own names: security, buffers, time-outs. The few that exactness needs cannot be changed; see [operations](operations.md#broker-and-client-settings).
kafka.topic_prefix: Put before every topic's name that `topics` does not give.
kafka.topics: A topic's name on the broker, where it is not the usual one. Keys: {topics}.
kafka.partitions: Partitions of the topics that `stream-monitor topics create` makes (`baselines` and `configs` have one).
kafka.replication: Copies of each partition of those topics.
kafka.group: First part of the consumer groups' names and of the transactional ids. It separates offsets, state and the settings in effect, **not** baselines, alerts or aggregates: another group starts with empty state and is judged by the same baselines, and its alerts stand in the same topic. For a separate trial use `topic_prefix`.
kafka.start: Where OBSERVE begins in a partition of `predictions` for which the group has no offset.
defaults.pane: The smallest interval of event time that is judged; from 1s to 1h.
defaults.windows: What aggregates are shown and window tests run for; multiples of the pane, each given once. The shortest also holds and ends episodes.
defaults.out_of_orderness: How far events of a partition may be out of order without being late. A partition carries many models, so it stands here only, not under a model.
defaults.allowed_lateness: How long after a pane's end late rows still correct aggregates; later ones are only counted (`expired`).
defaults.alert_budget: What all thresholds follow from; see [monitors](monitors.md#the-alert-budget).
defaults.alert_budget.false_alarms: False openings of an incident that are expected at most in a period.
defaults.alert_budget.per: The period, of event time: {periods}.
defaults.alert_budget.shares: Who spends it. They add up to 1 at the most; what is left over nobody spends. A share of 0 turns a detector off; see [monitors](monitors.md#shares).
defaults.alert_budget.shares.e-detector: Share of the e-detector, the one with a proof.
defaults.alert_budget.shares.window: Share of the window tests, all lengths together. At 0 windows are shown, and hold and end episodes, but open none.
defaults.alert_budget.shares.page-hinkley: Share of Page-Hinkley, all channels together.
defaults.alert_budget.shares.adwin: Share of ADWIN, all channels together.
defaults.effect_floor: The least shift of a channel's mean that counts as a change; the location channel has the scale of the feature's own distribution, 0 to 1.
defaults.psi_floor: The least divergence that the window test counts as a change, on about the scale of the population stability index.
defaults.learn: How a model without a baseline gets one.
defaults.learn.events: From how many events a baseline is learned.
defaults.segments: What rows are told apart by, at most 4: names of features, of columns of a file, or of what an event says under `segments`. Each of their values with 1,000 rows in the baseline is watched by itself as well; see [segments](segments.md).
defaults.reference: What panes are compared with: `training`, the baseline; `rolling(7d)`, the last seven days (or another time) outside incidents; `seasonal(day)` or `seasonal(week)`, the baseline with an hour's and a day's own means, learned where the baseline does not hold them. See [references](references.md).
defaults.anchor_floor: Where `reference` is not `training`: the least shift against the baseline itself that counts as a change, whatever the reference has followed. On the scale of `effect_floor`, and not below it.
defaults.resolve_after: How many clean windows in a row end an episode.
defaults.second_opinions: river's detectors, beside ours, for comparison: they see each feature's mean of u, pane by pane, with river's own settings, and are only counted (`stream_monitor_second_opinions_total`). They open, hold and end nothing and have no share of the budget. Needs the extra `river`; see [monitors](monitors.md#second-opinions).
models.NAME.columns: Names of a file's columns that are not features; for baselines and replay. Events on Kafka need none of it.
models.NAME.columns.id: The event's id. Looked for as `id` where it is not given.
models.NAME.columns.timestamp: The event's time. Looked for as `timestamp`.
models.NAME.columns.prediction: What the model answered: a number or a class. Looked for as `prediction`.
models.NAME.columns.prediction_class: The class; read as the prediction where no column gives that, and in no case a feature.
models.NAME.columns.label: The truth: not a feature. Looked for as `label`; may be absent also where it is given.
models.NAME.columns.version: The model's version, row by row. Looked for as `model_version`.
models.NAME.columns.latency_ms: Milliseconds that the model took. Looked for as `latency_ms`.
models.NAME.features: `all`, or the names of the features to watch. What the model answered is watched in any case.
models.NAME.types: How a feature is read that does not say so itself: `text` for strings that hardly repeat. A text is watched by its length, words and kinds of characters, and no category; see [channels](channels.md#text). Other features are what their values are: numbers, categories, booleans, or embeddings (lists of numbers).
models.NAME.baseline: A profile (`.json`, from `stream-monitor baseline create`) or a file of rows (`.parquet`, `.csv`, `.jsonl`). A relative path starts from this file's folder. Without it the model is learned.
limits.max_models: Models that a partition of `summaries` judges, and that the file may name; events of further ones are not judged.
limits.max_versions: Versions of each model that are judged.
limits.max_features: Features of a baseline. The model's answers are kept first, then the others by name.
limits.max_categories: Categories that a baseline knows of a feature: the most frequent ones.
limits.max_message_bytes: Largest record that is written; longer ones are split, or compressed. `stream-monitor topics create` plans the topics' limits to fit.
worker.host: Address of the HTTP endpoint. It has neither passwords nor TLS: put something before it that has, if it is not loopback.
worker.port: Its port; 0 takes any free one.
worker.commit_interval: Time between Kafka transactions: how long an output may wait.
worker.checkpoint_interval: Time between checkpoints of JUDGE: what a restart reads again at the most.
worker.replica: The worker's name in its transactional ids: another for each worker, the same after a restart. Not given: the host's name.
worker.max_ahead: How far, in event time, a partition may run ahead of the slowest one of the same worker that has records waiting.
worker.series_limit: Prometheus series with a model label that one scrape of this worker holds at the most; what is left out is counted, see [metrics](metrics.md).
idle.after: How long a partition says nothing until the worker moves its time by a tick; `never` writes none, and silent partitions hold all panes open.
alert.generator_url: Written into each alert as `generatorURL`.
alert.runbook_url: Written into each alert's annotations as `runbook_url`.
"""  # noqa: E501
"""What each key means, a line each. Keys that `models.NAME` shares with `defaults` stand there."""

_HEAD = """\
# Configuration

<!-- Written by `make pages`; change `config/`, not this file. -->

One YAML file, the same for workers, replay and baselines. Every key has a default, so an empty file is a valid
one, and a model that is not named is watched with the defaults. `stream-monitor validate --config monitor.yaml`
reads a file as a worker would and says what holds for each model.

```yaml
kafka:
  brokers: broker-1:9092,broker-2:9092
  partitions: 8
  replication: 3
  properties:
    security.protocol: SASL_SSL
    sasl.mechanism: SCRAM-SHA-512
    sasl.username: stream-monitor
    sasl.password: ${KAFKA_PASSWORD}

defaults:
  pane: 10s
  windows: [1m, 15m, 1h]
  alert_budget: {false_alarms: 1, per: week}

models:
  car_loan:
    baseline: reference.parquet
    alert_budget: {false_alarms: 1, per: month}
  churn:
    features: [tenure, plan, region]
    learn: {events: 20000}
  support:
    types: {question: text}

alert:
  runbook_url: https://wiki.example/drift
```

- **A key that does not exist is an error** that names the nearest one that does; so is a key given twice.
- **Durations** are a whole number with a unit: `ms`, `s`, `m`, `h` or `d`, as in `200ms` or `15m`. A bare number is
  refused, because nobody can tell its unit.
- **The environment:** `${NAME}` in any string is replaced by that variable, and a variable that is not set is an
  error; `$${` stands for a plain `${`.
- **Which brokers:** `--brokers` on the command line wins over the variable `KAFKA_BROKERS`, and that over the file.
- **Models inherit:** what a model does not say is taken from `defaults`, also inside `alert_budget`, its `shares`, and `learn`.
- **The configuration's hash** stands in every alert and aggregate. It covers what decides (panes, windows, lateness,
  budget, floors, learning, features and their types, `resolve_after`), not names of files, topics or brokers.
- **A change** of what the hash covers takes effect for the whole group at one pane, a bound of all windows, some time
  after the first worker started with the new file; see [operations](operations.md#changing-the-configuration). A
  model's `pane` cannot be changed within a group.

`stream-monitor config show --config monitor.yaml` prints what holds: every default filled in, the environment put in
place, and for each model the hash that alerts name. What it prints can be loaded again; of the client's properties
those that may be secrets are redacted.

Editors check and complete the file by its JSON Schema, [schemas/config.v1.json](../schemas/config.v1.json). An
installed Stream Monitor prints it, and the first line of a file names it (for yaml-language-server: VS Code's YAML
extension, Neovim, Emacs and others):

```sh
stream-monitor config schema > config.v1.json
```

```yaml
# yaml-language-server: $schema=config.v1.json
models:
  car_loan:
```
"""  # noqa: E501


def meanings() -> dict[str, str]:
    """What each key means, by its path."""
    words = {
        "{topics}": ", ".join(f"`{name}`" for name in TOPICS),
        "{periods}": ", ".join(f"`{name}` ({length // DAY}d)" for name, length in PERIODS.items()),
    }
    text = _MEANINGS
    for place, given in words.items():
        text = text.replace(place, given)
    return dict(line.split(": ", 1) for line in text.splitlines())


def reference() -> str:
    """The whole page. `LookupError` where a key has no meaning, or a meaning no key."""
    lines = [_HEAD]
    left = meanings()
    for path, kind in SECTIONS:
        lines += [f"## `{path}`", "", *_paragraphs(kind), ""]
        lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
        for key, kind_text, default in _keys(kind, path):
            if key not in left:
                raise LookupError(f"{key} has no meaning in config/reference.py")
            lines.append(f"| `{key.removeprefix(f'{path}.')}` | {kind_text} | {default} | {left.pop(key)} |")
        lines.append("")
    if left:
        raise LookupError(f"config/reference.py explains what does not exist: {', '.join(sorted(left))}")
    if set(Config.__struct_fields__) != {path.partition(".")[0] for path, _ in SECTIONS}:
        raise LookupError("config/reference.py lacks a section")
    return "\n".join(lines).rstrip() + "\n"


def _paragraphs(kind: type[msgspec.Struct]) -> list[str]:
    text = getdoc(kind) or ""
    if kind is ModelConfig:
        text += "\n\nEvery key of `defaults` but `out_of_orderness` can stand here too, for this model alone."
    return text.splitlines()


def _keys(kind: type[msgspec.Struct], path: str) -> Iterator[tuple[str, str, str]]:
    """Path, type and default of each key, those of nested mappings behind the key that holds them."""
    hints = typing.get_type_hints(kind, include_extras=True)
    inherited = set(Defaults.__struct_fields__) if kind is ModelConfig else set()
    for found in msgspec.structs.fields(kind):
        if found.name in inherited:
            continue
        at = f"{path}.{found.encode_name}"
        hint = hints[found.name]
        yield at, "keys below" if hint in NESTED else type_words(hint), _default(found, hint)
        if hint in NESTED:
            yield from _keys(hint, at)


def _default(found: msgspec.structs.FieldInfo, hint: Any) -> str:
    value = found.default
    if value is msgspec.NODEFAULT and found.default_factory is not msgspec.NODEFAULT:
        value = found.default_factory()
    if isinstance(value, msgspec.Struct):
        return "see below"
    if isinstance(value, tuple) and value:
        return f"`[{', '.join(duration_name(item) for item in value)}]`"
    if any(map(duration_rule, [hint, *typing.get_args(hint)])):
        return f"`{duration_name(value)}`"
    if value is None or value in ("", {}, ()):
        return "none"
    return f"`{value}`"
