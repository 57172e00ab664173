"""The text of docs/cli.md from the parser.

A command without a description and an option
without help are errors, so the page cannot fall behind the code.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from stream_monitor.cli.main import build_parser

_HEAD = """\
# Command line

<!-- Written by `make pages`; change `cli/`, not this file. -->

`--help` behind any command prints what stands here. Where a command has `--config`, it reads the
[configuration](configuration.md); `KAFKA_BROKERS` wins over the file's `kafka.brokers`, and `--brokers` over both.

| exit code | meaning |
|---|---|
| 0 | done; for `worker` and `broker`: ended in order by SIGTERM or SIGINT |
| 1 | it cannot go on, or what was asked for is not so; `stream-monitor: error: ...` on standard error says where, what and what to do |
| 2 | wrong usage |
| 130 | interrupted (Ctrl-C) before it was done |
| 141 | the reader of its output went away |
"""  # noqa: E501


def reference() -> str:
    """The whole page. `LookupError` where a command or an option is not explained."""
    parts = [_HEAD]
    for path, parser in _commands(build_parser(), "stream-monitor"):
        if not parser.description:
            raise LookupError(f"`{path}` has no description")
        parts.append(f"\n## `{path}`\n\n{parser.description}\n")
        rows = [f"| {name} | {meaning} |" for name, meaning in _arguments(path, parser)]
        if rows:
            parts.append("\n".join(["", "| argument | meaning |", "|---|---|", *rows, ""]))
    return "".join(parts)


def _commands(parser: argparse.ArgumentParser, path: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command that does something, with its path."""
    inner = [
        action
        for action in parser._actions  # noqa: SLF001 - argparse publishes no list of what a parser takes
        if isinstance(action, argparse._SubParsersAction)  # noqa: SLF001
    ]
    if not inner:
        yield path, parser
    for action in inner:
        for name, below in action.choices.items():
            yield from _commands(below, f"{path} {name}")


def _arguments(path: str, parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    """Each argument as it is written, and what it means; needed ones say so."""
    for action in parser._actions:  # noqa: SLF001 - see above
        if isinstance(action, argparse._HelpAction):  # noqa: SLF001
            continue
        name = _written(action)
        if not action.help:
            raise LookupError(f"`{path}`: {name} has no help")
        needed = action.required and action.option_strings
        yield name, ("needed; " if needed else "") + action.help.replace("%%", "%")


def _written(action: argparse.Action) -> str:
    if not action.option_strings:
        dots = "..." if action.nargs in ("+", "*") else ""
        return f"`{action.metavar or action.dest}{dots}`"
    value = ""
    if action.nargs != 0:
        word = action.metavar or (
            "|".join(map(str, action.choices)) if action.choices else action.dest.upper()
        )
        if isinstance(word, tuple):
            word = " ".join(word)
        value = f" {word}".replace("|", "\\|")
    return ", ".join(f"`{option}{value}`" for option in action.option_strings)
