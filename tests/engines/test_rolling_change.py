"""A change of the configuration, rolled out over two workers while events flow."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from stream_monitor.cli import main
from stream_monitor.config import config_from
from stream_monitor.config.records import ALL_OTHERS
from stream_monitor.engines.kafka.agreement import read_configs
from stream_monitor.events.times import from_rfc3339
from tests.engines.load import SECOND, SETTINGS, Load, final_tick, publish_baseline
from tests.engines.test_rebalance import flowing
from tests.engines.workers import Setup, Watcher, WorkerProcess, read_topic, setup_of, wait_for

EVENTS, SECONDS = 30_000, 2400
BOUND = 300 * SECOND
OLD: dict[str, Any] = {**SETTINGS, "models": {"loans": {"learn": {"events": 3000}}}}
NEW: dict[str, Any] = {
    "defaults": {**SETTINGS["defaults"], "alert_budget": {"false_alarms": 5, "per": "day"}},
    "models": {"loans": {"learn": {"events": 3000}, "features": ["a", "colour"]}},
}


@pytest.mark.timeout(360)
def test_a_rolling_change_of_budget_and_features(
    broker: str, kafka_prefix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with setup_of(broker, kafka_prefix, tmp_path, **OLD) as old, Watcher(old) as watcher:
        new = Setup(broker, kafka_prefix, tmp_path, **{**old.settings, **NEW})
        publish_baseline(old)
        load = Load.make(EVENTS, SECONDS)
        with WorkerProcess(old) as one, WorkerProcess(old.with_worker(replica="two")) as two:
            one.wait_ready()
            two.wait_ready()
            messages = load.encoded()
            half = len(messages) * 2 // 5
            with flowing(old, messages[:half], 5.0):
                wait_for(lambda: watcher.standing("judge").total > 50, 60, "something to be judged", one)
                assert two.stop() == 0, two.log[-3000:]
            with WorkerProcess(new.with_worker(replica="two")) as second:
                second.wait_ready()
                with flowing(old, messages[half:], 15.0):
                    assert one.stop() == 0, one.log[-3000:]
                    # One of the old generation comes back: it follows, and says so.
                    with WorkerProcess(old) as back:
                        back.wait_ready()
                        assert "the file is not followed for models that are not named, loans" in back.log
                        assert "stream-monitor config activate --config FILE" in back.log
                        assert back.stop() == 0, back.log[-3000:]
                with WorkerProcess(new) as first:
                    first.wait_ready()
                    assert "not followed" not in first.log
                    wait_for(lambda: watcher.standing("observe").lag < 100, 90, "all to be read", first)
                    final_tick(new)
                    wait_for(watcher.done, 90, "nothing left", first)
                    assert first.stop() == 0, first.log[-3000:]
                    assert second.stop() == 0, second.log[-3000:]
        check_one_switch(new, {name: old.config.model(name).hash for name in ("loans", "cars")})
        check_topic(old, new)
        check_commands(old, new, capsys)


def check_one_switch(new: Setup, before: dict[str, str]) -> None:
    """Each window names one hash; each model changes once, at a bound; nothing is called missing."""
    after = {name: new.config.model(name).hash for name in before}
    found: dict[str, set[tuple[int, str]]] = defaultdict(set)
    for message in read_topic(new.broker, new.topic("aggregates")):
        view = orjson.loads(message.value())
        start, model = from_rfc3339(view["start"]), view["model"]
        found[model].add((start, view["config"]))
        if view["config"] == after[model] and model == "loans":
            assert set(view["features"]) == {"a", "colour", "prediction"}
        for name, feature in view["features"].items():
            if view["baseline"] is not None:
                assert feature["missing"] == 0, f"{model} {view['window']} {view['start']}: {name}"
    for model, windows in found.items():
        by_start: dict[int, set[str]] = defaultdict(set)
        for start, digest in windows:
            by_start[start].add(digest)
        assert all(len(digests) == 1 for digests in by_start.values())
        said = [digests.copy().pop() for _, digests in sorted(by_start.items())]
        switches = [i for i in range(1, len(said)) if said[i] != said[i - 1]]
        assert len(switches) == 1, f"{model}: {len(switches)} switches"
        assert (said[0], said[-1]) == (before[model], after[model])
        assert sorted(by_start)[switches[0]] % BOUND == 0
    alerts = [orjson.loads(m.value()) for m in read_topic(new.broker, new.topic("alerts"))]
    assert {view["labels"]["feature"] for view in alerts} >= {"a"}
    assert "MissingValues" not in {view["labels"]["alertname"] for view in alerts}


def check_topic(old: Setup, new: Setup) -> None:
    """The worker of the new generation that came first wrote, each change once."""
    directory = read_configs(new.config)
    for model in (ALL_OTHERS, "loans"):
        history = [(a.first_pane, a.hash) for a in directory.history(model)]
        assert len(history) == 2
        assert history[0] == (0, old.config.model(model).hash)
        assert history[1][0] % BOUND == 0
        assert history[1][1] == new.config.model(model).hash


def check_commands(old: Setup, new: Setup, capsys: pytest.CaptureFixture[str]) -> None:
    """What an alert names can be read back; an old file can be put into effect again, on purpose."""
    files = {}
    for name, setup in (("old", old), ("new", new)):
        files[name] = str(setup.folder / f"{name}.yaml")
        Path(files[name]).write_text(yaml.safe_dump(setup.settings), encoding="utf-8")
    digest = new.config.model("loans").hash
    capsys.readouterr()
    assert main(["config", "show", "--config", files["old"], "--hash", digest[:12]]) == 0
    text = capsys.readouterr().out
    assert f"# hash {digest}" in text
    assert "# model loans: judged by it from " in text
    assert config_from(yaml.safe_load(text), env={}).model("loans").hash == digest
    assert main(["config", "show", "--config", files["old"], "--hash", "0" * 64]) == 1
    assert "no configuration has the hash" in capsys.readouterr().err

    assert main(["config", "activate", "--config", files["new"]]) == 0
    assert "nothing to change" in capsys.readouterr().out
    assert main(["config", "activate", "--config", files["old"], "--first-pane", "2001-01-01T00:00:00Z"]) == 1
    assert "--first-pane: model" in capsys.readouterr().err
    assert main(["config", "activate", "--config", files["old"]]) == 0
    told = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in told] == ["models that are not named", "model loans"]
    assert read_configs(old.config).history("loans")[-1].hash == old.config.model("loans").hash

    changed = {**old.settings, "defaults": {**old.settings["defaults"], "pane": "30s"}}
    with WorkerProcess(Setup(old.broker, old.prefix, old.folder, **changed)) as refused:
        assert refused.process.wait(30) == 1
        assert "`defaults.pane`: this group judges by panes of 10s, the file says 30s" in refused.log
