"""Every sketch: merged in any order it is the sketch of the whole, kept and read it goes on alike."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

from tests.conformance.found import SKETCHES
from tests.conformance.streams import STREAMS, Stream
from tests.conformance.test_detectors import rng_of

every_sketch = pytest.mark.parametrize("cls", SKETCHES, ids=lambda cls: cls.__name__)
NUMBERS = [
    stream for stream in STREAMS if all(type(value) is float for value in stream.draw(rng_of(stream), 100))
]
every_stream = pytest.mark.parametrize("stream", NUMBERS, ids=lambda stream: stream.name)


def of(cls: type[Any], values: list[float]) -> Any:
    sketch = cls()
    sketch.update(np.array(values, np.float64))
    return sketch


def same(one: Any, other: Any) -> bool:
    left, right = one.to_arrays(), other.to_arrays()
    return all(a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in zip(left, right, strict=True))


def test_there_are_sketches_with_the_methods_that_are_checked() -> None:
    assert SKETCHES
    for cls in SKETCHES:
        for name in ("update", "merge", "to_arrays", "from_arrays"):
            assert inspect.isfunction(getattr(cls, name)) or inspect.ismethod(getattr(cls, name)), name


@every_sketch
@every_stream
def test_split_and_merged_in_any_order_is_the_whole(cls: type[Any], stream: Stream) -> None:
    rng = rng_of(stream)
    values = stream.draw(rng, 500) + stream.moved(rng, 500) + [float("nan")] * 10
    cuts = [values[700:], [], values[:1], values[1:700]]
    merged = cls()
    for part in cuts:
        merged.merge(of(cls, part))
    assert same(merged, of(cls, values))


@every_sketch
@every_stream
def test_kept_and_read_it_goes_on_alike(cls: type[Any], stream: Stream) -> None:
    rng = rng_of(stream)
    sketch = of(cls, stream.draw(rng, 300))
    again = cls.from_arrays(*sketch.to_arrays())
    more = np.array(stream.moved(rng, 300))
    for one in (sketch, again):
        one.update(more)
    assert same(sketch, again)


@every_sketch
def test_nothing_is_an_empty_sketch(cls: type[Any]) -> None:
    assert same(of(cls, []), cls())
    assert same(of(cls, [float("nan")] * 3), cls())
