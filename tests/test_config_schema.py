"""The JSON Schema of the configuration says what `load` does, and `config show` what holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream_monitor.cli import main
from stream_monitor.config import config_from
from stream_monitor.config.records import ALL_OTHERS
from stream_monitor.config.schema import config_schema, schema_text
from stream_monitor.config.show import REDACTED, document_of, show
from stream_monitor.errors import ConfigError

ROOT = Path(__file__).parents[1]
FILE = ROOT / "schemas" / "config.v1.json"
VALIDATOR = jsonschema.Draft202012Validator(config_schema())
ENV = {"SEVEN": "7", "WORD": "earliest", "TIME": "1m"}


def loads(document: Any) -> bool:
    try:
        config_from(document, env=ENV)
    except ConfigError:
        return False
    return True


def test_the_file_is_what_the_command_prints_and_a_schema(capsys: pytest.CaptureFixture[str]) -> None:
    jsonschema.Draft202012Validator.check_schema(config_schema())
    assert main(["config", "schema"]) == 0
    assert capsys.readouterr().out == schema_text() == FILE.read_text(encoding="utf-8")


def test_every_key_is_described() -> None:
    def walk(schema: dict[str, Any], path: str) -> int:
        found = 0
        for name, inner in schema.get("properties", {}).items():
            if path != "kafka.topics.":
                assert inner.get("description"), f"{path}{name} has no description"
            found += 1 + walk(inner, f"{path}{name}.")
            if isinstance(more := inner.get("additionalProperties"), dict):
                found += walk(more, f"{path}{name}.")
        return found

    assert walk(config_schema(), "") > 60


EXAMPLES = [
    path
    for path in sorted([*ROOT.glob("examples/**/*.yaml"), *ROOT.glob("deploy/**/*.yaml")])
    if set(yaml.safe_load(path.read_text(encoding="utf-8")) or {}) <= set(config_schema()["properties"])
]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_examples_are_valid(path: Path) -> None:
    VALIDATOR.validate(yaml.safe_load(path.read_text(encoding="utf-8")))


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 2


COUNTS = st.sampled_from([0, 1, 5, 200, 200_000, -1, 2.5, True, None, "x", "${SEVEN}", [1]])
NUMBERS: st.SearchStrategy[Any] = st.sampled_from(
    [0, 0.005, 0.4, 0.41, 1, 11, 2_000_000, -1, False, None, "x", "${SEVEN}", {}]
)
TEXTS = st.sampled_from(["a", "", "a b", "${WORD}", 3, None, ["a"], {"a": 1}, True])
TIMES = st.sampled_from(
    ["10s", " 1m ", "200ms", "0s", "10", 10, "1w", "ten", "${TIME}", None, "never", ["1m"]]
)
LENGTHS = st.sampled_from(["1m", "15m", 60, "x", None])  # multiples of every pane below
COLUMNS = st.dictionaries(st.sampled_from(["id", "label", "version", "lable"]), TEXTS, max_size=2)
BUDGET = st.fixed_dictionaries(
    {},
    optional={
        "false_alarms": NUMBERS,
        "per": st.sampled_from(["day", "year", "weak", 1, None, "${TIME}x"]).filter(
            lambda v: v != "${TIME}x"
        ),
        "por": COUNTS,
        "shares": st.sampled_from(
            [None, {}, {"adwin": 0}, {"page-hinkley": 0.04, "adwin": "${SEVEN}"}, {"window": 1.1}, 1]
        )
        | st.sampled_from([{"page_hinkley": 0}, {"e-detector": None}]),
    },
)
MODEL: dict[str, st.SearchStrategy[Any]] = {
    "pane": st.sampled_from(["10s", "5s", "1m", 10, "x", None]),
    "windows": st.lists(LENGTHS, max_size=2, unique=True) | TEXTS,
    "allowed_lateness": TIMES,
    "alert_budget": BUDGET | st.sampled_from([None, 1, []]),
    "effect_floor": NUMBERS,
    "psi_floor": NUMBERS,
    "learn": st.sampled_from(
        [None, {}, {"events": 100}, {"events": 99}, {"events": "${SEVEN}00"}, {"event": 1}, 5]
    ),
    "resolve_after": COUNTS,
}
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "kafka": st.fixed_dictionaries(
            {},
            optional={
                "brokers": TEXTS,
                "properties": st.dictionaries(st.sampled_from(["a.b", "c"]), TEXTS | COUNTS, max_size=2),
                "topic_prefix": st.sampled_from(["", "shop.", "a b", 3, None]),
                "topics": st.dictionaries(st.sampled_from(["alerts", "alert"]), TEXTS, max_size=1),
                "partitions": COUNTS,
                "start": st.sampled_from(["latest", "earliest", "newest", "${WORD}", 1, None]),
            },
        ),
        "defaults": st.fixed_dictionaries({}, optional={**MODEL, "out_of_orderness": TIMES}) | TEXTS,
        "models": st.dictionaries(
            st.sampled_from(["a", "Ünï 1", "", "x" * 201]),
            st.none()
            | st.fixed_dictionaries(
                {},
                optional={
                    **MODEL,
                    "out_of_orderness": TIMES,
                    "columns": COLUMNS | st.none(),
                    "features": st.lists(TEXTS, max_size=2) | st.sampled_from(["all", "some", None, 1]),
                    "types": st.sampled_from(
                        [None, {}, {"x": "text"}, {"x": "txt"}, {"x": None}, ["x"], "text"]
                    ),
                    "baseline": TEXTS,
                },
            ),
            max_size=2,
        ),
        "limits": st.fixed_dictionaries({}, optional={"max_versions": COUNTS, "max_message_bytes": COUNTS}),
        "worker": st.fixed_dictionaries(
            {}, optional={"port": COUNTS, "replica": TEXTS, "host": TEXTS, "max_ahead": TIMES}
        ),
        "idle": st.fixed_dictionaries({}, optional={"after": TIMES}) | TEXTS,
        "alert": st.fixed_dictionaries({}, optional={"runbook_url": TEXTS, "runbok_url": TEXTS}),
    },
)
"""Configurations of which each value alone is right or wrong: nothing that values demand together."""


@settings(deadline=None)
@given(DOCUMENTS)
@example({})
@example(None)
@example({"kafka": None, "models": {"a": None}})
def test_the_schema_accepts_what_load_accepts(document: Any) -> None:
    assert VALIDATOR.is_valid(document) == loads({} if document is None else document)


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(st.sampled_from(["kafka", "models", "defaults", "x"]), inner, max_size=2)
        ),
    )
)
def test_whatever_the_file_holds_the_answer_is_one_of_ours(document: Any) -> None:
    assert loads(document) == VALIDATOR.is_valid(document) or document is None


@pytest.mark.parametrize(
    ("document", "load", "schema"),
    [
        ({"defaults": {"pane": "7s"}}, False, True),
        ({"defaults": {"windows": ["1m", "60s"]}}, False, True),
        ({"kafka": {"topics": {"alerts": "labels"}}}, False, True),
        ({"kafka": {"start": "${TIME}"}}, False, True),
        ({"kafka": {"partitions": "8"}}, True, False),
        ({"kafka": {"partitions": 8.0}}, False, True),
        ({"models": {"a\u0007": None}}, False, True),
    ],
)
def test_where_they_differ(document: Any, load: bool, schema: bool) -> None:
    """The reasons stand in `config.schema`."""
    assert (loads(document), VALIDATOR.is_valid(document)) == (load, schema)


@settings(max_examples=300, deadline=None)  # of which most are refused
@given(DOCUMENTS)
@example({"alert": {"runbook_url": "a$${b}$c"}, "idle": {"after": "never"}, "models": {"a": {"pane": "5s"}}})
def test_what_is_shown_loads_again(document: Any) -> None:
    if not loads(document):
        return
    config = config_from(document, env=ENV, directory="/")
    names = [*config.models, ALL_OTHERS]
    text = show(config, {name: config.model(name).hash for name in names})
    again = yaml.safe_load(text)
    assert VALIDATOR.is_valid(again)
    assert config_from(again, env={}, directory="/elsewhere") == config
    for name in names:
        assert f"hash {config.model(name).hash}" in text
        one = config_from(yaml.safe_load(show(config, {}, name)), env={}, directory="/elsewhere")
        assert one.model(name) == config.model(name)


def test_secrets_are_redacted() -> None:
    names = (
        "sasl.password", "ssl.key.pem", "ssl.key.password", "sasl.oauthbearer.client.secret",
        "sasl.oauthbearer.config", "ssl.keystore.password", "ssl.certificate.pem",
    )  # fmt: skip
    secret = dict.fromkeys(names, "hunter2")
    plain = {"sasl.username": "svc", "security.protocol": "SASL_SSL", "ssl.key.location": "/etc/key.pem"}
    config = config_from({"kafka": {"properties": {**secret, **plain}}}, env={})
    text = show(config, {})
    assert "hunter2" not in text
    shown = document_of(config)["kafka"]["properties"]
    assert {key: shown[key] for key in ("sasl.username", "security.protocol")} == {
        key: plain[key] for key in ("sasl.username", "security.protocol")
    }
    assert {shown[key] for key in secret} == {REDACTED}


def test_the_command_shows_what_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "monitor.yaml"
    file.write_text("defaults: {windows: [1m]}\nmodels: {loan: {pane: 30s, baseline: rows.csv}}\n")
    assert main(["config", "show", "--config", str(file), "--brokers", "b:1"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["kafka"]["brokers"] == "b:1"
    assert (shown["models"]["loan"]["pane"], shown["models"]["loan"]["windows"]) == ("30s", ["1m"])
    assert shown["models"]["loan"]["baseline"] == str(tmp_path / "rows.csv")
    assert main(["config", "show", "--config", str(file), "--model", "other"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert list(shown["models"]) == ["other"]
    assert shown["models"]["other"]["pane"] == "10s"
