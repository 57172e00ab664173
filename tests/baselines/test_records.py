"""Activation records: back and forth, compressed where they must be, refused where they are wrong."""

from __future__ import annotations

import gzip
from typing import Any

import numpy as np
import orjson
import pytest

from stream_monitor.baselines.baseline import Baseline
from stream_monitor.baselines.build import build_baseline
from stream_monitor.baselines.records import (
    Activation,
    activation_key,
    decode_activation,
    encode_activation,
    encode_tombstone,
)
from stream_monitor.errors import BaselineError
from stream_monitor.events.columns import NumberColumn
from tests.baselines.rows import batch_of


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    values = np.random.default_rng(1).normal(size=(3, 500))
    return build_baseline(
        [batch_of({name: NumberColumn(row) for name, row in zip("abc", values, strict=True)})], source="t"
    )


def test_what_was_written_is_read(baseline: Baseline) -> None:
    for activation in (
        Activation("m\N{SNOWMAN}", "*", 0, baseline),
        Activation("m", "2", 1_767_225_600_000_000, baseline, "inherited", "1"),
    ):
        output = encode_activation(activation)
        assert output.topic == "baselines"
        assert output.key == f"{activation.model}\x1f{activation.version}\x1f{activation.first_pane}".encode()
        assert output.value is not None
        document = orjson.loads(output.value)
        assert document["schema"] == "stream-monitor/activation/v1"
        assert document["hash"] == document["baseline"]["hash"] == baseline.hash
        assert decode_activation(output.key, output.value) == activation


def test_a_tombstone_is_none() -> None:
    output = encode_tombstone("m", "1", 0)
    assert output.value is None
    assert decode_activation(output.key, output.value) is None


def test_a_long_record_is_compressed_and_a_longer_one_refused(baseline: Baseline) -> None:
    activation = Activation("m", "1", 0, baseline)
    plain = encode_activation(activation)
    assert plain.value is not None
    packed = encode_activation(activation, max_bytes=len(plain.value) - 1)
    assert packed.value is not None
    assert gzip.decompress(packed.value) == plain.value
    assert decode_activation(packed.key, packed.value) == activation
    assert encode_activation(activation, max_bytes=len(plain.value) - 1).value == packed.value
    with pytest.raises(BaselineError, match="profile fewer features"):
        encode_activation(activation, max_bytes=100)


def test_a_compressed_record_may_not_unfold_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_monitor.baselines.records.MAX_JSON", 10_000)
    with pytest.raises(BaselineError, match="unfolds to more than"):
        decode_activation(activation_key("m", "1", 0), gzip.compress(b" " * 10_000_000))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": "x"}, r"\$\.schema"),
        ({"hash": "00"}, r"\$\.hash"),
        ({"model": "other"}, "is about model 'other'"),
        ({"origin": "found"}, r"\$\.origin"),
        ({"first_pane": "now"}, r"\$\.first_pane"),
        ({"baseline": {}}, "missing required field"),
    ],
)
def test_a_wrong_record_is_refused_with_its_place(
    baseline: Baseline, change: dict[str, Any], words: str
) -> None:
    output = encode_activation(Activation("m", "1", 0, baseline))
    assert output.value is not None
    changed = orjson.dumps(orjson.loads(output.value) | change)
    with pytest.raises(BaselineError, match=words):
        decode_activation(output.key, changed)


def test_damaged_bytes_are_refused(baseline: Baseline) -> None:
    output = encode_activation(Activation("m", "1", 0, baseline))
    assert output.value is not None
    packed = gzip.compress(output.value)
    for damaged in (output.value[:-5], b"\xff" + output.value, packed[:-20], packed[:20] + b"\0" * 9, b"7"):
        with pytest.raises(BaselineError):
            decode_activation(output.key, damaged)
