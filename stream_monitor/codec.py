"""A small container for arrays: what summaries and state records are made of.

Layout (little endian): magic `SMA1`, u32 length of the header, header (JSON), the arrays'
bytes one after the other, CRC-32 of all before it. The header holds the caller's metadata
and each array's name, dtype and shape. Nothing is unpickled; an unknown dtype, a length
that does not fit or a wrong checksum is a `CodecError`.

Do not use it for what people read: alerts, aggregates and baselines are JSON.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from stream_monitor.errors import CodecError

MAGIC = b"SMA1"
_DTYPES = frozenset({"<i8", "<i4", "<i2", "|i1", "|u1", "<u4", "<u8", "<f8", "<f4", "|b1"})
_PREFIX = struct.Struct("<4sI")
_CRC = struct.Struct("<I")
MAX_HEADER = 64 * 1024 * 1024

Array = NDArray[Any]


def pack(meta: Mapping[str, Any], arrays: Mapping[str, Array] | None = None) -> bytes:
    """Encode `meta` (JSON values) and named arrays; equal content gives equal bytes."""
    described = []
    bodies = []
    for name, array in (arrays or {}).items():
        # ascontiguousarray would turn a 0-d array into a 1-d one: keep the caller's shape.
        flat = np.asarray(array, order="C")
        if flat.dtype.str not in _DTYPES:
            raise CodecError(f"array {name!r}: dtype {flat.dtype} is not one that is stored")
        described.append([name, flat.dtype.str, list(flat.shape)])
        bodies.append(flat.tobytes())
    header = orjson.dumps(
        {"meta": meta, "arrays": described}, option=orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY
    )
    body = b"".join([_PREFIX.pack(MAGIC, len(header)), header, *bodies])
    return body + _CRC.pack(zlib.crc32(body))


def narrow(array: Array) -> Array:
    """Integers in the narrowest type that holds them; whoever unpacks them widens them again.

    Most counts of a message are 1 or 2: this makes summaries a quarter as long.
    """
    if array.dtype.kind != "i" or not array.size:
        return array
    low, high = int(array.min()), int(array.max())
    for kind in (np.int8, np.int16, np.int32):
        limits = np.iinfo(kind)
        if limits.min <= low and high <= limits.max:
            return array.astype(kind, copy=False)
    return array


def unpack(data: bytes) -> tuple[dict[str, Any], dict[str, Array]]:
    """Decode what `pack` made. Arrays are read-only views into `data`."""
    if len(data) < _PREFIX.size + _CRC.size:
        raise CodecError(f"record of {len(data)} bytes is shorter than its frame")
    magic, length = _PREFIX.unpack_from(data)
    if magic != MAGIC:
        raise CodecError(f"record starts with {magic!r}, not {MAGIC!r}: another format or version")
    if zlib.crc32(data[: -_CRC.size]) != _CRC.unpack(data[-_CRC.size :])[0]:
        raise CodecError("checksum does not match: the record was damaged or cut")
    if length > MAX_HEADER or _PREFIX.size + length + _CRC.size > len(data):
        raise CodecError(f"header of {length} bytes does not fit a record of {len(data)}")
    try:
        header = orjson.loads(data[_PREFIX.size : _PREFIX.size + length])
        meta, described = header["meta"], header["arrays"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise CodecError(f"header cannot be read: {error}") from error
    arrays: dict[str, Array] = {}
    at = _PREFIX.size + length
    end = len(data) - _CRC.size
    if not isinstance(meta, dict) or not isinstance(described, list):
        raise CodecError("header cannot be read: it holds no metadata and list of arrays")
    for entry in described:
        name, dtype, shape = _described(entry)
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if at + size > end:
            raise CodecError(f"array {name!r} ends behind the record")
        arrays[name] = np.frombuffer(data, dtype=dtype, count=math.prod(shape), offset=at).reshape(shape)
        at += size
    if at != end:
        raise CodecError(f"{end - at} bytes are left over behind the last array")
    return meta, arrays


def _described(entry: Any) -> tuple[str, str, list[int]]:
    """One array's name, dtype and shape, checked: a right checksum does not make a header true."""
    try:
        name, dtype, shape = entry
        known = dtype in _DTYPES
        fits = isinstance(name, str) and all(type(side) is int and side >= 0 for side in shape)
    except (TypeError, ValueError) as error:
        raise CodecError(f"header cannot be read: {entry!r} describes no array") from error
    if not known or not fits:
        raise CodecError(f"array {name!r}: dtype {dtype!r} or shape {shape!r} is not one that is stored")
    return name, dtype, list(shape)
