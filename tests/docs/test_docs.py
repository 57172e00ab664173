"""What the documentation says is so: commands, links, configurations, messages, numbers."""

from __future__ import annotations

import ast
import contextlib
import io
import re
from functools import cache
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
import yaml

from stream_monitor.cli import main
from stream_monitor.cli.main import build_parser
from stream_monitor.config import Config, config_from, load_config
from stream_monitor.engines.kafka.clients import FIXED_CONSUMER, FIXED_PRODUCER
from stream_monitor.engines.topics import plan_topics
from stream_monitor.events.deadletter import REASONS
from stream_monitor.serve.catalogue import METRICS
from tests.docs.pages import (
    PAGES,
    ROOT,
    anchors,
    blocks,
    inline_commands,
    links,
    prose,
    shell_commands,
)

WITHOUT_KAFKA = (["validate"], ["config", "schema"], ["config", "show"], ["baseline", "create"], ["replay"])
OTHER_YAML = {"groups", "scrape_configs", "rule_files"}
DAY_MS = 86_400_000


def text_of(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


# ── links ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("page", "target"), sorted(set(links())))
def test_links_lead_somewhere(page: str, target: str) -> None:
    source = ROOT / page if page == "README.md" else ROOT / "docs" / page
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


@pytest.mark.parametrize(
    "args",
    [args for _, args in shell_commands() if any(args[: len(start)] == start for start in WITHOUT_KAFKA)],
    ids=" ".join,
)
def test_commands_that_need_no_kafka_run(
    args: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    given = build_parser().parse_args(args)
    config = provide_config(getattr(given, "config", None), getattr(given, "model", None))
    for file in getattr(given, "files", []):
        provide_rows(file, config, getattr(given, "model", None) or next(iter(config.models)))
    assert main(args) == 0, capsys.readouterr().err
    assert capsys.readouterr().out
    if hasattr(given, "out"):
        assert given.out.exists()


def provide_config(path: Path | None, model: str | None) -> Config:
    """The configuration that a command names: the repository's where there is one."""
    if path is None:
        return config_from({}, env={})
    assert not path.is_absolute(), f"{path}: an example must not leave its folder"
    path.parent.mkdir(parents=True, exist_ok=True)
    ours = ROOT / path
    content = f"models: {{{model or 'car_loan'}: {{baseline: reference.parquet}}}}\n"
    path.write_text(ours.read_text(encoding="utf-8") if ours.is_file() else content, encoding="utf-8")
    config = load_config(path, env={})
    for name, settings in config.models.items():
        if settings.baseline is not None:
            provide_rows(Path(settings.baseline), config, name)
    return config


def provide_rows(path: Path, config: Config, model: str) -> None:
    """A small file of rows with the columns that a model's configuration asks for."""
    settings = config.model(model)
    columns = settings.columns
    rows = 400
    at = np.arange(rows)
    seconds = 1_767_225_600 + at * settings.pane // 1_000_000
    features = ["age", "income"] if settings.features == "all" else settings.features
    content: dict[str, list[int] | list[str]] = {
        name: ((at * 37 + i) % 101).tolist() for i, name in enumerate(features)
    }
    stamps = np.datetime_as_string(seconds.astype("datetime64[s]"), timezone="UTC").tolist()
    content[columns.timestamp or "timestamp"] = stamps
    content[columns.id or "id"] = [f"id-{i}" for i in range(rows)]
    for named in (columns.prediction, columns.prediction_class, columns.label):
        if named is not None:
            content[named] = (at % 2).tolist()
    table = pa.table(content)
    path.parent.mkdir(parents=True, exist_ok=True)
    match path.suffix:
        case ".parquet":
            pa.parquet.write_table(table, path)
        case ".csv":
            pa.csv.write_csv(table, path)
        case ".jsonl":
            path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in table.to_pylist()))
        case other:
            pytest.fail(f"{path}: no rows can be made as {other!r}")


def test_there_are_commands_to_check() -> None:
    shown = {" ".join(args[:1]) for _, args in shell_commands()}
    assert shown >= {"broker", "topics", "worker", "validate", "baseline", "replay", "tick"}


# ── configurations and code ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("page", "text"), blocks("yaml", "yml"))
def test_configurations_load(page: str, text: str) -> None:
    content = yaml.safe_load(text)
    if content.keys() & OTHER_YAML:  # Prometheus's own files
        assert not content.keys() & set(Config.__struct_fields__), page
        return
    env = dict.fromkeys(re.findall(r"(?<!\$)\$\{(\w+)\}", text), "given")
    config_from(content, env=env)


@pytest.mark.parametrize(("page", "text"), blocks("json"))
def test_json_is_json(page: str, text: str) -> None:
    assert orjson.loads(text), page


@pytest.mark.parametrize(("page", "text"), blocks("python"))
def test_python_compiles_and_imports_what_exists(page: str, text: str) -> None:
    tree = ast.parse(text, page)
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert imports, page
    exec(compile(ast.Module(list(imports), []), page, "exec"), {})


def test_the_worked_example_prints_what_stands_behind_it() -> None:
    found = re.search(r"```python\n(.*?)```\n\n```text\n(.*?)```", text_of("monitors.md"), re.DOTALL)
    assert found is not None
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(found[1], "monitors.md", "exec"), {})
    assert said.getvalue() == found[2]


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
