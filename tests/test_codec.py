"""The container of arrays: what goes in comes out, and damage never does."""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stream_monitor.codec import MAGIC, pack, unpack
from stream_monitor.errors import CodecError

DTYPES = ("<i8", "<i4", "<i2", "|i1", "|u1", "<u4", "<u8", "<f8", "<f4", "|b1")
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
METAS = st.dictionaries(st.text(max_size=10), JSON_VALUES, max_size=4)
ARRAYS = st.dictionaries(
    st.text(min_size=1, max_size=10),
    st.sampled_from(DTYPES).flatmap(
        lambda dtype: hnp.arrays(
            np.dtype(dtype), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5)
        )
    ),
    max_size=4,
)


@given(meta=METAS, arrays=ARRAYS)
def test_round_trip_keeps_values_shapes_types_and_bits(meta: dict[str, Any], arrays: dict[str, Any]) -> None:
    data = pack(meta, arrays)
    meta_again, again = unpack(data)
    assert meta_again == meta
    assert list(again) == list(arrays)
    for name, array in arrays.items():
        assert again[name].dtype == array.dtype
        assert again[name].shape == array.shape
        assert again[name].tobytes() == array.tobytes()  # NaN payloads and -0.0 too
    assert pack(meta_again, again) == data


@given(meta=METAS, arrays=ARRAYS, at=st.integers(0), bits=st.integers(1, 255))
def test_a_changed_byte_is_an_error(meta: dict[str, Any], arrays: dict[str, Any], at: int, bits: int) -> None:
    data = bytearray(pack(meta, arrays))
    data[at % len(data)] ^= bits
    with pytest.raises(CodecError):
        unpack(bytes(data))


def test_each_flipped_bit_is_an_error() -> None:
    data = pack({"kind": "x", "panes": [1, 2]}, {"a": np.arange(6, dtype=np.int64).reshape(2, 3)})
    for at in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[at] ^= 1 << bit
            with pytest.raises(CodecError):
                unpack(bytes(damaged))


def test_each_shorter_or_longer_record_is_an_error() -> None:
    data = pack({"a": 1}, {"b": np.ones(3)})
    for length in range(len(data)):
        with pytest.raises(CodecError):
            unpack(data[:length])
    with pytest.raises(CodecError):
        unpack(data + b"\x00")


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_foreign_bytes_with_a_right_checksum_are_an_error(body: bytes) -> None:
    """The checksum guards against damage, not against whoever computes one."""
    for start in (b"", MAGIC, MAGIC + struct.pack("<I", max(len(body) - 4, 0))):
        record = start + body
        with pytest.raises(CodecError):
            unpack(record + struct.pack("<I", zlib.crc32(record)))


def _record(header: object, body: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    record = MAGIC + struct.pack("<I", len(text)) + text + body
    return record + struct.pack("<I", zlib.crc32(record))


@pytest.mark.parametrize(
    ("header", "body"),
    [
        ([], b""),
        ({"meta": {}}, b""),
        ({"meta": {}, "arrays": [["a", "<i8"]]}, b""),
        ({"meta": {}, "arrays": [["a", "<i8", ["x"]]]}, b""),
        ({"meta": {}, "arrays": [["a", "<i8", [-1]]]}, b"12345678"),
        ({"meta": {}, "arrays": [["a", "<i8", [-1, -1]]]}, b"12345678"),
        ({"meta": {}, "arrays": [["a", "|O", [1]]]}, b"12345678"),
        ({"meta": {}, "arrays": [["a", ["<i8"], [1]]]}, b"12345678"),
        ({"meta": {}, "arrays": [["a", "<i8", [2**62]]]}, b"12345678"),
        ({"meta": {}, "arrays": [["a", "<i8", [2]]]}, b"12345678"),
        ({"meta": {}, "arrays": []}, b"left over"),
        ({"meta": {}, "arrays": 7}, b""),
    ],
)
def test_a_header_that_lies_is_an_error(header: object, body: bytes) -> None:
    with pytest.raises(CodecError):
        unpack(_record(header, body))


def test_the_format_reads_what_it_is_documented_to_be() -> None:
    """A record put together from the documentation alone."""
    header = {"meta": {"kind": "t"}, "arrays": [["n", "<i4", [2]], ["on", "|b1", [1]]]}
    meta, arrays = unpack(_record(header, struct.pack("<ii", 5, -6) + b"\x01"))
    assert meta == {"kind": "t"}
    assert arrays["n"].tolist() == [5, -6]
    assert arrays["on"].tolist() == [True]


@pytest.mark.parametrize("dtype", ["O", "U3", "<c16", "<M8[s]", ">i8"])
def test_other_dtypes_are_refused_when_written(dtype: str) -> None:
    with pytest.raises(CodecError, match="dtype"):
        pack({}, {"a": np.zeros(2, dtype)})


def test_arrays_that_were_read_cannot_be_written_to() -> None:
    _, arrays = unpack(pack({}, {"a": np.zeros(2)}))
    with pytest.raises(ValueError, match="read-only"):
        arrays["a"][0] = 1.0
