"""Every detector on every stream: never silent, never NaN, the same however panes are cut."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from stream_monitor import codec
from stream_monitor.detectors.base import Detector
from stream_monitor.detectors.channels import Channels, PaneSums
from tests.conformance.found import DETECTORS
from tests.conformance.streams import STREAMS, Stream, baseline_of, counts_of

RUN_LENGTH = 1e6
ROWS, PANES = 150, 40

every_stream = pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
every_detector = pytest.mark.parametrize("cls", DETECTORS, ids=lambda cls: cls.name)


def rng_of(stream: Stream) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(stream.name.encode()))


class Case:
    """One stream's baseline and panes, made once for all detectors."""

    _made: dict[str, Case] = {}  # noqa: RUF012 - a cache of the test run

    def __init__(self, stream: Stream) -> None:
        rng = rng_of(stream)
        self.baseline = baseline_of(stream.draw(rng, 4_000))
        self.channels = Channels.build(self.baseline, effect_floor=0.01)
        self.parts = [
            (counts_of(self.baseline, values[:40]), counts_of(self.baseline, values[40:]))
            for values in (stream.draw(rng, ROWS) for _ in range(PANES))
        ]
        self.still = [self.channels.sums(one + other) for one, other in self.parts]
        self.moved = [
            self.channels.sums(counts_of(self.baseline, stream.moved(rng, ROWS))) for _ in range(PANES)
        ]

    @classmethod
    def of(cls, stream: Stream) -> Case:
        if stream.name not in cls._made:
            cls._made[stream.name] = cls(stream)
        return cls._made[stream.name]


def finite(detector: Detector) -> bool:
    return all(np.isfinite(array).all() for array in detector.state().values())


def found_at(detector: Detector, panes: list[PaneSums]) -> int | None:
    """The first pane with an alarm."""
    for at, pane in enumerate(panes):
        reading = detector.update(pane)
        assert np.isfinite(reading.statistic).all()
        if reading.alarm.any():
            return at
    return None


@every_detector
@every_stream
def test_quiet_while_nothing_changes_and_loud_when_it_does(cls: type[Detector], stream: Stream) -> None:
    case = Case.of(stream)
    detector = cls.calibrated(case.channels, run_length=RUN_LENGTH)
    assert found_at(detector, case.still) is None
    assert found_at(detector, case.moved) is not None
    assert finite(detector)


@every_detector
@every_stream
def test_restored_or_cut_it_goes_on_alike(cls: type[Detector], stream: Stream) -> None:
    case = Case.of(stream)
    whole = cls.calibrated(case.channels, run_length=RUN_LENGTH)
    other = cls.calibrated(case.channels, run_length=RUN_LENGTH)
    for at, ((one, two), pane) in enumerate(zip(case.parts, case.still, strict=True)):
        if at == PANES // 2:
            kept = codec.unpack(codec.pack({}, other.state()))[1]
            other = cls.calibrated(case.channels, run_length=RUN_LENGTH)
            other.load(kept)
        left = whole.update(pane)
        right = other.update(case.channels.sums(two + one))
        assert left.statistic.tobytes() == right.statistic.tobytes()
    for name, array in whole.state().items():
        assert array.tobytes() == other.state()[name].tobytes()


@every_detector
def test_a_baseline_of_a_single_row_is_taken_and_says_nothing_wrong(cls: type[Detector]) -> None:
    baseline = baseline_of([1.0])
    channels = Channels.build(baseline, effect_floor=0.01)
    detector = cls.calibrated(channels, run_length=RUN_LENGTH)
    assert found_at(detector, [channels.sums(counts_of(baseline, [1.0] * 50))] * 20) is None
    assert finite(detector)
