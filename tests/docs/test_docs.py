"""What the documentation says is so: commands, links, configurations, messages, numbers."""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
from functools import cache
from pathlib import Path

import orjson
import pytest
import yaml

from stream_monitor.baselines.records import activation_key, decode_activation
from stream_monitor.cli.main import build_parser
from stream_monitor.config import config_from
from stream_monitor.engines.kafka.clients import FIXED_CONSUMER, FIXED_PRODUCER
from stream_monitor.engines.topics import plan_topics
from stream_monitor.events.deadletter import REASONS
from stream_monitor.records import TOPICS
from stream_monitor.serve.catalogue import METRICS
from tests.docs.pages import (
    PAGES,
    ROOT,
    Block,
    anchors,
    blocks,
    inline_commands,
    links,
    name_of,
    prose,
    shell_commands,
)
from tests.events.test_schemas import SCHEMAS, errors
from tests.serve.prometheus_process import program

DAY_MS = 86_400_000


def text_of(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


# ── links ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("page", "target"), sorted(set(links())))
def test_links_lead_somewhere(page: str, target: str) -> None:
    source = ROOT / page
    path, _, anchor = target.partition("#")
    there = (source.parent / path).resolve() if path else source
    assert there.exists(), f"{page} links to {target}"
    if anchor:
        assert anchor in anchors(there), f"{page} links to {target}; there are {sorted(anchors(there))}"


# ── commands ────────────────────────────────────────────────────────────────────────────────


def usage_code(args: list[str]) -> int | str | None:
    """0 where the parser takes `args`, else argparse's exit code."""
    try:
        build_parser().parse_args(args)
    except SystemExit as ended:
        return ended.code
    return 0


@pytest.mark.parametrize(("page", "args"), shell_commands())
def test_commands_in_shell_blocks_parse(page: str, args: list[str]) -> None:
    assert usage_code(args) == 0, f"{page}: stream-monitor {' '.join(args)}"


@pytest.mark.parametrize(("page", "args"), inline_commands())
def test_commands_in_sentences_exist(page: str, args: list[str]) -> None:
    bare = not any(word.startswith("-") for word in args)
    assert usage_code([*args, "--help"] if bare else args) == 0, f"{page}: stream-monitor {' '.join(args)}"


def test_a_wrong_command_would_be_found() -> None:
    assert usage_code(["tick"]) == 2
    assert usage_code(["baseline", "creat", "--help"]) == 2


def test_there_are_commands_to_check() -> None:
    shown = {" ".join(args[:1]) for _, args in shell_commands()}
    assert shown >= {"broker", "topics", "worker", "validate", "baseline", "replay", "tick"}


# ── configurations and code ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_configurations_load(block: Block, tmp_path: Path) -> None:
    content = yaml.safe_load(block.text)
    if "groups" in content:
        file = tmp_path / "rules.yml"
        file.write_text(block.text, encoding="utf-8")
        done = subprocess.run(
            [program("promtool"), "check", "rules", str(file)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return
    env = dict.fromkeys(re.findall(r"(?<!\$)\$\{(\w+)\}", block.text), "given")
    config_from(content, env=env)


@pytest.mark.parametrize("block", blocks("json"), ids=str)
def test_examples_in_json_are_what_a_schema_describes(block: Block) -> None:
    content = orjson.loads(block.text)
    faults = {name: errors(name, content) for name in SCHEMAS}
    assert [] in faults.values(), faults


def test_each_topic_s_page_has_its_schema_and_an_example_of_it() -> None:
    sections = re.split(r"^## ", text_of("topics.md"), flags=re.MULTILINE)[1:]
    assert [section.split("\n")[0] for section in sections] == list(TOPICS)
    for section in sections:
        linked = re.findall(r"\(\.\./schemas/([\w.-]+)\.json\)", section)
        shown = [orjson.loads(found) for found in re.findall(r"```json\n(.*?)```", section, re.DOTALL)]
        assert bool(linked) == bool(shown), section
        for example in shown:
            assert any(not errors(name, example) for name in linked), example


def test_the_baseline_on_the_topics_page_has_the_hash_that_it_says() -> None:
    (example,) = (
        block.text
        for block in blocks("json", page="docs/topics.md")
        if "stream-monitor/activation/v1" in block.text
    )
    content = orjson.loads(example)
    key = activation_key(content["model"], content["version"], content["first_pane"])
    assert decode_activation(key, example.encode()) is not None


@pytest.mark.parametrize("block", blocks("ini"), ids=str)
def test_ini_is_ini(block: Block) -> None:
    parser = configparser.ConfigParser(strict=True)
    parser.read_string(block.text)
    assert parser.sections()


# ── names and messages ──────────────────────────────────────────────────────────────────────


@cache
def literals() -> tuple[str, ...]:
    """Every text in the package's code, with `…` for what is filled in."""
    texts = []
    for file in sorted((ROOT / "stream_monitor").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [str(p.value) if isinstance(p, ast.Constant) else "…" for p in node.values]
                texts.append("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(re.sub(r"%(\.\d+f|[sdr])", "…", node.value))
    return tuple(re.sub("…+", "…", text) for text in texts)


def quoted_messages() -> list[str]:
    lines = text_of("troubleshooting.md").splitlines()
    return [line.removeprefix("> ") for line in lines if line.startswith("> ")]


@pytest.mark.parametrize("message", quoted_messages())
def test_messages_are_those_of_the_code(message: str) -> None:
    assert any(message in text for text in literals()), f"no code says: {message}"


def test_there_are_messages_to_check() -> None:
    assert len(quoted_messages()) >= 40
    assert not any("no code would say such a thing" in text for text in literals())


def test_every_dead_letter_reason_is_explained() -> None:
    table = re.findall(r"^\| `(\w+)` \| .+ \| .+ \|$", text_of("troubleshooting.md"), re.MULTILINE)
    assert sorted(table) == sorted(REASONS)


def test_metrics_that_pages_name_exist() -> None:
    names = {metric.name for metric in METRICS}
    for page in PAGES:
        for name in re.findall(r"\bstream_monitor_[a-z_]+\b", page.read_text(encoding="utf-8")):
            assert name in names or re.sub(r"_(bucket|sum|count)$", "", name) in names, f"{page.name}: {name}"


def test_topics_table_is_the_plan() -> None:
    table = {}
    for line in text_of("operations.md").splitlines():
        if found := re.fullmatch(r"\| `([\w-]+)` \| (.+?) \| (delete|compact) \| (.+?) \| (.+) \|", line):
            table[found[1]] = found.groups()[1:]
    plans = plan_topics(config_from({"kafka": {"partitions": 7}}, env={}))
    assert list(table) == [plan.logical for plan in plans]
    for plan in plans:
        partitions, policy, kept, holds = table[plan.logical]
        assert plan.partitions == (7 if partitions == "`kafka.partitions`" else int(partitions))
        assert plan.settings["cleanup.policy"] == policy
        if days := re.fullmatch(r"(\d+) days?", kept):
            assert plan.settings["retention.ms"] == str(int(days[1]) * DAY_MS)
        else:
            assert "retention.ms" not in plan.settings
        assert ("LogAppendTime" in holds) == ("message.timestamp.type" in plan.settings)


def test_fixed_client_settings_are_named() -> None:
    page = text_of("operations.md")
    for key in (*FIXED_CONSUMER, *FIXED_PRODUCER):
        assert f"`{key}`" in page


def test_pages_keep_to_the_point() -> None:
    for page in PAGES:
        assert prose(page).startswith("# "), page.name
        assert "\t" not in page.read_text(encoding="utf-8"), page.name


# ── the code that pages name ────────────────────────────────────────────────────────────────


def named_files() -> list[tuple[str, str]]:
    return [
        (name_of(page), found)
        for page in PAGES
        for found in re.findall(r"`((?:[\w.-]+/)+[\w-]+\.(?:py|json|md|ya?ml|svg))`", prose(page))
    ]


@pytest.mark.parametrize(("page", "file"), sorted(set(named_files())))
def test_files_that_pages_name_exist(page: str, file: str) -> None:
    places = (ROOT, ROOT / "stream_monitor", (ROOT / page).parent)
    assert any((place / file).is_file() for place in places), f"{page}: there is no {file}"


def test_names_beside_a_file_are_in_it() -> None:
    text = text_of("architecture.md")
    named = re.findall(r"`([\w/]+\.py)`, `([A-Za-z_.]+)`", text)
    assert len(named) >= 5
    for file, name in named:
        code = (ROOT / "stream_monitor" / file).read_text(encoding="utf-8")
        for part in name.split("."):
            assert re.search(rf"\b(def|class) {part}\b", code), f"{file} has no {name}"


def test_the_layers_on_the_page_are_those_of_the_package() -> None:
    table = text_of("architecture.md").split("\n## The layers\n")[1].split("\n## ")[0]
    named = {
        name.strip("/")
        for row in re.findall(r"^\| (`.+?) \|", table, re.MULTILINE)
        for name in re.findall(r"`([\w/]+)`", row)
    }
    there = {
        path.stem for path in (ROOT / "stream_monitor").iterdir() if not path.name.startswith(("_", "py."))
    }
    assert named == there
