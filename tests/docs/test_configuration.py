"""docs/configuration.md is what the code says."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from stream_monitor.config import config_from, reference
from stream_monitor.config.reference import SECTIONS

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_every_default_on_the_page_is_the_one_that_an_empty_file_gives() -> None:
    config = msgspec.to_builtins(config_from({}, env={}))
    shown = 0
    for path, _ in SECTIONS:
        if path == "models.NAME":
            continue
        section = PAGE.read_text(encoding="utf-8").split(f"\n## `{path}`\n")[1].split("\n## ")[0]
        for line in section.splitlines():
            if not line.startswith("| `"):
                continue
            key, _, default = (cell.strip() for cell in line.split("|")[1:4])
            value = config[path]
            for part in key.strip("`").split("."):
                value = value[part]
            if default == "see below":
                assert isinstance(value, dict)
            elif default == "none":
                assert value in (None, "", {}, ())
            elif isinstance(value, int | float) and not default.strip("`").replace(".", "").isdigit():
                again = config_from({path: {key.strip("`"): default.strip("`")}}, env={})
                assert msgspec.to_builtins(again) == config
            elif isinstance(value, list | tuple):
                names = default.strip("`[]").split(", ")
                assert msgspec.to_builtins(config_from({path: {key.strip("`"): names}}, env={})) == config
            else:
                assert default.strip("`") == str(value)
            shown += 1
    assert shown >= 30


def test_a_key_without_meaning_and_a_meaning_without_key_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = reference.meanings()
    monkeypatch.setattr(reference, "meanings", lambda: whole | {"kafka.nothing": "There is no such key."})
    with pytest.raises(LookupError, match=r"kafka\.nothing"):
        reference.reference()
    monkeypatch.setattr(reference, "meanings", lambda: {k: v for k, v in whole.items() if k != "kafka.group"})
    with pytest.raises(LookupError, match=r"kafka\.group has no meaning"):
        reference.reference()
