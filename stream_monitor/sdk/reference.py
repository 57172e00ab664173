"""The text of docs/sdk.md from the public names.

A public name, method or property without a
docstring is an error.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from stream_monitor import sdk

_HEAD = """\
# Python SDK

<!-- Written by `make pages`; change the docstrings. -->

What runs in other people's programs: `from stream_monitor.sdk import ...`. It needs no extra of the
package (`packs` makes large streams cheaper) and reads no configuration file: brokers and Kafka's client
properties are arguments. All errors are `stream_monitor.errors.StreamMonitorError`, of these kinds:
ConfigError (an argument cannot be used), EventError (an event, label or alert breaks its schema),
BrokerError (Kafka cannot be reached or refuses).

Records themselves are described in [topics and schemas](topics.md); what every reader and writer must
bear, in whatever language, in [operations](operations.md#readers-and-writers-of-your-own).
"""


def reference() -> str:
    """The whole page. `LookupError` where something public is not explained."""
    lines = [_HEAD]
    for name in sdk.__all__:
        thing = getattr(sdk, name)
        lines += [f"## `{name}`", "", *_call(name, thing), *_words(name, thing), ""]
        if inspect.isclass(thing):
            for path, member in public_members(name, thing):
                call = [] if isinstance(member, property) else _call(path, member)
                kind = " (property)" if isinstance(member, property) else ""
                lines += [f"### `{path}`{kind}", "", *call, *_words(path, member), ""]
    return "\n".join(lines).rstrip() + "\n"


def public_members(name: str, kind: type) -> Iterator[tuple[str, Any]]:
    """Methods and properties that a class defines itself, with their paths, in its order."""
    for own, member in vars(kind).items():
        if not own.startswith("_") and (inspect.isfunction(member) or isinstance(member, property)):
            yield f"{name}.{own}", member


def _words(path: str, thing: Any) -> list[str]:
    text = inspect.getdoc(thing) if getattr(thing, "__doc__", None) else None
    if not text:
        raise LookupError(f"{path} has no docstring")
    return text.splitlines()


def _call(path: str, thing: Callable[..., Any]) -> list[str]:
    """How it is called, one parameter a line; nothing for a class that adds no parameters."""
    if inspect.isclass(thing) and "__init__" not in vars(thing):
        return []
    signature = inspect.signature(thing)
    shown, star = [], False
    for each in signature.parameters.values():
        if each.name == "self":
            continue
        if each.kind is each.KEYWORD_ONLY and not star:
            shown.append("*")
            star = True
        shown.append(f"{each.name}: {each.annotation}{_default(each.default)}")
    gives = signature.return_annotation
    tail = "" if inspect.isclass(thing) or gives in (signature.empty, "None") else f" -> {gives}"
    if len(line := f"{path}({', '.join(shown)}){tail}") > 100:
        line = "\n".join([f"{path}(", *(f"    {each}," for each in shown), f"){tail}"])
    return ["```", line, "```", ""]


def _default(value: Any) -> str:
    if value is inspect.Parameter.empty:
        return ""
    if inspect.isroutine(value) or inspect.isclass(value):
        return f" = {value.__name__}"
    return f" = {value!r}"
