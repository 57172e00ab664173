"""Types of the configuration in words, for errors and for the reference page."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from typing import Any, Final

_SIGNS: Final = {"ge": "≥", "gt": ">", "le": "≤"}
_WORDS: Final[Mapping[Any, str]] = {str: "text", int: "whole number", float: "number", bool: "true or false"}


def type_words(hint: Any) -> str:
    """A type in words, with the limits that its annotation sets."""
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        if duration_rule(hint):
            return "duration"
        described = [item.description for item in hint.__metadata__ if item.description]
        if described:
            return str(described[0])
        limits = [(sign, getattr(item, key)) for item in hint.__metadata__ for key, sign in _SIGNS.items()]
        shown = [f"{sign} {value:,}" for sign, value in limits if value is not None]
        return ", ".join([type_words(hint.__origin__), *shown])
    if origin in (typing.Union, types.UnionType):
        members = typing.get_args(hint)
        words = [type_words(member) for member in members if member is not type(None)]
        if "or never" in map(duration_rule, members):
            words.append("`never`")
        return " or ".join(words)
    if origin is typing.Literal:
        return " or ".join(f"`{value}`" for value in typing.get_args(hint))
    if origin is dict:
        return f"mapping of names to {type_words(typing.get_args(hint)[1])}"
    if origin in (list, tuple):
        inner = typing.get_args(hint)[0]
        return f"list of {type_words(inner)}{'' if typing.get_origin(inner) is typing.Literal else 's'}"
    return _WORDS[hint]


def duration_rule(hint: Any) -> str | None:
    """How `settings` marks a duration: `always`, `or never`; None for what is none."""
    if typing.get_origin(hint) is not typing.Annotated:
        return None
    return next((item.extra["duration"] for item in hint.__metadata__ if item.extra), None)
