"""What is written from the code is what the code says, and the code says all of it."""

from __future__ import annotations

import argparse
import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stream_monitor import sdk
from stream_monitor.cli import main, pages
from stream_monitor.cli import reference as cli_reference
from stream_monitor.cli.pages import PAGES
from stream_monitor.sdk import reference as sdk_reference
from tests.docs.pages import ROOT


@pytest.mark.parametrize("path", PAGES)
def test_pages_are_up_to_date(path: str) -> None:
    assert (ROOT / path).read_text(encoding="utf-8") == PAGES[path](), f"{path} is old: run `make pages`"


def test_pages_are_written_where_the_folders_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pages.main([str(tmp_path)]) == 2
    assert f"not there: {tmp_path}/docs" in capsys.readouterr().err
    for folder in ("docs", "schemas"):
        (tmp_path / folder).mkdir()
    assert pages.main([str(tmp_path)]) == 0
    for path, text in PAGES.items():
        assert (tmp_path / path).read_text(encoding="utf-8") == text()
    assert pages.main(["a", "b"]) == 2


def helped(capsys: pytest.CaptureFixture[str]) -> Iterator[tuple[str, str]]:
    """Each command and what its `--help` prints: what a user sees, not the parser's insides."""
    waiting: list[tuple[str, ...]] = [()]
    while waiting:
        path = waiting.pop()
        with pytest.raises(SystemExit, match="0"):
            main([*path, "--help"])
        said = capsys.readouterr().out
        inner = re.search(r"^(?:commands|actions):\n  \w+\n((?:    .*\n)+)", said, re.MULTILINE)
        if inner is None:
            yield " ".join(("stream-monitor", *path)), said
        else:
            waiting += [(*path, name) for name in re.findall(r"^    ([\w-]+)", inner[1], re.MULTILINE)]


def test_every_command_and_option_that_help_shows_is_on_the_page(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    commands = dict(helped(capsys))
    assert set(re.findall(r"^## `(.+)`$", page, re.MULTILINE)) == set(commands)
    for command, said in commands.items():
        section = page.split(f"\n## `{command}`\n")[1].split("\n## ")[0]
        options = set(re.findall(r"^  (--[\w-]+)", said, re.MULTILINE)) - {"--help"}
        assert options == set(re.findall(r"^\| `(--[\w-]+)", section, re.MULTILINE)), command


def test_a_command_that_explains_nothing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    parser = argparse.ArgumentParser(prog="stream-monitor")
    monkeypatch.setattr(cli_reference, "build_parser", lambda: parser)
    with pytest.raises(LookupError, match="has no description"):
        cli_reference.reference()
    parser.description = "Words."
    parser.add_argument("--silent")
    with pytest.raises(LookupError, match="--silent SILENT` has no help"):
        cli_reference.reference()


# ── docstrings of what others call ──────────────────────────────────────────────────────────


def public() -> list[tuple[str, Any, str]]:
    """Every function and method of the SDK with its path, and all that is said of it."""
    found: list[tuple[str, Any, str]] = []
    for name in sdk.__all__:
        thing = getattr(sdk, name)
        if inspect.isfunction(thing):
            found.append((name, thing, thing.__doc__ or ""))
            continue
        words = thing.__doc__ or ""
        for path, member in sdk_reference.public_members(name, thing):
            function = member.fget if isinstance(member, property) else member
            found.append((path, function, words + (member.__doc__ or "")))
        made = [own for own in ("__init__", "__post_init__") if inspect.isfunction(vars(thing).get(own))]
        found += [(f"{name}.{own}", vars(thing)[own], words) for own in made]
    return found


def raised(function: Any) -> set[str]:
    """Names of the exceptions that the function's own body raises."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except OSError:  # made by dataclass, raises nothing
        return set()
    calls = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise)]
    return {call.func.id for call in calls if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)}


@pytest.mark.parametrize(("path", "function", "words"), public(), ids=[path for path, _, _ in public()])
def test_what_a_public_function_raises_is_said(path: str, function: Any, words: str) -> None:
    assert words.strip(), path
    for error in raised(function):
        assert error in words, f"{path} raises {error} and does not say so"


def test_raised_errors_are_seen() -> None:
    assert raised(sdk.AlertSubscriber.__init__) == {"ConfigError"}
