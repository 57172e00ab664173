"""What callers give, judged where they give it: names at the start, mappings with each event."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType
from typing import Any

from stream_monitor.errors import EventError
from stream_monitor.events.event_json import name_fault

_WORDS: dict[type, str] = {str: "text", int: "an integer", NoneType: "None"}


def check_name(what: str, name: object, *kinds: type) -> None:
    """EventError where a model's name or version could never be counted.

    `kinds` are the types that it may have, exactly: each event would be refused for any other. So is a
    version 1.0, of which nobody could say whether it is "1" or "1.0".
    """
    if type(name) not in kinds:
        wanted = " or ".join(", ".join(_WORDS[kind] for kind in kinds).rsplit(", ", 1))
        raise EventError("name", f"{what}: give {wanted}, found {name!r} ({type(name).__name__})")
    if name is not None and (wrong := name_fault(str(name))) is not None:
        raise EventError("name", f"{what} {name!r}: {wrong}")


def mapping_copy(what: str, given: Any) -> dict[str, Any]:
    """A dict of its own with what `given` maps; EventError where that is no mapping.

    A row of pandas (a Series) maps too, as all that has `keys` does. A frame has them, but its
    values are columns, which would pass for embeddings.
    """
    try:
        if isinstance(given, Mapping) or (hasattr(given, "keys") and getattr(given, "ndim", 1) == 1):
            return dict(given)
    except Exception as error:
        raise EventError("field_type", f"{what}: {type(error).__name__}: {error}") from error
    more = "; log its rows one by one" if getattr(given, "ndim", 1) == 2 else ""
    kind = type(given).__name__
    raise EventError("field_type", f"{what}: give a mapping of names to values, found {kind}{more}")
