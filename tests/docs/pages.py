"""The documentation as data: its pages, blocks, links and command lines."""

from __future__ import annotations

import re
import shlex
import subprocess
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = tuple(
    sorted(
        page
        for pattern in ("README.md", "docs/**/*.md", "examples/**/*.md", "deploy/**/*.md", "schemas/*.md")
        for page in ROOT.glob(pattern)
        if "node_modules" not in page.parts
    )
)
COMMAND = "stream-monitor"

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)|<img[^>]* src=\"([^\"]+)\"|<source[^>]* srcset=\"([^\"]+)\"")
_ENDS = frozenset({"|", "||", "&&", "&", ";", ">", ">>"})


class Block(NamedTuple):
    """A fenced block and where it stands."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


class Found(NamedTuple):
    """A piece of a page, and which page (for messages)."""

    page: str
    text: str


def name_of(page: Path) -> str:
    """A page's path from the repository's root."""
    return page.relative_to(ROOT).as_posix()


@cache
def all_blocks() -> tuple[Block, ...]:
    """Every fenced block of every page, in order."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in _FENCE.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            found.append(Block(name_of(page), line, match[2], textwrap.dedent(match[3])))
    return tuple(found)


def blocks(*languages: str, page: str | None = None) -> list[Block]:
    """Fenced blocks of those languages."""
    return [
        block
        for block in all_blocks()
        if block.language in languages and (page is None or block.page == page)
    ]


def commands(text: str) -> list[str]:
    """The commands of a shell block, one by one, with their continued lines and here-documents.

    Whether one is complete is the shell's to say; nothing runs.
    """
    found: list[str] = []
    waiting = ""
    for line in text.splitlines():
        waiting += f"{line}\n"
        if line.endswith("\\"):
            continue
        if not waiting.strip() or waiting.lstrip().startswith("#"):
            waiting = ""
            continue
        said = subprocess.run(["bash", "-n"], input=waiting, capture_output=True, text=True, check=False)
        if said.returncode == 0 and not said.stderr:
            found.append(waiting.strip())
            waiting = ""
    assert not waiting.strip(), f"not a shell command: {waiting!r}"
    return found


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def links() -> list[Found]:
    """Targets of links and pictures that stay in the repository."""
    return [
        Found(name_of(page), target)
        for page in PAGES
        for match in _LINK.finditer(prose(page))
        for target in match.groups()
        if target is not None and "://" not in target
    ]


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them: a heading that comes again is numbered."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        number = 0
        while (anchor := slug if number == 0 else f"{slug}-{number}") in found:
            number += 1
        found.add(anchor)
    return found


def shell_commands() -> list[tuple[str, list[str]]]:
    """Page and arguments of each of our command lines in shell blocks."""
    return [
        (block.page, args)
        for block in blocks("sh", "bash", "console", "shell")
        for line in block.text.replace("\\\n", " ").splitlines()
        for args in _arguments(line)
    ]


def inline_commands() -> list[tuple[str, list[str]]]:
    """The same for commands within a sentence, which may leave out their options."""
    return [
        (name_of(page), args)
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
