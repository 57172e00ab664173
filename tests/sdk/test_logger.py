from __future__ import annotations

import json
import multiprocessing
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from multiprocessing.connection import Connection
from types import MappingProxyType
from typing import Any, cast

import numpy as np
import orjson
import pandas as pd
import pytest
from confluent_kafka import KafkaError

import stream_monitor.sdk
from stream_monitor.errors import EventError
from stream_monitor.events.pack import is_pack
from stream_monitor.sdk.logger import PredictionLogger
from tests.events.build import NOON, facts
from tests.sdk.fake import Factory

NEVER = 3_600_000.0
"""Linger of an hour: nothing is sent but by flush, so that tests do not depend on timing."""


@pytest.fixture
def factory() -> Factory:
    return Factory()


@pytest.fixture
def logger(factory: Factory) -> Iterator[PredictionLogger]:
    made = PredictionLogger(
        "kafka:9092", "loans", 3, producer=factory, linger_ms=NEVER, clock=lambda: NOON * 1_000_000 + 250_000
    )
    yield made
    made.close()


def values(factory: Factory) -> list[bytes]:
    return [value for _, value, _ in factory.only.messages]


def test_few_events_travel_as_json(logger: PredictionLogger, factory: Factory) -> None:
    logger.log({"age": 41}, 0.5, id="a", latency_ms=2.5, error="timeout", segments={"s": "t"}, trace="00-1")
    assert (logger.waiting, logger.sent) == (1, 0)
    assert logger.flush() == 0
    assert [json.loads(value) for value in values(factory)] == [
        {
            "id": "a", "model": "loans", "model_version": 3, "timestamp": NOON + 0.25,
            "features": {"age": 41},
            "prediction": 0.5, "latency_ms": 2.5, "error": "timeout", "segments": {"s": "t"}, "trace": "00-1",
        }
    ]  # fmt: skip
    assert factory.only.messages[0][0] == "predictions"
    assert (logger.waiting, logger.sent, logger.failed, logger.dropped) == (0, 1, 0, 0)


def test_many_events_travel_as_packs(logger: PredictionLogger, factory: Factory) -> None:
    ids = [logger.log({"x": row, "c": "ab"[row % 2]}, row / 1200) for row in range(1203)]
    assert len(set(ids)) == 1203
    logger.flush()
    assert {is_pack(value) for value in values(factory)} == {True}
    decoded = factory.only.decoded()
    # A full pack wakes the thread, which may take what is there before the rest is logged.
    sizes = [len(batch) for batch in decoded.batches]
    assert sum(sizes) == 1203
    assert sizes[0] == max(sizes) == 500
    rows = sorted(facts(decoded).items())
    assert [row["id"] for _, row in rows] == ids
    assert [row["numbers"]["x"] for _, row in rows] == list(range(1203))
    assert {row["time"] for _, row in rows} == {NOON * 1000 + 250}
    assert logger.sent == 1203


@pytest.mark.parametrize(("events", "packs"), [(7, 0), (8, 1), (500, 1), (507, 1), (508, 2)])
def test_packs_from_eight_events_up(
    logger: PredictionLogger, factory: Factory, events: int, packs: int
) -> None:
    for _ in range(events):
        logger.log({"x": 1.0}, 0.5)
    logger.flush()
    assert sum(map(is_pack, values(factory))) == packs
    assert factory.only.decoded().rows == events


def test_versions_are_packed_apart(logger: PredictionLogger, factory: Factory) -> None:
    for row in range(20):
        logger.log({"x": 1.0}, 0.5, version=row % 2)
    logger.flush()
    assert sorted((batch.version, len(batch)) for batch in factory.only.decoded().batches) == [
        ("0", 10),
        ("1", 10),
    ]


@pytest.mark.parametrize("events", [1, 20])
def test_values_of_numpy_pandas_and_python(logger: PredictionLogger, factory: Factory, events: int) -> None:
    features: dict[str, Any] = {
        "f32": np.float32(0.5), "i64": np.int64(7), "bool": np.bool_(True), "str": np.str_("a"),
        "decimal": Decimal("1.5"), "array": np.array([3.0, 4.0]), "tuple": (3, 4), "nan": float("nan"),
        "none": None, "big": 10**30, "date": datetime(2026, 1, 1, tzinfo=UTC),
    }  # fmt: skip
    for _ in range(events):
        logger.log(features, {"yes": np.float64(0.75), "no": 0.25})
    logger.flush()
    assert logger.last_error is None
    row = facts(factory.only.decoded())[0, 0]
    numbers = {name: value for name, value in row["numbers"].items() if value != "mistyped"}
    assert numbers == {
        "f32": 0.5, "i64": 7.0, "decimal": 1.5, "array.norm": 5.0, "array.mean": 3.5, "tuple.norm": 5.0,
        "tuple.mean": 3.5, "big": 1e30, "prediction.yes": 0.75, "prediction.no": 0.25,
    }  # fmt: skip
    words = {name: value[1] for name, value in row["categories"].items() if value != "mistyped"}
    assert words == {"bool": "true", "str": "a", "date": "2026-01-01 00:00:00+00:00", "prediction": "yes"}


@pytest.mark.parametrize("events", [1, 20])
@pytest.mark.parametrize("latency", [np.float64(4.5), np.float32(4.5), Decimal("4.5")])
def test_latency_and_error_as_numpy_has_them(
    logger: PredictionLogger, factory: Factory, events: int, latency: Any
) -> None:
    failed: Any = np.bool_(True)
    for _ in range(events):
        logger.log({"x": 1.0}, 0.5, latency_ms=latency, error=failed)
    logger.flush()
    assert logger.last_error is None
    batches = factory.only.decoded().batches
    assert sum(len(batch) for batch in batches) == events
    for batch in batches:
        assert batch.latency_ms is not None
        assert set(batch.latency_ms.tolist()) == {4.5}


def test_nan_among_strings_is_missing_and_packed(logger: PredictionLogger, factory: Factory) -> None:
    for row in range(10):
        logger.log({"c": float("nan") if row % 2 else "a"}, 1)
    logger.flush()
    assert list(map(is_pack, values(factory))) == [True]
    seen = [row["categories"].get("c") for _, row in sorted(facts(factory.only.decoded()).items())]
    assert seen == [("is", "a"), None] * 5


def test_mixed_columns_go_as_json(logger: PredictionLogger, factory: Factory) -> None:
    for row in range(10):
        logger.log({"c": row if row % 2 else "a"}, 1)
    logger.flush()
    assert list(map(is_pack, values(factory))) == [False] * 10
    assert factory.only.decoded().rows == 10


def test_messages_stay_below_the_limit(factory: Factory) -> None:
    logger = PredictionLogger("k", "m", producer=factory, linger_ms=NEVER, max_bytes=20_000)
    for row in range(100):
        logger.log({"text": f"{row}" * 500}, 1)
    logger.log({"text": "x" * 30_000}, 1)
    logger.flush()
    assert max(map(len, values(factory))) <= 20_000
    assert factory.only.decoded().rows == 100
    assert (logger.sent, logger.failed) == (100, 1)
    assert "too_large" in (logger.last_error or "")
    logger.close()


def test_packs_can_be_declined(factory: Factory) -> None:
    with closing(PredictionLogger("k:1", "m", producer=factory, linger_ms=NEVER, pack_min=None)) as logger:
        for number in range(20):
            logger.log({"x": number}, 1)
        logger.flush()
    assert [orjson.loads(value)["features"] for value in values(factory)] == [{"x": n} for n in range(20)]


@pytest.mark.parametrize(
    ("stamp", "time"),
    [
        (datetime(2026, 1, 31, 12, 0, 0, 1, tzinfo=UTC), NOON * 1000 + 1),
        (datetime(2026, 1, 31, 12), NOON * 1000),  # noqa: DTZ001 - naive is UTC
        (datetime(2026, 1, 31, 13, tzinfo=timezone(timedelta(hours=1))), NOON * 1000),
        (NOON, NOON * 1000),
        (NOON + 0.5, NOON * 1000 + 500),
        ("2026-01-31T12:00:00Z", NOON * 1000),
        (np.float64(NOON), NOON * 1000),
        (np.datetime64("2026-01-31T12:00:00.000001", "us"), NOON * 1000 + 1),
    ],
)
def test_timestamps(logger: PredictionLogger, factory: Factory, stamp: Any, time: int) -> None:
    logger.log({}, 1, timestamp=stamp)
    logger.flush()
    assert factory.only.decoded().batches[0].time.tolist() == [time]


def test_what_the_schema_refuses_fails_here_and_not_at_the_reader(
    logger: PredictionLogger, factory: Factory, caplog: pytest.LogCaptureFixture
) -> None:
    logger.log({"prediction.x": 1}, 1)
    logger.log({"x": {"nested": 1}}, 1)
    logger.log({"x": 1}, 1, timestamp=NOON // 1000)
    logger.log({"x": 1}, 1)
    logger.flush()
    assert (logger.failed, logger.sent) == (3, 1)
    assert len(values(factory)) == 1
    assert "looks like seconds" in (logger.last_error or "")
    assert len(caplog.records) == 1, "one complaint a minute"


@pytest.mark.parametrize(
    ("features", "found"),
    [
        (np.array([1, 2, 3]), "found ndarray"),
        (np.array([]), "found ndarray"),
        (np.array([[1.0, 2.0]]), "found ndarray; log its rows one by one"),
        (pd.DataFrame({"a": [1.0], "b": [2.0]}), "found DataFrame; log its rows one by one"),
        (None, "found NoneType"),
        ([1, 2], "found list"),
        (["ab", "cd"], "found list"),
        ("ab", "found str"),
        (5, "found int"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_features_that_map_nothing_count_as_failed(
    logger: PredictionLogger, factory: Factory, features: Any, found: str
) -> None:
    assert logger.log(features, 0.3, id="a") == "a"
    assert logger.failed == 1
    assert logger.last_error == (
        f"event 'a' refused: field_type: features: give a mapping of names to values, {found}"
    )
    logger.log({"x": 1}, 0.3)
    logger.flush()
    assert (logger.failed, logger.sent, len(values(factory))) == (1, 1, 1)


def test_segments_and_hostile_mappings_count_as_failed_too(logger: PredictionLogger) -> None:
    class Hostile(Mapping[str, Any]):
        def __getitem__(self, name: str) -> Any:
            raise RuntimeError("boom")

        def __iter__(self) -> Iterator[str]:
            return iter("ab")

        def __len__(self) -> int:
            return 2

    logger.log({"x": 1}, 1, segments=cast("Any", ["north"]))
    assert "segments: give a mapping of names to values, found list" in (logger.last_error or "")
    logger.log(Hostile(), 1)
    assert "features: RuntimeError: boom" in (logger.last_error or "")
    logger.log({"x": 1}, 1, trace=cast("Any", object()))
    logger.flush()
    assert (logger.failed, logger.sent) == (3, 0)


def test_whatever_maps_names_to_values_is_taken(logger: PredictionLogger, factory: Factory) -> None:
    rows = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    logger.log(MappingProxyType({"a": 1}), 1, segments=MappingProxyType({"s": "t"}))
    logger.log(cast("Any", rows.iloc[1]), 1)
    logger.log(OrderedDict(a=5), 1)
    logger.flush()
    sent = [json.loads(value)["features"] for value in values(factory)]
    assert sent == [{"a": 1}, {"a": 2.0, "b": 4.0}, {"a": 5}]


@pytest.mark.parametrize(
    "prediction", [np.array([[0.1, 0.9]]), np.array([0.3, 0.7]), [0.3, 0.7], np.array([0.3])], ids=str
)
def test_a_row_of_probabilities_is_told_what_to_give(logger: PredictionLogger, prediction: Any) -> None:
    logger.log({"x": 1}, prediction)
    logger.flush()
    assert (logger.failed, logger.sent) == (1, 0)
    wanted = "for probabilities give the number, or {class: probability}"
    assert wanted in (logger.last_error or "")


def test_one_event_that_surprises_does_not_take_the_others_with_it(
    logger: PredictionLogger, factory: Factory
) -> None:
    class Hostile(dict[str, Any]):
        def values(self) -> Any:
            raise RuntimeError("boom")

    bad: list[dict[Any, Any]] = [{"x": 10**400}, {"x": "\ud800"}, {7: 1}, {"x": object()}, {None: np.nan}]
    for row in range(40):
        logger.log(bad[row // 2] if row % 2 and row < 10 else {"x": 1.0}, 1)
    logger.log({"x": 1}, Hostile(a=1))
    logger.flush()
    assert logger.sent + logger.failed == 41
    assert logger.failed <= 3
    assert factory.only.decoded().rows == logger.sent
    assert not factory.only.decoded().dead


def test_features_are_copied(logger: PredictionLogger, factory: Factory) -> None:
    features = {"x": 1}
    logger.log(features, 1)
    features["x"] = 2
    logger.flush()
    assert json.loads(values(factory)[0])["features"] == {"x": 1}


def test_a_full_queue_drops_and_counts(factory: Factory) -> None:
    logger = PredictionLogger("k", "m", producer=factory, linger_ms=NEVER, queue_size=100)
    for _ in range(130):
        logger.log({"x": 1}, 1)
    assert (logger.waiting, logger.dropped) == (100, 30)
    logger.close()
    assert (logger.sent, logger.dropped) == (100, 30)


def test_nothing_is_taken_after_close(logger: PredictionLogger, factory: Factory) -> None:
    logger.log({"x": 1}, 1)
    logger.close()
    logger.close()
    logger.log({"x": 1}, 1)
    assert (logger.sent, logger.dropped) == (1, 1)


def test_kafkas_full_queue_is_waited_for_until_the_deadline() -> None:
    factory = Factory(room=2)
    logger = PredictionLogger("k", "m", producer=factory, linger_ms=NEVER)
    for _ in range(5):
        logger.log({"x": 1}, 1)
    logger.flush(timeout=0)
    assert (logger.sent, logger.dropped) == (2, 3)
    logger.close(0)


def test_failed_deliveries_count_events() -> None:
    factory = Factory(error="broker says no")
    logger = PredictionLogger("k", "m", producer=factory, linger_ms=NEVER)
    for _ in range(50):
        logger.log({"x": 1}, 1)
    logger.flush()
    assert (logger.sent, logger.failed) == (0, 50)
    assert "broker says no" in (logger.last_error or "")
    logger.close()


def test_the_thread_sends_by_itself(factory: Factory) -> None:
    logger = PredictionLogger("k", "m", producer=factory, linger_ms=1)
    logger.log({"x": 1}, 1)
    while not factory.made:
        threading.Event().wait(0.001)
    assert factory.only.took.wait(10)
    logger.close()
    assert logger.sent == 1


def test_many_threads_lose_nothing(factory: Factory) -> None:
    logger = PredictionLogger("k", "m", producer=factory, linger_ms=1)
    ids: list[list[str]] = [[] for _ in range(4)]

    def serve(own: list[str]) -> None:
        own.extend(logger.log({"x": row}, 1) for row in range(500))

    threads = [threading.Thread(target=serve, args=(own,)) for own in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    logger.close()
    assert (logger.sent, logger.failed, logger.dropped) == (2000, 0, 0)
    sent = [one for batch in factory.only.decoded().batches for one in batch.ids or ()]
    assert sorted(sent) == sorted(one for own in ids for one in own)


def test_settings_can_be_overridden(factory: Factory) -> None:
    logger = PredictionLogger("k:1", "m", producer=factory, properties={"compression.type": "zstd"})
    logger.log({}, 1)
    logger.close()
    assert factory.only.settings["bootstrap.servers"] == "k:1"
    assert factory.only.settings["enable.idempotence"] is True
    assert factory.only.settings["compression.type"] == "zstd"


def test_a_broker_that_is_away_is_told_once(factory: Factory, caplog: pytest.LogCaptureFixture) -> None:
    logger = PredictionLogger("k:1", "m", producer=factory)
    logger.log({}, 1)
    logger.flush()
    settings = factory.only.settings
    assert settings["log_level"] == 0  # librdkafka's own lines would be twenty a second
    for code in (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN) * 2:
        settings["error_cb"](KafkaError(code, "k:1: refused"))
    assert logger.last_error == "Kafka is not reached: k:1: refused"
    assert [record.message.partition(" (")[0] for record in caplog.records] == [logger.last_error]
    assert logger.failed == 0
    logger.close()


@pytest.mark.parametrize(("model", "version"), [("", "1"), ("a\n", "1"), ("m", ""), ("m" * 201, "1")])
def test_names_that_cannot_be_used_are_refused_at_once(model: str, version: str) -> None:
    with pytest.raises(EventError, match="name"):
        PredictionLogger("k", model, version)


@pytest.mark.parametrize(
    ("model", "version", "said"),
    [
        (None, "1", r"model: give text, found None"),
        (7, "1", r"model: give text, found 7 \(int\)"),
        ("m", 1.0, r"version: give text, an integer or None, found 1\.0 \(float\)"),
        ("m", True, r"version: .*found True \(bool\)"),
        ("m", np.int64(7), r"version: .*\(int64\)"),
    ],
)
def test_names_of_other_types_are_refused_at_once(model: Any, version: Any, said: str) -> None:
    with pytest.raises(EventError, match=said):
        PredictionLogger("k", model, version)


@pytest.mark.parametrize(("version", "counted"), [(7, "7"), ("1.0", "1.0"), (None, "unversioned")])
def test_versions_that_are_counted(factory: Factory, version: Any, counted: str) -> None:
    with closing(PredictionLogger("k", "m", version, producer=factory, linger_ms=NEVER)) as logger:
        logger.log({"x": 1}, 1)
        logger.flush()
    assert [batch.version for batch in factory.only.decoded().batches] == [counted]


def _child(logger: PredictionLogger, factory: Factory, answer: Connection) -> None:
    counts = (logger.waiting, logger.sent)
    mine = logger.log({"x": 2}, 1)
    logger.flush()
    answer.send((counts, mine, [value for producer in factory.made[1:] for _, value, _ in producer.messages]))
    answer.close()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_sends_its_own_events_only(logger: PredictionLogger, factory: Factory) -> None:
    logger.log({"x": 0}, 1)
    logger.flush()
    logger.log({"x": 1}, 1)
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    child = context.Process(target=_child, args=(logger, factory, there))
    child.start()
    assert here.poll(30)
    counts, child_id, sent = here.recv()
    child.join()
    assert counts == (0, 0)
    assert [orjson.loads(value)["features"] for value in sent] == [{"x": 2}]
    mine = logger.log({"x": 3}, 1)
    assert child_id[:20] != mine[:20], "ids of parent and child must differ"
    logger.flush()
    assert [orjson.loads(value)["features"]["x"] for value in values(factory)] == [0, 1, 3]


def test_the_package_exports_its_three_names() -> None:
    assert stream_monitor.sdk.PredictionLogger is PredictionLogger
    for name in stream_monitor.sdk.__all__:
        assert getattr(stream_monitor.sdk, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute"):
        getattr(stream_monitor.sdk, "Nothing")  # noqa: B009 - the attribute access is the test
