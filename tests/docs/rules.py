"""What the walk through a page must be told: what runs on, what cannot run here and who runs it then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class RunsOn:
    """A command that runs until it is stopped. `ready`: what it prints once it works."""

    pattern: str
    ready: str
    codes: frozenset[int] = frozenset({0})
    """What it may end with on SIGTERM."""
    may_end: bool = False
    """Whether it may end by itself while the page goes on."""


_SIGNALLED = frozenset({0, 128 + 15})

BROKER = RunsOn(r"\bstream-monitor broker\b", r"^127\.0\.0\.1:\d+$")
WORKER = RunsOn(r"\bstream-monitor worker\b", r"metrics at http://([\d.:]+)/metrics")
RUNS_ON = (
    BROKER,
    WORKER,
    RunsOn(r"quickstart/publisher\.py", r"events a second", may_end=True),
    RunsOn(r"quickstart/subscriber\.py", r"", _SIGNALLED),
    RunsOn(r"AlertSubscriber\(|subscribers/python/subscriber\.py", r"", _SIGNALLED),
)


class NotHere(NamedTuple):
    """A command that a test cannot run."""

    pattern: str
    reason: str
    instead: str
    """The file of this repository that runs it, or checks what it would run."""


NOT_HERE = (
    NotHere(r"^make setup\b", "these tests run in what it makes", ".ci/run"),
    NotHere(r"^make test\b", "these tests are it", ".ci/run"),
    NotHere(
        r"^docker compose ",
        "no container engine; the services start as processes by the Compose file's own commands",
        "tests/deploy/test_stack.py",
    ),
    NotHere(
        r"^docker (build|run) ",
        "no container engine; the file's commands run in a folder",
        "tests/deploy/test_dockerfile.py",
    ),
    NotHere(
        r"^(mvn -f|java -cp|go -C|npm --prefix) \"?examples/subscribers/",
        "it would build inside the repository; the same is built and run below build/",
        "tests/examples/toolchains.py",
    ),
    NotHere(r"^pip install --require-hashes ", "it fetches packages", "Makefile"),
)

INSTEAD: Mapping[str, str] = {
    # The real Makefile's recipe, without the set-up that it depends on, played faster.
    r"^make demo\b": 'make -o .venv/.wheel demo ARGS="--seconds 8"',
    # A hash that an alert of this very run would name.
    r"--hash \w+": "--hash $(stream-monitor config show --config monitor.yaml --model car_loan "
    """| sed -n '1s/.*hash //p')""",
    # The usual port of the metrics may be another's here.
    r"\bstream-monitor doctor\b": "stream-monitor doctor --port 0",
}
"""What is put in a command's place, that it can run beside other tests."""

MAY_END_WITH: Mapping[str, set[int]] = {}
"""Commands that say something by their exit code."""

EXACT = frozenset({"docs/monitors.md"})
"""Pages whose output is a function of the code alone, so that each character is compared."""

OTHER_LANGUAGES: Mapping[str, str] = {}
"""Language of blocks that are neither run nor read here -> the file of this repository that does."""
