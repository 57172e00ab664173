"""What is made of a text, against the same said in plain Python; whatever texts stand beside it."""

from __future__ import annotations

import math
import string
from unittest.mock import patch

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_monitor.events.columns import CategoryColumn, NumberColumn
from stream_monitor.events.derived import TEXT_PARTS
from stream_monitor.events.rows import category_column, readings
from stream_monitor.events.text import text_columns

TEXTS = st.text(st.characters(exclude_categories=()) | st.sampled_from("aZ9 \t.é\u00a0\ufffd😀\x00\x7f"))


def plainly(text: str) -> dict[str, float]:
    """The module's description, one character at a time."""
    n = len(text)
    words = text.translate({ord(space): " " for space in string.whitespace}).split(" ")
    counts = {
        "token_rate": sum(bool(word) for word in words),
        "letters": sum(c in string.ascii_letters for c in text),
        "capitals": sum(c in string.ascii_uppercase for c in text),
        "digits": sum(c in string.digits for c in text),
        "punctuation": sum(c in string.punctuation for c in text),
        "other": sum(c not in string.printable for c in text),
    }
    return {"length": float(n)} | {part: k / n if n else math.nan for part, k in counts.items()}


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.none() | TEXTS, min_size=1), st.integers(1, 40))
def test_every_part_is_what_it_says(rows: list[str | None], chunk: int) -> None:
    with patch("stream_monitor.events.text._CHUNK", chunk):
        found = text_columns("t", category_column(rows))
    assert list(found) == [f"t.{part}" for part in TEXT_PARTS]
    for part in TEXT_PARTS:
        expected = [math.nan if row is None else plainly(row)[part] for row in rows]
        np.testing.assert_array_equal(found[f"t.{part}"].values, expected, part)
        assert found[f"t.{part}"].mistyped is None


def test_an_example() -> None:
    found = text_columns("t", category_column(["Hello, World 42", "", "naïve 😀"]))
    assert {name: column.values.tolist()[0] for name, column in found.items()} == {
        "t.length": 15,
        "t.token_rate": 3 / 15,
        "t.letters": 10 / 15,
        "t.capitals": 2 / 15,
        "t.digits": 2 / 15,
        "t.punctuation": 1 / 15,
        "t.other": 0,
    }
    assert found["t.length"].values.tolist() == [15, 0, 7]
    np.testing.assert_array_equal(found["t.other"].values, [0, np.nan, 2 / 7])


def test_what_is_no_text_is_mistyped_and_missing_stays_missing() -> None:
    mixed = readings("t", ["abc", None, 7, True])
    numbers, words = mixed["t"], mixed["t\x00category"]
    assert isinstance(words, CategoryColumn)
    for column, mistyped, lengths in (
        (words, [False, False, True, False], [3, np.nan, np.nan, 4]),
        (numbers, [True, False, True, True], [np.nan] * 4),
        (NumberColumn(np.array([1.0, np.nan, np.inf, 2])), [True, False, True, True], [np.nan] * 4),
    ):
        for name, found in text_columns("t", column).items():
            assert found.mistyped is not None
            np.testing.assert_array_equal(found.mistyped, mistyped)
            if name == "t.length":
                np.testing.assert_array_equal(found.values, lengths)
    nothing = text_columns("t", NumberColumn(np.full(2, np.nan)))["t.length"]
    assert nothing.mistyped is None
    assert len(text_columns("t", CategoryColumn(np.zeros(0, np.int32), ()))["t.other"]) == 0


def test_texts_that_no_row_has_cost_nothing_but_time() -> None:
    column = CategoryColumn(np.array([1, 1, -1], np.int32), ("never", "ab"))
    np.testing.assert_array_equal(text_columns("t", column)["t.length"].values, [2, 2, np.nan])
