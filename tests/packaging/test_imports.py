"""What a fresh process has loaded after a statement: the logger lives in other people's servers."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest

REPORT = """
import json, sys
before = set(sys.modules)
{}
found = {{name.partition(".")[0] for name in set(sys.modules) - before}}
print(json.dumps(sorted(found - set(sys.stdlib_module_names) - {{"stream_monitor"}})))
"""


def loaded(statement: str) -> set[str]:
    """Third-party packages that `statement` brings in."""
    done = subprocess.run(
        [sys.executable, "-c", REPORT.format(statement)], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_the_sdk_loads_nothing() -> None:
    assert loaded("import stream_monitor.sdk") == set()


@pytest.mark.parametrize("name", ["PredictionLogger", "LabelLogger"])
def test_a_logger_loads_the_json_encoder(name: str) -> None:
    assert loaded(f"from stream_monitor.sdk import {name}") == {"orjson"}


def test_reading_alerts_loads_the_client_and_the_decoder() -> None:
    statement = "from stream_monitor.sdk import read_alerts"
    # msgspec looks for typing_extensions and takes it where it is.
    assert loaded(statement) <= {"confluent_kafka", "cimpl", "msgspec", "orjson", "typing_extensions"}


PREDICTION = """
from stream_monitor.sdk import PredictionLogger
logger = PredictionLogger("localhost:1", "m", pack_min=None)
logger.log({"x": 1.0, "y": "a"}, 0.5, timestamp="2026-01-31T12:00:00Z")
logger.close(0.3)
"""
LABEL = """
from stream_monitor.sdk import LabelLogger
logger = LabelLogger("localhost:1", model="m")
logger.log("a", True, timestamp="2026-01-31T12:00:00Z")
logger.close(0.3)
"""
MADE = """
from stream_monitor.sdk import PredictionLogger
logger = PredictionLogger("localhost:1", "m")
"""
PACKED = """
for i in range(20):
    logger.log({"x": i, "y": "abc"[i % 3], "z": i > 9, "v": [1.0, i]}, 0.5, id=str(i), latency_ms=2,
               error=i == 3, segments={"s": "t"}, trace="00" if i else None)
logger.close(0.3)
assert logger.failed == 1 and "did not take in time" in logger.last_error
"""


@pytest.mark.parametrize("first_use", [PREDICTION, LABEL])
def test_logging_json_needs_no_arrays(first_use: str) -> None:
    assert loaded(first_use) <= {"confluent_kafka", "cimpl", "orjson"}


def test_what_packs_need_is_loaded_when_the_logger_is_made_and_not_at_the_first_event() -> None:
    assert {"confluent_kafka", "numpy", "orjson", "pyarrow"} <= loaded(MADE)
    logged = loaded(MADE + PACKED)
    assert logged == loaded(MADE)
    # pyarrow loads pandas, where it is installed, as soon as one asks it for an array of a list.
    assert find_spec("pandas") is not None
    assert not logged & {"faust", "msgspec", "pandas", "river", "scipy"}


@pytest.mark.parametrize("option", ["--help", "--version", "worker', '--help"])
def test_help_loads_nothing(option: str) -> None:
    statement = (
        "import contextlib, stream_monitor.cli\n"
        f"with contextlib.suppress(SystemExit): stream_monitor.cli.main(['{option}'])"
    )
    assert loaded(statement) == set()
