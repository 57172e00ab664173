"""The configs topic: records, what holds for a pane, and what a file would change of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest
from msgspec.structs import replace

from stream_monitor.config import Config, config_from
from stream_monitor.config.directory import ConfigDirectory, boundary
from stream_monitor.config.records import (
    ALL_OTHERS,
    ConfigActivation,
    ConfigBody,
    decode_config,
    encode_body,
    encode_config_activation,
)
from stream_monitor.config.settings import ResolvedModel, body_hash
from stream_monitor.errors import ConfigError
from stream_monitor.processors.proposal import MARGIN, Proposal, propose

SECOND = 1_000_000
HOUR = 3600 * SECOND
GROUP = Config().kafka.group
NOW = 1_767_225_600 * SECOND + 1234


def of(document: dict[str, Any]) -> Config:
    return config_from(document, env={})


def taken(config: Config, proposal: Proposal, before: ConfigDirectory | None = None) -> ConfigDirectory:
    """The topic behind a proposal that was written."""
    directory = before or ConfigDirectory(config)
    for activation, settings in proposal.activations:
        for output in (encode_body(settings), encode_config_activation(activation)):
            found = decode_config(output.key, output.value)
            assert found is not None
            directory.add(found)
    return directory


def what(proposal: Proposal) -> dict[str, int]:
    return {activation.model: activation.first_pane for activation, _ in proposal.activations}


def ask(config: Config, directory: ConfigDirectory, newest: int | None = NOW, **more: Any) -> Proposal:
    return propose(config, directory, newest, **({"was_judged": lambda _: True} | more))


def test_records_come_back_and_obey_their_schemas() -> None:
    said = {"features": ["y", "x", "x"], "types": {"x": "text"}, "baseline": "secret/path"}
    settings = of({"models": {"ä": said}}).model("ä")
    body, activation = encode_body(settings), ConfigActivation(GROUP, "ä", NOW, settings.hash)
    found = decode_config(body.key, body.value)
    assert isinstance(found, ConfigBody)
    assert found.hash == settings.hash
    assert ResolvedModel.of_body(found.content, found.hash, "ä").body == settings.body
    written = encode_config_activation(activation)
    assert decode_config(written.key, written.value) == activation
    assert decode_config(body.key, None) is None
    assert b"secret" not in (body.value or b"")
    for output, name in ((body, "config-body.v1"), (written, "config-activation.v1")):
        schema = json.loads((Path(__file__).parents[1] / "schemas" / f"{name}.json").read_bytes())
        jsonschema.Draft202012Validator(schema).validate(orjson.loads(output.value or b""))
    again = ResolvedModel.of_body(settings.body, settings.hash, "ä")
    assert (again.hash, again.features, again.texts) == (settings.hash, ["x", "y"], frozenset("x"))
    assert body_hash(again.body) == settings.hash


@pytest.mark.parametrize("value", [b"{", b"[]", b"\xff", b'{"schema": "other"}', b'{"schema": 1}'])
def test_what_is_no_record_of_ours_is_refused(value: bytes) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        decode_config(b"body\x1fx", value)


def test_a_record_under_a_wrong_key_is_refused() -> None:
    output = encode_body(of({}).model("a"))
    with pytest.raises(ConfigError, match="is that of"):
        decode_config(b"body\x1f" + b"0" * 64, output.value)


def test_compaction_may_turn_bodies_and_activations_round() -> None:
    settings = of({"models": {"a": {"psi_floor": 0.5}}}).model("a")
    directory = ConfigDirectory(of({}))
    activation = ConfigActivation(GROUP, "a", 0, settings.hash)
    directory.add(activation)
    assert directory.since(0) == []
    directory.add(ConfigBody(settings.hash, settings.body))
    assert directory.since(0) == [activation]
    assert directory.at("a", NOW).psi_floor == 0.5
    assert directory.at("b", NOW).psi_floor == 0.02
    directory.add(ConfigActivation("another group", "b", 0, settings.hash))
    assert directory.models() == ["a"]


def test_a_body_of_another_version_stops_who_would_judge_by_it() -> None:
    content = {**of({}).model("a").body, "new_key": 1}
    body = ConfigBody(body_hash(content), content)
    directory = ConfigDirectory(of({}), [body])
    directory.add(ConfigActivation("another group", "a", 0, body.hash))
    with pytest.raises(ConfigError, match="content is of another version of Stream Monitor"):
        directory.add(ConfigActivation(GROUP, "a", 0, body.hash))


def test_an_older_body_keeps_its_name() -> None:
    """A later version has more keys: its defaults are taken, the hash stays that of what was written."""
    content = of({}).model("a").body
    del content["psi_floor"]
    directory = ConfigDirectory(of({}), [ConfigBody(body_hash(content), content)])
    directory.add(ConfigActivation(GROUP, ALL_OTHERS, 0, body_hash(content)))
    assert directory.at("a", 0).hash == body_hash(content)
    assert directory.at("a", 0).psi_floor == 0.02


def test_a_first_start_and_the_same_file_again() -> None:
    config = of({"models": {"a": {"psi_floor": 0.5}, "b": None}})
    first = ask(config, ConfigDirectory(config))
    assert what(first) == {ALL_OTHERS: 0, "a": 0, "b": 0}
    directory = taken(config, first)
    again = ask(config, directory)
    assert (again.activations, again.superseded) == ([], [])


def test_a_change_begins_at_a_bound_of_all_windows_once_and_is_not_turned_back() -> None:
    old = of({"defaults": {"windows": ["1m", "40m"]}, "models": {"a": {"features": ["x"]}}})
    new = of({"defaults": {"windows": ["1m", "1h"]}, "models": {"a": {"features": ["x", "y"]}}})
    directory = taken(old, ask(old, ConfigDirectory(old)))
    change = ask(new, directory)
    assert set(what(change)) == {ALL_OTHERS, "a"}
    for begin in what(change).values():
        assert begin % (2 * HOUR) == 0  # the least common multiple of 1m, 40m and 1h
        assert NOW + MARGIN < begin <= NOW + MARGIN + 2 * HOUR
    taken(new, change, directory)
    assert not ask(new, directory, NOW + 9 * HOUR).activations
    back = ask(old, directory, NOW + 9 * HOUR)
    assert (back.activations, back.superseded) == ([], [ALL_OTHERS, "a"])
    revived = ask(old, directory, NOW + 9 * HOUR, revive=True)
    assert set(what(revived)) == {ALL_OTHERS, "a"}
    assert all(begin > NOW + 9 * HOUR for begin in what(revived).values())
    taken(old, revived, directory)
    assert ask(new, directory, NOW + 9 * HOUR).superseded == [ALL_OTHERS, "a"]
    # Before its first pane each pane keeps what it was judged by.
    begin = what(change)["a"]
    assert directory.at("a", begin - SECOND).hash == old.model("a").hash
    assert directory.at("a", begin).hash == new.model("a").hash
    assert directory.at("a", what(revived)["a"]).hash == old.model("a").hash


def test_a_change_behind_one_that_is_still_to_come_is_later() -> None:
    files = [of({"defaults": {"psi_floor": floor}}) for floor in (0.02, 0.03, 0.04)]
    directory = ConfigDirectory(files[0])
    for config in files:
        taken(config, ask(config, directory), directory)
    begins = [activation.first_pane for activation in directory.history(ALL_OTHERS)]
    assert begins == [0, begins[2] - HOUR, begins[2]]


def test_nothing_was_read_yet_so_the_file_is_replaced_from_the_beginning() -> None:
    old, new = of({}), of({"defaults": {"psi_floor": 0.5}})
    directory = taken(old, ask(old, ConfigDirectory(old), None))
    change = ask(new, directory, None)
    assert what(change) == {ALL_OTHERS: 0}
    taken(new, change, directory)
    assert directory.at("a", NOW).psi_floor == 0.5


def test_a_model_that_is_named_later_goes_its_own_way_from_a_bound_on() -> None:
    before = of({})
    directory = taken(before, ask(before, ConfigDirectory(before)))
    named = of({"models": {"a": {"psi_floor": 0.5}}})
    change = ask(named, directory)
    assert list(what(change)) == ["a"]
    assert what(change)["a"] % HOUR == 0
    taken(named, change, directory)
    # A file that does not name it any more, or not yet, does not turn that back.
    assert ask(before, directory).superseded == ["a"]
    # With the defaults' settings it goes its own way, too: later defaults are not its own.
    same = ask(of({"models": {"b": None}}), directory)
    assert list(what(same)) == ["b"]


def test_panes_stay() -> None:
    config = of({"models": {"a": {"pane": "30s"}}})
    directory = taken(config, ask(config, ConfigDirectory(config)))
    with pytest.raises(ConfigError, match=r"`models\.a\.pane`: this group judges by panes of 30s.* says 15s"):
        ask(of({"models": {"a": {"pane": "15s"}}}), directory)
    with pytest.raises(ConfigError, match=r"`defaults\.pane`: this group judges by panes of 10s.* says 30s"):
        ask(of({"defaults": {"pane": "30s"}, "models": {"a": None}}), directory)
    # A model that is named for the first time may have its own, where it was not judged yet.
    named = of({"models": {"a": {"pane": "30s"}, "b": {"pane": "15s"}}})
    assert what(ask(named, directory, was_judged=lambda _: False)) == {"b": 0}
    with pytest.raises(ConfigError, match=r"`models\.b\.pane`"):
        ask(named, directory)


def test_a_first_pane_that_is_asked_for_must_be_a_bound_to_come() -> None:
    old, new = of({}), of({"defaults": {"psi_floor": 0.5}})
    directory = taken(old, ask(old, ConfigDirectory(old)))
    begin = NOW - NOW % HOUR + 5 * HOUR
    assert what(ask(new, directory, first_pane=begin)) == {ALL_OTHERS: begin}
    for wrong in (begin + SECOND, NOW - NOW % HOUR):
        with pytest.raises(
            ConfigError, match=r"--first-pane: model '\*'.*take 2026-01-01T0[15]:00:00Z or later"
        ):
            ask(new, directory, first_pane=wrong)


def test_a_replaced_activation_is_taken_up_once() -> None:
    a, b = (replace(of({}).model(ALL_OTHERS), psi_floor=floor) for floor in (0.03, 0.04))
    directory = ConfigDirectory(of({}), [ConfigBody(s.hash, s.body) for s in (a, b)])
    first, second = (ConfigActivation(GROUP, ALL_OTHERS, 0, s.hash) for s in (a, b))
    for activation in (first, second, second):
        directory.add(activation)
    assert directory.since(0) == [first, second]
    assert directory.current() == [second]
    assert not directory.holds(first)
    assert directory.holds(second)
    assert boundary(a, b) == HOUR
