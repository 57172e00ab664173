"""What changed, in a sentence: the direction, and how much in the feature's own unit.

its values are higher (median 52,310 in the baseline, 61,480 now)
its values are higher (median 45.27 in the baseline, 49.72 now; 22% lie above 86.3 now, 0% did)
values are missing more often (1.2% in the baseline, 34% now)
the two no longer move together as they did (they agreed in 83% of rows in the baseline, in 52% now)
"""

from __future__ import annotations

from stream_monitor.detectors.channels import AGREEMENT, RATES
from stream_monitor.monitors.change import Change
from stream_monitor.monitors.figures import apart, number, percent

_MORE = {
    "missing": ("values are missing more often", "values are missing less often"),
    "out_of_range": (
        "more values lie outside the baseline's range",
        "fewer values lie outside the baseline's range",
    ),
    "unseen": ("more values are ones that the baseline never saw", "fewer values are new to the baseline"),
}
_OTHER_KIND = (
    "more values are text or of another kind, where the baseline has numbers",
    "fewer values are text or of another kind than in the baseline",
)
PLAIN = {
    "location": "its values moved",
    "spread": "its values spread differently",
    "skewness": "its values lean to another side",
    "shape": "the shape of its distribution changed",
    "distribution": "its distribution changed",
    "missing": "the share of missing values changed",
    "out_of_range": "the share of values outside the baseline's range changed",
    "unseen": "the share of values that the baseline never saw changed",
    "agreement": "the two no longer move together as they did",
}
"""By channel, where no figures can be given."""


def words_of(channel: str, change: Change, rose: bool | None, *, numbers: bool = False) -> str:
    """The sentence without its subject. `rose`: whether the channel's mean did, None if not known.

    `numbers`: the feature is one of which any number is known, so that `unseen` ones are none.
    """
    before, after = change.baseline, change.current
    if before is None or after is None:
        return PLAIN[channel]
    if channel == AGREEMENT:
        assert isinstance(before, float)
        assert isinstance(after, float)
        return _agreement(before, after)
    if channel in RATES:
        assert isinstance(before, float)
        assert isinstance(after, float)
        more = _OTHER_KIND if channel == "unseen" and numbers else _MORE[channel]
        return f"{more[after < before]} ({_shares(before, after)})"
    if isinstance(before, tuple) or isinstance(after, tuple):
        assert isinstance(before, tuple)
        assert isinstance(after, tuple)
        return _spread(before, after, rose)
    if change.measure == "share":
        return f"{_share_of(channel)} ({_part(change.of)}: {_shares(before, after)})"
    return _location(change, before, after, rose)


def _agreement(before: float, after: float) -> str:
    """Whether two features lie on the same side of their medians: they may also move against each other."""
    how = "together" if before >= 0.5 else "against each other"
    closer = (after > before) == (before >= 0.5)
    text = f"the two move more closely {how}" if closer else f"the two no longer move {how} as they did"
    then, now = apart(percent, before, after)
    return f"{text} (they agreed in {then} of rows in the baseline, in {now} now)"


def _location(change: Change, before: float, after: float, rose: bool | None) -> str:
    if rose is None:
        rose = after > before if after != before else None
    if rose is None:
        return PLAIN["location"]
    text = f"its values are {'higher' if rose else 'lower'}"
    beyond = _many_beyond(change)
    if after == before or (after > before) != rose:
        return f"{text} ({beyond})" if beyond else text  # ties: the middle stands although ranks moved
    then, now = apart(number, before, after)
    now = f"{change.outside} {now}" if change.outside else now
    return f"{text} ({change.measure} {then} in the baseline, {now} now{'; ' if beyond else ''}{beyond})"


def _many_beyond(change: Change) -> str:
    if (beyond := change.beyond) is None:
        return ""
    then, now = apart(percent, beyond.baseline, beyond.current)
    return f"{now} lie {beyond.side} {number(beyond.bound)} now, {then} did"


def _spread(before: tuple[float, float], after: tuple[float, float], rose: bool | None) -> str:
    text = PLAIN["spread"]
    if rose is not None:
        text = "its values spread wider" if rose else "its values lie closer together"
    if before == after:
        return text
    lows, highs = (apart(number, a, b) for a, b in zip(before, after, strict=True))
    then, now = (f"{low} to {high}" for low, high in zip(lows, highs, strict=True))
    return f"{text} (the middle half lies from {then} in the baseline, from {now} now)"


def _share_of(channel: str) -> str:
    return PLAIN["shape" if channel == "shape" else "distribution"]


def _part(of: str | None) -> str:
    return "values that the baseline never saw" if of == "unseen" else f"{of}"


def _shares(before: float, after: float) -> str:
    then, now = apart(percent, before, after)
    return f"{then} in the baseline, {now} now"
