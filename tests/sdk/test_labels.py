from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

import numpy as np
import pytest

from stream_monitor.errors import EventError
from stream_monitor.events.label import Label, decode_label
from stream_monitor.sdk.labels import LabelLogger
from tests.events.build import NOON
from tests.sdk.fake import Factory


def test_labels_are_what_the_reader_reads() -> None:
    factory = Factory()
    logger = LabelLogger("k", model="loans", producer=factory, clock=lambda: NOON * 1_000_000)
    logger.log("a", "repaid")
    logger.log("b", np.bool_(True), timestamp=datetime(2026, 1, 31, 12, 0, 1, tzinfo=UTC))
    logger.log("c", np.float64(2.5), timestamp=NOON, model="other")
    logger.close()
    topics = {(topic, key) for topic, _, key in factory.only.messages}
    assert topics == {("labels", b"a"), ("labels", b"b"), ("labels", b"c")}
    assert [decode_label(value) for _, value, _ in factory.only.messages] == [
        Label("a", "repaid", NOON * 1000, "loans"),
        Label("b", True, NOON * 1000 + 1_000_000, "loans"),
        Label("c", 2.5, NOON * 1000, "other"),
    ]
    assert (logger.sent, logger.failed, logger.dropped) == (3, 0, 0)


@pytest.mark.parametrize(
    ("id_", "label", "options"),
    [
        ("", 1, {}),
        ("a", None, {}),
        ("a", [1], {}),
        ("a", 1, {"timestamp": "soon"}),
        ("a", 1, {"model": "\n"}),
    ],
)
def test_a_label_that_no_reader_would_take_is_refused(id_: str, label: Any, options: dict[str, Any]) -> None:
    factory = Factory()
    logger = LabelLogger("k", producer=factory)
    with pytest.raises(EventError):
        logger.log(id_, label, **options)
    assert not factory.only.messages


def test_a_model_that_is_no_name_is_refused_at_once() -> None:
    with pytest.raises(EventError, match=r"model: give text or None, found 5"):
        LabelLogger("k", model=cast("Any", 5), producer=Factory())


def test_losses_are_counted() -> None:
    full = LabelLogger("k", producer=Factory(room=1))
    for name in "abc":
        full.log(name, 1)
    assert (full.sent, full.dropped) == (1, 2)
    failing = LabelLogger("k", producer=Factory(error="no"))
    failing.log("a", 1)
    assert (failing.sent, failing.failed) == (0, 1)
    assert failing.last_error == "Kafka did not take a message: no"
