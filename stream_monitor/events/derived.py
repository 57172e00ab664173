"""Names of number features that are made of a text or an embedding: `<name>.<part>`.

A text and a vector have no bins of their own; what is watched are numbers made of them. Whoever
asks for the feature itself asks for all of its parts.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

TEXT_PARTS: Final = ("length", "token_rate", "letters", "capitals", "digits", "punctuation", "other")
"""Of a text: see `stream_monitor.events.text`."""
MAX_AXES: Final = 8
AXIS_PARTS: Final = tuple(f"pc{number}" for number in range(1, MAX_AXES + 1))
RESIDUAL: Final = "residual"
PROJECTED_PARTS: Final = (*AXIS_PARTS, RESIDUAL)
"""Of an embedding, by a baseline's directions: see `stream_monitor.baselines.directions`."""
VECTOR_PARTS: Final = ("norm", "mean", *PROJECTED_PARTS)
_PARTS: Final = frozenset(TEXT_PARTS + VECTOR_PARTS)


def names_of(name: str, parts: Collection[str]) -> list[str]:
    """The derived features of `name`."""
    return [f"{name}.{part}" for part in parts]


def features_of(name: str) -> frozenset[str]:
    """All that may be derived from `name`, whatever it is."""
    return frozenset(names_of(name, _PARTS))


def whole_of(feature: str) -> str:
    """What a feature is made of by its name; itself where it is made of nothing."""
    return feature.rpartition(".")[0] if _is_derived(feature) else feature


def selects(selected: Collection[str] | None, feature: str) -> bool:
    """Whether a selection (None: everything) asks for `feature`, by its name or by what it is made of."""
    if selected is None or feature in selected:
        return True
    return whole_of(feature) in selected


def wants_projections(selected: Collection[str] | None, name: str) -> bool:
    """Whether a selection asks for anything of the embedding `name` that takes a baseline's directions."""
    return any(selects(selected, one) for one in names_of(name, PROJECTED_PARTS))


def unmet(selected: Collection[str] | None, features: Collection[str]) -> list[str]:
    """Names of a selection that ask for none of `features`, sorted."""
    met = set(features) | set(map(whole_of, features))
    return sorted(set(selected or ()) - met)


def _is_derived(feature: str) -> bool:
    return feature.rpartition(".")[2] in _PARTS
