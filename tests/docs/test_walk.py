"""Every command and program of every page runs, in the page's order, and prints what the page says."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet
import pytest
from confluent_kafka.admin import AdminClient

from stream_monitor.broker import EmbeddedBroker
from stream_monitor.cli import main
from tests.docs.pages import PAGES, ROOT, all_blocks, blocks, commands, prose
from tests.docs.rules import INSTEAD, MAY_END_WITH, NOT_HERE, OTHER_LANGUAGES, RUNS_ON
from tests.docs.walk import Walk, WalkError, first_missing, shape

TAKEN = ("sh", "python", "text", "yaml")
READ = ("json", "ini")  # test_docs.py
WALKED = sorted({block.page for block in blocks("sh", "python")})
LINKED = ("Makefile", "pyproject.toml", "docs", "examples", "schemas", "requirements", "deploy")
PANES = 300


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the pages say the reader has: rows of a good time, and newer ones."""
    folder = tmp_path_factory.mktemp("files")
    for seed, name in enumerate(("reference", "predictions", "good_week")):
        pyarrow.parquet.write_table(rows(seed), folder / f"{name}.parquet")
    lines = [orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows(1).to_pylist()]
    (folder / "predictions.jsonl").write_bytes(b"".join(lines))
    (first,) = (block for block in blocks("yaml", page="README.md") if "reference.parquet" in block.text)
    (folder / "monitor.yaml").write_text(first.text, encoding="utf-8")
    made = ["baseline", "create", str(folder / "reference.parquet"), "--model", "car_loan"]
    assert main([*made, "--out", str(folder / "car_loan.json")]) == 0
    return folder


def rows(seed: int) -> pa.Table:
    """Applications for loans, five in each of `PANES` panes of 10 s."""
    random = np.random.default_rng(seed)
    count = 5 * PANES
    income = np.round(random.lognormal(10.6, 0.4, count))
    second = np.datetime64("2026-03-01T00:00:00", "ms") + 2000 * np.arange(count)
    return pa.table(
        {
            "id": [f"{seed}-{row}" for row in range(count)],
            "timestamp": pa.array(second, pa.timestamp("ms", tz="UTC")),
            "income": income,
            "region": random.choice(["north", "south", "west"], count),
            "has_account": random.random(count) < 0.7,
            "prediction": np.minimum(1.0, income / 100_000),
        }
    )


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Kafka of the pages' own: they use the topics' plain names, which are then deleted."""
    with EmbeddedBroker(tmp_path_factory.mktemp("docs-kafka")) as broker:
        yield broker.bootstrap


def leave_nothing(kafka: str) -> None:
    """Delete all topics and groups, so that the next page begins like the first."""
    admin = AdminClient({"bootstrap.servers": kafka})
    groups = [group.group_id for group in admin.list_consumer_groups().result(30).valid]
    topics = [name for name in admin.list_topics(timeout=30).topics if not name.startswith("__")]
    for future in [
        *(admin.delete_consumer_groups(groups).values() if groups else ()),
        *(admin.delete_topics(topics).values() if topics else ()),
    ]:
        future.result(30)


@pytest.fixture
def clone(tmp_path: Path, files: Path) -> Path:
    """A folder like a fresh clone after `make setup`, with the reader's files."""
    for name in LINKED:
        if (ROOT / name).exists():
            (tmp_path / name).symlink_to(ROOT / name)
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name, line in (
        ("python", f'exec {sys.executable} "$@"'),
        ("stream-monitor", f'exec {sys.executable} -m stream_monitor.cli "$@"'),
    ):
        (programs / name).write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
        (programs / name).chmod(0o755)
    shutil.copytree(files, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", WALKED)
def test_a_page_does_what_it_says(page: str, clone: Path, kafka: str) -> None:
    # A page that starts a Kafka by its own command has no other.
    own = any("stream-monitor broker" in block.text for block in blocks("sh", page=page))
    try:
        with Walk(clone, None if own else kafka) as walk:
            for block in blocks(*TAKEN, page=page):
                try:
                    walk.take(block)
                except WalkError as error:
                    raise WalkError(f"{block}: {error}") from error
    finally:
        leave_nothing(kafka)


def test_the_reader_s_files_are_those_of_the_pages(files: Path) -> None:
    named = {
        word
        for block in blocks("sh", "yaml")
        for word in re.findall(r"(?<![\w/<.-])[\w-]+\.(?:parquet|csv|jsonl)\b", block.text)
    }
    assert named <= {path.name for path in files.iterdir()}


# ── nothing is left out ─────────────────────────────────────────────────────────────────────


def test_every_block_is_of_a_known_kind() -> None:
    for block in all_blocks():
        if block.language:
            assert block.language in {*TAKEN, *READ, *OTHER_LANGUAGES}, (
                f"{block}: nothing runs or reads {block.language}; say in tests/docs/rules.py what covers it"
            )
        else:
            assert not re.search(r"^\s*(\$ |make |stream-monitor |\.venv/|pip )", block.text, re.MULTILINE), (
                f"{block}: a command without `sh` would not be run"
            )


def test_no_command_hides_in_an_indented_block() -> None:
    hidden = re.compile(r"^    (make|pip|stream-monitor|python3?|\.venv/|docker|curl|uv|npm|go|mvn) .*$")
    for page in PAGES:
        for line in prose(page).splitlines():
            assert not hidden.match(line), f"{page}: fence it as `sh`, so that it runs: {line}"


def test_what_cannot_run_here_is_covered_elsewhere() -> None:
    lines = [command for block in blocks("sh") for command in commands(block.text)]
    for rule in NOT_HERE:
        assert (ROOT / rule.instead).exists(), rule
        assert rule.reason
        assert any(re.search(rule.pattern, line) for line in lines), f"no page has {rule.pattern}"
    for language, file in OTHER_LANGUAGES.items():
        assert (ROOT / file).exists(), language
        assert blocks(language), f"no page has a block of {language}"
    texts = [*lines, *(block.text for block in blocks("python"))]
    for pattern in [*(rule.pattern for rule in RUNS_ON), *INSTEAD, *MAY_END_WITH]:
        assert any(re.search(pattern, text) for text in texts), f"no page has {pattern}"


# ── the walk itself ─────────────────────────────────────────────────────────────────────────


def test_a_command_that_fails_is_found(clone: Path) -> None:
    (page,) = (block for block in blocks("sh", page="README.md") if "make test" in block.text)
    with Walk(clone, None) as walk, pytest.raises(WalkError, match="ended with 2"):
        walk.take(page._replace(text="stream-monitor tick\n"))


def test_output_that_differs_is_found(clone: Path) -> None:
    (page,) = (block for block in blocks("sh", page="README.md") if "make test" in block.text)
    with Walk(clone, None) as walk:
        walk.take(page._replace(text="stream-monitor validate monitor.yaml\n"))
        walk.take(page._replace(language="text", text="monitor.yaml: 9 model, Kafka at …\n"))
        with pytest.raises(WalkError, match=r"monitor\.yaml: no model"):
            walk.take(page._replace(language="text", text="monitor.yaml: no model\n"))


def test_shapes() -> None:
    assert shape("since 2026-11-21T09:36:10Z: 4.1e+13 of 12").fullmatch(
        "since 2030-01-01T00:00:00.5Z: 7 of 1,000"
    )
    assert not shape("since 2026-11-21T09:36:10Z").fullmatch("since yesterday")
    assert shape("hash 9b7d1836c2e4a90b, … in all").fullmatch("hash 00ffee7d1836c2e4, whatever in all")
    assert first_missing(["a 1", "b"], ["x", "a 2", "y", "b"]) is None
    assert first_missing(["a 1", "b"], ["b", "a 2"]) == "b"


def test_commands_are_cut_as_the_shell_reads_them() -> None:
    text = "a --x \\\n  y   # why\n\n# only words\ncat <<E\n1\nE\nfor i in 1 2; do\n  b\ndone\n"
    assert commands(text) == ["a --x \\\n  y   # why", "cat <<E\n1\nE", "for i in 1 2; do\n  b\ndone"]
