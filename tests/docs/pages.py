"""The documentation as data: its pages, blocks, links and command lines."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
COMMAND = "stream-monitor"

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_ENDS = frozenset({"|", "||", "&&", "&", ";", ">", ">>"})


class Found(NamedTuple):
    """A piece of a page, and which page (for messages)."""

    page: str
    text: str


def blocks(*kinds: str) -> list[Found]:
    """Fenced blocks of those languages."""
    return [
        Found(page.name, match[3])
        for page in PAGES
        for match in _FENCE.finditer(page.read_text(encoding="utf-8"))
        if match[2] in kinds
    ]


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def links() -> list[Found]:
    """Targets of links that stay in the repository."""
    return [
        Found(page.name, match[1])
        for page in PAGES
        for match in _LINK.finditer(prose(page))
        if "://" not in match[1]
    ]


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in plain}


def shell_commands() -> list[tuple[str, list[str]]]:
    """Page and arguments of each of our command lines in shell blocks."""
    return [
        (found.page, args)
        for found in blocks("sh", "bash", "console", "shell")
        for line in found.text.replace("\\\n", " ").splitlines()
        for args in _arguments(line)
    ]


def inline_commands() -> list[tuple[str, list[str]]]:
    """The same for commands within a sentence, which may leave out their options."""
    return [
        (page.name, args)
        for page in PAGES
        for match in _INLINE.finditer(prose(page))
        if f"{COMMAND} " in match[1] and not match[1].startswith("make ")
        for args in _arguments(" ".join(match[1].split()))
    ]


def _arguments(line: str) -> Iterator[list[str]]:
    words = shlex.split(line, comments=True)
    for at, word in enumerate(words):
        if Path(word).name == COMMAND:
            rest = words[at + 1 :]
            end = next((i for i, other in enumerate(rest) if other in _ENDS), len(rest))
            yield rest[:end]
