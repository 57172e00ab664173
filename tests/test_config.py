"""Configuration: what is written is what is set, and every mistake is answered with its path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from stream_monitor.config import Config, config_from, load_config
from stream_monitor.config.durations import PERIODS, parse_duration
from stream_monitor.config.settings import CAME_LATER, ResolvedModel
from stream_monitor.errors import ConfigError
from stream_monitor.records import TOPICS

SECOND = 1_000_000
NO_ENV: dict[str, str] = {}
EXAMPLE = """
kafka:
  brokers: kafka:9092
  properties: {security.protocol: SASL_SSL, sasl.password: "${PASSWORD}", enable.x: true}
  topic_prefix: shop.
  topics: {alerts: pager}
  partitions: "${PARTITIONS}"
defaults:
  pane: 10s
  windows: [1m, 15m, 1h]
  alert_budget: {false_alarms: 2, per: day}
models:
  car_loan:
    columns: {id: id, timestamp: timestamp, prediction: y_pred_proba, label: repaid}
    features: [car_value, salary_range]
    baseline: data/reference.parquet
    alert_budget: {per: year}
    pane: 15s
    learn: {events: 500}
  plain:
idle: {after: never}
worker: {commit_interval: 500ms, port: 0}
"""


def of(text: str, **env: str) -> Config:
    return config_from(yaml.safe_load(text), env=env)


def test_an_example_is_read_as_written(tmp_path: Path) -> None:
    path = tmp_path / "monitor.yaml"
    path.write_text(EXAMPLE)
    config = load_config(path, env={"PASSWORD": "007", "PARTITIONS": "12"})
    assert config.kafka.properties == {
        "security.protocol": "SASL_SSL",
        "sasl.password": "007",
        "enable.x": True,
    }
    assert config.kafka.partitions == 12
    assert [config.kafka.topic(name) for name in ("alerts", "labels")] == ["pager", "shop.labels"]
    assert config.defaults.windows == (60 * SECOND, 900 * SECOND, 3600 * SECOND)
    assert config.idle.after is None
    assert (config.worker.commit_interval, config.worker.port) == (SECOND // 2, 0)
    loan = config.model("car_loan")
    assert (loan.name, loan.pane, loan.learn.events) == ("car_loan", 15 * SECOND, 500)
    assert (loan.alert_budget.false_alarms, loan.alert_budget.per) == (2.0, "year")
    assert loan.alert_budget.period == 365 * 86_400 * SECOND
    assert loan.columns.prediction == "y_pred_proba"
    assert loan.features == ["car_value", "salary_range"]
    assert loan.baseline == str(tmp_path / "data" / "reference.parquet")
    assert config.pane_quantum == 5 * SECOND


def test_everything_has_a_default_and_unnamed_models_take_them(tmp_path: Path) -> None:
    path = tmp_path / "monitor.yaml"
    path.write_text("")
    config = load_config(path, env=NO_ENV)
    assert config == config_from({}, env=NO_ENV) == Config()
    model = config.model("never heard of")
    assert (model.pane, model.windows) == (10 * SECOND, (60 * SECOND, 900 * SECOND, 3600 * SECOND))
    assert (model.out_of_orderness, model.allowed_lateness) == (5 * SECOND, 3600 * SECOND)
    assert (model.alert_budget.false_alarms, model.alert_budget.per) == (1.0, "week")
    assert (model.effect_floor, model.psi_floor, model.resolve_after) == (0.01, 0.02, 3)
    assert (model.features, model.baseline, model.learn.events) == ("all", None, 5000)
    assert config.kafka.brokers == "localhost:9092"
    assert [config.kafka.topic(name) for name in TOPICS] == list(TOPICS)
    assert config.pane_quantum == model.pane
    assert config.worker.replica_name


def test_models_inherit_shares_one_by_one() -> None:
    config = of("""
defaults: {alert_budget: {shares: {adwin: 0, window: 0.1}}}
models: {a: {alert_budget: {shares: {window: 0.25}}}, b: {}}
""")
    assert config.model("a").alert_budget.shares.by_name == {
        "e-detector": 0.7,
        "window": 0.25,
        "page-hinkley": 0.05,
        "adwin": 0.0,
    }
    assert config.model("b").alert_budget.shares.window == 0.1
    assert config.model("c").alert_budget.shares == config.model("b").alert_budget.shares


def test_the_environment_s_brokers_win_and_the_command_line_s_over_them() -> None:
    config = of("kafka: {brokers: file:1}", KAFKA_BROKERS="env:2")
    assert config.kafka.brokers == "env:2"
    assert config.with_brokers("line:3").kafka.brokers == "line:3"
    assert of("kafka: {brokers: file:1}", KAFKA_BROKERS="").kafka.brokers == "file:1"


def test_a_dollar_can_be_written() -> None:
    assert of("alert: {generator_url: 'a$${X}b${Y}$c'}", Y="!").alert.generator_url == "a${X}b!$c"


def test_printing_shows_no_passwords() -> None:
    config = of("kafka: {properties: {sasl.password: hunter2}}")
    assert "hunter2" not in repr(config)
    assert "sasl.password" in repr(config)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "models: {car_loan: {colums: {}}}",
            "`models.car_loan.colums`: unknown key; did you mean `columns`?",
        ),
        (
            "models: {a: {columns: {timestmp: t}}}",
            "`models.a.columns.timestmp`: unknown key; did you mean `timestamp`?",
        ),
        ("modls: {}", "`modls`: unknown key; did you mean `models`?"),
        ("defaults: {alert_budget: {false_alarm: 1}}", "did you mean `false_alarms`?"),
        (
            "defaults: {alert_budget: {shares: {edetector: .5}}}",
            "`defaults.alert_budget.shares.edetector`: unknown key; did you mean `e-detector`?",
        ),
        (
            "models: {a: {alert_budget: {shares: {window: .4}}}}",
            "`models.a.alert_budget.shares`: they add up to 1.2, at most 1 can be spent (e-detector 0.7",
        ),
        (
            "defaults: {alert_budget: {shares: {e-detector: 0, window: 0, page-hinkley: 0, adwin: 0}}}",
            "`defaults.alert_budget.shares`: no detector has a share, so nothing could ever alarm",
        ),
        (
            "defaults: {alert_budget: {shares: {adwin: 1.5}}}",
            "`defaults.alert_budget.shares.adwin`: expected number, ≥ 0, ≤ 1, found 1.5",
        ),
        ("kafka: {topics: {alert: x}}", "`kafka.topics.alert`: unknown key; did you mean `alerts`?"),
        ("zzz: 1", "`zzz`: unknown key; known are kafka, defaults, models"),
        ("models: {a: {threshold: 1}}", "known are pane, windows, allowed_lateness, alert_budget,"),
        ("defaults: {threshold: 1}", "known are pane, windows, out_of_orderness, allowed_lateness,"),
        ("models: {a: {out_of_orderness: 1s}}", "carries many models, so set it under `defaults`"),
        ("defaults: {pane: 10}", "`defaults.pane`: 10 is not a duration"),
        ("defaults: {pane: 10 sec}", "`defaults.pane`: '10 sec' is not a duration"),
        ("defaults: {windows: [1m, x]}", "`defaults.windows[1]`: 'x' is not a duration"),
        ("defaults: {windows: 1m}", "`defaults.windows`: expected list of durations, found '1m'"),
        ("idle: {after: nver}", "(or `never`)"),
        ("defaults: {pane: 500ms}", "`defaults.pane`: a pane lasts from 1s to 1h"),
        ("models: {a: {pane: 2h}}", "`models.a.pane`: a pane lasts from 1s to 1h"),
        ("models: {a: {pane: 7s}}", "`models.a.windows[0]`: a window must be a multiple of the pane"),
        ("defaults: {windows: []}", "`defaults.windows`: at least one"),
        ("defaults: {windows: [1m, 60s]}", "`defaults.windows[1]`: the same window is given twice"),
        ("models: {a: {segments: [x, y, x]}}", "`models.a.segments[2]`: 'x' is given twice"),
        ("defaults: {segments: [a, b, c, d, e]}", "`defaults.segments`: 5 of them, at most 4 are watched"),
        ("defaults: {segments: region}", "`defaults.segments`: expected list of texts, found 'region'"),
        ("models: {a: {resolve_after: 0}}", "`models.a.resolve_after`: expected whole number, ≥ 1, found 0"),
        (
            "models: {a: {alert_budget: {false_alarms: 0}}}",
            "`models.a.alert_budget.false_alarms`: expected number, > 0, ≤ 1,000,000, found 0",
        ),
        (
            "defaults: {alert_budget: {per: weak}}",
            ".per`: expected `day` or `week` or `month` or `year`, found 'weak'; did you",
        ),
        ("models: {a: {features: [1]}}", "`models.a.features[0]`: expected text, found 1"),
        (
            "models: {a: {types: {x: txt}}}",
            "`models.a.types.x`: expected `text`, found 'txt'; did you mean `text`?",
        ),
        ("models: {a: {types: [x]}}", "`models.a.types`: expected keys and values, found a list"),
        (
            "defaults: {segments: [x]}\nmodels: {a: {types: {x: text}}}",
            "`models.a.segments[0]`: 'x' is a text (`types`), and rows are told apart by few values",
        ),
        (
            "models: {a: {features: some}}",
            "`models.a.features`: expected `all` or list of texts, found 'some'",
        ),
        (
            "models: {a: {out_of_orderness: 3s}}",
            "`models.a.out_of_orderness`: a partition carries many models",
        ),
        ("models: [a]", "`models`: expected keys and values, found a list"),
        ("[]", "the configuration: expected keys and values, found a list"),
        ("models: {on: {}}", "`models`: key True is not text; put it in quotes"),
        ('models: {"": {}}', "must be 1 to 200 printable characters"),
        ("limits: {max_models: 1}\nmodels: {a: , b: }", "`models`: 2 models, `limits.max_models` is 1"),
        ("kafka: {brokers: '${NOPE}'}", "`kafka.brokers`: the environment has no variable 'NOPE'"),
        ("kafka: {partitions: many}", "`kafka.partitions`: expected whole number, ≥ 1, found 'many'"),
        ("kafka: {topics: {alerts: labels}}", "are both named 'labels'"),
        ("kafka: {topic_prefix: 'a b'}", "is not a name that Kafka takes"),
        ("worker: {port: 99999}", "`worker.port`: expected whole number, ≥ 0, ≤ 65,535, found 99999"),
    ],
)
def test_mistakes_are_answered_with_path_and_remedy(text: str, error: str) -> None:
    with pytest.raises(ConfigError) as caught:
        of(text)
    assert error in str(caught.value)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        of(
            """
            kafka: {start: newest, brokers: "${NOPE}"}
            modls: {}
            defaults: {pane: 10, windows: [1m, 2x], learn: {events: many}}
            models: {a: {featurs: all, psi_floor: -1}, b: 3}
            """
        )
    assert [line.strip().split(":")[0].strip("`") for line in str(caught.value).splitlines()] == [
        "9 mistakes", "kafka.brokers", "kafka.start", "modls", "defaults.pane", "defaults.windows[1]",
        "defaults.learn.events", "models.a.featurs", "models.a.psi_floor", "models.b",
    ]  # fmt: skip
    with pytest.raises(ConfigError) as caught:  # what fields demand together, once each value is right
        of(
            "defaults: {pane: 7s}\nkafka: {topics: {alerts: labels}}\n"
            "limits: {max_models: 1}\nmodels: {a: , b: }"
        )
    assert str(caught.value).startswith("5 mistakes:")


def test_an_error_does_not_repeat_what_may_be_a_password() -> None:
    with pytest.raises(ConfigError) as caught:
        config_from({"kafka": {"properties": {"sasl.password": b"hunter2"}}}, env={})
    assert "kafka.properties.sasl.password" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a: [", "not YAML"),
        (b"kafka: {}\nkafka: {}", "key 'kafka' is given twice"),
        (b"!!python/object/apply:os.system ['true']", "not YAML"),
        (b"\xff", "UTF-8|not YAML"),
        (b"modls: {}", "did you mean `models`"),
    ],
)
def test_a_file_s_errors_name_the_file(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "monitor.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=words) as caught:
        load_config(path, env=NO_ENV)
    assert str(path) in str(caught.value)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "absent.yaml")


def test_an_unknown_topic_is_refused() -> None:
    with pytest.raises(ConfigError, match="no such topic"):
        Config().kafka.topic("alert")


def test_keys_that_came_later_leave_the_hash_of_older_settings_as_it_was() -> None:
    plain = of("").model("a")
    assert plain.hash == "0ab9595f5bb8520fa2df3beaad3b8e03bc68a9b0b367c084ae847380463e9fa3"
    body = plain.body
    assert ResolvedModel.of_body(body, plain.hash, "a") == plain
    for path in CAME_LATER:
        *outer, key = path.split(".")
        for name in outer:
            body = body[name]
        assert key not in body
    other = of("defaults: {alert_budget: {shares: {adwin: 0}}}").model("a")
    assert ResolvedModel.of_body(other.body, other.hash, "a").alert_budget.shares.adwin == 0.0


def test_the_hash_covers_decisions_only() -> None:
    base = of("models: {a: {}}").model("a").hash
    for same in (
        "models: {a: {columns: {id: i}, baseline: x.parquet}}",
        "kafka: {brokers: other:1}\nworker: {port: 1}\nalert: {runbook_url: u}",
        "defaults: {pane: 10000ms, windows: [60s, 15m, 60m]}",
    ):
        assert of(same).model("a").hash == base
    assert of("").model("b").hash == base
    features = [
        of(f"models: {{a: {{features: {names}}}}}").model("a").hash for names in ("[x, y]", "[y, x]", "[x]")
    ]
    assert features[0] == features[1] != features[2]
    changes = (
        "pane: 5s", "windows: [1m]", "allowed_lateness: 2h", "alert_budget: {per: day}", "effect_floor: .02",
        "alert_budget: {shares: {adwin: 0}}",
        "reference: rolling(7d)", "reference: seasonal(week)", "anchor_floor: .2",
        "psi_floor: .03", "learn: {events: 6000}", "resolve_after: 4", "out_of_orderness: 6s",
    )  # fmt: skip
    hashes = {of(f"defaults: {{{change}}}").model("a").hash for change in changes}
    assert len(hashes | {base, features[0], features[2]}) == len(changes) + 3


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("reference: rolling", "expected `training`, `rolling\\(7d\\)` with any duration"),
        ("reference: rolling(7)", "found 'rolling\\(7\\)'"),
        ("reference: seasonal(month)", "or `seasonal\\(week\\)`, found"),
        ("reference: 7d", "defaults.reference"),
        ("reference: rolling(10m)", "lasts from 1h \\(and 7 panes\\) to 365d, not 10m"),
        ("reference: rolling(1h), pane: 10m, windows: [1h]", "lasts from 70m"),
        ("reference: rolling(400d)", "to 365d, not 400d"),
        ("reference: seasonal(day), effect_floor: .2", "anchor is the wider one; found 0.1"),
        ("anchor_floor: .5", "≤ 0.4"),
    ],
)
def test_what_cannot_be_compared_with_is_refused(written: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        of(f"defaults: {{{written}}}")
    with pytest.raises(ConfigError, match=said.replace("defaults.", "models.a.")):
        of(f"models: {{a: {{{written}}}}}")


def test_what_panes_are_compared_with() -> None:
    compared = {
        text: of(f"models: {{a: {{reference: {text}}}}}").model("a").compared
        for text in ("training", "rolling(7d)", "rolling(1h)", "seasonal(day)", "seasonal(week)")
    }
    assert [one.kind for one in compared.values()] == [
        "training",
        "rolling",
        "rolling",
        "seasonal",
        "seasonal",
    ]
    assert [one.length // (3600 * SECOND) for one in compared.values()] == [0, 168, 1, 0, 0]
    assert [one.cycle for one in compared.values()][3:] == ["day", "week"]
    assert of("").model("a").compared.kind == "training"


@given(
    st.integers(0, 999_999_999), st.sampled_from([("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)])
)
def test_durations_are_number_times_unit(number: int, unit: tuple[str, int]) -> None:
    assert parse_duration(f"{number}{unit[0]}") == number * unit[1] * 1000


@given(st.text(max_size=8) | st.integers() | st.none() | st.floats())
def test_what_is_no_duration_is_refused(value: Any) -> None:
    if isinstance(value, str) and value.strip()[:1].isdigit():
        return
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(value)


def test_periods() -> None:
    assert {name: length // (86_400 * SECOND) for name, length in PERIODS.items()} == {
        "day": 1, "week": 7, "month": 30, "year": 365,
    }  # fmt: skip


def test_segments_are_part_of_what_decides_and_their_order_is_not() -> None:
    def of(*segments: str) -> ResolvedModel:
        return config_from({"defaults": {"segments": list(segments)}}, env={}).model("m")

    assert of("a", "b").hash == of("b", "a").hash != of("a").hash
    assert "segments" not in of().body
    assert ResolvedModel.of_body(of("a", "b").body, of("a", "b").hash, "m").segments == ("a", "b")
