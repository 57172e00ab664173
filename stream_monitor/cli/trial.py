"""A baseline tried as a worker would use it, and told to whoever will run one.

`validate`, `baseline create` and `doctor` share it, so that what they let pass is what a worker
can publish and judge by.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from stream_monitor.errors import BaselineError

if TYPE_CHECKING:
    from stream_monitor.baselines.baseline import Baseline
    from stream_monitor.config import Config

_WIDTH = 110
_HARD_SPACE = "\N{NO-BREAK SPACE}"


def try_baseline(config: Config, model: str, baseline: Baseline, source: str) -> None:
    """`BaselineError` with file, feature and remedy where a worker could not judge `model` by it."""
    from stream_monitor.baselines.records import ANY_VERSION, Activation, encode_activation
    from stream_monitor.processors.parts import judged

    try:
        encode_activation(
            Activation(model, ANY_VERSION, 0, baseline), max_bytes=config.limits.max_message_bytes
        )
    except BaselineError as error:
        raise BaselineError(f"{source}: {error}") from error
    watched = judged(baseline, config.model(model))
    if watched is None or (fault := _fault(config, model, watched)) is None:
        return
    # One alone, so that the message is about what has to be mended.
    for profile in watched.features:
        alone = _fault(config, model, watched.only({profile.name}))
        if alone is not None:
            raise BaselineError(
                f"{source}: feature {profile.name!r} cannot be watched: {alone}; leave it out by "
                f"`models.{model}.features`, and please report this"
            )
    raise BaselineError(f"{source}: cannot be watched: {fault}; give other rows, or fewer `features`")


def _fault(config: Config, model: str, watched: Baseline) -> str | None:
    """Why the model's monitors cannot be made of it, by the code that makes them in a worker."""
    import numpy as np

    from stream_monitor.baselines.records import ANY_VERSION
    from stream_monitor.config.directory import ConfigDirectory
    from stream_monitor.processors.unit import Unit
    from stream_monitor.windows.past import Past

    unit = Unit(config, ConfigDirectory(config), model, ANY_VERSION, Past())
    try:
        unit.new_monitor(watched)
    except (ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
        return str(error) or type(error).__name__
    return None


def size(baseline: Baseline) -> str:
    """How many rows and features."""
    features = len(baseline.features)
    return f"{baseline.rows} rows, {features} feature{'' if features == 1 else 's'}"


def told(config: Config, model: str, baseline: Baseline) -> list[str]:
    """Lines about it: its features, why what is promised is provisional, and notes."""
    from stream_monitor.baselines import describe

    settings = config.model(model)
    # Lines break between features, not within one.
    named = [one.replace(" ", _HARD_SPACE) for one in describe.features(baseline)]
    lines = textwrap.wrap(
        f"features: {', '.join(named)}",
        _WIDTH,
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    lines = [line.replace(_HARD_SPACE, " ") for line in lines]
    for text in describe.slices(baseline, settings):
        lines += textwrap.wrap(text, _WIDTH, subsequent_indent="  ", break_long_words=False)
    why = describe.why_provisional(baseline, settings)
    if why is not None:
        lines.append(f"provisional: variance inflation was not estimated: {why}")
    if baseline.left_out:
        lines.append(f"note: {baseline.left_out} features left out: `limits.max_features`")
    return lines + [f"note: {note}" for note in describe.notes(baseline, settings)]
