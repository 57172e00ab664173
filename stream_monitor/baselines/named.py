"""The baseline that a configuration names for a model: a profile, or rows to build one of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stream_monitor.baselines.baseline import Baseline
from stream_monitor.baselines.build import build_baseline
from stream_monitor.baselines.feature import FIRST_VALUE_BIN
from stream_monitor.baselines.files import read_batches
from stream_monitor.errors import BaselineError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stream_monitor.config import Config


MIN_ROWS = 20
"""As many as a window test wants in each of its cells: with fewer nothing can be judged."""


def baseline_of_rows(files: Sequence[Path], config: Config, model: str) -> Baseline:
    """Build the baseline of `model` from rows of files, as the configuration reads them."""
    settings = config.model(model)
    features = None if settings.features == "all" else settings.features
    baseline = build_baseline(
        read_batches(
            files, settings.columns, features, model, texts=settings.texts, segments=settings.segments
        ),
        source=", ".join(file.name for file in files),
        pane=settings.pane,
        features=features,
        texts=settings.texts,
        max_features=config.limits.max_features,
        max_categories=config.limits.max_categories,
        segments=settings.segments,
    )
    source = ", ".join(map(str, files))
    if baseline.rows < MIN_ROWS:
        raise BaselineError(
            f"{source}: a reference needs {MIN_ROWS} rows at least, and some thousands to be of use; "
            f"this has {baseline.rows}"
        )
    if not any(profile.counts[FIRST_VALUE_BIN:].any() for profile in baseline.features):
        raise BaselineError(f"{source}: no column has a value, so there is nothing to compare with")
    return baseline


def read_profile(path: Path) -> Baseline:
    """A profile that `baseline create` wrote."""
    if path.suffix in {".parquet", ".csv", ".jsonl"}:
        raise BaselineError(f"{path}: is a file of rows; make a profile of it by `baseline create`")
    try:
        return Baseline.from_json(path.read_bytes())
    except OSError as error:
        raise BaselineError(f"{path}: cannot be read: {error.strerror}") from error
    except BaselineError as error:
        raise BaselineError(f"{path}: {error}") from error


def load_baseline(config: Config, model: str) -> Baseline | None:
    """The baseline that the configuration names for `model`: a profile (`.json`) or rows.

    None where it names none: the model is learned then.
    """
    named = config.model(model).baseline
    if named is None:
        return None
    path = Path(named)
    return read_profile(path) if path.suffix == ".json" else baseline_of_rows([path], config, model)
