"""Which activation a pane is judged by, and what a directory keeps."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stream_monitor.baselines.directory import BaselineDirectory, resolve
from stream_monitor.baselines.records import Activation
from tests.processors.logs import drifting_baseline

FIRST = drifting_baseline(rows=400)
SECOND = drifting_baseline(rows=500)


def activation(version: str, first_pane: int) -> Activation:
    return Activation("loans", version, first_pane, FIRST)


@pytest.mark.parametrize(
    ("known", "pane", "expected"),
    [
        ([], 0, None),
        ([("1", 10)], 9, None),
        ([("*", 0), ("1", 0)], 5, ("1", 0)),  # began together: the version's own
        ([("1", 0), ("*", 7)], 6, ("1", 0)),
        ([("1", 0), ("*", 7)], 7, ("*", 7)),  # began last
        ([("*", 0), ("1", 7), ("1", 9)], 8, ("1", 7)),
    ],
)
def test_the_one_that_began_last_holds(
    known: list[tuple[str, int]], pane: int, expected: tuple[str, int] | None
) -> None:
    for order in (known, known[::-1]):
        found = resolve([activation(*one) for one in order], pane)
        assert (None if found is None else (found.version, found.first_pane)) == expected


def test_a_version_is_binned_as_it_is_judged() -> None:
    directory = BaselineDirectory([activation("*", 0), replace(activation("1", 7), baseline=SECOND)])
    starts, baselines = directory.of("loans", "1")
    assert starts.tolist() == [0, 7]
    assert [b.hash for b in baselines] == [FIRST.hash, SECOND.hash]
    starts, baselines = directory.of("loans", "2")
    assert (starts.tolist(), [b.hash for b in baselines]) == ([0], [FIRST.hash])
    assert directory.of("other", "1")[1] == []


def test_what_is_known_is_not_added_again_and_what_is_unknown_is_asked_for() -> None:
    asked = []
    directory = BaselineDirectory([activation("*", 0)])
    assert not directory.add(activation("*", 0))
    assert directory.add(activation("*", 5))
    directory.refresh = lambda: asked.append(directory.add(replace(activation("1", 0), baseline=SECOND)))
    assert directory.baseline(FIRST.hash) is FIRST
    assert not asked
    assert directory.baseline(SECOND.hash) is SECOND
    assert directory.baseline("nowhere") is None
    assert asked == [True, False]
