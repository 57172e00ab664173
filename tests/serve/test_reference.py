"""docs/metrics.md is what the code says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stream_monitor.serve.catalogue import METRICS
from stream_monitor.serve.reference import main, reference

if TYPE_CHECKING:
    import pytest

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def test_page_is_up_to_date(tmp_path: Path) -> None:
    assert main([str(tmp_path / "metrics.md")]) == 0
    assert PAGE.read_text(encoding="utf-8") == (tmp_path / "metrics.md").read_text(encoding="utf-8"), (
        "docs/metrics.md is old: run `python -m stream_monitor.serve.reference docs/metrics.md`"
    )


def test_page_has_every_metric_once() -> None:
    for metric in METRICS:
        assert reference().count(f"| `{metric.name}` |") == 1


def test_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert capsys.readouterr().out == reference()
    assert main(["a", "b"]) == 2
    assert "usage" in capsys.readouterr().err
